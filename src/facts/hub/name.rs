//! Names of repositories and revisions: checked, since they become parts of addresses and file names.

use std::fmt;

/// Characters of one part of a name at most.
const LONGEST: usize = 96;

/// `ORG/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName {
    org: String,
    name: String,
}

impl RepoName {
    /// Reads `ORG/NAME`, with or without `hf://` in front of it.
    pub(super) fn parse(reference: &str) -> Option<Self> {
        let reference = reference.trim();
        let (org, name) = reference.strip_prefix("hf://").unwrap_or(reference).split_once('/')?;
        (is_part(org) && is_part(name)).then(|| Self { org: org.to_owned(), name: name.to_owned() })
    }

    /// Without a slash.
    pub(super) fn file_name(&self) -> String {
        format!("{}--{}", self.org, self.name)
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.org, self.name)
    }
}

fn is_part(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !text.starts_with(['.', '-'])
        && !text.ends_with(['.', '-'])
        && !text.contains("..")
        && !text.contains("--")
}

/// A branch, tag or commit that needs no escaping.
pub(super) fn is_revision(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !text.starts_with(['.', '-'])
}

/// A commit never changes.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_repositories_are_looked_up() {
        for name in ["Qwen/Qwen3-8B", "hf://Qwen/Qwen3-8B", " a/b_c.d ", "0/1"] {
            assert!(RepoName::parse(name).is_some(), "{name}");
        }
        let long = format!("org/{}", "x".repeat(97));
        for name in [
            "",
            "name",
            "/models/llm",
            "./a/b",
            "a/b/c",
            "a/..",
            "../b",
            "a/b?x",
            "a/b#x",
            "a/b%2f",
            "a /b",
            "a/b:q8_0",
            "s3://a/b",
            "a/b\r\nX: y",
            "a\\b/c",
            "-a/b",
            "a/b--c",
            &long,
        ] {
            assert!(RepoName::parse(name).is_none(), "{name}");
        }
    }

    #[test]
    fn revisions_cannot_leave_their_place_in_the_address() {
        assert!(["main", "v1.0", "refs-x", &"0".repeat(40)].into_iter().all(is_revision));
        assert!(!["", "a/b", "..", "a b", "a?b", "-x", &"0".repeat(97)].into_iter().any(is_revision));
        assert!(is_commit(&"0a".repeat(20)) && !is_commit("main"));
    }
}
