//! Servers that run vLLM inside: KServe's Hugging Face runtime, NVIDIA NIM, DJL-LMI (SageMaker) and RunPod's worker.
//!
//! What they decide by themselves (a profile, another backend) is a doubt.

use serde_json::Value;

use super::table::{Effect, Flag, ImageRule, Program, Reader, flag};
use super::values::{gib, graph_batch, human_int, kv_dtype, model_dtype, quantization};
use super::vllm;

/// Words that stand for vLLM as a backend.
const VLLM: &[&str] = &["", "auto", "vllm", "lmi-dist", "none"];

/// KServe's `huggingfaceserver`: its own flags, every other one goes to vLLM.
pub(super) const KSERVE: Program = Program {
    starts: &[&["-m", "huggingfaceserver"], &["huggingfaceserver"]],
    positional: None,
    flags: &[
        flag(&["--model-id"], Effect::Set("model")),
        flag(&["--model-dir"], Effect::Keep),
        flag(&["--backend"], Effect::Call(backend)),
        flag(
            &["--model-name", "--model-revision", "--http-port", "--grpc-port", "--workers", "--max-length"],
            Effect::Skip,
        ),
    ],
    env: vllm::ENV,
    images: &[ImageRule { repository: "kserve/huggingfaceserver", entrypoint: true, versioned: false }],
    finish: |reader| {
        if let Some(path) = reader.kept.get("--model-dir").cloned().filter(|_| reader.draft.is_free("model")) {
            reader.set("model", &Value::from(path));
        }
        vllm::finish(reader);
    },
    ..WRAPPER
};

/// NVIDIA NIM: the image names the model, a profile chosen for the GPU its precision and parallelism.
pub(super) const NIM: Program = Program {
    starts: &[&["/opt/nim/start_server.sh"], &["nim-serve"]],
    env: &[
        flag(&["NIM_PASSTHROUGH_ARGS"], Effect::Call(more)),
        flag(
            &["NIM_MODEL_NAME", "NIM_MODEL_PATH"],
            Effect::Call(|reader, path| {
                reader.set("model", &Value::from(path.strip_prefix("hf://").unwrap_or(path)));
            }),
        ),
        flag(&["NIM_MAX_MODEL_LEN"], Effect::Map("contextLength", human_int)),
        flag(&["NIM_TENSOR_PARALLEL_SIZE"], Effect::Set("parallelism.tensor")),
        flag(&["NIM_PIPELINE_PARALLEL_SIZE"], Effect::Set("parallelism.pipeline")),
        flag(&["NIM_KV_CACHE_PERCENT", "NIM_KVCACHE_PERCENT"], Effect::Set("engine.memoryFraction")),
        flag(&["NIM_DISABLE_CUDA_GRAPH"], Effect::Set("engine.enforceEager")),
        flag(
            &["NIM_NUM_COMPUTE_NODES"],
            Effect::Call(|reader, nodes| {
                reader.draft.out.spans_pods |= nodes.trim() != "1";
            }),
        ),
        flag(&["NIM_PEFT_SOURCE"], Effect::Unread("adapters are not estimated")),
    ],
    images: &[ImageRule { repository: "nim/*/*", entrypoint: true, versioned: false }],
    finish: |reader| {
        let name = reader.image.rsplitn(3, '/').take(2).collect::<Vec<_>>();
        if let [model, organization] = name.as_slice() {
            let value = Value::from(format!("{organization}/{model}"));
            reader.default("model", &value);
        }
        "NIM".clone_into(&mut reader.location);
        for path in ["quantization", "parallelism.tensor"] {
            if reader.draft.is_free(path) {
                reader.unknown(path, "the container chooses a profile for its GPUs");
            }
        }
        reader.doubt("arguments", "which engine the container runs is in its profile, which is not seen here");
    },
    ..WRAPPER
};

/// DJL-LMI, as on SageMaker: `OPTION_*` variables.
pub(super) const DJL: Program = Program {
    starts: &[&["djl-serving"]],
    env: &[
        flag(&["HF_MODEL_ID", "OPTION_MODEL_ID"], Effect::Set("model")),
        flag(&["OPTION_TENSOR_PARALLEL_DEGREE", "TENSOR_PARALLEL_DEGREE"], Effect::Call(degree)),
        flag(&["OPTION_PIPELINE_PARALLEL_DEGREE"], Effect::Set("parallelism.pipeline")),
        flag(&["OPTION_MAX_MODEL_LEN"], Effect::Map("contextLength", human_int)),
        flag(&["OPTION_GPU_MEMORY_UTILIZATION"], Effect::Set("engine.memoryFraction")),
        flag(&["OPTION_MAX_ROLLING_BATCH_SIZE", "OPTION_MAX_NUM_SEQS"], Effect::Set("engine.maxNumSeqs")),
        flag(
            &["OPTION_MAX_ROLLING_BATCH_PREFILL_TOKENS", "OPTION_MAX_NUM_BATCHED_TOKENS"],
            Effect::Set("engine.maxNumBatchedTokens"),
        ),
        flag(&["OPTION_QUANTIZE"], Effect::Map("quantization", quantization)),
        flag(&["OPTION_DTYPE"], Effect::Map("dtype", model_dtype)),
        flag(&["OPTION_KV_CACHE_DTYPE"], Effect::Map("kvCacheDtype", kv_dtype)),
        flag(&["OPTION_ENFORCE_EAGER"], Effect::Set("engine.enforceEager")),
        flag(&["OPTION_ROLLING_BATCH"], Effect::Call(backend)),
        flag(&["OPTION_ENABLE_LORA", "OPTION_SPECULATIVE_DRAFT_MODEL"], Effect::Unread("its memory is not estimated")),
    ],
    images: &[
        ImageRule { repository: "djl-serving", entrypoint: true, versioned: false },
        ImageRule { repository: "djl-inference", entrypoint: true, versioned: false },
    ],
    finish: every_gpu,
    ..WRAPPER
};

/// RunPod's worker: vLLM's flags as upper-case variables.
pub(super) const RUNPOD: Program = Program {
    starts: &[&["python3", "/src/handler.py"]],
    env: &[
        flag(&["MODEL_NAME"], Effect::Set("model")),
        flag(&["TENSOR_PARALLEL_SIZE"], Effect::Set("parallelism.tensor")),
        flag(&["PIPELINE_PARALLEL_SIZE"], Effect::Set("parallelism.pipeline")),
        flag(&["MAX_MODEL_LEN"], Effect::Map("contextLength", human_int)),
        flag(&["GPU_MEMORY_UTILIZATION"], Effect::Set("engine.memoryFraction")),
        flag(&["MAX_NUM_SEQS"], Effect::Set("engine.maxNumSeqs")),
        flag(&["MAX_NUM_BATCHED_TOKENS"], Effect::Set("engine.maxNumBatchedTokens")),
        flag(&["BLOCK_SIZE"], Effect::Set("engine.blockSize")),
        flag(&["QUANTIZATION"], Effect::Map("quantization", quantization)),
        flag(&["DTYPE"], Effect::Map("dtype", model_dtype)),
        flag(&["KV_CACHE_DTYPE"], Effect::Map("kvCacheDtype", kv_dtype)),
        flag(&["ENFORCE_EAGER"], Effect::Set("engine.enforceEager")),
        flag(&["MAX_CUDAGRAPH_CAPTURE_SIZE"], Effect::Map("engine.graphBatch", graph_batch)),
        flag(&["CPU_OFFLOAD_GB"], Effect::Map("engine.cpuOffload", gib)),
        flag(&["ENABLE_LORA"], Effect::Unread("adapters are not estimated")),
        flag(&["SPECULATIVE_CONFIG", "SPECULATIVE_MODEL"], Effect::Unread("its memory is not estimated")),
    ],
    images: &[
        ImageRule { repository: "runpod/worker-v1-vllm", entrypoint: true, versioned: false },
        ImageRule { repository: "runpod/worker-vllm", entrypoint: true, versioned: false },
    ],
    finish: |reader| {
        // The worker's own defaults.
        reader.default("engine.memoryFraction", &Value::from(0.95));
        reader.default("engine.maxNumSeqs", &Value::from(256));
        every_gpu(reader);
    },
    ..WRAPPER
};

/// What all of them share.
const WRAPPER: Program = Program {
    name: "vllm",
    trains: false,
    starts: &[],
    positional: None,
    flags: &[],
    wraps: Some(&vllm::PROGRAM),
    switches: &[],
    env: NOTHING,
    images: &[],
    finish: |_| {},
};
const NOTHING: &[Flag] = &[];

/// Further arguments of the engine.
fn more(reader: &mut Reader<'_>, text: &str) {
    reader.more(text);
}

fn backend(reader: &mut Reader<'_>, text: &str) {
    if !VLLM.contains(&text.trim().to_ascii_lowercase().as_str()) {
        reader.doubt("arguments", "this backend is not vLLM, which is estimated");
    }
}

/// `max` takes every GPU.
fn degree(reader: &mut Reader<'_>, text: &str) {
    if text.trim() != "max" {
        reader.set("parallelism.tensor", &Value::from(text));
    }
}

/// Every GPU of the container, unless told otherwise.
fn every_gpu(reader: &mut Reader<'_>) {
    if let Some(gpus) = reader.draft.out.gpus.as_ref().map(|request| request.count) {
        reader.default("parallelism.tensor", &Value::from(gpus));
    }
}
