//! SGLang: `python -m sglang.launch_server`, `sglang serve`.

use serde_json::Value;

use super::table::{Effect, Flag, ImageRule, Program, Reader, Weight, as_flags, flag, several_nodes};
use super::values::{gib, graph_batch, kv_dtype, model_dtype, most, quantization};

const FLAGS: &[Flag] = &[
    flag(&["--model-path", "--model"], Effect::Set("model")),
    flag(&["--context-length"], Effect::Set("contextLength")),
    flag(&["--dtype"], Effect::Map("dtype", model_dtype)),
    flag(&["--quantization"], Effect::Map("quantization", quantization)),
    flag(&["--kv-cache-dtype"], Effect::Map("kvCacheDtype", kv_dtype)),
    flag(&["--mem-fraction-static"], Effect::Set("engine.memoryFraction")),
    flag(&["--max-total-tokens"], Effect::Set("engine.maxTotalTokens")),
    flag(&["--max-running-requests"], Effect::Set("engine.maxNumSeqs")),
    flag(&["--chunked-prefill-size"], Effect::Map("engine.maxNumBatchedTokens", chunk)),
    flag(&["--page-size"], Effect::Set("engine.blockSize")),
    flag(&["--tensor-parallel-size", "--tp-size", "--tp"], Effect::Set("parallelism.tensor")),
    flag(&["--pipeline-parallel-size", "--pp-size", "--pp"], Effect::Set("parallelism.pipeline")),
    flag(&["--data-parallel-size", "--dp-size", "--dp"], Effect::Keep),
    flag(&["--enable-dp-attention"], Effect::KeepSwitch),
    flag(&["--expert-parallel-size", "--ep-size", "--ep"], Effect::Set("parallelism.expert")),
    flag(&["--disable-cuda-graph"], Effect::Switch("engine.enforceEager")),
    flag(&["--cuda-graph-max-bs"], Effect::Map("engine.graphBatch", graph_batch)),
    flag(&["--cuda-graph-bs"], Effect::KeepMany),
    flag(&["--disable-hybrid-swa-memory"], Effect::Switch("engine.fullWindowCache")),
    flag(&["--swa-full-tokens-ratio"], Effect::Set("engine.windowPoolRatio")),
    flag(&["--mamba-full-memory-ratio"], Effect::Set("engine.statePoolRatio")),
    flag(&["--max-mamba-cache-size"], Effect::Set("engine.stateSlots")),
    flag(
        &["--mamba-ssm-dtype", "--torchao-config", "--prefill-max-requests"],
        Effect::Unread("its effect on memory is not modelled"),
    ),
    flag(&["--cpu-offload-gb"], Effect::Map("engine.cpuOffload", gib)),
    flag(&["--enable-lora"], Effect::KeepSwitch),
    flag(&["--lora-paths"], Effect::SkipMany),
    flag(&["--max-loras-per-batch"], Effect::Keep),
    flag(&["--max-lora-rank"], Effect::Set("engine.maxLoraRank")),
    flag(&["--speculative-algorithm"], Effect::Call(speculative)),
    flag(
        &["--speculative-draft-model-path", "--speculative-draft-model"],
        Effect::Unread("the draft model's memory is not estimated"),
    ),
    flag(&["--nnodes"], Effect::Keep),
    flag(&["--config"], Effect::File(as_flags, Weight::Weaker)),
    flag(
        &["--json-model-override-args"],
        Effect::Call(|reader, _| reader.doubt("model", "changes the model's config in ways that are not read")),
    ),
    flag(
        &["--host", "--port", "--tokenizer-path", "--served-model-name", "--api-key", "--chat-template"],
        Effect::Skip,
    ),
    flag(&["--revision", "--load-format", "--node-rank", "--dist-init-addr", "--attention-backend"], Effect::Skip),
    flag(
        &["--tool-call-parser", "--reasoning-parser", "--schedule-policy", "--max-prefill-tokens", "--log-level"],
        Effect::Skip,
    ),
    flag(&["--download-dir", "--prefill-attention-backend", "--decode-attention-backend"], Effect::Skip),
    flag(&["--speculative-num-steps", "--speculative-eagle-topk", "--speculative-num-draft-tokens"], Effect::Skip),
];

/// SGLang's server.
pub(super) const PROGRAM: Program = Program {
    name: "sglang",
    trains: false,
    starts: &[&["-m", "sglang.launch_server"], &["sglang", "serve"], &["-m", "dynamo.sglang"]],
    positional: None,
    flags: FLAGS,
    wraps: None,
    switches: &[
        "--trust-remote-code",
        "--enable-metrics",
        "--enable-multimodal",
        "--disable-radix-cache",
        "--enable-torch-compile",
        "--log-requests",
        "--disable-custom-all-reduce",
        "--skip-tokenizer-init",
        "--enable-mixed-chunk",
        "--enable-p2p-check",
        "--is-embedding",
        "--enable-two-batch-overlap",
    ],
    env: &[flag(&["SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN"], Effect::Set("engine.allowLongContext"))],
    images: &[
        ImageRule { repository: "lmsysorg/sglang", entrypoint: false, versioned: true },
        ImageRule { repository: "sgl-dev", entrypoint: false, versioned: false },
        ImageRule { repository: "sglang", entrypoint: false, versioned: false },
        ImageRule { repository: "sglang-runtime", entrypoint: false, versioned: false },
    ],
    finish,
};

/// `-1` switches chunking off: one step then holds a whole prompt.
fn chunk(text: &str) -> Result<Value, String> {
    if text.trim() == "-1" { Err("chunked prefill is off".to_owned()) } else { Ok(Value::from(text)) }
}

/// MTP layers come with the checkpoint (`NEXTN`); other algorithms bring a draft model.
fn speculative(reader: &mut Reader<'_>, algorithm: &str) {
    match algorithm.to_ascii_uppercase().as_str() {
        "NEXTN" => reader.set("engine.speculativeTokens", &Value::from(1)),
        "NGRAM" => {}
        _ => reader.unknown("engine.speculativeTokens", "the draft model's memory is not estimated"),
    }
}

/// With attention parallel over data, the data ranks are the tensor ranks.
fn finish(reader: &mut Reader<'_>) {
    reader.draft.out.spans_pods |= several_nodes(reader);
    if let Some(batch) = reader.kept.get("--cuda-graph-bs").and_then(|sizes| most(sizes)) {
        reader.set("engine.graphBatch", &Value::from(batch));
    }
    if let Some(ranks) = reader.kept.get("--data-parallel-size").cloned() {
        if reader.on("--enable-dp-attention") {
            match ranks.trim().parse::<u64>() {
                Ok(ranks @ 1..=65_536) => reader.draft.out.engine.attention_data = ranks,
                _ => reader.unknown("parallelism.data", "the ranks of data-parallel attention are not known"),
            }
        } else {
            reader.set("parallelism.data", &Value::from(ranks));
        }
    }
    if reader.on("--enable-lora") {
        let slots = reader.kept.get("--max-loras-per-batch").map_or(Value::from(8), |text| Value::from(text.as_str()));
        reader.set("engine.maxLoras", &slots);
    }
}
