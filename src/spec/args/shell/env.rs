//! What a command sees: variables, and files that the script has written.

use std::collections::BTreeMap;

use crate::spec::files::{self, Files};
use crate::spec::pod::{Container, Elsewhere};

/// Opens a mark; the text up to [`CLOSE`] is what was written. Private-use characters: no command line holds them.
const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';
/// Most files of one script.
const MAX_FILES: usize = 100;
/// Longest value after expansion: `$(A)$(A)` over and over must not grow without bound.
pub(super) const MAX_VALUE: usize = 64 * 1024;

/// A word that cannot be known, as it was written.
pub(in crate::spec::args) fn mark(written: &str) -> String {
    format!("{OPEN}{written}{CLOSE}")
}

/// Whether every character of the word is known.
pub(in crate::spec::args) fn is_known(word: &str) -> bool {
    !word.contains(OPEN)
}

/// The word as it was written, for messages.
pub(in crate::spec::args) fn written(word: &str) -> String {
    word.chars().filter(|c| !matches!(*c, OPEN | CLOSE)).collect()
}

/// What is known of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::spec::args) enum Var<'a> {
    /// Its value.
    Known(&'a str),
    /// Set, or possibly set, to something that is not seen here.
    Unknown,
    /// Not set by the pod.
    Unset,
}

/// The variables that a command sees.
#[derive(Debug, Clone, Default)]
pub(in crate::spec::args) struct Env {
    /// Values; `None` where the value comes from elsewhere.
    pub(super) vars: BTreeMap<String, Option<String>>,
    /// Whole ConfigMaps or Secrets are imported.
    open: bool,
    /// `$@`, `$1`...
    pub(super) positional: Vec<String>,
    /// Files that the script writes, by path; `None` where the text cannot be known.
    files: BTreeMap<String, Option<String>>,
    /// Directory that relative paths start from; the image's when empty.
    directory: String,
}

impl Env {
    /// The container's own environment, with what ConfigMaps that are known add to it; values may refer to earlier ones.
    pub(in crate::spec::args) fn of(container: &Container, files: &Files<'_>) -> Self {
        let mut env = Self { directory: container.working_dir.clone(), ..Self::default() };
        for source in &container.env_from {
            match source.config_map.as_ref().and_then(|map| files.config_map(&map.name)) {
                Some(keys) => env
                    .vars
                    .extend(keys.iter().map(|(key, value)| (format!("{}{key}", source.prefix), Some(value.clone())))),
                None => env.open = true,
            }
        }
        for var in &container.env {
            let value = match (&var.from, &var.value) {
                (Some(Elsewhere::ConfigMap { name, key }), _) => {
                    files.config_map(name).and_then(|keys| keys.get(key)).cloned()
                }
                (Some(Elsewhere::Unseen), _) => None,
                (None, Some(value)) => Some(env.expand(value)).filter(|value| is_known(value)),
                (None, None) => Some(String::new()),
            };
            env.vars.insert(var.name.clone(), value);
        }
        env
    }

    /// What is known of a variable.
    pub(in crate::spec::args) fn get(&self, name: &str) -> Var<'_> {
        match self.vars.get(name) {
            Some(Some(value)) => Var::Known(value),
            Some(None) => Var::Unknown,
            None if self.open => Var::Unknown,
            None => Var::Unset,
        }
    }

    /// What a controller sets in the containers that it makes, unless they say otherwise.
    pub(in crate::spec::args) fn assume(&mut self, name: &str, value: String) {
        self.vars.entry(name.to_owned()).or_insert(Some(value));
    }

    /// The name is not listed: it could only come from an imported ConfigMap or Secret.
    pub(in crate::spec::args) fn is_imported_only(&self, name: &str) -> bool {
        !self.vars.contains_key(name)
    }

    /// Variables with a value that is seen here.
    pub(in crate::spec::args) fn known(&self) -> impl Iterator<Item = (&str, &str)> {
        self.vars.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }

    /// Kubernetes' own expansion: `$(NAME)`, `$$` for a dollar sign; a name that is not set stays as it is.
    pub(in crate::spec::args) fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            if let Some(after) = from.strip_prefix("$$") {
                out.push('$');
                rest = after;
            } else if let Some((name, after)) = from.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
                match self.get(name) {
                    Var::Known(value) => out.push_str(value),
                    Var::Unknown => out.push_str(&mark(&format!("$({name})"))),
                    Var::Unset => out.extend(["$(", name, ")"]),
                }
                rest = after;
            } else {
                out.push('$');
                rest = from.get(1..).unwrap_or_default();
            }
            if out.len() > MAX_VALUE.max(text.len()) {
                return mark("a value that is too long");
            }
        }
        out.push_str(rest);
        out
    }

    /// The path from the directory that the script is in.
    pub(in crate::spec::args) fn path(&self, path: &str) -> String {
        let joined = if path.starts_with('/') || self.directory.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{path}", self.directory)
        };
        files::normal(&joined)
    }

    /// What is known of a file that the script writes.
    pub(in crate::spec::args) fn file(&self, path: &str) -> Var<'_> {
        match self.files.get(&self.path(path)) {
            Some(Some(text)) => Var::Known(text),
            Some(None) => Var::Unknown,
            None => Var::Unset,
        }
    }

    /// The script goes to another directory.
    pub(super) fn change_directory(&mut self, to: &str) {
        self.directory = if is_known(to) { self.path(to) } else { String::new() };
    }

    /// The script writes a file, or adds to it.
    pub(super) fn write(&mut self, path: &str, text: Option<String>, append: bool) {
        if !is_known(path) || self.files.len() >= MAX_FILES {
            return;
        }
        let path = self.path(path);
        let text = match (append, self.files.remove(&path)) {
            (true, Some(before)) => before.zip(text).map(|(before, text)| before + &text),
            // What is added to a file of the image is not the whole file.
            (true, None) => None,
            (false, _) => text,
        };
        self.files.insert(path, text);
    }

    /// The script changes a file in a way that is not followed.
    pub(super) fn touch(&mut self, path: &str) {
        let path = self.path(path);
        if let Some(text) = self.files.get_mut(&path) {
            *text = None;
        }
    }
}
