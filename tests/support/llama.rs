//! LLaMA-2 7B in the roles that the tests know it in, and nodes to hold it against.

use crate::gpu_nodes::{Node, a10_node, a100_80gb_node, l40s_node, t4_node};
use crate::workloads::{Pod, pod};

/// The model's name on the hub.
pub(crate) const LLAMA: &str = "meta-llama/Llama-2-7b-hf";

/// The annotation that holds a declaration.
pub(crate) const SPEC: &str = "vramguard.io/spec";

/// Full fine-tuning at micro-batch 4 of 4096 tokens in mixed precision, on one GPU and without sharding: 128 GiB by the
/// reference formula.
pub(crate) fn training(name: &str) -> Pod {
    let spec = format!(
        "{{task: training, model: {LLAMA}, batchSize: 4, contextLength: 4096, training: {{precision: mixed-bf16, sharding: none}}}}"
    );
    pod(name).gpus(1).annotation(SPEC, &spec)
}

/// The same with parameters, gradients and optimizer states spread over the four GPUs of one pod.
pub(crate) fn sharded_training(name: &str) -> Pod {
    let spec = format!(
        "{{task: training, model: {LLAMA}, batchSize: 4, contextLength: 4096, parallelism: {{data: 4}}, \
         training: {{precision: mixed-bf16, sharding: zero3}}}}"
    );
    pod(name).gpus(4).annotation(SPEC, &spec)
}

/// Serving 4 sequences of 4096 tokens in half precision by a server that nobody named, so one that allocates up front:
/// 20.6 GiB by the reference formula.
pub(crate) fn serving(name: &str) -> Pod {
    let spec = format!("{{task: inference, model: {LLAMA}, dtype: fp16, batchSize: 4, contextLength: 4096}}");
    pod(name).gpus(1).annotation(SPEC, &spec)
}

/// The same model under vLLM with 64 requests at once, which wait for one another where memory is short.
pub(crate) fn vllm(name: &str) -> Pod {
    pod(name)
        .gpus(1)
        .image("vllm/vllm-openai:v0.19.0")
        .args(&["--model", LLAMA, "--max-model-len", "4096"])
        .annotation("vramguard.io/batch-size", "64")
}

/// The label by which pods here choose a GPU.
pub(crate) const PRODUCT: &str = "nvidia.com/gpu.product";
/// NVIDIA A100 with 80 GB.
pub(crate) const A100: &str = "NVIDIA-A100-SXM4-80GB";
/// NVIDIA T4, 15 GiB.
pub(crate) const T4: &str = "Tesla-T4";
/// NVIDIA A10, 22.5 GiB.
pub(crate) const A10: &str = "NVIDIA-A10";
/// NVIDIA L40S, 45 GiB.
pub(crate) const L40S: &str = "NVIDIA-L40S";

/// One node of each product, the A100 with four GPUs.
pub(crate) fn zoo() -> [Node; 4] {
    [a100_80gb_node("a100", 4), t4_node("t4", 1), a10_node("a10", 1), l40s_node("l40s", 1)]
}
