//! What a `ModelProfile` says, as its author writes it. The custom resource definitions are made from these types.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::schema;

/// A model that the catalogue does not know, or a better word on one that it knows.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = schema::spec_rules()))]
pub struct ModelProfileSpec {
    /// What pods call the model: names, paths in the container, addresses such as oci:// or pvc://. Compared as a whole;
    /// upper and lower case differ in paths and addresses only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::aliases")]
    pub aliases: Vec<String>,
    /// The content of the model's config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::any_object")]
    pub config: Option<Value>,
    /// Number of parameters, such as 6.74B, where there is no config: enough for a rough estimate, with a shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::number_or_text")]
    pub parameters: Option<Amount>,
    /// Layers, with `parameters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub layers: Option<u64>,
    /// Width of the residual stream, with `parameters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub hidden_size: Option<u64>,
    /// Attention heads (of keys and values, if they are fewer), with `parameters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub heads: Option<u64>,
    /// Width of a head, with `parameters`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub head_dim: Option<u64>,
    /// How the checkpoint is quantized, where the config does not say so; `none` overrides what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantization")]
    pub quantization: Option<String>,
    /// Bytes of the checkpoint's tensors, such as 14Gi, with `config`: beats the size that follows from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    pub checkpoint_bytes: Option<Amount>,
    /// A measured run, with `config`: beats the estimate of runs that are like it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredSpec>,
}

/// What serving the model was seen to need.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeasuredSpec {
    /// Bytes on the fullest GPU, such as 61Gi. Of an engine that reserves a share of the GPU whatever it needs, the
    /// smallest share with which it starts.
    #[schemars(schema_with = "schema::quantity")]
    pub required_bytes: Amount,
    /// GPUs that it was spread over.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 65_536))]
    pub gpus: u64,
    /// Longest context that was served, tokens.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub context_length: u64,
    /// Sequences at once.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch_size: u64,
}

fn one() -> u64 {
    1
}

/// What vramguard makes of the profile.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelProfileStatus {
    /// Parameters that follow from the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<u64>,
    /// The config's `model_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Why the profile cannot be used, or what is odd about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// A whole number, or a number as people write it: `6.74B`, `14Gi`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Amount {
    /// Written as a number.
    Number(u64),
    /// Written as text.
    Text(String),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or a text such as \"6.74B\" or \"14Gi\"")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Amount, E> {
        Ok(Amount::Number(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
        Ok(Amount::Text(text.to_owned()))
    }
}
