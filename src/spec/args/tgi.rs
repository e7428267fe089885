//! Hugging Face text-generation-inference: `text-generation-launcher`; every flag has a variable of the same name.

use super::table::{Effect, Flag, ImageRule, Program, flag};
use super::values::{graph_batch, kv_dtype, model_dtype, quantization};

const FLAGS: &[Flag] = &[
    flag(&["--model-id"], Effect::Set("model")),
    flag(&["--num-shard"], Effect::Set("parallelism.tensor")),
    flag(&["--quantize"], Effect::Map("quantization", quantization)),
    flag(&["--dtype"], Effect::Map("dtype", model_dtype)),
    flag(&["--kv-cache-dtype"], Effect::Map("kvCacheDtype", kv_dtype)),
    flag(&["--max-total-tokens"], Effect::Set("contextLength")),
    flag(&["--max-batch-prefill-tokens"], Effect::Set("engine.maxNumBatchedTokens")),
    flag(&["--max-batch-size"], Effect::Set("engine.maxNumSeqs")),
    flag(&["--cuda-memory-fraction"], Effect::Set("engine.memoryFraction")),
    flag(&["--max-batch-total-tokens"], Effect::Set("engine.maxTotalTokens")),
    flag(&["--cuda-graphs"], Effect::Map("engine.graphBatch", graph_batch)),
    flag(&["--lora-adapters"], Effect::Unread("adapters are not estimated")),
    // A prompt is shorter than prompt and answer together; requests beyond the batch wait.
    flag(&["--max-input-tokens", "--max-input-length", "--max-concurrent-requests"], Effect::Skip),
    flag(&["--revision", "--sharded", "--port", "--hostname", "--speculate", "--tokenizer-name"], Effect::Skip),
];

const ENV: &[Flag] = &[
    flag(&["MODEL_ID"], Effect::Set("model")),
    flag(&["NUM_SHARD"], Effect::Set("parallelism.tensor")),
    flag(&["QUANTIZE"], Effect::Map("quantization", quantization)),
    flag(&["DTYPE"], Effect::Map("dtype", model_dtype)),
    flag(&["KV_CACHE_DTYPE"], Effect::Map("kvCacheDtype", kv_dtype)),
    flag(&["MAX_TOTAL_TOKENS"], Effect::Set("contextLength")),
    flag(&["MAX_BATCH_PREFILL_TOKENS"], Effect::Set("engine.maxNumBatchedTokens")),
    flag(&["MAX_BATCH_SIZE"], Effect::Set("engine.maxNumSeqs")),
    flag(&["MAX_BATCH_TOTAL_TOKENS"], Effect::Set("engine.maxTotalTokens")),
    flag(&["CUDA_GRAPHS"], Effect::Map("engine.graphBatch", graph_batch)),
    flag(&["LORA_ADAPTERS"], Effect::Unread("adapters are not estimated")),
    flag(&["CUDA_MEMORY_FRACTION"], Effect::Set("engine.memoryFraction")),
];

/// The launcher. Without `--num-shard` it takes every GPU that it sees.
pub(super) const PROGRAM: Program = Program {
    name: "tgi",
    trains: false,
    starts: &[&["text-generation-launcher"]],
    positional: None,
    flags: FLAGS,
    wraps: None,
    switches: &["--trust-remote-code", "--json-output", "--disable-custom-kernels", "--disable-grammar-support"],
    env: ENV,
    images: &[
        ImageRule { repository: "text-generation-inference", entrypoint: true, versioned: true },
        // Google's builds, with the versions in the name.
        ImageRule { repository: "huggingface-text-generation-inference-*", entrypoint: true, versioned: false },
    ],
    finish: |reader| {
        if reader.draft.is_free("parallelism.tensor")
            && let Some(gpus) = reader.draft.out.gpus.as_ref().map(|gpus| gpus.count)
        {
            reader.set("parallelism.tensor", &gpus.into());
        }
    },
};
