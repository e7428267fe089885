//! Settings in files: read with a table, as if they were arguments.

use serde_json::Value;

use super::shell::{self, Var};
use super::table::{Effect, Flag, Given, Reader, find_in, last_of_each};
use crate::spec::numbers::shown;
use crate::spec::yaml;

/// Deepest nesting of settings in settings.
const MAX_DEPTH: usize = 8;
/// Largest file, bytes: no Kubernetes object is larger.
const LARGEST: usize = 2 << 20;
/// What files of settings end in.
const ENDINGS: &[&str] = &[".yaml", ".yml", ".json", ".toml"];

/// Whether a word names a file of settings.
pub(super) fn is_config(word: &str) -> bool {
    ENDINGS.iter().any(|ending| word.ends_with(ending))
}

impl Reader<'_> {
    /// Reads the keys of a file of options as flags; what flags said before stands.
    pub(super) fn as_flags(&mut self, options: &Value) {
        let mut words = Vec::new();
        for (key, value) in options.as_object().into_iter().flatten() {
            let name = format!("--{}", key.replace('_', "-"));
            match value {
                Value::Bool(true) => words.push(name),
                Value::Bool(false) if key.starts_with("no") => {}
                Value::Bool(false) => words.push(format!("--no-{}", key.replace('_', "-"))),
                Value::Null => {}
                Value::String(text) => words.push(format!("{name}={text}")),
                Value::Array(items) => {
                    words.push(name);
                    words
                        .extend(items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned)));
                }
                other => words.push(format!("{name}={other}")),
            }
        }
        let given = last_of_each(self.arguments(&words));
        self.take(given.iter().filter(|given| !matches!(given.flag.effect, Effect::File(..))));
    }

    /// Reads further arguments that a variable holds; what was said before stands.
    pub(super) fn more(&mut self, text: &str) {
        let Ok((commands, _)) = shell::script(text, self.scene.env, &[]) else {
            return self.doubt("arguments", "further arguments cannot be read");
        };
        for words in commands {
            let given = last_of_each(self.arguments(&words));
            self.take(&given);
        }
    }

    /// Applies the options of a file.
    pub(super) fn file(&mut self, path: &str, read: fn(&mut Reader<'_>, &Value)) {
        match self.document(path.trim()) {
            // A part that is not known may be any of them.
            Ok(options) if shell::is_known(&options.to_string()) => read(self, &options),
            Ok(_) => self.doubt("arguments", "options in the file are not known here"),
            Err(why) => self.doubt("arguments", &why),
        }
    }

    /// The content of a file of settings.
    ///
    /// # Errors
    /// Why it is not known, or what is wrong with it and where.
    pub(super) fn document(&self, path: &str) -> Result<Value, String> {
        let named = |why: &str| format!("`{}`: {why}", shown(path));
        let env = self.scene.env;
        let text = match env.file(path) {
            Var::Known(text) => text,
            Var::Unknown => return Err(named("the script writes it in a way that is not followed")),
            Var::Unset => self.scene.files.text(&env.path(path)).map_err(|why| named(&why))?,
        };
        if text.len() > LARGEST {
            return Err(named("is too large"));
        }
        let value = if path.strip_suffix(".toml").is_some() {
            toml::from_str::<Value>(text).map_err(|error| {
                let line = error.span().map_or(0, |span| text.get(..span.start).unwrap_or(text).matches('\n').count());
                named(&format!("line {}: {}", line + 1, error.message()))
            })?
        } else {
            yaml::value(text).map_err(|error| named(&error.to_string()))?
        };
        if value.is_object() { Ok(value) } else { Err(named("holds no settings")) }
    }

    /// The arguments with the settings of the files that they name.
    pub(super) fn with_files(&mut self, given: Vec<Given>) -> Vec<Given> {
        let configs = given.iter().filter(|given| matches!(given.flag.effect, Effect::Config));
        let mut files: Vec<(String, String)> =
            configs.filter_map(|given| Some((given.name.clone(), given.value.clone()?))).collect();
        if self.program.trains {
            let bare = self.bare.iter().filter(|word| is_config(word));
            files.extend(bare.map(|word| ("its config".to_owned(), word.clone())));
        }
        let mut all: Vec<Given> = files.iter().flat_map(|(flag, path)| self.own_settings(flag, path)).collect();
        all.extend(given);
        all
    }

    /// Takes the settings of a file under the program's own names; what was kept or set before is stronger.
    pub(super) fn own_file(&mut self, path: &str) {
        let mut given = self.own_settings("its config", path);
        given.retain(|given| given.flag.names.first().is_none_or(|name| !self.kept.contains_key(name)));
        self.take(&given);
    }

    fn own_settings(&mut self, flag: &str, path: &str) -> Vec<Given> {
        let table = self.program.flags;
        match self.known_document(path) {
            Ok(value) => settings(path, &value, table),
            Err(why) => {
                self.draft.out.unread.push(format!("{flag}: {why}"));
                self.draft.out.unknown_fields.insert("arguments");
                Vec::new()
            }
        }
    }

    fn known_document(&self, path: &str) -> Result<Value, String> {
        if shell::is_known(path) {
            self.document(path)
        } else {
            Err(format!("the file `{}` is not known here", shown(&shell::written(path))))
        }
    }

    /// Takes the settings of a file under the names of a table; what was kept before is stronger.
    ///
    /// # Errors
    /// As [`Self::document`].
    pub(super) fn include(&mut self, path: &str, table: &'static [Flag]) -> Result<(), String> {
        let value = self.known_document(path)?;
        self.include_value(path, &value, table);
        Ok(())
    }

    /// As [`Self::include`], of settings that are at hand.
    pub(super) fn include_value(&mut self, name: &str, value: &Value, table: &'static [Flag]) {
        let mut given = settings(name, value, table);
        given.retain(|given| given.flag.names.first().is_none_or(|name| !self.kept.contains_key(name)));
        self.take(&given);
    }
}

/// The settings of a document that a table has rows for.
fn settings(file: &str, value: &Value, table: &'static [Flag]) -> Vec<Given> {
    let mut flat = Vec::new();
    flatten(value, "", table, MAX_DEPTH, &mut flat);
    let given = |(key, text): (String, String)| {
        let mut given = row(table, &key, &text)?;
        given.name = format!("{}: {key}", shown(file));
        Some(given)
    };
    flat.into_iter().filter_map(given).collect()
}

fn row(table: &'static [Flag], key: &str, text: &str) -> Option<Given> {
    find_in(table, &format!("--{key}={text}")).or_else(|| find_in(table, &format!("{key}={text}")))
}

/// Keys with dots and their values as words. Settings in a setting are taken apart if the table knows any of them.
fn flatten(value: &Value, before: &str, table: &'static [Flag], depth: usize, out: &mut Vec<(String, String)>) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let key = format!("{before}{key}");
        if value.is_object() && depth > 0 {
            let known = out.len();
            flatten(value, &format!("{key}."), table, depth - 1, out);
            if out.len() > known {
                continue;
            }
        }
        if let Some(text) = word(value).filter(|text| row(table, &key, text).is_some()) {
            out.push((key, text));
        }
    }
}

/// A value as it would stand in a command line; nothing for null.
fn word(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(|item| !item.is_array() && !item.is_object()) => {
            items.iter().filter_map(word).collect::<Vec<_>>().join(",")
        }
        Value::Array(_) | Value::Object(_) | Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    // References to other settings and templates that are filled in later.
    let filled = text.starts_with("${") || text.starts_with("{{");
    Some(if filled { shell::mark(&text) } else { text })
}
