//! Image references: registry, repository, tag and digest.

/// A reference taken apart; borrowed from the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Image<'a> {
    /// Registry and repository, without tag and digest.
    pub(super) repository: &'a str,
    /// Tag; empty without.
    pub(super) tag: &'a str,
}

impl<'a> Image<'a> {
    /// Takes a reference apart: `registry:5000/a/b:tag@sha256:...`.
    pub(super) fn parse(text: &'a str) -> Self {
        let text = text.trim();
        let named = text.split_once('@').map_or(text, |(named, _)| named);
        let last_slash = named.rfind('/').map_or(0, |at| at + 1);
        match named.get(last_slash..).and_then(|last| last.find(':')) {
            Some(colon) => {
                let (repository, tag) = named.split_at_checked(last_slash + colon).unwrap_or((named, ""));
                Self { repository, tag: tag.get(1..).unwrap_or("") }
            }
            None => Self { repository: named, tag: "" },
        }
    }

    /// Whether the repository ends in these components, whatever the registry or mirror before them. A `*` at the end
    /// of a component matches any rest of it.
    pub(super) fn is(&self, pattern: &str) -> bool {
        let mut components = self.repository.rsplit('/');
        pattern.rsplit('/').all(|wanted| {
            components.next().is_some_and(|found| match wanted.strip_suffix('*') {
                Some(prefix) => found.starts_with(prefix),
                None => found == wanted,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mirrors_tags_and_digests_are_seen_through() {
        for (text, repository, tag) in [
            ("vllm/vllm-openai", "vllm/vllm-openai", ""),
            ("vllm/vllm-openai:v0.19.0", "vllm/vllm-openai", "v0.19.0"),
            (
                "harbor.corp:5000/hub/vllm/vllm-openai:v0.19.0@sha256:ab",
                "harbor.corp:5000/hub/vllm/vllm-openai",
                "v0.19.0",
            ),
            ("localhost:5000/vllm-openai", "localhost:5000/vllm-openai", ""),
            ("a/b@sha256:00", "a/b", ""),
            ("", "", ""),
        ] {
            assert_eq!(Image::parse(text), Image { repository, tag }, "{text}");
        }
    }

    #[test]
    fn patterns_match_whole_components_at_the_end() {
        let is = |text: &str, pattern: &str| Image::parse(text).is(pattern);
        assert!(is("vllm/vllm-openai:latest", "vllm-openai"));
        assert!(is("r.io/mirror/vllm/vllm-openai", "vllm/vllm-openai"));
        assert!(!is("r.io/myvllm-openai", "vllm-openai"));
        assert!(is("ghcr.io/llm-d/llm-d-cuda:v0.3", "llm-d/llm-d*"));
        assert!(!is("ghcr.io/other/x/llm-d-cuda", "llm-d/llm-d*"));
        assert!(is("nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8", "nim/*/*"));
        assert!(!is("nvcr.io/nim/meta", "nim/*/*"));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,60}", pattern in "[a-z/-]{0,10}\\*?") {
            let _ = Image::parse(&text).is(&pattern);
        }
    }
}
