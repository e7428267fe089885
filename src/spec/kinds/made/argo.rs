//! Argo's steps: containers, scripts and sets of containers.

use serde_json::{Map, Value, json};

use super::super::paths::at;
use super::{pod, scheduling, text};

/// One of a workflow's templates.
pub(in super::super) fn step(part: &Value, object: &Value) -> Option<Value> {
    let one = ["container", "script"].iter().filter_map(|key| part.get(*key)).filter(|value| value.is_object());
    let set = at(part, "containerSet.containers").and_then(Value::as_array);
    let sidecars = part.get("sidecars").and_then(Value::as_array);
    let mut containers: Vec<Value> = one.chain(set.into_iter().chain(sidecars).flatten()).cloned().collect();
    if containers.is_empty() {
        return None;
    }
    let parameters = parameters(object);
    for (index, container) in containers.iter_mut().enumerate() {
        if let Some(container) = container.as_object_mut() {
            complete(container, index, &parameters);
        }
    }
    let workflow = at(object, "spec.workflowSpec").or_else(|| object.get("spec"));
    let mut spec = workflow.map(scheduling).unwrap_or_default();
    spec.extend(scheduling(part));
    let mut template = pod(spec, containers);
    if let (Some(metadata), Some(map)) = (part.get("metadata"), template.as_object_mut()) {
        map.insert("metadata".to_owned(), metadata.clone());
    }
    Some(template)
}

/// The workflow's own parameters that have a value.
fn parameters(object: &Value) -> Vec<(String, String)> {
    let paths = ["spec.arguments.parameters", "spec.workflowSpec.arguments.parameters"];
    let lists = paths.iter().filter_map(|path| at(object, path)?.as_array());
    lists
        .flatten()
        .filter_map(|parameter| {
            let value = match parameter.get("value")? {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some((format!("workflow.parameters.{}", text(parameter, "name")?), value))
        })
        .collect()
}

fn complete(container: &mut Map<String, Value>, index: usize, parameters: &[(String, String)]) {
    if !container.contains_key("name") {
        let name = if index == 0 { "main".to_owned() } else { format!("container-{index}") };
        container.insert("name".to_owned(), Value::from(name));
    }
    // A script's source is run by its command.
    if let Some(source) = container.remove("source") {
        container.insert("args".to_owned(), json!(["-c", source]));
    }
    let mut unknown = Vec::new();
    for key in ["command", "args"] {
        let list = container.get_mut(key).and_then(Value::as_array_mut);
        for word in list.into_iter().flatten() {
            if let Some(text) = word.as_str().filter(|text| text.contains("{{")) {
                *word = Value::from(filled(text, parameters, &mut unknown));
            }
        }
    }
    if !unknown.is_empty() {
        let env = container.entry("env").or_insert_with(|| json!([]));
        let unknown = unknown.into_iter().map(|name| json!({"name": name, "valueFrom": {}}));
        if let Some(list) = env.as_array_mut() {
            list.extend(unknown);
        }
    }
}

/// `{{workflow.parameters.NAME}}` with its value; any other expression becomes a variable whose value is not known.
fn filled(text: &str, parameters: &[(String, String)], unknown: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((expression, behind)) = after.split_once("}}") else { break };
        out.push_str(before);
        let name = expression.trim();
        if let Some((_, value)) = parameters.iter().find(|(known, _)| known == name) {
            out.push_str(value);
        } else {
            let variable = format!("ARGO_{}", unknown.len());
            out.extend(["$(", variable.as_str(), ")"]);
            unknown.push(variable);
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}
