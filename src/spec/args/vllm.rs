//! vLLM: `vllm serve MODEL`, `python -m vllm.entrypoints.openai.api_server`, and images whose entry point is the server.

use serde_json::Value;

use super::table::{Effect, Flag, ImageRule, Program, Reader, Weight, as_flags, flag, several_nodes};
use super::values::{gib, graph_batch, human_int, human_memory, kv_dtype, layer_list, model_dtype, most, quantization};

/// Images with the server as entry point come first: `vllm` alone is an image to run commands in.
const IMAGES: &[ImageRule] = &[
    ImageRule { repository: "vllm-openai", entrypoint: true, versioned: true },
    ImageRule { repository: "vllm-openai-rocm", entrypoint: true, versioned: true },
    ImageRule { repository: "rhaiis/vllm-*", entrypoint: true, versioned: false },
    ImageRule { repository: "modh/vllm", entrypoint: true, versioned: false },
    ImageRule { repository: "llm-d/llm-d*", entrypoint: false, versioned: false },
    ImageRule { repository: "vllm-ascend", entrypoint: false, versioned: true },
    ImageRule { repository: "ai-dynamo/vllm-runtime", entrypoint: false, versioned: false },
    ImageRule { repository: "vllm", entrypoint: false, versioned: false },
    ImageRule { repository: "vllm-dev", entrypoint: false, versioned: false },
];

const FLAGS: &[Flag] = &[
    flag(&["--model"], Effect::Set("model")),
    flag(&["--dtype"], Effect::Map("dtype", model_dtype)),
    flag(&["--quantization", "-q"], Effect::Map("quantization", quantization)),
    flag(&["--kv-cache-dtype"], Effect::Map("kvCacheDtype", kv_dtype)),
    flag(&["--max-model-len"], Effect::Map("contextLength", max_model_len)),
    flag(&["--tensor-parallel-size", "-tp"], Effect::Set("parallelism.tensor")),
    flag(&["--pipeline-parallel-size", "-pp"], Effect::Set("parallelism.pipeline")),
    flag(&["--data-parallel-size", "-dp"], Effect::Set("parallelism.data")),
    flag(&["--enable-expert-parallel", "-ep"], Effect::KeepSwitch),
    flag(&["--decode-context-parallel-size", "-dcp"], Effect::Set("parallelism.context")),
    flag(&["--prefill-context-parallel-size", "-pcp"], Effect::Call(context_parallel)),
    flag(&["--gpu-memory-utilization"], Effect::Set("engine.memoryFraction")),
    flag(&["--kv-cache-memory-bytes", "--kv-cache-memory"], Effect::Map("engine.kvCacheMemory", human_memory)),
    flag(&["--num-gpu-blocks-override"], Effect::Call(blocks_override)),
    flag(&["--block-size"], Effect::Set("engine.blockSize")),
    flag(&["--max-num-seqs"], Effect::Map("engine.maxNumSeqs", human_int)),
    flag(&["--max-num-batched-tokens"], Effect::Map("engine.maxNumBatchedTokens", human_int)),
    flag(&["--enforce-eager"], Effect::Switch("engine.enforceEager")),
    flag(&["--cpu-offload-gb"], Effect::Map("engine.cpuOffload", gib)),
    flag(&["--enable-lora"], Effect::KeepSwitch),
    flag(&["--max-loras"], Effect::Keep),
    flag(&["--max-lora-rank"], Effect::Set("engine.maxLoraRank")),
    flag(&["--speculative-config", "-sc"], Effect::Call(speculative_config)),
    flag(&["--speculative-model"], Effect::Unread("the draft model's memory is not estimated")),
    flag(&["--num-speculative-tokens"], Effect::Skip),
    flag(&["--hf-overrides"], Effect::Call(hf_overrides)),
    flag(&["--hf-config-path"], Effect::Call(other_config)),
    flag(&["--config"], Effect::File(as_flags, Weight::Weaker)),
    flag(&["--max-cudagraph-capture-size"], Effect::Map("engine.graphBatch", graph_batch)),
    flag(&["--cudagraph-capture-sizes", "--cuda-graph-sizes"], Effect::KeepMany),
    flag(&["--compilation-config", "-O", "-cc"], Effect::Call(compilation)),
    flag(&["-O0"], Effect::Switch("engine.enforceEager")),
    flag(&["--enable-chunked-prefill"], Effect::Switch("engine.chunkedPrefill")),
    flag(&["--language-model-only"], Effect::Switch("engine.textOnly")),
    flag(&["--limit-mm-per-prompt"], Effect::Call(media_limits)),
    flag(&["--enable-sleep-mode"], Effect::UnreadSwitch("sleep mode changes the engine's memory accounting")),
    flag(&["--enable-prefix-caching"], Effect::KeepSwitch),
    flag(&["--disable-hybrid-kv-cache-manager"], Effect::Switch("engine.fullWindowCache")),
    flag(&["--runner", "--task", "--convert"], Effect::Call(runner)),
    flag(&["--mamba-ssm-cache-dtype", "--mamba-cache-dtype"], Effect::Call(state_dtype)),
    flag(&["--served-model-name", "--lora-modules", "--allowed-origins"], Effect::SkipMany),
    // Connectors move blocks between hosts; their staging buffers are small.
    flag(&["--kv-transfer-config", "--kv-events-config", "--additional-config"], Effect::Skip),
    flag(
        &["--port", "--host", "--uvicorn-log-level", "--api-key", "--chat-template", "--tool-call-parser"],
        Effect::Skip,
    ),
    flag(&["--tokenizer", "--tokenizer-mode", "--revision", "--tokenizer-revision", "--code-revision"], Effect::Skip),
    flag(&["--download-dir", "--load-format", "--seed", "--swap-space", "--root-path"], Effect::Skip),
    flag(&["--reasoning-parser", "--guided-decoding-backend"], Effect::Skip),
    flag(&["--distributed-executor-backend"], Effect::Keep),
    flag(&["--nnodes"], Effect::Keep),
    // How long a sequence in a graph may be, not how many there are.
    flag(&["--max-seq-len-to-capture", "--max-cpu-loras", "--mamba-block-size"], Effect::Skip),
    flag(&["--mamba-cache-mode"], Effect::Call(state_mode)),
    flag(&["--data-parallel-size-local", "-dpl", "--data-parallel-address", "--data-parallel-rpc-port"], Effect::Skip),
    flag(
        &["--offload-backend", "--offload-group-size", "--offload-params", "--cpu-offload-params"],
        Effect::Call(|reader, _| reader.unknown("engine.cpuOffload", "offloading by layers is not modelled")),
    ),
    flag(&["--node-rank", "--master-addr", "--master-port", "--kv-offloading-size"], Effect::Skip),
    flag(&["--model-impl", "--mm-processor-kwargs", "--mm-encoder-tp-mode"], Effect::Skip),
    flag(&["--rope-scaling", "--rope-theta"], Effect::Call(|reader, _| longer_positions(reader))),
];

const SWITCHES: &[&str] = &[
    "--trust-remote-code",
    "-O1",
    "-O2",
    "-O3",
    "--disable-log-requests",
    "--disable-log-stats",
    "--enable-log-requests",
    "--enable-auto-tool-choice",
    "--enable-reasoning",
    "--async-scheduling",
    "--disable-custom-all-reduce",
    // The profile run is estimated without media.
    "--skip-mm-profiling",
    "--headless",
    "--enable-dbo",
    "--enable-server-load-tracking",
    "--disable-uvicorn-access-log",
    "--enable-request-id-headers",
    "--enable-eplb",
    "--enable-force-include-usage",
    "--enable-prompt-tokens-details",
    "--disable-fastapi-docs",
    "--use-v2-block-manager",
    "--disable-sliding-window",
    "--enable-prompt-embeds",
    "--enable-ssl-refresh",
    "--allow-credentials",
    "--ray-workers-use-nsight",
    "--worker-use-ray",
    "--disable-frontend-multiprocessing",
    "--return-tokens-as-token-ids",
    "--data-parallel-hybrid-lb",
    "--data-parallel-external-lb",
    "--enable-tokenizer-info-endpoint",
    "--calculate-kv-scales",
];

pub(super) const ENV: &[Flag] = &[
    flag(&["VLLM_PP_LAYER_PARTITION"], Effect::Map("engine.layerPartition", layer_list)),
    flag(&["VLLM_ALLOW_LONG_MAX_MODEL_LEN"], Effect::Set("engine.allowLongContext")),
    flag(
        &["VLLM_USE_V1"],
        Effect::Call(|reader, value| doubt_unless(reader, value, "1", "the V0 engine plans otherwise")),
    ),
    flag(
        &["VLLM_MLA_DISABLE"],
        Effect::Call(|reader, value| {
            doubt_unless(reader, value, "0", "latent attention is then cached as full heads");
        }),
    ),
    flag(
        &["VLLM_PLE_CPU_OFFLOAD"],
        Effect::Call(|reader, value| {
            doubt_unless(reader, value, "0", "part of the embeddings stays on the host");
        }),
    ),
];

/// vLLM's server.
pub(super) const PROGRAM: Program = Program {
    name: "vllm",
    trains: false,
    starts: &[
        &["vllm", "serve"],
        &["-m", "vllm.entrypoints.openai.api_server"],
        &["-m", "vllm.entrypoints.api_server"],
        &["-m", "vllm.entrypoints.cli.main", "serve"],
        &["-m", "dynamo.vllm"],
        // Engines without a server: they take the same flags.
        &["vllm", "run-batch"],
        &["-m", "vllm.entrypoints.openai.run_batch"],
        &["vllm", "bench", "throughput"],
        &["vllm", "bench", "latency"],
    ],
    positional: Some("model"),
    flags: FLAGS,
    wraps: None,
    switches: SWITCHES,
    env: ENV,
    images: IMAGES,
    finish,
};

/// `8192`, `8k` (8000), `8K` (8192); `auto` and `-1` let the engine choose what fits.
fn max_model_len(text: &str) -> Result<Value, String> {
    if matches!(text.trim(), "auto" | "-1") {
        return Ok(serde_json::json!({"engine.autoContext": true}));
    }
    human_int(text)
}

fn context_parallel(reader: &mut Reader<'_>, value: &str) {
    if value.trim() != "1" {
        reader.unknown("parallelism.context", "context parallelism of prefill is not modelled");
    }
}

fn blocks_override(reader: &mut Reader<'_>, _value: &str) {
    reader.unknown("engine.kvCacheMemory", "the cache's size is set by hand in blocks");
}

/// MTP layers come with the checkpoint; other methods bring a draft model of their own, or none.
fn speculative_config(reader: &mut Reader<'_>, text: &str) {
    let Ok(Value::Object(config)) = serde_json::from_str::<Value>(text) else {
        return reader.unknown("engine.speculativeTokens", "is no JSON object that can be read");
    };
    let method = config.get("method").and_then(Value::as_str).unwrap_or("");
    if method.ends_with("mtp") {
        let tokens = config.get("num_speculative_tokens").cloned().unwrap_or(Value::from(1));
        reader.set("engine.speculativeTokens", &tokens);
    } else if !matches!(method, "ngram" | "[ngram]" | "suffix") {
        reader.unknown("engine.speculativeTokens", "the draft model's memory is not estimated");
    }
}

/// Overrides of positions leave every size as it is; others may change the model.
fn hf_overrides(reader: &mut Reader<'_>, text: &str) {
    const HARMLESS: &[&str] =
        &["rope_scaling", "rope_parameters", "rope_theta", "max_position_embeddings", "architectures", "is_matryoshka"];
    let harmless = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(map)) => map.keys().all(|key| HARMLESS.contains(&key.as_str())),
        _ => false,
    };
    longer_positions(reader);
    if !harmless {
        reader.unread("changes the model's config in ways that are not read");
        reader.draft.out.unknown_fields.insert("model");
    }
}

/// The context is then not the one that the model was made for.
fn longer_positions(reader: &mut Reader<'_>) {
    reader.default("engine.allowLongContext", &Value::from(true));
}

fn other_config(reader: &mut Reader<'_>, _path: &str) {
    reader.unread("the model's config is taken from elsewhere");
    reader.draft.out.unknown_fields.insert("model");
}

/// What a variable changes unless it has its harmless value.
fn doubt_unless(reader: &mut Reader<'_>, value: &str, harmless: &str, why: &str) {
    if value.trim() != harmless {
        reader.doubt("arguments", why);
    }
}

/// Graphs off, or the sizes that have one: an object, or a level alone.
fn compilation(reader: &mut Reader<'_>, text: &str) {
    let config = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(config)) => config,
        Ok(Value::Number(level)) if level.as_u64() == Some(0) => {
            return reader.set("engine.enforceEager", &Value::from(true));
        }
        Ok(Value::Number(_)) => return,
        _ => return reader.unknown("engine.graphBatch", "is no JSON object that can be read"),
    };
    let off = |key: &str| config.get(key).and_then(Value::as_str).is_some_and(|mode| mode.eq_ignore_ascii_case("none"));
    let level = ["level", "mode"].iter().find_map(|key| config.get(*key)?.as_u64());
    if off("cudagraph_mode") || config.get("cudagraph_mode").and_then(Value::as_u64) == Some(0) || level == Some(0) {
        reader.set("engine.enforceEager", &Value::from(true));
    }
    let largest = config.get("max_cudagraph_capture_size").and_then(Value::as_u64);
    let sizes = config.get("cudagraph_capture_sizes").and_then(Value::as_array);
    let listed = sizes.and_then(|sizes| sizes.iter().filter_map(Value::as_u64).max());
    if let Some(batch) = largest.or(listed).filter(|batch| *batch > 0) {
        reader.set("engine.graphBatch", &Value::from(batch));
    }
}

/// `{"image":0,"video":0}`, older `image=0,video=0`: towers are only left out if every kind is off.
fn media_limits(reader: &mut Reader<'_>, text: &str) {
    let counts: Vec<String> = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(limits)) => {
            limits.values().map(|limit| limit.get("count").unwrap_or(limit).to_string()).collect()
        }
        _ => text.split(',').filter_map(|pair| pair.split_once('=')).map(|(_, n)| n.trim().to_owned()).collect(),
    };
    if !counts.is_empty() && counts.iter().all(|count| count == "0") {
        reader.set("engine.textOnly", &Value::from(true));
    }
}

fn state_dtype(reader: &mut Reader<'_>, text: &str) {
    if text.trim() != "auto" {
        reader.unread("the state's number format is not modelled");
    }
}

fn state_mode(reader: &mut Reader<'_>, text: &str) {
    if text.trim() == "all" {
        reader.unread("a state for every block is not modelled");
    }
}

fn runner(reader: &mut Reader<'_>, value: &str) {
    if !matches!(value.trim(), "generate" | "auto" | "none" | "draft") {
        reader.unread("pooling models keep no cache for decoding; the estimate is for generation");
    }
}

pub(super) fn finish(reader: &mut Reader<'_>) {
    if reader.kept.contains_key("--enable-prefix-caching") {
        reader.draft.out.engine.prefix_caching = Some(reader.on("--enable-prefix-caching"));
    }
    if let Some(sizes) = reader.kept.get("--cudagraph-capture-sizes").and_then(|sizes| most(sizes)) {
        reader.set("engine.graphBatch", &Value::from(sizes));
    }
    let by_ray = reader.kept.get("--distributed-executor-backend").is_some_and(|backend| backend.trim() == "ray");
    reader.draft.out.spans_pods |= by_ray || several_nodes(reader);
    if reader.on("--enable-expert-parallel") {
        let parallelism = reader.draft.out.parallelism;
        let unknown = ["parallelism.tensor", "parallelism.data"];
        if unknown.iter().any(|path| reader.draft.out.unknown_fields.contains(path)) {
            reader.unknown("parallelism.expert", "depends on the tensor-parallel size");
        } else {
            reader.set("parallelism.expert", &Value::from(parallelism.tensor.saturating_mul(parallelism.data)));
        }
    }
    if reader.on("--enable-lora") {
        let slots = reader.kept.get("--max-loras").map_or(Value::from(1), |text| Value::from(text.as_str()));
        reader.set("engine.maxLoras", &slots);
    }
}
