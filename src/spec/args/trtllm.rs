//! TensorRT-LLM: `trtllm-serve MODEL`.

use serde_json::Value;

use super::table::{Effect, Flag, ImageRule, Program, Reader, Weight, flag};
use super::values::kv_dtype;

const FLAGS: &[Flag] = &[
    flag(&["--model", "--model-path"], Effect::Set("model")),
    flag(&["--tensor-parallel-size", "--tp-size"], Effect::Set("parallelism.tensor")),
    flag(&["--pipeline-parallel-size", "--pp-size"], Effect::Set("parallelism.pipeline")),
    flag(&["--expert-parallel-size", "--ep-size", "--moe-expert-parallel-size"], Effect::Set("parallelism.expert")),
    flag(&["--context-parallel-size", "--cp-size"], Effect::Set("parallelism.context")),
    flag(&["--max-batch-size"], Effect::Set("engine.maxNumSeqs")),
    flag(&["--max-num-tokens"], Effect::Set("engine.maxNumBatchedTokens")),
    flag(&["--max-seq-len"], Effect::Set("contextLength")),
    flag(&["--kv-cache-free-gpu-memory-fraction", "--free-gpu-memory-fraction"], Effect::Set("engine.memoryFraction")),
    flag(&["--kv-cache-dtype"], Effect::Map("kvCacheDtype", kv_dtype)),
    flag(&["--extra-llm-api-options", "--config", "--extra-engine-args"], Effect::File(options, Weight::Stronger)),
    flag(&["--enable-chunked-prefill"], Effect::Switch("engine.chunkedPrefill")),
    flag(
        &["--backend", "--host", "--port", "--tokenizer", "--max-beam-width", "--gpus-per-node", "--log-level"],
        Effect::Skip,
    ),
    flag(&["--tool-parser", "--reasoning-parser", "--revision"], Effect::Skip),
];

/// The server.
pub(super) const PROGRAM: Program = Program {
    name: "trtllm",
    trains: false,
    starts: &[&["trtllm-serve", "serve"], &["trtllm-serve"], &["-m", "dynamo.trtllm"]],
    positional: Some("model"),
    flags: FLAGS,
    wraps: None,
    switches: &["--trust-remote-code"],
    env: &[],
    images: &[
        ImageRule { repository: "tensorrt-llm/release", entrypoint: false, versioned: true },
        ImageRule { repository: "tensorrtllm-runtime", entrypoint: false, versioned: false },
    ],
    finish: |_| {},
};

/// Options of the file by path, and the fields that they set.
const OPTIONS: &[(&[&str], &str)] = &[
    (&["tensor_parallel_size"], "parallelism.tensor"),
    (&["pipeline_parallel_size"], "parallelism.pipeline"),
    (&["moe_expert_parallel_size"], "parallelism.expert"),
    (&["context_parallel_size"], "parallelism.context"),
    (&["max_batch_size"], "engine.maxNumSeqs"),
    (&["max_num_tokens"], "engine.maxNumBatchedTokens"),
    (&["max_seq_len"], "contextLength"),
    (&["enable_chunked_prefill"], "engine.chunkedPrefill"),
    (&["kv_cache_config", "free_gpu_memory_fraction"], "engine.memoryFraction"),
    (&["kv_cache_config", "max_tokens"], "engine.maxTotalTokens"),
    (&["kv_cache_config", "max_gpu_total_bytes"], "engine.kvCacheMemory"),
    (&["kv_cache_config", "tokens_per_block"], "engine.blockSize"),
    (&["cuda_graph_config", "max_batch_size"], "engine.graphBatch"),
];
/// Options that matter in a way that is not modelled, unless they are off.
const UNREAD: &[&str] = &["speculative_config", "lora_config", "enable_attention_dp", "quant_config"];

/// `--extra_llm_api_options`: the file's values win over flags.
fn options(reader: &mut Reader<'_>, options: &Value) {
    for (path, field) in OPTIONS {
        let value = path.iter().try_fold(options, |value, key| value.get(key));
        if let Some(value) = value.filter(|value| !value.is_null() && **value != 0) {
            reader.set(field, value);
        }
    }
    if let Some(dtype) = options.pointer("/kv_cache_config/dtype").and_then(Value::as_str) {
        match kv_dtype(dtype) {
            Ok(Value::Null) => {}
            Ok(dtype) => reader.set("kvCacheDtype", &dtype),
            Err(why) => reader.unknown("kvCacheDtype", &why),
        }
    }
    if options.get("cuda_graph_config").is_some_and(Value::is_null) {
        reader.set("engine.enforceEager", &Value::from(true));
    }
    for key in UNREAD {
        if options.get(key).is_some_and(|value| !value.is_null() && *value != false) {
            reader.doubt("arguments", &format!("`{key}` is not modelled"));
        }
    }
}
