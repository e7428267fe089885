//! NVIDIA Dynamo's services.

use serde_json::{Value, json};

use super::number;

/// A service of a graph: a partial pod with a main container, GPUs counted beside it.
pub(in super::super) fn service(part: &Value, _: &Value) -> Option<Value> {
    let mut spec = part.get("extraPodSpec").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut main = spec.remove("mainContainer").and_then(|main| main.as_object().cloned()).unwrap_or_default();
    main.entry("name").or_insert_with(|| Value::from("main"));
    let envs = part.get("envs").and_then(Value::as_array);
    if let Some(list) = main.entry("env").or_insert_with(|| json!([])).as_array_mut() {
        list.extend(envs.into_iter().flatten().cloned());
    }
    let gpus = number(part, "resources.limits.gpu").or_else(|| number(part, "resources.requests.gpu"));
    if let Some(gpus) = gpus.filter(|_| !main.contains_key("resources")) {
        main.insert("resources".to_owned(), json!({"limits": {"nvidia.com/gpu": gpus.to_string()}}));
    }
    let others = spec.remove("containers").and_then(|list| list.as_array().cloned()).unwrap_or_default();
    Some(super::pod(spec, std::iter::once(Value::Object(main)).chain(others).collect()))
}
