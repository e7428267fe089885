//! llama.cpp's server: `llama-server`, with variables `LLAMA_ARG_*`.

use serde_json::Value;

use super::table::{Effect, Flag, ImageRule, Program, Reader, flag};
use super::values::{kv_dtype, slots};
use crate::spec::fields::QUANTIZATIONS;
use crate::spec::numbers::shown;

/// Quantization that `-hf user/model` loads when none is named.
const DEFAULT_QUANTIZATION: &str = "q4_k_m";

const FLAGS: &[Flag] = &[
    flag(&["--model", "-m"], Effect::Call(file)),
    flag(&["--hf-repo", "-hf", "-hfr"], Effect::Call(repository)),
    flag(&["--hf-file", "-hff"], Effect::Call(quantization_of)),
    flag(&["--model-url", "-mu"], Effect::Call(file)),
    flag(&["--ctx-size", "-c"], Effect::Map("contextLength", context)),
    flag(&["--parallel", "-np"], Effect::Call(slots)),
    flag(&["--cache-type-k", "-ctk"], Effect::Map("kvCacheDtype", kv_dtype)),
    flag(&["--cache-type-v", "-ctv"], Effect::Keep),
    flag(&["--gpu-layers", "--n-gpu-layers", "-ngl"], Effect::Map("engine.gpuLayers", gpu_layers)),
    flag(&["--ubatch-size", "-ub"], Effect::Set("engine.ubatch")),
    flag(&["--fit", "-fit"], Effect::Map("engine.fit", on_off)),
    flag(&["--swa-full"], Effect::Switch("engine.fullWindowCache")),
    flag(&["--model-draft", "-md"], Effect::Unread("the draft model's memory is not estimated")),
    flag(&["--mmproj", "-mm"], Effect::Unread("the projector's memory is not estimated")),
    flag(&["--lora"], Effect::Unread("adapters are not estimated")),
    flag(
        &["--override-tensor", "-ot", "--n-cpu-moe", "-ncmoe", "--device", "-dev"],
        Effect::Call(|reader, _| on_host(reader)),
    ),
    flag(&["--cpu-moe", "-cmoe", "--no-kv-offload", "-nkvo"], Effect::KeepSwitch),
    flag(&["--rpc"], Effect::Unread("other hosts take part of the model")),
    flag(
        &["--host", "--port", "--threads", "-t", "--batch-size", "-b", "--split-mode", "-sm", "--alias", "-a"],
        Effect::Skip,
    ),
    flag(
        &[
            "--tensor-split",
            "-ts",
            "--main-gpu",
            "-mg",
            "--flash-attn",
            "-fa",
            "--chat-template",
            "--fit-target",
            "-fitt",
            "--fit-ctx",
            "-fitc",
        ],
        Effect::Skip,
    ),
];

const ENV: &[Flag] = &[
    flag(&["LLAMA_ARG_MODEL"], Effect::Call(file)),
    flag(&["LLAMA_ARG_HF_REPO"], Effect::Call(repository)),
    flag(&["LLAMA_ARG_CTX_SIZE"], Effect::Map("contextLength", context)),
    flag(&["LLAMA_ARG_N_PARALLEL"], Effect::Call(slots)),
    flag(&["LLAMA_ARG_HF_FILE"], Effect::Call(quantization_of)),
    flag(&["LLAMA_ARG_MODEL_URL"], Effect::Call(file)),
    flag(&["LLAMA_ARG_N_GPU_LAYERS"], Effect::Map("engine.gpuLayers", gpu_layers)),
    flag(&["LLAMA_ARG_CACHE_TYPE_K"], Effect::Map("kvCacheDtype", kv_dtype)),
    flag(&["LLAMA_ARG_UBATCH"], Effect::Set("engine.ubatch")),
    flag(&["LLAMA_ARG_FIT"], Effect::Map("engine.fit", on_off)),
    flag(&["LLAMA_ARG_SWA_FULL"], Effect::Set("engine.fullWindowCache")),
    flag(&["LLAMA_ARG_MMPROJ"], Effect::Unread("the projector's memory is not estimated")),
    flag(
        &[
            "LLAMA_ARG_OVERRIDE_TENSOR",
            "LLAMA_ARG_CPU_MOE",
            "LLAMA_ARG_N_CPU_MOE",
            "LLAMA_ARG_NO_KV_OFFLOAD",
            "LLAMA_ARG_DEVICE",
        ],
        Effect::Call(|reader, _| on_host(reader)),
    ),
];

/// The server.
pub(super) const PROGRAM: Program = Program {
    name: "llamacpp",
    trains: false,
    starts: &[&["llama-server"]],
    positional: None,
    flags: FLAGS,
    wraps: None,
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
    finish: |reader| {
        if reader.on("--cpu-moe") {
            on_host(reader);
        }
    },
};

/// The server of llama-cpp-python, with defaults of its own: nothing on the GPU, 2048 tokens.
pub(super) const PYTHON: Program = Program {
    starts: &[&["-m", "llama_cpp.server"]],
    flags: &[
        flag(&["--model"], Effect::Call(file)),
        flag(&["--hf-model-repo-id"], Effect::Call(repository)),
        flag(&["--n-ctx"], Effect::Map("contextLength", context)),
        flag(&["--n-gpu-layers"], Effect::Map("engine.gpuLayers", python_layers)),
        flag(&["--n-ubatch"], Effect::Set("engine.ubatch")),
        flag(&["--type-k"], Effect::Unread("the cache's number format is given as a number")),
        flag(&["--clip-model-path"], Effect::Unread("the projector's memory is not estimated")),
        flag(&["--host", "--port", "--chat-format", "--n-batch", "--n-threads", "--model-alias"], Effect::Skip),
    ],
    switches: &[],
    env: &[
        flag(&["MODEL"], Effect::Call(file)),
        flag(&["N_CTX"], Effect::Map("contextLength", context)),
        flag(&["N_GPU_LAYERS"], Effect::Map("engine.gpuLayers", python_layers)),
    ],
    images: &[ImageRule { repository: "abetlen/llama-cpp-python", entrypoint: true, versioned: false }],
    finish: |reader| {
        reader.usually("engine.gpuLayers", 0);
        reader.usually("contextLength", 2048);
    },
    ..PROGRAM
};

/// -1 is every layer.
#[expect(clippy::unnecessary_wraps, reason = "the tables hold translations that may fail")]
fn python_layers(text: &str) -> Result<Value, String> {
    Ok(if text.trim() == "-1" { Value::from(999) } else { Value::from(text.trim()) })
}

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

/// Part of the weights or of the cache stays on the host.
fn on_host(reader: &mut Reader<'_>) {
    reader.doubt("engine.cpuOffload", "part of the weights or of the cache stays on the host");
}

fn on_off(text: &str) -> Result<Value, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "on" | "1" | "true" | "enabled" => Ok(Value::from(true)),
        "off" | "0" | "false" | "disabled" => Ok(Value::from(false)),
        _ => Err(format!("`{}` is neither on nor off", shown(text))),
    }
}

/// `auto` and -1 let the server choose.
#[expect(clippy::unnecessary_wraps, reason = "the tables hold translations that may fail")]
fn gpu_layers(text: &str) -> Result<Value, String> {
    Ok(if matches!(text.trim(), "auto" | "-1") { Value::Null } else { Value::from(text.trim()) })
}
