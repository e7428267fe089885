//! TensorRT-LLM: `trtllm-serve MODEL`.

use super::table::{Effect, Flag, ImageRule, Program, flag};
use super::values::kv_dtype;

const FLAGS: &[Flag] = &[
    flag(&["--model"], Effect::Set("model")),
    flag(&["--tensor-parallel-size", "--tp-size"], Effect::Set("parallelism.tensor")),
    flag(&["--pipeline-parallel-size", "--pp-size"], Effect::Set("parallelism.pipeline")),
    flag(&["--expert-parallel-size", "--ep-size", "--moe-expert-parallel-size"], Effect::Set("parallelism.expert")),
    flag(&["--context-parallel-size", "--cp-size"], Effect::Set("parallelism.context")),
    flag(&["--max-batch-size"], Effect::Set("engine.maxNumSeqs")),
    flag(&["--max-num-tokens"], Effect::Set("engine.maxNumBatchedTokens")),
    flag(&["--max-seq-len"], Effect::Set("contextLength")),
    flag(
        &[
            "--kv-cache-free-gpu-memory-fraction",
            "--free-gpu-memory-fraction",
            "--kv-cache-config.free-gpu-memory-fraction",
        ],
        Effect::Set("engine.memoryFraction"),
    ),
    flag(&["--kv-cache-dtype", "--kv-cache-config.dtype"], Effect::Map("kvCacheDtype", kv_dtype)),
    // The file is stronger than the arguments.
    flag(&["--extra-llm-api-options", "--config"], Effect::FileOver),
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
    switches: &["--trust-remote-code"],
    env: &[],
    images: &[
        ImageRule { repository: "tensorrt-llm/release", entrypoint: false, versioned: true },
        ImageRule { repository: "tensorrtllm-runtime", entrypoint: false, versioned: false },
    ],
    finish: |_| {},
};
