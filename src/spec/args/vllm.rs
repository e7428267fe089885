//! vLLM: `vllm serve MODEL`, `python -m vllm.entrypoints.openai.api_server`, and images whose entry point is the server.

use serde_json::Value;

use super::table::{Effect, Flag, ImageRule, Program, Reader, flag, several_nodes};
use super::values::{gib, human_int, human_memory, kv_dtype, layer_list, model_dtype, quantization};

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
    flag(&["--decode-context-parallel-size", "-dcp"], Effect::Call(context_parallel)),
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
    flag(&["--config"], Effect::File),
    flag(&["--enable-sleep-mode"], Effect::UnreadSwitch("sleep mode changes the engine's memory accounting")),
    flag(
        &["--disable-hybrid-kv-cache-manager"],
        Effect::UnreadSwitch("sliding-window layers then cache the whole context"),
    ),
    flag(&["--runner", "--task", "--convert"], Effect::Call(runner)),
    flag(
        &["--mamba-ssm-cache-dtype", "--mamba-cache-dtype"],
        Effect::Unread("the state's number format is not modelled"),
    ),
    flag(
        &["--served-model-name", "--lora-modules", "--cudagraph-capture-sizes", "--allowed-origins"],
        Effect::SkipMany,
    ),
    flag(&["--compilation-config", "-O", "-cc", "--kv-transfer-config", "--limit-mm-per-prompt"], Effect::Skip),
    flag(
        &["--port", "--host", "--uvicorn-log-level", "--api-key", "--chat-template", "--tool-call-parser"],
        Effect::Skip,
    ),
    flag(&["--tokenizer", "--tokenizer-mode", "--revision", "--tokenizer-revision", "--code-revision"], Effect::Skip),
    flag(&["--download-dir", "--load-format", "--seed", "--swap-space", "--root-path"], Effect::Skip),
    flag(&["--reasoning-parser", "--guided-decoding-backend"], Effect::Skip),
    flag(&["--distributed-executor-backend"], Effect::Keep),
    flag(&["--nnodes"], Effect::Keep),
    flag(&["--max-seq-len-to-capture", "--max-cudagraph-capture-size", "--max-cpu-loras"], Effect::Skip),
    flag(&["--data-parallel-size-local", "-dpl", "--data-parallel-address", "--data-parallel-rpc-port"], Effect::Skip),
    flag(
        &["--offload-backend", "--offload-group-size", "--offload-params", "--cpu-offload-params"],
        Effect::Call(|reader, _| reader.unknown("engine.cpuOffload", "offloading by layers is not modelled")),
    ),
    flag(&["--node-rank", "--master-addr", "--master-port", "--kv-offloading-size"], Effect::Skip),
    flag(
        &["--model-impl", "--mm-processor-kwargs", "--mm-encoder-tp-mode", "--rope-scaling", "--rope-theta"],
        Effect::Skip,
    ),
];

const SWITCHES: &[&str] = &[
    "--trust-remote-code",
    "--enable-prefix-caching",
    "--enable-chunked-prefill",
    "--disable-log-requests",
    "--disable-log-stats",
    "--enable-log-requests",
    "--enable-auto-tool-choice",
    "--enable-reasoning",
    "--async-scheduling",
    "--disable-custom-all-reduce",
    "--skip-mm-profiling",
    "--language-model-only",
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
    ],
    positional: Some("model"),
    flags: FLAGS,
    switches: SWITCHES,
    env: &[flag(&["VLLM_PP_LAYER_PARTITION"], Effect::Map("engine.layerPartition", layer_list))],
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
        reader.unknown("parallelism.context", "context parallelism of vLLM is not modelled");
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
    if !harmless {
        reader.unread("changes the model's config in ways that are not read");
        reader.draft.out.unknown_fields.insert("model");
    }
}

fn other_config(reader: &mut Reader<'_>, _path: &str) {
    reader.unread("the model's config is taken from elsewhere");
    reader.draft.out.unknown_fields.insert("model");
}

fn runner(reader: &mut Reader<'_>, value: &str) {
    if !matches!(value.trim(), "generate" | "auto" | "none" | "draft") {
        reader.unread("pooling models keep no cache for decoding; the estimate is for generation");
    }
}

fn finish(reader: &mut Reader<'_>) {
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
