//! Ray Serve's LLM applications: the serve config names model and engine settings, Ray's workers run them.

use serde_json::{Map, Value, json};

use super::{as_flag, text};
use crate::spec::yaml;

/// Longest serve config that is read, bytes.
const LONGEST: usize = 256 * 1024;
/// Applications and models in them that are looked at.
const MOST: usize = 100;

/// A pod template of a RayService. Where the serve config holds exactly one LLM, its GPU containers run that.
pub(in super::super) fn served(part: &Value, object: &Value) -> Option<Value> {
    let mut template = part.clone();
    let config = text(object, "spec.serveConfigV2").filter(|config| config.len() <= LONGEST);
    let models = config.and_then(|config| yaml::value(config).ok()).map(|config| language_models(&config));
    let [model] = models.as_deref().unwrap_or_default() else { return Some(template) };
    let containers = template.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
        if asks_for_gpu(container) {
            container.insert("command".to_owned(), Value::from(command(model)));
            container.insert("args".to_owned(), json!([]));
        }
    }
    Some(template)
}

fn asks_for_gpu(container: &Map<String, Value>) -> bool {
    let limits = container.get("resources").and_then(|resources| resources.get("limits")).and_then(Value::as_object);
    limits.is_some_and(|limits| limits.keys().any(|name| crate::spec::gpus::is_gpu(name)))
}

/// `applications[].args.llm_configs[]`.
fn language_models(config: &Value) -> Vec<Value> {
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let applications = list(config, "applications").into_iter().take(MOST);
    let args = applications.filter_map(|application| application.get("args").cloned());
    args.flat_map(|args| list(&args, "llm_configs")).take(MOST).collect()
}

/// The command that serves the model alone, with the same settings.
fn command(model: &Value) -> Vec<String> {
    let source = text(model, "model_loading_config.model_source");
    let id = source.or_else(|| text(model, "model_loading_config.model_id")).unwrap_or_default();
    let settings = model.get("engine_kwargs").and_then(Value::as_object);
    let mut command = vec!["vllm".to_owned(), "serve".to_owned()];
    command.extend(Some(id.to_owned()).filter(|id| !id.is_empty()));
    command.push("--distributed-executor-backend=ray".to_owned());
    command.extend(settings.into_iter().flatten().filter_map(|(name, value)| as_flag(name, value)));
    command
}
