//! From an object to facts. What the API server checks is checked again: manifests are read without one.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::spec::{Amount, MeasuredSpec, ModelProfileSpec};
use super::{CLUSTER_KIND, GROUP, KIND, Profile, ProfileFacts};
use crate::estimate::Bytes;
use crate::estimate::measured::Measured;
use crate::estimate::model::checkpoint::attach_total;
use crate::estimate::model::{Model, Quantization, hf_config};
use crate::estimate::workload::{ModelFacts, Shape};
use crate::spec::numbers;

impl Profile {
    /// Whether an object of any kind is a profile.
    #[must_use]
    pub fn is_one(object: &Value) -> bool {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let ours = text("apiVersion").split('/').next() == Some(GROUP);
        ours && (text("kind") == KIND || text("kind") == CLUSTER_KIND)
    }

    /// Reads an object. One that cannot be used is a profile too: whoever names it is told why.
    #[must_use]
    pub fn read(object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = (text("/kind") == KIND).then(|| text("/metadata/namespace"));
        let spec = object.get("spec").unwrap_or(&Value::Null);
        Self::of(namespace, text("/metadata/name"), spec)
    }

    /// Reads a spec.
    #[must_use]
    pub fn of(namespace: Option<String>, name: String, spec: &Value) -> Self {
        let (aliases, facts) = match ModelProfileSpec::deserialize(spec) {
            Ok(spec) => (spec.aliases.clone(), facts(&name, &spec)),
            Err(error) => {
                let aliases = spec.get("aliases").and_then(|aliases| Vec::deserialize(aliases).ok());
                (aliases.unwrap_or_default(), Err(format!("spec: {error}")))
            }
        };
        let aliases = aliases.into_iter().filter(|alias| !alias.trim().is_empty()).collect();
        Self { namespace, name, aliases, facts }
    }
}

fn facts(name: &str, spec: &ModelProfileSpec) -> Result<ProfileFacts, String> {
    match (&spec.config, &spec.parameters) {
        (Some(config), None) => known(name, config, spec),
        (None, Some(parameters)) => shape(parameters, spec),
        (Some(_), Some(_)) => Err("spec: give either config or parameters, not both".to_owned()),
        (None, None) => Err("spec: give config (the content of a config.json) or parameters (with a shape)".to_owned()),
    }
}

fn known(name: &str, config: &Value, spec: &ModelProfileSpec) -> Result<ProfileFacts, String> {
    let name = spec.aliases.first().map_or(name, String::as_str);
    let mut model = hf_config::read(name, config).map_err(|error| format!("spec.config: {error}"))?;
    if spec.layers.or(spec.hidden_size).or(spec.heads).or(spec.head_dim).is_some() {
        return Err("spec: layers, hiddenSize, heads and headDim are for models without a config".to_owned());
    }
    if let Some(name) = &spec.quantization {
        model.quantization = quantization(name)?;
    }
    if let Some(amount) = &spec.checkpoint_bytes {
        let bytes = memory("spec.checkpointBytes", amount)?.0;
        attach_total(&mut model, bytes).map_err(|error| format!("spec.checkpointBytes: {error}"))?;
    }
    model.measured = spec.measured.as_ref().map(|measured| read_measured(&model, measured)).transpose()?;
    Ok(ProfileFacts { model: ModelFacts::Known(Arc::new(model)), quantization: None })
}

fn read_measured(model: &Model, spec: &MeasuredSpec) -> Result<Measured, String> {
    let required = memory("spec.measured.requiredBytes", &spec.required_bytes)?;
    for (field, value) in [("gpus", spec.gpus), ("contextLength", spec.context_length), ("batchSize", spec.batch_size)]
    {
        if value == 0 {
            return Err(format!("spec.measured.{field}: must be at least 1"));
        }
    }
    // Two bits a parameter is less than any format that is served: somebody wrote MiB for GiB.
    let least = Bytes((model.parameters() / 4).checked_div(spec.gpus).unwrap_or_default());
    if required < least {
        return Err(format!(
            "spec.measured.requiredBytes: {required:.1} on each of {} GPUs cannot hold {:.1} billion parameters",
            spec.gpus,
            model.parameters() as f64 / 1e9
        ));
    }
    Ok(Measured { required, gpus: spec.gpus, context_length: spec.context_length, batch_size: spec.batch_size })
}

fn shape(parameters: &Amount, spec: &ModelProfileSpec) -> Result<ProfileFacts, String> {
    if spec.checkpoint_bytes.is_some() || spec.measured.is_some() {
        return Err("spec: checkpointBytes and measured correct what follows from a config: give config".to_owned());
    }
    let parameters =
        numbers::parameters(&parameters.to_string()).map_err(|problem| format!("spec.parameters: {problem}"))?;
    let ModelProfileSpec { layers, hidden_size, heads, head_dim, .. } = *spec;
    let quantization = spec.quantization.as_deref().map(quantization).transpose()?.flatten();
    let model = ModelFacts::Shape(Shape { parameters, layers, hidden_size, heads, head_dim });
    Ok(ProfileFacts { model, quantization })
}

fn quantization(name: &str) -> Result<Option<Quantization>, String> {
    match Quantization::from_name(name) {
        None if name != "none" => Err(format!(
            "spec.quantization: `{}` is not known; known are none, {}",
            numbers::shown(name),
            Quantization::names().collect::<Vec<_>>().join(", ")
        )),
        found => Ok(found),
    }
}

fn memory(field: &str, amount: &Amount) -> Result<Bytes, String> {
    numbers::memory(&amount.to_string())
        .and_then(|bytes| if bytes == Bytes::ZERO { Err("must be more than 0".to_owned()) } else { Ok(bytes) })
        .map_err(|problem| format!("{field}: {problem}"))
}
