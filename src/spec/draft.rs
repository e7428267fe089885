//! A declaration while it is put together: settings arrive from the strongest source to the weakest.

use std::collections::BTreeMap;

use serde_json::Value;

use super::declaration::{Declaration, ModelReference, Origin, SpecError};
use super::fields::{self, Field};
use crate::estimate::workload::{Lora, Task};

/// Rank that is assumed for adapters without one: the default of TRL and torchtune's larger recipes.
const DEFAULT_LORA_RANK: u64 = 16;

/// Fields in which an annotation may not differ from the arguments: both describe the same fact, one must be wrong.
const FACTS: &[&str] =
    &["task", "engine.name", "parallelism.tensor", "parallelism.pipeline", "parallelism.data", "parallelism.expert"];

/// A declaration in the making.
#[derive(Debug, Clone, Default)]
pub(super) struct Draft {
    /// What is known so far.
    pub(super) out: Declaration,
    /// Ways in which the model was named.
    pub(super) model: ModelFields,
    /// Who set a field: where, and what they wrote.
    given: BTreeMap<&'static str, (String, Value)>,
}

/// Everything that names or describes the model.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ModelFields {
    pub(super) name: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) config: Option<Value>,
    pub(super) parameters: Option<f64>,
    pub(super) layers: Option<u64>,
    pub(super) hidden_size: Option<u64>,
    pub(super) heads: Option<u64>,
    pub(super) head_dim: Option<u64>,
}

/// Where a setting comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// How strong it is.
    pub(super) origin: Origin,
    /// Annotation key with field path, flag or variable, for messages.
    pub(super) location: &'a str,
}

impl Draft {
    /// Adapters, with defaults when first asked for.
    pub(super) fn lora(&mut self) -> &mut Lora {
        self.out.training.lora.get_or_insert_with(|| Lora {
            rank: DEFAULT_LORA_RANK,
            targets: Vec::new(),
            quantized_base: false,
            double_quantization: false,
            fp32_adapters: true,
            dropout: false,
            modules_to_save: Vec::new(),
        })
    }

    /// Sets a field unless an earlier source has; a different value is then a contradiction or a note.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn set(&mut self, field: &'static Field, value: &Value, source: Source<'_>) -> Result<(), String> {
        let Some(earlier) = self.out.origins.get(field.path).copied() else {
            field.set(self, value)?;
            self.out.origins.insert(field.path, source.origin);
            self.given.insert(field.path, (source.location.to_owned(), value.clone()));
            return Ok(());
        };
        if earlier == source.origin || source.origin == Origin::Inferred {
            return Ok(());
        }
        self.compare(field, value, source)
    }

    /// As [`Self::set`], by path; for readers whose tables are tested to name existing fields only.
    pub(super) fn set_path(&mut self, path: &str, value: &Value, source: Source<'_>) -> Result<(), String> {
        match fields::by_path(path) {
            Some(field) => self.set(field, value, source),
            None => Err(format!("no field `{path}`")),
        }
    }

    /// A field was given, but its value cannot be known.
    pub(super) fn set_unknown(&mut self, path: &str, origin: Origin, why: String) {
        let Some(field) = fields::by_path(path) else { return };
        if !self.out.origins.contains_key(field.path) {
            self.out.origins.insert(field.path, origin);
            self.out.unknown_fields.insert(field.path);
            self.out.unread.push(why);
        }
    }

    /// Whether nothing has set the field.
    pub(super) fn is_free(&self, path: &str) -> bool {
        !self.out.origins.contains_key(path)
    }

    fn compare(&mut self, field: &'static Field, value: &Value, source: Source<'_>) -> Result<(), String> {
        let Some((location, given)) = self.given.get(field.path) else { return Ok(()) };
        let (mut before, mut now) = (Self::default(), Self::default());
        field.set(&mut before, given)?;
        field.set(&mut now, value)?;
        if before.out == now.out && before.model == now.model {
            return Ok(());
        }
        let written = |value: &Value| match value {
            Value::String(text) => super::numbers::shown(text),
            other => super::numbers::shown(&other.to_string()),
        };
        let (ours, theirs) = (written(given), written(value));
        match field.path {
            "model" => self.model_conflict(&ours, &theirs),
            path if FACTS.contains(&path) => {
                self.out.conflicts.push(format!("{location} says {ours}, {} says {theirs}", source.location));
            }
            path => {
                let note = format!("{path}: {location} ({ours}) overrides {} ({theirs})", source.location);
                self.out.notes.push(note);
            }
        }
        Ok(())
    }

    /// A container fetches a model: it is the one that an engine serves from a folder, or without a name.
    pub(super) fn downloaded(&mut self, model: String, by: &str) {
        let described = self.model.profile.is_some() || self.model.config.is_some() || self.model.parameters.is_some();
        let served = self.model.name.as_deref();
        let engine = self.out.engine_named || self.out.task.is_some() || served.is_some();
        // The server's own flag may be such an address.
        let same = served.is_some_and(|name| name.ends_with(&model));
        if described || !engine || same || served.is_some_and(|name| !is_path(name)) {
            return;
        }
        let shown = super::numbers::shown(&model);
        self.out.notes.push(format!("the model is taken to be {shown}, which container \"{by}\" fetches"));
        self.model.name = Some(model);
        self.out.origins.insert("model", Origin::Inferred);
    }

    /// A path says nothing about which model lies there, so only two names can contradict each other; whether they do is
    /// for whoever knows the models' sizes.
    fn model_conflict(&mut self, ours: &str, theirs: &str) {
        if !is_path(ours) && !is_path(theirs) && !ours.eq_ignore_ascii_case(theirs) {
            self.out.argument_model = Some(theirs.to_owned());
        }
    }

    /// The finished declaration.
    pub(super) fn finish(mut self) -> Declaration {
        self.finish_model();
        self.finish_task();
        self.finish_lora();
        self.out
    }

    fn finish_model(&mut self) {
        let ModelFields { name, profile, config, parameters, layers, hidden_size, heads, head_dim } =
            std::mem::take(&mut self.model);
        let shape =
            parameters.map(|parameters| ModelReference::Shape { parameters, layers, hidden_size, heads, head_dim });
        let reference = config
            .map(ModelReference::Config)
            .or_else(|| profile.map(ModelReference::Profile))
            .or_else(|| name.clone().map(ModelReference::Name));
        match reference {
            Some(reference) => {
                if !matches!(reference, ModelReference::Name(_)) {
                    self.out.model_name = name;
                }
                self.out.fallback = shape;
                self.out.model = Some(reference);
            }
            None => self.out.model = shape,
        }
        if self.out.model.is_none() && (layers.or(hidden_size).or(heads).or(head_dim)).is_some() {
            self.out.unread.push("a shape is given without `parameters`: add the parameter count".to_owned());
        }
    }

    /// Training settings mean training, a recognised engine means inference.
    fn finish_task(&mut self) {
        if self.out.task.is_some() {
            return;
        }
        let trains = self.out.origins.keys().any(|path| path.starts_with("training."))
            && self.out.origins.iter().any(|(path, o)| path.starts_with("training.") && *o <= Origin::Argument);
        self.out.task = match (trains, self.out.engine_named) {
            (true, _) => Some(Task::Training),
            (false, true) => Some(Task::Inference),
            (false, false) => None,
        };
        if self.out.task.is_some() {
            self.out.origins.insert("task", Origin::Inferred);
        }
    }

    fn finish_lora(&mut self) {
        const FOUR_BIT: &[&str] = &["nf4", "fp4", "int4", "bitsandbytes", "bitsandbytes-nf4", "bitsandbytes-fp4"];
        let four_bit = self.out.quantization.as_deref().is_some_and(|name| FOUR_BIT.contains(&name));
        let rank_given = self.out.origins.contains_key("training.lora.rank");
        let base_given = self.out.origins.contains_key("training.lora.quantizedBase");
        let Some(lora) = &mut self.out.training.lora else { return };
        if four_bit && !base_given {
            lora.quantized_base = true;
        }
        if !rank_given {
            self.out.notes.push(format!("lora rank is not given; {DEFAULT_LORA_RANK} is assumed"));
        }
    }

    /// An error at a place.
    pub(super) fn error(location: impl Into<String>, problem: impl Into<String>) -> SpecError {
        SpecError { location: location.into(), problem: problem.into() }
    }
}

/// A folder or an address, which says nothing about the model in it.
fn is_path(name: &str) -> bool {
    name.starts_with(['/', '.', '~']) || name.contains("://")
}
