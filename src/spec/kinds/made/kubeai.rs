//! KubeAI's models: an address, an engine and a resource profile.

use serde_json::{Map, Value, json};

use super::{add_args, hub_id, pod, text};

/// A model's spec.
pub(in super::super) fn model(part: &Value, _: &Value) -> Option<Value> {
    let url = text(part, "url")?;
    let command = match text(part, "engine")? {
        "VLLM" => vec!["vllm", "serve", hub_id(url).unwrap_or(url)],
        "OLlama" => vec!["ollama", "serve"],
        _ => return None,
    };
    let mut container: Map<String, Value> =
        ["image"].iter().filter_map(|key| Some(((*key).to_owned(), part.get(*key)?.clone()))).collect();
    container.insert("name".to_owned(), Value::from("server"));
    container.insert("command".to_owned(), json!(command));
    let args = part.get("args").and_then(Value::as_array);
    add_args(&mut container, args.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    let env = part.get("env").and_then(Value::as_object);
    let env: Vec<Value> =
        env.into_iter().flatten().map(|(name, value)| json!({"name": name, "value": value})).collect();
    container.insert("env".to_owned(), Value::from(env));
    if let Some(name) = url.strip_prefix("ollama://") {
        let pull = json!({"postStart": {"exec": {"command": ["ollama", "pull", name]}}});
        container.insert("lifecycle".to_owned(), pull);
    }
    if let Some(gpus) = text(part, "resourceProfile").and_then(gpus) {
        container.insert("resources".to_owned(), json!({"limits": {"nvidia.com/gpu": gpus.to_string()}}));
    }
    Some(pod(Map::new(), vec![Value::Object(container)]))
}

/// GPUs of `nvidia-gpu-l4:2`; other profiles are of other devices or of none.
fn gpus(profile: &str) -> Option<u64> {
    let (name, count) = profile.split_once(':').unwrap_or((profile, "1"));
    count.trim().parse().ok().filter(|_| name.starts_with("nvidia-gpu"))
}
