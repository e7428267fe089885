//! Time of one estimate, without network, pods or policy: of a model that is already known, and from the text of its
//! `config.json`. `cargo bench --bench estimate`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops at the first surprise and prints its figures"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use vramguard::estimate::model::{Model, hf_config};
use vramguard::estimate::workload::{
    Checkpointing, Engine, EngineName, Method, ModelFacts, Parallelism, Sharding, Task, Training, Version, Workload,
};
use vramguard::estimate::{Bytes, Device, estimate};
use vramguard::facts::catalog::Catalog;

const CONFIG: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192,
    "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8,
    "max_position_embeddings": 131072, "rope_theta": 500000.0, "rms_norm_eps": 1e-05, "tie_word_embeddings": false,
    "torch_dtype": "bfloat16", "vocab_size": 128256}"#;

/// Dense, mixture, latent, hybrid.
const MODELS: [&str; 4] =
    ["meta-llama/Llama-3.1-8B", "Qwen/Qwen3-30B-A3B", "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-Next-80B-A3B-Instruct"];

fn main() {
    let device = Device {
        product: "NVIDIA-H100-80GB-HBM3".to_owned(),
        visible: Bytes::from_gib(79.19),
        compute_capability: Some((9, 0)),
    };
    for name in MODELS {
        let model = Catalog::embedded().find(name).unwrap();
        for engine in [EngineName::Vllm, EngineName::Sglang, EngineName::Trtllm, EngineName::Llamacpp] {
            let workload = serving(Arc::clone(&model), engine);
            let [p50, p99] = micros(|| estimate(black_box(&workload), &device).unwrap());
            println!("known model, {:<9} {name:<36} p50 {p50:>6.1} us, p99 {p99:>6.1} us", engine.name());
        }
        let workload = training(model);
        let [p50, p99] = micros(|| estimate(black_box(&workload), &device).unwrap());
        println!("known model, {:<9} {name:<36} p50 {p50:>6.1} us, p99 {p99:>6.1} us", "training");
    }
    let cold = || {
        let config = serde_json::from_str(black_box(CONFIG)).unwrap();
        let model = hf_config::read("from config.json", &config).unwrap();
        estimate(&serving(Arc::new(model), EngineName::Vllm), &device).unwrap()
    };
    let [p50, p99] = micros(cold);
    println!("from the text of config.json, vllm: p50 {p50:.1} us, p99 {p99:.1} us");
}

fn serving(model: Arc<Model>, name: EngineName) -> Workload {
    let version = (name == EngineName::Vllm).then_some(Version([0, 19, 0]));
    Workload {
        task: Task::Inference,
        model: ModelFacts::Known(model),
        parallelism: Parallelism { tensor: 8, ..Parallelism::default() },
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: Some(8192),
        batch_size: Some(8),
        engine: Engine { name, version, ..Engine::default() },
        training: Training::default(),
        method: Method::Auto,
    }
}

fn training(model: Arc<Model>) -> Workload {
    Workload {
        task: Task::Training,
        parallelism: Parallelism { data: 64, ..Parallelism::default() },
        training: Training {
            sharding: Some(Sharding::Fsdp),
            checkpointing: Some(Checkpointing::Full),
            ..Training::default()
        },
        engine: Engine::default(),
        ..serving(model, EngineName::Generic)
    }
}

/// Median and 99th percentile of a call, microseconds.
fn micros<T>(mut call: impl FnMut() -> T) -> [f64; 2] {
    const CALLS: usize = 20_000;
    let mut times: Vec<f64> = (0..CALLS)
        .map(|_| {
            let started = Instant::now();
            black_box(call());
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((CALLS as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    [at(0.5), at(0.99)]
}
