//! Servers that run vLLM inside.

use super::*;

fn with(image: &str, args: &str, env: &[(&str, &str)]) -> Declaration {
    let env: Vec<_> = env.iter().map(|(name, value)| serde_json::json!({"name": name, "value": value})).collect();
    let env = Value::from(env);
    declared(&format!(
        r#"{{"name":"c","image":"{image}","args":{args},"env":{env},"resources":{{"limits":{{"nvidia.com/gpu":2}}}}}}"#
    ))
}

#[test]
fn kserve_passes_flags_on_to_vllm() {
    let args = r#"["--model_name=llama","--model_id=org/m","--max-model-len","8k","--tensor_parallel_size=2","--trust-remote-code"]"#;
    let found = with("kserve/huggingfaceserver:v0.15-gpu", args, &[]);
    assert_eq!((model(&found), found.engine.name), (Some("org/m"), EngineName::Vllm));
    assert_eq!((found.context_length, found.parallelism.tensor), (Some(8000), 2));
    assert!(found.unread.is_empty(), "{:?}", found.unread);
    let other = with("kserve/huggingfaceserver:v0.15-gpu", r#"["--model_id=org/m","--backend=huggingface"]"#, &[]);
    assert!(other.unknown_fields.contains("arguments"));
}

#[test]
fn nim_names_its_model_and_hides_its_profile() {
    let env = [("NIM_MAX_MODEL_LEN", "4096"), ("NIM_PASSTHROUGH_ARGS", "--max-num-seqs 32 --enforce-eager")];
    let found = with("nvcr.io/nim/meta/llama-3.1-8b-instruct:2.0", "[]", &env);
    assert_eq!((model(&found), found.context_length), (Some("meta/llama-3.1-8b-instruct"), Some(4096)));
    assert_eq!((found.engine.max_num_seqs, found.engine.enforce_eager), (Some(32), true));
    assert!(["quantization", "parallelism.tensor"].iter().all(|path| found.unknown_fields.contains(path)));
    let says =
        "NIM: the container chooses a profile for its GPUs; say it in the annotation `vramguard.io/tensor-parallel`";
    assert!(found.unread.iter().any(|text| text == says), "{:?}", found.unread);
    let told =
        with("nvcr.io/nim/meta/x:2.0", "[]", &[("NIM_MODEL_PATH", "hf://org/m"), ("NIM_TENSOR_PARALLEL_SIZE", "2")]);
    assert_eq!((model(&told), told.parallelism.tensor), (Some("org/m"), 2));
}

#[test]
fn djl_and_runpod_take_every_gpu() {
    let env = [("HF_MODEL_ID", "org/m"), ("OPTION_MAX_MODEL_LEN", "4096"), ("OPTION_TENSOR_PARALLEL_DEGREE", "max")];
    let djl = with("deepjavalibrary/djl-serving:0.33.0-lmi", "[]", &env);
    assert_eq!((model(&djl), djl.context_length, djl.parallelism.tensor), (Some("org/m"), Some(4096), 2));
    let other = with("x/djl-inference:1", "[]", &[("HF_MODEL_ID", "org/m"), ("OPTION_ROLLING_BATCH", "trtllm")]);
    assert!(other.unknown_fields.contains("arguments"));
    let runpod = with("runpod/worker-v1-vllm:v2", "[]", &[("MODEL_NAME", "org/m"), ("QUANTIZATION", "awq")]);
    assert_eq!((model(&runpod), runpod.quantization.as_deref()), (Some("org/m"), Some("awq")));
    assert_eq!((runpod.engine.memory_fraction, runpod.parallelism.tensor), (Some(0.95), 2));
}

#[test]
fn what_is_not_known_is_named_up_to_its_flags() {
    let found = with("x/lmdeploy:1", "[\"serve\",\"api_server\",\"org/m\",\"--api-key=abc\"]", &[]);
    assert!(found.unread[0].starts_with("`x/lmdeploy:1` is no engine"), "{:?}", found.unread);
    let command =
        r#"{"name":"c","command":["python","main.py","--key","secret"],"resources":{"limits":{"nvidia.com/gpu":1}}}"#;
    assert!(declared(command).unread[0].starts_with("`python main.py` is no engine"));
}

#[test]
fn a_script_may_follow_the_end_of_the_shells_flags() {
    let command = r#"{"name":"c","command":["bash","-lc","--"],"args":["ulimit -n 65536; vllm serve org/m"]}"#;
    assert_eq!(model(&declared(command)), Some("org/m"));
}

#[test]
fn llama_cpp_python_has_defaults_of_its_own() {
    let start = r#""command":["python3","-m","llama_cpp.server","--model","/m/a.Q4_K_M.gguf""#;
    let found = declared(&format!(r#"{{"name":"c",{start}]}}"#));
    assert_eq!((found.context_length, found.engine.gpu_layers), (Some(2048), Some(0)));
    let all = declared(&format!(r#"{{"name":"c",{start},"--n_gpu_layers","-1","--n_ctx","4096"]}}"#));
    assert_eq!((all.context_length, all.engine.gpu_layers), (Some(4096), Some(999)));
    assert_eq!(all.quantization.as_deref(), Some("q4_k_m"));
}
