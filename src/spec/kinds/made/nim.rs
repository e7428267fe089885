//! NVIDIA's NIM operator.

use serde_json::{Map, Value};

use super::{pod, scheduling, text};

/// A service's spec: image, resources and environment of its one container.
pub(in super::super) fn service(part: &Value, _: &Value) -> Option<Value> {
    let repository = text(part, "image.repository")?;
    let tag = text(part, "image.tag").unwrap_or("latest");
    let mut container: Map<String, Value> = ["command", "args", "env", "resources"]
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), part.get(*key)?.clone())))
        .collect();
    container.insert("name".to_owned(), Value::from("nim"));
    container.insert("image".to_owned(), Value::from(format!("{repository}:{tag}")));
    Some(pod(scheduling(part), vec![Value::Object(container)]))
}
