//! vLLM's constants by version: one row a change. Adding a version is adding a row.

use crate::estimate::workload::Version;

/// How a version sizes things. A row holds from its version until the next row's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    /// First version of the row.
    pub since: Version,
    /// Default of `--gpu-memory-utilization`.
    pub memory_fraction: f64,
    /// Bytes that the sampler's profile run holds per logit, beside the logit itself in the model's format: lowest,
    /// usual and highest seen (a cold compile cache raises recent versions).
    pub sampler: [f64; 3],
    /// Contexts up to this length are prefilled in one step: the profile run has as many tokens.
    pub unchunked: u64,
    /// Growth of memory outside torch on one GPU, GiB: lowest, usual, highest seen.
    pub outside: [f64; 3],
    /// An estimate of CUDA graph memory is subtracted from the budget.
    pub graphs_in_budget: bool,
    /// "GPU KV cache size" is concurrency × context (else blocks / groups × block size).
    pub tokens_by_concurrency: bool,
    /// Pages that one request holds per recurrent group (2 where prefix caching keeps an aligned copy).
    pub state_pages: u64,
    /// Runs that the row was fitted on.
    pub source: &'static str,
}

const fn v(minor: u16) -> Version {
    Version([0, minor, 0])
}

/// What holds from the last change on.
const NEWEST: Rules = Rules {
    since: v(26),
    memory_fraction: 0.92,
    sampler: [2.5, 7.0, 16.0],
    unchunked: 0,
    outside: [0.02, 0.25, 0.6],
    graphs_in_budget: true,
    tokens_by_concurrency: true,
    state_pages: 2,
    source: "logs of 0.26 to 0.29: Llama-3.1-8B on 80 GB (1.21 GiB without graphs), Qwen2.5-3B (0.22 warm, 0.67 cold)",
};

/// Oldest first.
pub const RULES: [Rules; 6] = [
    Rules {
        since: v(0),
        memory_fraction: 0.9,
        sampler: [3.0, 5.0, 8.0],
        unchunked: 32_768,
        outside: [0.0, 0.12, 1.8],
        graphs_in_budget: false,
        tokens_by_concurrency: false,
        state_pages: 1,
        source: "V0 logs of 0.6 and 0.7: Llama-3.1-8B on A10G (0.22 GiB) and RTX 3090 (2.07 GiB at 20,000 tokens)",
    },
    Rules {
        since: v(8),
        memory_fraction: 0.9,
        sampler: [6.0, 9.0, 26.0],
        unchunked: 0,
        outside: [0.0, 0.1, 0.3],
        graphs_in_budget: false,
        tokens_by_concurrency: false,
        state_pages: 1,
        source: "V1 logs of 0.10: Qwen3-0.6B on A100 (0.4 GiB at 256 sequences); Qwen2.5-7B-AWQ (1.04 GiB) bounds it",
    },
    Rules {
        since: v(11),
        memory_fraction: 0.9,
        sampler: [22.0, 36.1, 40.0],
        unchunked: 0,
        outside: [0.0, 0.06, 0.3],
        graphs_in_budget: false,
        tokens_by_concurrency: false,
        state_pages: 1,
        source: "0.11 Qwen3-8B-FP8 on RTX 4090 (1.40 GiB at 256), 0.15 and 0.16 Qwen3-14B on H100 (5.64 GiB at 1024)",
    },
    Rules {
        since: v(17),
        memory_fraction: 0.9,
        sampler: [10.5, 12.55, 14.0],
        unchunked: 0,
        outside: [0.1, 0.25, 0.5],
        graphs_in_budget: false,
        tokens_by_concurrency: false,
        state_pages: 2,
        source: "llm-d-planner PR 205: 0.19.0 on H100, 8 dense models with vocabularies of 49k to 256k",
    },
    Rules {
        since: v(21),
        memory_fraction: 0.9,
        sampler: [5.0, 12.55, 16.0],
        unchunked: 0,
        outside: [0.1, 0.25, 0.5],
        graphs_in_budget: true,
        tokens_by_concurrency: false,
        state_pages: 2,
        source: "release notes and logs of 0.21 to 0.25: graph estimate inside the budget",
    },
    NEWEST,
];

/// The rows that may be in force: one for a known version, the recent ones (0.8 and later) otherwise.
#[must_use]
pub fn candidates(version: Option<Version>) -> &'static [Rules] {
    let Some(version) = version else { return RULES.get(1..).unwrap_or(&RULES) };
    let index = RULES.iter().rposition(|rules| rules.since <= version).unwrap_or(0);
    RULES.get(index..=index).unwrap_or(&RULES)
}

/// The row that an estimate is made with: the version's own, the newest where it is unknown.
#[must_use]
pub fn likely(version: Option<Version>) -> &'static Rules {
    candidates(version).last().unwrap_or(&NEWEST)
}

/// The version that unversioned figures stand for.
pub const CONSTANTS: &str = "vllm-2026.11";

/// Memory from which vLLM uses its large defaults, and the product that is exempt from them.
const LARGE_GPU_GIB: f64 = 70.0;
const EXEMPT_PRODUCT: &str = "A100";

/// Scheduler defaults that depend on the device (`EngineArgs.get_batch_defaults`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchDefaults {
    /// `--max-num-batched-tokens` of the API server.
    pub tokens: u64,
    /// `--max-num-seqs`.
    pub sequences: u64,
}

/// The scheduler's defaults on a device.
#[must_use]
pub fn batch_defaults(device: &crate::estimate::Device) -> BatchDefaults {
    if device.visible.gib() >= LARGE_GPU_GIB && !device.product.contains(EXEMPT_PRODUCT) {
        BatchDefaults { tokens: 8192, sequences: 1024 }
    } else {
        BatchDefaults { tokens: 2048, sequences: 256 }
    }
}

/// Growth of memory outside torch, GiB: lowest, usual, highest seen. Stages of a pipeline, two linked ranks, more of
/// them, ranks over PCIe.
pub const PIPELINE: [f64; 3] = [0.02, 0.07, 0.6];
/// See [`PIPELINE`].
pub const LINKED_PAIR: [f64; 3] = [0.4, 2.07, 2.3];
/// See [`PIPELINE`].
pub const LINKED: [f64; 3] = [0.4, 2.17, 2.5];
/// See [`PIPELINE`].
pub const UNLINKED: [f64; 3] = [0.1, 0.5, 2.2];
/// The graph estimate that recent versions subtract, GiB: lowest, usual, highest.
pub const GRAPHS: [f64; 3] = [0.04, 0.4, 1.5];

/// Growth of memory outside torch between start-up snapshot and profile, GiB: low, likely, high.
#[must_use]
pub fn non_torch(rules: &Rules, tensor: u64, pipeline: u64, device: &crate::estimate::Device) -> [f64; 3] {
    // Cards with NVLink get symmetric-memory and all-reduce workspaces; PCIe cards only NCCL's channels.
    let linked = ["SXM", "HBM3", "H200", "B200", "B300", "GB200", "GB300", "NVL"];
    let linked = linked.iter().any(|name| device.product.contains(name));
    match (tensor, pipeline, linked) {
        (1, 1, _) => rules.outside,
        (1, _, _) => PIPELINE,
        (2, _, true) => LINKED_PAIR,
        (_, _, true) => LINKED,
        (_, _, false) => UNLINKED,
    }
}
