//! Why an engine would not start, or a workload is refused: stable reason codes, part of the machine interface.

use schemars::JsonSchema;
use serde::Serialize;

/// A reason for which an engine would refuse to start although bytes might suffice. Stable code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Refusal {
    /// Code, e.g. `KV_BELOW_ONE_REQUEST`.
    pub code: &'static str,
    /// One sentence: what is needed and what there is.
    pub message: String,
}

/// Every reason code with its meaning, in alphabetical order: docs are generated from it.
pub const REASONS: &[(&str, &str)] = &[
    ("BATCHED_TOKENS_TOO_FEW", "one step holds fewer tokens than a whole prompt or all sequences need"),
    ("CAPABILITY_UNSUPPORTED", "the engine does not run on GPUs of this compute capability"),
    ("CONTEXT_BEYOND_MODEL", "the context exceeds the model's own maximum, which the engine checks"),
    ("DTYPE_UNSUPPORTED", "the GPU has no arithmetic for the number format that was asked for"),
    ("GPUS_BELOW_TENSOR_PARALLEL", "the container requests fewer GPUs than one replica's tensor-parallel ranks"),
    ("GROUPS_NOT_DIVIDED", "tensor parallelism cuts through the quantization's groups or blocks"),
    ("HEADS_NOT_DIVIDED", "tensor parallelism does not divide the attention heads"),
    ("KV_BELOW_ONE_REQUEST", "the cache that is left does not hold one request of the longest context"),
    ("KV_HEADS_NOT_DIVIDED", "tensor parallelism neither divides the key/value heads nor is a multiple of them"),
    ("KV_POOL_EMPTY", "nothing is left for the cache after loading"),
    ("POOL_BELOW_CONTEXT", "the pool's size in tokens was set below the longest request"),
    ("QUANTIZATION_UNSUPPORTED", "the engine has no kernel for the quantization on this GPU"),
    ("SEQUENCES_EXCEED_STATES", "more sequences are scheduled at once than there are blocks for recurrent states"),
    ("STAGES_EXCEED_LAYERS", "there are more pipeline stages than layers"),
    ("VOCABULARY_NOT_DIVIDED", "tensor parallelism does not divide the padded vocabulary"),
    ("WARMUP_EXCEEDS_DEVICE", "the warm-up's prefill does not fit beside the weights"),
    ("WEIGHTS_EXCEED_DEVICE", "the weights alone exceed what the device offers"),
    ("WIDTH_NOT_DIVIDED", "tensor parallelism does not divide the feed-forward width"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_every_code_that_engines_give_is_documented() {
        assert!(REASONS.is_sorted_by_key(|(code, _)| *code));
        for source in [
            include_str!("serving/vllm/refusals.rs"),
            include_str!("serving/sglang/mod.rs"),
            include_str!("serving/llamacpp/mod.rs"),
            include_str!("serving/tgi.rs"),
            include_str!("serving/trtllm.rs"),
            include_str!("serving/startup.rs"),
            include_str!("parallel.rs"),
        ] {
            for code in source.split("code: \"").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(REASONS.iter().any(|(known, _)| *known == code), "{code} is not documented");
            }
        }
    }
}
