//! Words of a command line as flags of a table.

use std::collections::BTreeMap;

use serde_json::Value;

use super::table::{Effect, Flag};

/// A flag as it was given.
pub(super) struct Given {
    pub(super) flag: &'static Flag,
    /// As written, without value; after the name of its file, if it stands in one.
    pub(super) name: String,
    /// `None` for switches.
    pub(super) value: Option<String>,
    /// `--no-...`.
    pub(super) negated: bool,
}

/// A table's row for a word: `--name`, `--name=value`, `--name.key=value`, `--no-name`, `_` for `-`.
pub(super) fn find_in(table: &'static [Flag], word: &str) -> Option<Given> {
    find_by(&|name| table.iter().find(|flag| flag.names.contains(&name)), word)
}

pub(super) fn find_by(row: &dyn Fn(&str) -> Option<&'static Flag>, word: &str) -> Option<Given> {
    let (written, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let name = written.replace('_', "-");
    let given = |flag, negated, value| Some(Given { flag, name: written.to_owned(), value, negated });
    if let Some(flag) = row(&name) {
        let switch = !flag.effect.takes_value();
        return match value.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some(text) if switch => given(flag, matches!(text, "false" | "0" | "no"), None),
            _ => given(flag, false, value),
        };
    }
    if let Some(flag) = name.strip_prefix("--no-").and_then(|rest| row(&format!("--{rest}"))) {
        return given(flag, true, None).filter(|_| !flag.effect.takes_value());
    }
    let (base, keys) = name.split_once('.')?;
    let flag = row(base)?;
    match flag.effect {
        Effect::Skip | Effect::Unread(_) => given(flag, false, value),
        Effect::Call(_) => given(flag, false, Some(nested(written.split_once('.')?.1, &value?))),
        _ => None,
    }
    .filter(|_| !keys.is_empty())
}

/// A word that begins a flag; `-1` is a value.
pub(super) fn is_flag(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next() == Some('-') && chars.next().is_some_and(|c| !c.is_ascii_digit() && c != '.')
}

pub(super) fn is_bool(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0" | "yes" | "no")
}

/// `a.b=1` as `{"a":{"b":1}}`.
fn nested(keys: &str, value: &str) -> String {
    let leaf = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    keys.split('.').rev().take(8).fold(leaf, |inner, key| serde_json::json!({ key: inner })).to_string()
}

/// The last of several equal flags counts, as in every argument parser read here; the parts of one object are joined.
pub(super) fn last_of_each(given: Vec<Given>) -> Vec<Given> {
    let mut at: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut out: Vec<Option<Given>> = Vec::with_capacity(given.len());
    for mut given in given {
        if let Some(name) = given.flag.names.first() {
            let earlier = at.insert(name, out.len()).and_then(|index| out.get_mut(index)).and_then(Option::take);
            if let Some(joined) =
                earlier.filter(|_| given.name.contains('.')).and_then(|earlier| joined(&earlier, &given))
            {
                given.value = Some(joined);
            }
        }
        out.push(Some(given));
    }
    out.into_iter().flatten().collect()
}

/// Both values as one object.
fn joined(earlier: &Given, later: &Given) -> Option<String> {
    let object = |given: &Given| serde_json::from_str::<serde_json::Map<String, Value>>(given.value.as_deref()?).ok();
    let mut all = object(earlier)?;
    all.extend(object(later)?);
    Some(Value::Object(all).to_string())
}
