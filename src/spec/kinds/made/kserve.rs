//! KServe's predictors and LLM services.

use serde_json::{Map, Value, json};

use super::{add_args, has_flag, hub_id, number, pod, scheduling, text, words};

/// Model formats that the Hugging Face server takes.
const LANGUAGE_MODELS: &[&str] = &["huggingface", "vllm"];

/// `spec.predictor`: a pod's spec with a `model` instead of the server's container.
pub(in super::super) fn predictor(part: &Value, _: &Value) -> Option<Value> {
    let mut containers = part.get("containers").and_then(Value::as_array).cloned().unwrap_or_default();
    let model = ["model", "huggingface"].iter().find_map(|key| part.get(*key)?.as_object());
    if let Some(model) = model {
        containers.insert(0, Value::Object(server(model, part)));
    }
    (!containers.is_empty()).then(|| pod(scheduling(part), containers))
}

/// The server's container, as the runtime completes it.
fn server(model: &Map<String, Value>, predictor: &Value) -> Map<String, Value> {
    let whole = Value::Object(model.clone());
    let mut container = model.clone();
    container.insert("name".to_owned(), Value::from("kserve-container"));
    let format = text(&whole, "modelFormat.name").unwrap_or("huggingface").to_ascii_lowercase();
    let runtime = text(&whole, "runtime").unwrap_or_default();
    let language =
        LANGUAGE_MODELS.contains(&format.as_str()) || runtime.contains("huggingface") || runtime.contains("vllm");
    let own = ["image", "command"].iter().any(|key| model.contains_key(*key));
    if language && !own {
        container.insert("command".to_owned(), json!(["python", "-m", "huggingfaceserver"]));
    }
    // Of other stores the last part of the address is the model's name, or the name of nothing that is known.
    let stored = text(&whole, "storageUri").map(|uri| hub_id(uri).unwrap_or(uri).to_owned());
    let stored = stored.or_else(|| text(&whole, "storage.path").map(|path| format!("/{path}")));
    if let Some(id) = stored.filter(|_| language && !has_flag(model, &["--model-id", "--model"])) {
        add_args(&mut container, [format!("--model_id={id}")]);
    }
    for (field, flag) in [("tensorParallelSize", "tensor"), ("pipelineParallelSize", "pipeline")] {
        let degree = number(predictor, &format!("workerSpec.{field}"));
        let name = format!("--{flag}-parallel-size");
        if let Some(degree) = degree.filter(|_| !has_flag(model, &[&name])) {
            add_args(&mut container, [format!("{name}={degree}")]);
        }
    }
    container
}

/// A pod's spec of an LLMInferenceService whose first container serves `spec.model`.
pub(in super::super) fn llm(part: &Value, object: &Value) -> Option<Value> {
    Some(llm_pod(part, object, "spec"))
}

/// The same of its prefill side.
pub(in super::super) fn llm_prefill(part: &Value, object: &Value) -> Option<Value> {
    Some(llm_pod(part, object, "spec.prefill"))
}

fn llm_pod(part: &Value, object: &Value, side: &str) -> Value {
    let mut spec = part.as_object().cloned().unwrap_or_default();
    let main = spec.get_mut("containers").and_then(Value::as_array_mut).and_then(|list| {
        let named = list.iter().position(|container| container.get("name").and_then(Value::as_str) == Some("main"));
        list.get_mut(named.unwrap_or(0))
    });
    if let Some(container) = main.and_then(Value::as_object_mut) {
        serve(container, object, side);
    }
    json!({ "spec": spec })
}

/// The command that the controller gives a container without one.
fn serve(container: &mut Map<String, Value>, object: &Value, side: &str) {
    let uri = text(object, "spec.model.uri").unwrap_or_default();
    let model = hub_id(uri).or_else(|| text(object, "spec.model.name")).unwrap_or(uri).to_owned();
    if words(container, "command").is_none_or(|command| !command.is_empty()) || model.is_empty() {
        return;
    }
    container.insert("command".to_owned(), json!(["vllm", "serve", model]));
    for degree in ["tensor", "pipeline", "data"] {
        let given = number(object, &format!("{side}.parallelism.{degree}"));
        let name = format!("--{degree}-parallel-size");
        if let Some(given) = given.filter(|_| !has_flag(container, &[&name])) {
            add_args(container, [format!("{name}={given}")]);
        }
    }
    let experts = object.pointer(&format!("/{}/parallelism/expert", side.replace('.', "/")));
    if experts.is_some_and(|expert| expert == &Value::Bool(true)) {
        add_args(container, ["--enable-expert-parallel".to_owned()]);
    }
}
