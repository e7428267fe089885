//! A container's environment as it is written, and its hook after the start.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{or_default, quoted_option};

/// An environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct EnvVar {
    /// Name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Literal value; absent means empty unless it comes from elsewhere.
    #[serde(deserialize_with = "quoted_option")]
    pub value: Option<String>,
    /// Where the value comes from, if not from here.
    #[serde(rename = "valueFrom", deserialize_with = "elsewhere")]
    pub from: Option<Elsewhere>,
}

/// Where a variable's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Elsewhere {
    /// A key of a ConfigMap, by the map's name.
    ConfigMap {
        /// Name of the object.
        name: String,
        /// Key in it.
        key: String,
    },
    /// A Secret, a field or a file: never looked up.
    Unseen,
}

/// A whole ConfigMap or Secret as variables: any name may be set there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvFrom {
    /// What every name begins with.
    #[serde(deserialize_with = "or_default")]
    pub prefix: String,
    /// The ConfigMap; `None` for a Secret.
    #[serde(rename = "configMapRef", deserialize_with = "or_default")]
    pub config_map: Option<Reference>,
}

/// An object of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Reference {
    /// Its name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
}

fn elsewhere<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Elsewhere>, D::Error> {
    let from = Option::<Value>::deserialize(d)?;
    let text = |from: &Value, path: &str| from.pointer(path).and_then(Value::as_str).map(str::to_owned);
    Ok(from.map(|from| match (text(&from, "/configMapKeyRef/name"), text(&from, "/configMapKeyRef/key")) {
        (Some(name), Some(key)) => Elsewhere::ConfigMap { name, key },
        _ => Elsewhere::Unseen,
    }))
}

/// The words of `postStart.exec.command`.
pub(super) fn after_start<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let hooks = Option::<Value>::deserialize(d)?.unwrap_or_default();
    let words = hooks.pointer("/postStart/exec/command").and_then(Value::as_array);
    Ok(words.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect())
}
