//! The parts of the schema that Kubernetes has words of its own for, and the rules that it checks.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::estimate::model::Quantization;

/// Names of one profile at most.
const MOST_ALIASES: u64 = 64;
/// Characters of a name at most.
const LONGEST_ALIAS: u64 = 512;

/// Rules across fields; what the types say needs none.
pub(super) fn spec_rules() -> Value {
    let shape = "has(self.layers) || has(self.hiddenSize) || has(self.heads) || has(self.headDim)";
    let rule = |rule: &str, message: &str| json!({"rule": rule, "message": message});
    json!([
        rule(
            "has(self.config) != has(self.parameters)",
            "give either config (the content of a config.json) or parameters (with a shape), not both and not neither",
        ),
        rule(
            &format!("has(self.parameters) || !({shape})"),
            "layers, hiddenSize, heads and headDim describe a model that has no config: leave them out or give parameters",
        ),
        rule(
            "has(self.config) || !(has(self.checkpointBytes) || has(self.measured))",
            "checkpointBytes and measured correct what follows from a config: give config",
        ),
    ])
}

pub(super) fn aliases(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST_ALIASES,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "minLength": 1, "maxLength": LONGEST_ALIAS, "pattern": r"^\S+$"},
    })
}

pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "minProperties": 1, "x-kubernetes-preserve-unknown-fields": true})
}

pub(super) fn number_or_text(_: &mut SchemaGenerator) -> Schema {
    int_or_string(r"^[0-9]+(\.[0-9]+)?([eE][0-9]{1,2})?[kKmMbBgGtT]?$")
}

pub(super) fn quantity(_: &mut SchemaGenerator) -> Schema {
    int_or_string(r"^[0-9]+(\.[0-9]+)?([KMGTPE]i|[kMGTPE])?$")
}

fn int_or_string(pattern: &str) -> Schema {
    json_schema!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "pattern": pattern,
        "x-kubernetes-int-or-string": true,
    })
}

pub(super) fn quantization(_: &mut SchemaGenerator) -> Schema {
    let names: Vec<&str> = std::iter::once("none").chain(Quantization::names()).collect();
    json_schema!({"type": "string", "enum": names})
}
