//! llama.cpp's server: `llama-server`, with variables `LLAMA_ARG_*`.

use serde_json::Value;

use super::table::{Effect, Flag, ImageRule, Program, Reader, flag};
use super::values::kv_dtype;
use crate::spec::fields::QUANTIZATIONS;

/// As many layers are written to mean all.
const MANY_LAYERS: u64 = 99;
/// Quantization that `-hf user/model` loads when none is named.
const DEFAULT_QUANTIZATION: &str = "q4_k_m";

const FLAGS: &[Flag] = &[
    flag(&["--model", "-m"], Effect::Call(file)),
    flag(&["--hf-repo", "-hf", "-hfr"], Effect::Call(repository)),
    flag(&["--hf-file", "-hff"], Effect::Call(quantization_of)),
    flag(&["--model-url", "-mu"], Effect::Call(file)),
    flag(&["--ctx-size", "-c"], Effect::Map("contextLength", context)),
    flag(&["--parallel", "-np"], Effect::Map("batchSize", slots)),
    flag(&["--cache-type-k", "-ctk"], Effect::Map("kvCacheDtype", kv_dtype)),
    flag(&["--cache-type-v", "-ctv"], Effect::Keep),
    flag(&["--gpu-layers", "--n-gpu-layers", "-ngl"], Effect::Call(gpu_layers)),
    flag(&["--ubatch-size", "-ub"], Effect::Set("engine.maxNumBatchedTokens")),
    flag(
        &["--fit"],
        Effect::Call(|reader, text| reader.draft.out.engine.fit = Some(!matches!(text.trim(), "off" | "0" | "false"))),
    ),
    flag(&["--swa-full"], Effect::KeepSwitch),
    flag(&["--model-draft", "-md"], Effect::Unread("the draft model's memory is not estimated")),
    flag(&["--mmproj", "-mm"], Effect::Unread("the projector's memory is not estimated")),
    flag(&["--lora"], Effect::Unread("adapters are not estimated")),
    flag(
        &["--override-tensor", "-ot", "--n-cpu-moe", "-ncmoe"],
        Effect::Call(|r, _| r.unknown("engine.cpuOffload", "weights stay on the host")),
    ),
    flag(
        &["--cpu-moe", "-cmoe", "--no-kv-offload", "-nkvo"],
        Effect::UnreadSwitch("part of the memory stays on the host"),
    ),
    flag(
        &["--host", "--port", "--threads", "-t", "--batch-size", "-b", "--split-mode", "-sm", "--alias", "-a"],
        Effect::Skip,
    ),
    flag(&["--tensor-split", "-ts", "--main-gpu", "-mg", "--flash-attn", "-fa", "--chat-template"], Effect::Skip),
];

const ENV: &[Flag] = &[
    flag(&["LLAMA_ARG_MODEL"], Effect::Call(file)),
    flag(&["LLAMA_ARG_HF_REPO"], Effect::Call(repository)),
    flag(&["LLAMA_ARG_CTX_SIZE"], Effect::Map("contextLength", context)),
    flag(&["LLAMA_ARG_N_PARALLEL"], Effect::Map("batchSize", slots)),
    flag(&["LLAMA_ARG_N_GPU_LAYERS"], Effect::Call(gpu_layers)),
    flag(&["LLAMA_ARG_CACHE_TYPE_K"], Effect::Map("kvCacheDtype", kv_dtype)),
];

/// The server.
pub(super) const PROGRAM: Program = Program {
    name: "llamacpp",
    trains: false,
    starts: &[&["llama-server"]],
    positional: None,
    flags: FLAGS,
    switches: &[
        "--jinja",
        "--metrics",
        "--mlock",
        "--no-mmap",
        "--kv-unified",
        "-kvu",
        "--embeddings",
        "--no-webui",
        "--slots",
    ],
    env: ENV,
    images: &[
        ImageRule { repository: "ggml-org/llama.cpp", entrypoint: true, versioned: false },
        ImageRule { repository: "ggerganov/llama.cpp", entrypoint: true, versioned: false },
        ImageRule { repository: "llama.cpp", entrypoint: true, versioned: false },
    ],
    finish: |reader| reader.draft.out.engine.full_window_cache |= reader.on("--swa-full"),
};

fn file(reader: &mut Reader<'_>, path: &str) {
    reader.set("model", &Value::from(path));
    quantization_of(reader, path);
}

/// `user/model[:quantization]`.
fn repository(reader: &mut Reader<'_>, text: &str) {
    let (name, quantization) = text.split_once(':').unwrap_or((text, DEFAULT_QUANTIZATION));
    reader.set("model", &Value::from(name));
    reader.set("quantization", &Value::from(quantization.to_ascii_lowercase()));
}

/// `model.Q4_K_M.gguf`, `model-Q4_K_M-00001-of-00002.gguf`: the file type is by convention part of the name.
fn quantization_of(reader: &mut Reader<'_>, path: &str) {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let mut parts = name.split(['.', '-']);
    if let Some(found) = parts.rfind(|part| part.contains('_') && QUANTIZATIONS.contains(part)) {
        reader.set("quantization", &Value::from(found));
    }
}

/// 0 takes the model's own length.
#[expect(clippy::unnecessary_wraps, reason = "the tables hold translations that may fail")]
fn context(text: &str) -> Result<Value, String> {
    Ok(if text.trim() == "0" { Value::Null } else { Value::from(text) })
}

/// -1 lets the server choose.
#[expect(clippy::unnecessary_wraps, reason = "the tables hold translations that may fail")]
fn slots(text: &str) -> Result<Value, String> {
    Ok(if text.trim() == "-1" { Value::Null } else { Value::from(text) })
}

/// So many layers; a flag beats the variable. Numbers that only mean all are often written beside other ways to keep
/// weights on the host, so they fix nothing.
fn gpu_layers(reader: &mut Reader<'_>, text: &str) {
    if reader.draft.out.engine.gpu_layers.is_some() {
        return;
    }
    reader.draft.out.engine.gpu_layers = match (text.trim(), text.trim().parse::<u64>()) {
        ("auto" | "all" | "-1", _) => return,
        (_, Ok(layers)) if layers >= MANY_LAYERS => return,
        (_, Ok(layers)) => Some(layers),
        _ => return reader.unknown("engine.cpuOffload", "layers beyond these stay on the host"),
    };
}
