//! Command lines as data: a program has names, flags and variables; each flag says what it sets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::shell::{self, Env, Var};
use crate::spec::declaration::Origin;
use crate::spec::draft::{Draft, Source};
use crate::spec::files::Files;
use crate::spec::numbers::shown;

/// An engine or a trainer.
pub(super) struct Program {
    /// Value of `engine.name` or, for trainers, of `training.trainer`.
    pub(super) name: &'static str,
    /// It trains.
    pub(super) trains: bool,
    /// Word sequences that start it; a word matches by base name, `*` at its end matches any rest.
    pub(super) starts: &'static [&'static [&'static str]],
    /// Field that a word without a flag sets.
    pub(super) positional: Option<&'static str>,
    /// Flags.
    pub(super) flags: &'static [Flag],
    /// Flags without value and without effect on memory.
    pub(super) switches: &'static [&'static str],
    /// Environment variables; as flags, without dashes.
    pub(super) env: &'static [Flag],
    /// Images that hold it.
    pub(super) images: &'static [ImageRule],
    /// What follows from several flags together.
    pub(super) finish: fn(&mut Reader<'_>),
}

/// An image that holds a program.
pub(super) struct ImageRule {
    /// Trailing components of the repository; see [`super::image::Image::is`].
    pub(super) repository: &'static str,
    /// The image's entry point is the program: arguments alone run it.
    pub(super) entrypoint: bool,
    /// The tag is the program's version.
    pub(super) versioned: bool,
}

/// A flag or variable with its aliases.
#[derive(Clone, Copy)]
pub(super) struct Flag {
    /// Names with their dashes, `-` for `_`.
    pub(super) names: &'static [&'static str],
    /// What it does.
    pub(super) effect: Effect,
}

/// What a flag does.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    /// Its value goes to a field.
    Set(&'static str),
    /// Its value goes to a field after translation, an object to the fields that it names; an `Err` says why the field is
    /// then unknown.
    Map(&'static str, fn(&str) -> Result<Value, String>),
    /// Without value: the field is true (`--no-...`: false).
    Switch(&'static str),
    /// Its value is handled by a function.
    Call(fn(&mut Reader<'_>, &str)),
    /// Its value is kept for `finish`.
    Keep,
    /// As `Keep`, also where the value is not known: `finish` looks.
    KeepAny,
    /// Any number of values, kept for `finish` separated by commas.
    KeepMany,
    /// Without value: kept for `finish` as `true` or `false`.
    KeepSwitch,
    /// With or without `true` or `false` after it: kept for `finish` as `true` or `false`.
    KeepBool,
    /// Its value is a file of settings under the program's own names, weaker than arguments.
    File,
    /// As `File`, stronger than arguments.
    FileOver,
    /// Takes a value, has no effect.
    Skip,
    /// Takes any number of values, has no effect.
    SkipMany,
    /// Takes a value and matters in a way that is not modelled: why.
    Unread(&'static str),
    /// As `Unread`, without value.
    UnreadSwitch(&'static str),
}

impl Effect {
    pub(super) const fn takes_value(self) -> bool {
        !matches!(self, Self::Switch(_) | Self::KeepSwitch | Self::UnreadSwitch(_))
    }
}

/// A row of a table.
pub(super) const fn flag(names: &'static [&'static str], effect: Effect) -> Flag {
    Flag { names, effect }
}

/// Tables as one.
pub(super) const fn concat<const N: usize>(tables: &[&[Flag]]) -> [Flag; N] {
    let mut all = [Flag { names: &[], effect: Effect::Skip }; N];
    let (mut at, mut table) = (0, 0);
    while table < tables.len() {
        let mut row = 0;
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses a wrong index")]
        while row < tables[table].len() {
            all[at] = tables[table][row];
            (at, row) = (at + 1, row + 1);
        }
        table += 1;
    }
    all
}

/// One table of several: `tables!(OWN, SHARED)`.
macro_rules! tables {
    ($($table:expr),+ $(,)?) => {{
        const COUNT: usize = 0 $(+ $table.len())+;
        const ALL: [$crate::spec::args::table::Flag; COUNT] = $crate::spec::args::table::concat(&[$($table),+]);
        &ALL
    }};
}
pub(super) use tables;

/// What a command can see beside its words.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    /// Variables, and files that the script writes.
    pub(super) env: &'a Env,
    /// Files of the pod's volumes.
    pub(super) files: Files<'a>,
    /// Pods that work on the job together, where known.
    pub(super) pods: Option<u64>,
}

/// Reads one command of a program into a draft.
pub(super) struct Reader<'a> {
    /// Where settings go.
    pub(super) draft: &'a mut Draft,
    /// What else the command sees.
    pub(super) scene: Scene<'a>,
    /// The program.
    pub(super) program: &'static Program,
    /// Values of `Keep` flags by their first name.
    pub(super) kept: BTreeMap<&'static str, String>,
    /// Where those values were written.
    places: BTreeMap<&'static str, String>,
    /// Words without a flag that set no field, e.g. a recipe's name.
    pub(super) bare: Vec<String>,
    /// The words that started it.
    pub(super) start: &'static [&'static str],
    /// The launcher that starts it, once for each process.
    pub(super) launcher: Option<&'static str>,
    /// Argument or Env.
    origin: Origin,
    /// Flag or variable that is being read.
    location: String,
}

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

impl<'a> Reader<'a> {
    pub(super) fn new(
        draft: &'a mut Draft,
        program: &'static Program,
        start: &'static [&'static str],
        scene: Scene<'a>,
    ) -> Self {
        Self {
            draft,
            scene,
            program,
            start,
            kept: BTreeMap::new(),
            places: BTreeMap::new(),
            bare: Vec::new(),
            launcher: None,
            origin: Origin::Argument,
            location: String::new(),
        }
    }

    /// Reads arguments, then variables (which are weaker), then what follows from both.
    pub(super) fn read(&mut self, arguments: &[String]) {
        let given = self.arguments(arguments);
        let given = self.with_files(given);
        self.take(last_of_each(given));
        let env = self.scene.env;
        self.origin = Origin::Env;
        for flag in self.program.env {
            for name in flag.names {
                match env.get(name) {
                    Var::Known(value) if !value.is_empty() => {
                        self.location = format!("env {name}");
                        self.apply(flag, value);
                    }
                    Var::Unknown if !env.is_imported_only(name) => {
                        self.location = format!("env {name}");
                        self.apply(flag, &shell::mark(&format!("the value of {name}")));
                    }
                    _ => {}
                }
            }
        }
        self.origin = Origin::Argument;
        // What follows from several flags together is said of the command, not of the last flag.
        format!("{} arguments", self.program.name).clone_into(&mut self.location);
        (self.program.finish)(self);
    }

    /// Flags as they were given, none of them twice.
    pub(super) fn take(&mut self, given: Vec<Given>) {
        for given in given {
            self.location = given.name;
            match given.value {
                Some(value) => self.apply(given.flag, &value),
                None => self.switch(given.flag, !given.negated),
            }
        }
    }

    /// Sets a field that nothing was said of to what the program then does.
    pub(super) fn default(&mut self, path: &str, value: impl Into<Value>) {
        let source = Source { origin: Origin::Inferred, location: self.program.name };
        // The tables' defaults are tested to be allowed.
        let _ = self.draft.set_path(path, &value.into(), source);
    }

    /// The value of a `Keep` flag.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.kept.get(name).map(|value| value.trim()).filter(|value| !value.is_empty() && shell::is_known(value))
    }

    /// The value of a `Keep` flag as a whole number; `None` also where it is none.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    /// Sets a field to what was kept, unless the program is told to choose.
    pub(super) fn put_kept(&mut self, name: &str, path: &str) {
        let Some(value) = self.kept.get(name).cloned() else { return };
        if matches!(value.to_ascii_lowercase().as_str(), "" | "auto" | "none" | "null") {
            return;
        }
        self.at(name, |reader| {
            if shell::is_known(&value) {
                reader.put(path, value);
            } else {
                reader.unknown(path, &format!("the value `{}` is not known here", shown(&shell::written(&value))));
            }
        });
    }

    /// What is said meanwhile is said of the place of a `Keep` flag.
    pub(super) fn at(&mut self, name: &str, act: impl FnOnce(&mut Self)) {
        let place = self.places.get(name).cloned().unwrap_or_else(|| self.location.clone());
        let before = std::mem::replace(&mut self.location, place);
        act(self);
        self.location = before;
    }

    /// Sets a field.
    pub(super) fn put(&mut self, path: &str, value: impl Into<Value>) {
        self.set(path, &value.into());
    }

    /// Sets a field; an argument that cannot be read makes the field unknown, since the program may know better.
    pub(super) fn set(&mut self, path: &str, value: &Value) {
        let location = self.location.clone();
        let source = Source { origin: self.origin, location: &location };
        if let Err(problem) = self.draft.set_path(path, value, source) {
            self.unknown(path, &problem);
        }
    }

    /// Whether a `Keep` flag is on.
    pub(super) fn on(&self, name: &str) -> bool {
        self.kept
            .get(name)
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on"))
    }

    /// The field was given but cannot be known.
    pub(super) fn unknown(&mut self, path: &str, why: &str) {
        let text = format!("{}: {why}; set the annotation field `{path}`", self.location);
        self.draft.set_unknown(path, self.origin, text);
    }

    /// Something that matters and is not modelled.
    pub(super) fn unread(&mut self, why: &str) {
        self.draft.out.unread.push(format!("{}: {why}", self.location));
    }

    fn apply(&mut self, flag: &Flag, value: &str) {
        let unknown = (!shell::is_known(value))
            .then(|| format!("the value `{}` is not known here", shown(&shell::written(value))));
        match (flag.effect, unknown) {
            (Effect::Skip | Effect::SkipMany | Effect::File | Effect::FileOver, _) => {}
            (Effect::Set(path) | Effect::Map(path, _), Some(why)) => self.unknown(path, &why),
            (Effect::KeepAny, _) => self.keep(flag, value.trim().to_owned()),
            (_, Some(why)) => {
                self.unread(&why);
                self.draft.out.unknown_fields.insert("arguments");
            }
            (Effect::Set(path) | Effect::Switch(path), None) => self.set(path, &Value::from(value)),
            (Effect::Map(path, map), None) => match map(value) {
                Ok(Value::Null) => {}
                Ok(Value::Object(fields)) => {
                    for (path, value) in &fields {
                        self.set(path, value);
                    }
                }
                Ok(value) => self.set(path, &value),
                Err(why) => self.unknown(path, &why),
            },
            (Effect::Call(call), None) => call(self, value),
            (Effect::Keep | Effect::KeepMany | Effect::KeepSwitch | Effect::KeepBool, None) => {
                self.keep(flag, value.trim().to_owned());
            }
            (Effect::Unread(why) | Effect::UnreadSwitch(why), None) => self.unread(why),
        }
    }

    fn switch(&mut self, flag: &Flag, on: bool) {
        match flag.effect {
            Effect::Switch(path) => self.set(path, &Value::from(on)),
            Effect::KeepSwitch | Effect::KeepBool => self.keep(flag, on.to_string()),
            Effect::UnreadSwitch(why) if on => self.unread(why),
            _ => {}
        }
    }

    fn keep(&mut self, flag: &Flag, value: String) {
        if let Some(name) = flag.names.first() {
            self.kept.insert(name, value);
            self.places.insert(name, self.location.clone());
        }
    }

    /// Flags and positional words, in order.
    fn arguments(&mut self, words: &[String]) -> Vec<Given> {
        let mut given = Vec::new();
        let mut words = words.iter().peekable();
        let mut positional = self.program.positional;
        while let Some(word) = words.next() {
            if !is_flag(word) {
                if word.contains('=') && self.program.trains {
                    // Hydra's and torchtune's style, and LLaMA-Factory's: `batch_size=4`.
                    given.extend(self.find(word).or_else(|| self.find(&format!("--{word}"))));
                } else if let Some(path) = positional.take() {
                    self.location = format!("argument `{}`", shown(&shell::written(word)));
                    if shell::is_known(word) {
                        self.set(path, &Value::from(word.as_str()));
                    } else {
                        self.unknown(path, "its value is not known here");
                        self.draft.out.unknown_fields.insert("arguments");
                    }
                } else if !shell::is_known(word) {
                    self.draft
                        .out
                        .unread
                        .push(format!("`{}` may hold arguments that are not known here", shown(&shell::written(word))));
                    self.draft.out.unknown_fields.insert("arguments");
                } else {
                    self.bare.push(word.clone());
                }
                continue;
            }
            match self.find(word) {
                Some(mut found) => {
                    if found.value.is_none() && found.flag.effect.takes_value() {
                        let optional = matches!(found.flag.effect, Effect::KeepBool);
                        found.value =
                            words.next_if(|next| if optional { is_bool(next) } else { !is_flag(next) }).cloned();
                        if found.value.is_none() && !optional {
                            continue;
                        }
                    }
                    if matches!(found.flag.effect, Effect::SkipMany | Effect::KeepMany) {
                        while let Some(more) = words.next_if(|next| !is_flag(next)) {
                            found.value = found.value.map(|first| format!("{first},{more}"));
                        }
                    }
                    given.push(found);
                }
                // A flag of a later version: what follows it are its values, if it has any.
                None if !self.is_plain_switch(word) => while words.next_if(|next| !is_flag(next)).is_some() {},
                None => {}
            }
        }
        given
    }

    fn is_plain_switch(&self, word: &str) -> bool {
        let name = word.replace('_', "-");
        word.contains('=') || name.starts_with("--no-") || self.program.switches.contains(&name.as_str())
    }

    fn find(&self, word: &str) -> Option<Given> {
        find_in(self.program.flags, word)
    }
}

/// A table's row for a word: `--name`, `--name=value`, `--name.key=value`, `--no-name`, `_` for `-`.
pub(super) fn find_in(table: &'static [Flag], word: &str) -> Option<Given> {
    let (written, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let name = written.replace('_', "-");
    let row = |name: &str| table.iter().find(|flag| flag.names.contains(&name));
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
    let base = name.split_once('.').map(|(base, _)| base)?;
    row(base)
        .filter(|flag| matches!(flag.effect, Effect::Skip | Effect::Unread(_)))
        .and_then(|flag| given(flag, false, value))
}

/// `--nnodes` names more than one node, or something that is not known here.
pub(super) fn several_nodes(reader: &Reader<'_>) -> bool {
    reader.kept.get("--nnodes").is_some_and(|nodes| nodes.trim() != "1")
}

/// A word that begins a flag; `-1` is a value.
pub(super) fn is_flag(word: &str) -> bool {
    let mut chars = word.chars();
    chars.next() == Some('-') && chars.next().is_some_and(|c| !c.is_ascii_digit() && c != '.')
}

pub(super) fn is_bool(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "true" | "false" | "1" | "0" | "yes" | "no")
}

/// The last of several equal flags counts, as in every argument parser read here.
pub(super) fn last_of_each(given: Vec<Given>) -> Vec<Given> {
    let mut seen = BTreeSet::new();
    let mut out: Vec<Given> = given
        .into_iter()
        .rev()
        .filter(|given| given.flag.names.first().is_none_or(|name| seen.insert(*name)))
        .collect();
    out.reverse();
    out
}
