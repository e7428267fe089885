//! Templates of objects whose controllers make the pods: each function writes down a pod that runs the same, as far as
//! the object says what it runs.

#![expect(
    clippy::unnecessary_wraps,
    reason = "all have the type of `Shape::Made`, and some always have something to run"
)]

pub(super) mod argo;
pub(super) mod dynamo;
pub(super) mod group;
pub(super) mod kaito;
pub(super) mod kserve;
pub(super) mod kubeai;
pub(super) mod nim;
pub(super) mod ray;
pub(super) mod trainjob;

use serde_json::{Map, Value, json};

use super::paths::at;

/// The text at a path.
fn text<'a>(value: &'a Value, path: &str) -> Option<&'a str> {
    at(value, path).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The number at a path, also if it is written as text.
fn number(value: &Value, path: &str) -> Option<u64> {
    let found = at(value, path)?;
    found.as_u64().or_else(|| found.as_str()?.trim().parse().ok())
}

/// The members of an object that a pod's spec has too.
fn scheduling(value: &Value) -> Map<String, Value> {
    const KEYS: &[&str] =
        &["nodeSelector", "affinity", "tolerations", "runtimeClassName", "schedulerName", "initContainers", "volumes"];
    let map = value.as_object().into_iter().flatten();
    map.filter(|(key, _)| KEYS.contains(&key.as_str())).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// A pod template of a spec and its containers.
fn pod(mut spec: Map<String, Value>, containers: Vec<Value>) -> Value {
    spec.insert("containers".to_owned(), Value::from(containers));
    json!({ "spec": spec })
}

/// The list of a container's words; a string where a list is expected stays for the decoder to refuse.
fn words<'a>(container: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Vec<Value>> {
    let list = container.entry(key).or_insert_with(|| json!([]));
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut()
}

/// Adds arguments that a controller adds.
fn add_args(container: &mut Map<String, Value>, args: impl IntoIterator<Item = String>) {
    if let Some(list) = words(container, "args") {
        list.extend(args.into_iter().map(Value::from));
    }
}

/// Whether one of the container's words begins with one of the flags.
fn has_flag(container: &Map<String, Value>, flags: &[&str]) -> bool {
    let lists = ["command", "args"].iter().filter_map(|key| container.get(*key)?.as_array());
    lists.flatten().filter_map(Value::as_str).any(|word| {
        let name = word.split('=').next().unwrap_or(word).replace('_', "-");
        flags.contains(&name.as_str())
    })
}

/// The Hub id in `hf://ORG/NAME[:REVISION]`.
fn hub_id(uri: &str) -> Option<&str> {
    let id = uri.strip_prefix("hf://").or_else(|| uri.strip_prefix("huggingface://"))?;
    Some(id.split([':', '@']).next().unwrap_or(id)).filter(|id| !id.is_empty())
}

/// The value of a setting as a flag: `--name=value`, lists and objects as JSON, switches alone.
fn as_flag(name: &str, value: &Value) -> Option<String> {
    let name = name.replace('_', "-");
    match value {
        Value::Null => None,
        Value::Bool(true) => Some(format!("--{name}")),
        Value::Bool(false) => Some(format!("--no-{name}")),
        Value::String(text) => Some(format!("--{name}={text}")),
        other => Some(format!("--{name}={other}")),
    }
}
