//! Command lines as data: a program has names, flags and variables; each flag says what it sets.

use std::collections::BTreeMap;

use serde_json::Value;

use super::image::Image;
use super::shell::{self, Env, Var};
use super::words::find_by;
pub(super) use super::words::{Given, find_in, is_bool, is_flag, last_of_each};
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
    /// The program that it passes on every other flag to.
    pub(super) wraps: Option<&'static Program>,
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
    Config,
    /// Its value is a file of further options, which win over flags where the function says so; a doubt where the file
    /// is not seen.
    File(fn(&mut Reader<'_>, &Value), Weight),
    /// Takes a value, has no effect.
    Skip,
    /// Takes any number of values, has no effect.
    SkipMany,
    /// Takes a value and matters in a way that is not modelled: why.
    Unread(&'static str),
    /// As `Unread`, without value.
    UnreadSwitch(&'static str),
}

/// Whether a file of options is stronger than flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// The file wins.
    Stronger,
    /// Flags win.
    Weaker,
}

impl Program {
    /// The row of a flag, of this program or of the one that it wraps.
    fn row(&self, name: &str) -> Option<&'static Flag> {
        let own = self.flags.iter().find(|flag| flag.names.contains(&name));
        own.or_else(|| self.wraps?.row(name))
    }

    fn is_switch(&self, name: &str) -> bool {
        self.switches.contains(&name) || self.wraps.is_some_and(|wrapped| wrapped.is_switch(name))
    }
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
    /// Repository of the container's image.
    pub(super) image: String,
    /// The launcher that starts it, once for each process.
    pub(super) launcher: Option<&'static str>,
    /// Argument or Env.
    origin: Origin,
    /// Flag or variable that is being read.
    pub(super) location: String,
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
            image: String::new(),
            launcher: None,
            origin: Origin::Argument,
            location: String::new(),
        }
    }

    /// The same for a container of this image.
    pub(super) fn of_image(self, image: &Image<'_>) -> Self {
        Self { image: image.repository.to_owned(), ..self }
    }

    /// Reads arguments, then variables (which are weaker), then what follows from both.
    pub(super) fn read(&mut self, arguments: &[String]) {
        let given = self.arguments(arguments);
        let given = last_of_each(self.with_files(given));
        let weight = |given: &Given| match given.flag.effect {
            Effect::File(_, Weight::Stronger) => 0,
            Effect::File(_, Weight::Weaker) => 2,
            _ => 1,
        };
        for turn in 0..=2 {
            self.take(given.iter().filter(|given| weight(given) == turn));
        }
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
    pub(super) fn take<'g>(&mut self, given: impl IntoIterator<Item = &'g Given>) {
        for given in given {
            self.location.clone_from(&given.name);
            match &given.value {
                Some(value) => self.apply(given.flag, value),
                None => self.switch(given.flag, !given.negated),
            }
        }
    }

    /// Something unread that a field may depend on.
    pub(super) fn doubt(&mut self, field: &'static str, why: &str) {
        self.unread(why);
        self.draft.out.unknown_fields.insert(field);
    }

    /// Sets a field that nothing has set to what the program does by itself.
    pub(super) fn default(&mut self, path: &str, value: &Value) {
        if self.draft.is_free(path) {
            let location = self.location.clone();
            let source = Source { origin: Origin::Inferred, location: &location };
            let _ = self.draft.set_path(path, value, source);
        }
    }

    /// As [`Self::default`].
    pub(super) fn usually(&mut self, path: &str, value: impl Into<Value>) {
        self.default(path, &value.into());
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
        let annotation = crate::spec::annotations::annotation_of(path);
        let text = format!("{}: {why}; say it in the annotation `{annotation}`", self.location);
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
            (Effect::Skip | Effect::SkipMany | Effect::Config, _) => {}
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
            (Effect::File(read, _), None) => self.file(value, read),
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
            self.kept.entry(name).or_insert(value);
            self.places.entry(name).or_insert_with(|| self.location.clone());
        }
    }

    /// Flags and positional words, in order.
    pub(super) fn arguments(&mut self, words: &[String]) -> Vec<Given> {
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
        word.contains('=') || name.starts_with("--no-") || self.program.is_switch(&name)
    }

    fn find(&self, word: &str) -> Option<Given> {
        find_by(&|name| self.program.row(name), word)
    }
}

/// The file's keys are the program's own flags.
pub(super) fn as_flags(reader: &mut Reader<'_>, options: &Value) {
    reader.as_flags(options);
}

/// `--nnodes` names more than one node, or something that is not known here.
pub(super) fn several_nodes(reader: &Reader<'_>) -> bool {
    reader.kept.get("--nnodes").is_some_and(|nodes| nodes.trim() != "1")
}
