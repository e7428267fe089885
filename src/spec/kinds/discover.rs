//! Objects of kinds that are not in the table: what looks like a pod template is taken for one.

use serde_json::Value;

use super::table::Shape;

/// Deepest place that is looked at.
const DEPTH: usize = 12;
/// Templates of one object at most.
const MOST: usize = 64;
/// What describes the object or its past, and what holds an object as data.
const NOT_SPEC: &[&str] = &["metadata", "status", "data", "apiVersion", "kind"];

/// Every part with a list of containers that have a name and an image: its path, whether `metadata` lies beside its
/// `spec`, and itself.
pub(super) fn templates(object: &Value) -> Vec<(String, Shape, &Value)> {
    let mut found = Vec::new();
    for (key, value) in object.as_object().into_iter().flatten() {
        if !NOT_SPEC.contains(&key.as_str()) {
            search(value, key.clone(), DEPTH, &mut found);
        }
    }
    found
}

fn search<'a>(value: &'a Value, path: String, depth: usize, out: &mut Vec<(String, Shape, &'a Value)>) {
    if depth == 0 || out.len() >= MOST {
        return;
    }
    match value {
        Value::Object(_) if value.get("spec").is_some_and(has_containers) => {
            out.push((path, Shape::PodTemplate, value));
        }
        Value::Object(_) if has_containers(value) => out.push((path, Shape::PodSpec, value)),
        Value::Object(map) => {
            for (key, inner) in map {
                search(inner, format!("{path}.{key}"), depth - 1, out);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                search(item, format!("{path}[{index}]"), depth - 1, out);
            }
        }
        _ => {}
    }
}

fn has_containers(value: &Value) -> bool {
    let is_container = |item: &Value| item.get("name").is_some_and(Value::is_string) && item.get("image").is_some();
    let containers = value.get("containers").and_then(Value::as_array);
    containers.is_some_and(|items| !items.is_empty() && items.iter().all(is_container))
}
