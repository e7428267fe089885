//! The embedded model catalogue: configs of known models, one row a line, found by id, alias or variant name.
//!
//! Source of the rows: `data/README.md`. A row is parsed when it is first asked for and kept.

mod names;

use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value;

use crate::estimate::model::hf_config::{self, ConfigError};
use crate::estimate::model::{Model, Quantization};
use names::{MOST_CHARS, Reference, SUFFIXES, core, last};

/// Rows sorted by id in lower case: id, tab, JSON.
const TEXT: &str = include_str!("../../../data/models.tsv");

/// Known models.
#[derive(Debug)]
pub struct Catalog {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// Id in lower case.
    key: &'static str,
    /// The last component without what tells tunes apart.
    core: String,
    json: &'static str,
    /// The model as its config has it, then with the quantization of each suffix.
    read: Vec<OnceLock<Arc<Model>>>,
}

/// What a row says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Id on the Hub.
    pub id: String,
    /// Where the config was found.
    pub source: String,
    /// Some values were recalled rather than read: less sure.
    #[serde(default)]
    pub recalled: bool,
}

/// The reference resolves to no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Nothing by that name.
    #[error(
        "the model `{reference}` is not known{}; give its `config` or its `parameters` with a shape",
        did_you_mean(near)
    )]
    Unknown {
        /// The reference, cut.
        reference: String,
        /// Known ids that look like it.
        near: Vec<String>,
    },
    /// The row exists, but its architecture is not understood.
    #[error("the architecture of `{id}` is not understood: {reason}")]
    Unreadable {
        /// Id on the Hub.
        id: String,
        /// Why.
        reason: ConfigError,
    },
}

fn did_you_mean(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!(", did you mean {}", near.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(" or ")),
    }
}

impl Catalog {
    /// The catalogue that the program carries.
    #[must_use]
    pub fn embedded() -> &'static Self {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG.get_or_init(|| Self { rows: TEXT.lines().filter_map(Row::new).collect() })
    }

    /// All ids, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.rows.iter().filter_map(Row::id)
    }

    /// Looks a model up: by id in any case, by its last component (`Llama-2-7b-hf`, forks, paths), by the name of a
    /// tune of the same architecture (`Llama-3-8B-Instruct`), or as a quantized variant of those (`...-AWQ`,
    /// `...-GGUF:Q8_0`), which gives the model with that quantization.
    ///
    /// # Errors
    /// When nothing matches, with near names, or when the architecture is not understood.
    pub fn find(&self, reference: &str) -> Result<Arc<Model>, LookupError> {
        match self.resolve(reference) {
            Some((row, variant)) => row.model(variant),
            None => Err(self.unknown(reference)),
        }
    }

    /// What is known about where a model's config comes from.
    #[must_use]
    pub fn entry(&self, reference: &str) -> Option<Entry> {
        let (row, _) = self.resolve(reference)?;
        serde_json::from_str(row.json).ok()
    }

    /// The row, and the quantization by which a variant differs from it.
    fn resolve(&self, reference: &str) -> Option<(&Row, Option<&str>)> {
        if reference.len() > MOST_CHARS {
            return None;
        }
        self.named(&Reference::parse(reference)).or_else(|| {
            let (names, kind) = names::library(reference)?;
            let row = names.iter().find_map(|name| self.plain(name))?;
            Some((row, variant_named(&kind)))
        })
    }

    fn named(&self, reference: &Reference) -> Option<(&Row, Option<&str>)> {
        let file_type = |row| Some((row, reference.file_type.as_deref().and_then(variant_named)));
        if let Some(row) = self.plain(&reference.id) {
            return file_type(row);
        }
        let (base, quantization) =
            SUFFIXES.iter().find_map(|(suffix, name)| Some((reference.id.strip_suffix(suffix)?, *name)))?;
        let row = self.plain(base)?;
        Some((row, reference.file_type.as_deref().and_then(variant_named).or(Some(quantization))))
    }

    /// A row by id, by last component, or by that of a tune.
    fn plain(&self, id: &str) -> Option<&Row> {
        if let Ok(at) = self.rows.binary_search_by(|row| row.key.cmp(id)) {
            return self.rows.get(at);
        }
        let name = last(id);
        if name.is_empty() {
            return None;
        }
        let core = core(name);
        let same_name = || self.rows.iter().find(|row| last(row.key) == name);
        let same_core = || self.rows.iter().filter(|row| row.core == core).min_by_key(|row| row.key.len());
        same_name().or_else(same_core)
    }

    fn unknown(&self, reference: &str) -> LookupError {
        let cut: String = reference.chars().take(MOST_CHARS).collect();
        let name = Reference::parse(&cut).name().to_owned();
        let known = self.rows.iter().filter_map(|row| Some((row.key, row.id()?)));
        let near = names::near(&name, known).into_iter().map(str::to_owned).collect();
        LookupError::Unknown { reference: cut, near }
    }
}

/// The GGUF file type, as a static name, if it is one.
fn variant_named(file_type: &str) -> Option<&'static str> {
    Quantization::names().find(|name| *name == file_type)
}

impl Row {
    fn new(line: &'static str) -> Option<Self> {
        let (key, json) = line.split_once('\t')?;
        let variants = 1 + Quantization::names().count();
        let read = std::iter::repeat_with(OnceLock::new).take(variants).collect();
        Some(Self { key, core: core(last(key)), json, read })
    }

    /// The id as written, without parsing the row.
    fn id(&self) -> Option<&'static str> {
        self.json.split('"').nth(3)
    }

    fn model(&self, variant: Option<&str>) -> Result<Arc<Model>, LookupError> {
        let slot = variant.and_then(|variant| Quantization::names().position(|name| name == variant));
        let memo = self.read.get(slot.map_or(0, |slot| slot + 1));
        if let Some(model) = memo.and_then(OnceLock::get) {
            return Ok(Arc::clone(model));
        }
        let mut model = self.parse()?;
        if let Some(quantization) = variant.and_then(Quantization::from_name) {
            // A checkpoint that already is of that kind knows its group size and exceptions.
            if model.quantization.as_ref().is_none_or(|own| own.name != quantization.name) {
                model.name = format!("{} ({})", model.name, quantization.name);
                model.quantization = Some(quantization);
            }
        }
        let model = Arc::new(model);
        Ok(memo.map_or_else(|| Arc::clone(&model), |memo| Arc::clone(memo.get_or_init(|| Arc::clone(&model)))))
    }

    fn parse(&self) -> Result<Model, LookupError> {
        let id = self.id().unwrap_or(self.key);
        let row: Value = serde_json::from_str(self.json).unwrap_or_default();
        let config = row.get("config").unwrap_or(&Value::Null);
        hf_config::read(id, config).map_err(|reason| LookupError::Unreadable { id: id.to_owned(), reason })
    }
}

#[cfg(test)]
mod tests;
