//! The variables, arguments and files that a command sees.

use std::collections::BTreeMap;

use super::{MAX_VALUE, is_known, mark};
use crate::spec::pod::Container;

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
    /// Files that the script writes, by path; `None` where the text is not known.
    pub(super) files: BTreeMap<String, Option<String>>,
}

impl Env {
    /// The container's own environment; values may refer to earlier ones.
    pub(in crate::spec::args) fn of(container: &Container) -> Self {
        let mut env = Self { open: container.env_from, ..Self::default() };
        for var in &container.env {
            let value = match (&var.value, var.from_elsewhere) {
                (_, true) => None,
                (Some(value), false) => Some(env.expand(value)).filter(|value| is_known(value)),
                (None, false) => Some(String::new()),
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

    /// The name is not listed: it could only come from an imported ConfigMap or Secret.
    pub(in crate::spec::args) fn is_imported_only(&self, name: &str) -> bool {
        !self.vars.contains_key(name)
    }

    /// The text of a file that the script wrote.
    pub(in crate::spec::args) fn file(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.as_deref()
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
}
