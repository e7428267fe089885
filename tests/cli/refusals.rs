//! Start-up refusals of engines: a stable reason, a message, and a fix that the same engine has evaluated.

use serde_json::{Value, json};

use super::support::check;

/// The result for a pod on the example nodes.
fn result(image: &str, args: &[&str], env: &[(&str, &str)], gpus: u64) -> Value {
    let env: Vec<Value> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"tolerations": [{"operator": "Exists"}], "containers": [{
            "name": "c", "image": image, "args": args, "env": env,
            "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}},
        }]},
    });
    check(&pod.to_string(), "-o json").json()["results"][0].clone()
}

fn vllm(args: &[&str], env: &[(&str, &str)]) -> Value {
    result("vllm/vllm-openai:v0.22.0", args, env, 1)
}

fn reason(result: &Value) -> (&str, &str) {
    (result["verdict"].as_str().unwrap(), result["reason"].as_str().unwrap_or(""))
}

#[test]
fn a_context_beyond_the_models_own() {
    let args = ["--model=meta-llama/Meta-Llama-3-8B", "--max-model-len=32768"];
    let refused = vllm(&args, &[]);
    assert_eq!(reason(&refused), ("ENGINE_REFUSES", "CONTEXT_BEYOND_MODEL"), "{refused}");
    assert_eq!(refused["fixes"][0]["changes"][0], json!({"path": "--max-model-len", "from": "32768", "to": "8192"}));
    let allowed = vllm(&args, &[("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")]);
    assert_eq!(reason(&allowed), ("FITS", ""), "{allowed}");
    let stretched =
        [&args[..], &["--hf-overrides", "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0}}"]].concat();
    assert_eq!(reason(&vllm(&stretched, &[])).0, "FITS");
    // A fork may have longer positions than the model of that name.
    let fork = ["--model=someone/Meta-Llama-3-8B", "--max-model-len=32768"];
    assert_eq!(reason(&vllm(&fork, &[])).0, "FITS");
}

#[test]
fn steps_that_hold_too_few_tokens() {
    let args = ["--model=Qwen/Qwen2.5-0.5B-Instruct", "--max-num-seqs=512", "--max-num-batched-tokens=256"];
    let refused = vllm(&args, &[]);
    assert_eq!(reason(&refused), ("ENGINE_REFUSES", "BATCHED_TOKENS_TOO_FEW"), "{refused}");
    let change = &refused["fixes"][0]["changes"][0];
    assert_eq!(change["path"], "--max-num-batched-tokens", "{refused}");
}

#[test]
fn ranks_that_cut_through_groups_heads_or_the_pods_gpus() {
    let parallel = |model: &str, tensor: &str, gpus| {
        result("vllm/vllm-openai:v0.22.0", &[model, tensor, "--max-model-len=2048"], &[], gpus)
    };
    let heads = parallel("--model=Qwen/Qwen2.5-7B-Instruct", "--tensor-parallel-size=8", 8);
    assert_eq!(reason(&heads), ("PARALLELISM_MISMATCH", "HEADS_NOT_DIVIDED"), "{heads}");
    let gpus = parallel("--model=Qwen/Qwen2.5-7B-Instruct", "--tensor-parallel-size=4", 2);
    assert_eq!(reason(&gpus), ("PARALLELISM_MISMATCH", "GPUS_BELOW_TENSOR_PARALLEL"), "{gpus}");
}

#[test]
fn memory_that_does_not_suffice_has_a_reason_too() {
    let weights = vllm(&["--model=meta-llama/Llama-3.1-405B", "--max-model-len=2048"], &[]);
    assert_eq!(reason(&weights), ("TOO_BIG", "WEIGHTS_EXCEED_DEVICE"), "{weights}");
    let cache = vllm(&["--model=mistralai/Mistral-7B-Instruct-v0.3", "--kv-cache-memory-bytes=1G"], &[]);
    assert_eq!(reason(&cache).1, "KV_BELOW_ONE_REQUEST", "{cache}");
}

#[test]
fn a_format_of_formats_is_no_invalid_spec() {
    let args =
        ["--model=meta-llama/Llama-3.1-8B-Instruct", "--quantization=compressed-tensors", "--max-model-len=2048"];
    let unknown = vllm(&args, &[]);
    assert_eq!(reason(&unknown).0, "UNKNOWN_WORKLOAD", "{unknown}");
    assert_eq!(unknown["decision"], "warn");
}
