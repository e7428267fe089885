//! vLLM's constants by version: one row a change. Adding a version is adding a row.
//!
//! Version boundaries were read in the source of the releases (paths in the rows' `source`); figures in GiB are fitted
//! to logs.

use crate::estimate::workload::Version;

/// The scheduler's defaults: tokens of a step and sequences at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// Contexts up to 32,768 tokens are prefilled in one step, longer ones in chunks of so many tokens.
    WholePrompts(u64),
    /// The large defaults on products named H100 or H200, 1024 sequences on all.
    ByName,
    /// The large defaults from 70 GiB on.
    ByMemory,
    /// As before, but not on A100.
    ButA100,
    /// As before, and larger ones from 160 GiB on.
    Largest,
}

/// What of the memory outside torch counts as the engine's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Growth since before communicators were set up.
    WithCommunicators,
    /// Everything that is in use on the device, the process's own context included.
    All,
    /// Growth since after communicators were set up.
    Growth,
}

/// Models whose profile run samples without top-k and top-p (the newer model runner), next to nothing beside the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lean {
    /// None.
    Never,
    /// Those without mixtures and recurrent layers.
    Dense,
    /// All.
    All,
}

/// How latent attention is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Latent {
    /// As keys and values of all heads.
    Expanded,
    /// Entries aligned to 256 bytes.
    Aligned,
    /// As it is, that of sparse attention packed with its scales where 8 bit is asked for.
    Plain {
        /// Packed also where nothing is asked for.
        packed_by_default: bool,
        /// The kernels of Blackwell's datacenter cards read plain 8 bit.
        blackwell_plain: bool,
    },
}

/// How start-up logs are worded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// `Loading model weights took`, `# GPU blocks`.
    Blocks,
    /// `Model loading took ... GiB`, `GPU KV cache size`.
    Tokens,
    /// And `Available KV cache memory`.
    Available,
    /// `... GiB memory`, as the next ones.
    Memory,
    /// Tokens and concurrency on one line.
    OneLine,
}

/// How a version sizes things. A row holds from its version until the next row's.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent properties of a version")]
pub struct Rules {
    /// First version of the row.
    pub since: Version,
    /// Default of `--gpu-memory-utilization`.
    pub memory_fraction: f64,
    /// Defaults of the scheduler.
    pub batch: Batch,
    /// Bytes that the sampler's profile run holds per logit, beside the logit itself in the model's format: lowest,
    /// usual and highest seen.
    pub sampler: [f64; 3],
    /// Models for which the sampler holds next to nothing.
    pub lean: Lean,
    /// Growth of memory outside torch on one GPU, GiB: lowest, usual, highest seen.
    pub outside: [f64; 3],
    /// The same for two and more ranks with NVLink, from Hopper on: symmetric memory and all-reduce workspaces.
    pub linked: [f64; 3],
    /// How far below and above the profile's formula peaks lie, as shares.
    pub slack: [f64; 2],
    /// What of the memory outside torch counts.
    pub counted: Counted,
    /// What compiling adds to the profile's peak, GiB: warm cache, usual, cold cache.
    pub compiling: [f64; 3],
    /// An estimate of CUDA graph memory is subtracted from the budget.
    pub graphs_in_budget: bool,
    /// "GPU KV cache size" is concurrency × context (else blocks / groups × block size).
    pub tokens_by_concurrency: bool,
    /// Prefixes of models with recurrent layers are cached where nothing is said.
    pub caches_states: bool,
    /// With full graphs every sequence of a step needs a block of recurrent states, or the server does not start.
    pub states_for_all: bool,
    /// Longest contexts whose index keys a sparse indexer has room to gather at once.
    pub indexed_contexts: u64,
    /// How latent attention is cached.
    pub latent: Latent,
    /// Layers with a window, where others have none, keep everything.
    pub whole_windows: bool,
    /// Wording of the log.
    pub log: Log,
    /// What the row rests on.
    pub source: &'static str,
}

const fn v(minor: u16, patch: u16) -> Version {
    Version([0, minor, patch])
}

/// Sorting the logits to apply top-k and top-p: values, 64-bit indices, probabilities and the sort's own buffers.
const SORT: [f64; 3] = [22.0, 36.1, 40.0];

/// V0, before memory was profiled through torch's own statistics: all that the allocator reserved counts.
const OLDEST: Rules = Rules {
    since: v(0, 0),
    memory_fraction: 0.9,
    batch: Batch::WholePrompts(512),
    sampler: [3.0, 36.1, 41.0],
    lean: Lean::Never,
    outside: [0.0, 0.3, 1.8],
    linked: [0.1, 0.6, 2.3],
    slack: [0.09, 0.07],
    counted: Counted::WithCommunicators,
    compiling: [0.0; 3],
    graphs_in_budget: false,
    tokens_by_concurrency: false,
    caches_states: false,
    states_for_all: false,
    indexed_contexts: 2,
    latent: Latent::Expanded,
    whole_windows: true,
    log: Log::Blocks,
    source: "0.6.2 worker.py (free memory before and after); Llama-2-7B on A100 (0.2.5), Llama-3.1-8B on RTX 3090",
};

/// V1 from 0.8 on.
const V1: Rules = Rules {
    since: v(8, 0),
    memory_fraction: 0.9,
    batch: Batch::ByName,
    sampler: [6.0, 9.0, 36.1],
    lean: Lean::Never,
    outside: [0.0, 0.1, 0.3],
    linked: [0.1, 0.6, 2.3],
    slack: [0.09, 0.07],
    counted: Counted::All,
    compiling: [0.0; 3],
    graphs_in_budget: false,
    tokens_by_concurrency: false,
    caches_states: false,
    states_for_all: false,
    indexed_contexts: 2,
    latent: Latent::Plain { packed_by_default: false, blackwell_plain: false },
    whole_windows: true,
    log: Log::Tokens,
    source: "0.8.0 gpu_worker.py: all memory in use outside torch counts; FlashInfer samples where it is installed",
};

/// 0.19.
const TRITON: Rules = Rules {
    since: v(17, 0),
    batch: Batch::ButA100,
    sampler: [11.5, 12.55, 13.5],
    outside: [0.1, 0.25, 0.5],
    linked: [1.5, 2.1, 2.4],
    slack: [0.05, 0.04],
    counted: Counted::Growth,
    caches_states: false,
    indexed_contexts: 40,
    latent: Latent::Plain { packed_by_default: false, blackwell_plain: true },
    whole_windows: false,
    log: Log::Memory,
    source: "llm-d-planner PR 205: 0.19.0 on H100, 8 dense models; 0.17.0 topk_topp_sampler.py: no sort any more",
    ..V1
};

/// 0.21.
const COUNTED_GRAPHS: Rules = Rules {
    since: v(21, 0),
    memory_fraction: 0.92,
    linked: [0.6, 1.8, 2.4],
    sampler: [1.0, 12.55, 16.0],
    graphs_in_budget: true,
    states_for_all: true,
    tokens_by_concurrency: true,
    source: "0.21.0 kv_cache_utils.py: tokens are concurrency × context; envs.py: FlashInfer samples by default, and \
             gpu_model_runner.py warms the other sampler up too",
    ..TRITON
};

/// What holds from the last change on.
const NEWEST: Rules = Rules {
    since: v(29, 0),
    batch: Batch::Largest,
    caches_states: true,
    sampler: [0.0, 12.55, 16.0],
    lean: Lean::All,
    outside: [0.1, 0.3, 0.8],
    compiling: [0.0, 0.1, 0.5],
    log: Log::OneLine,
    source: "0.29.0 config/vllm.py: the newer model runner for all models; Llama-3.1-8B on 80 GB (15.26 GiB consumed), \
             Qwen2.5-3B 4-bit (0.15 warm and 0.68 GiB cold beside the weights)",
    ..COUNTED_GRAPHS
};

/// Oldest first.
pub const RULES: [Rules; 19] = [
    OLDEST,
    Rules {
        since: v(6, 3),
        outside: [0.0, 0.12, 1.8],
        source: "0.6.4 worker.py: peak of torch and what is outside it; logs of 0.6",
        ..OLDEST
    },
    Rules {
        since: v(6, 6),
        batch: Batch::WholePrompts(2048),
        outside: [0.0, 0.06, 1.8],
        source: "0.6.6 config.py: chunks of 2048; logs of 0.7: Qwen2.5-7B 4-bit (1.42 GiB at 256 sequences), T4, A10G",
        ..OLDEST
    },
    Rules {
        since: v(7, 1),
        batch: Batch::WholePrompts(2048),
        outside: [0.0, 0.06, 1.8],
        latent: Latent::Plain { packed_by_default: false, blackwell_plain: false },
        source: "0.7.1 deepseek_v3.py: latents are cached as such",
        ..OLDEST
    },
    Rules {
        since: v(7, 2),
        batch: Batch::WholePrompts(2048),
        outside: [0.0, 0.06, 1.8],
        latent: Latent::Aligned,
        source: "0.7.2 worker/cache_engine.py: entries aligned to 256 bytes",
        ..OLDEST
    },
    V1,
    Rules { since: v(8, 5), batch: Batch::ByMemory, source: "0.8.5 arg_utils.py", ..V1 },
    Rules { since: v(9, 0), batch: Batch::ButA100, source: "0.9.0 arg_utils.py", ..V1 },
    Rules {
        since: v(9, 1),
        batch: Batch::ButA100,
        counted: Counted::WithCommunicators,
        whole_windows: false,
        log: Log::Available,
        source: "0.9.1 gpu_worker.py: a snapshot before communicators; 0.10.2-dev Qwen3-0.6B on A100 (0.4 GiB)",
        ..V1
    },
    Rules {
        since: v(11, 0),
        batch: Batch::ButA100,
        sampler: [6.0, 36.1, 40.0],
        outside: [0.0, 0.06, 0.3],
        linked: [0.4, 1.6, 2.3],
        counted: Counted::Growth,
        latent: Latent::Plain { packed_by_default: true, blackwell_plain: false },
        whole_windows: false,
        log: Log::Available,
        source: "0.11.0 gpu_worker.py: the snapshot after communicators; Qwen3-8B-FP8 on RTX 4090 (1.40 GiB at 256)",
        ..V1
    },
    Rules {
        since: v(12, 0),
        batch: Batch::ButA100,
        sampler: SORT,
        outside: [0.0, 0.06, 0.3],
        linked: [0.4, 1.6, 2.3],
        counted: Counted::Growth,
        latent: Latent::Plain { packed_by_default: true, blackwell_plain: false },
        whole_windows: false,
        log: Log::Memory,
        source: "0.12.0 topk_topp_sampler.py: FlashInfer only on request; 0.15 and 0.16 Qwen3-14B on H100 (5.64 GiB)",
        ..V1
    },
    Rules {
        since: v(13, 0),
        batch: Batch::ButA100,
        sampler: SORT,
        outside: [0.0, 0.06, 0.3],
        linked: [0.4, 1.6, 2.3],
        counted: Counted::Growth,
        indexed_contexts: 40,
        whole_windows: false,
        log: Log::Memory,
        source: "0.13.0 v1/attention/backends/mla/indexer.py (`get_max_prefill_buffer_size`)",
        ..V1
    },
    TRITON,
    Rules {
        since: v(20, 0),
        memory_fraction: 0.92,
        linked: [0.6, 1.8, 2.4],
        graphs_in_budget: true,
        states_for_all: true,
        source: "0.20.0 config/cache.py (0.92), envs.py (VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS on), \
                 config/compilation.py (max_num_seqs exceeds available Mamba cache blocks)",
        ..TRITON
    },
    COUNTED_GRAPHS,
    Rules {
        since: v(25, 0),
        lean: Lean::Dense,
        source: "0.25.1 config/vllm.py: the newer model runner for models without mixtures and recurrent layers",
        ..COUNTED_GRAPHS
    },
    Rules {
        since: v(26, 0),
        lean: Lean::Dense,
        caches_states: true,
        source: "0.26.0 config/model.py (`is_prefix_caching_supported`)",
        ..COUNTED_GRAPHS
    },
    Rules {
        since: v(28, 0),
        batch: Batch::Largest,
        lean: Lean::Dense,
        caches_states: true,
        outside: [0.1, 0.3, 0.8],
        compiling: [0.0, 0.1, 0.5],
        log: Log::OneLine,
        source: "0.28.0 arg_utils.py (160 GiB), mem_utils.py: consumed memory is measured by what is free (since 0.27)",
        ..COUNTED_GRAPHS
    },
    NEWEST,
];

/// The rows that may be in force: one for a known version, those of 0.8 and later otherwise.
#[must_use]
pub fn candidates(version: Option<Version>) -> &'static [Rules] {
    let Some(version) = version else { return since(V1.since) };
    let index = RULES.iter().rposition(|rules| rules.since <= version).unwrap_or(0);
    RULES.get(index..=index).unwrap_or(&RULES)
}

/// The rows that are likely in force: as before, but only those of 0.17 and later for an unknown version.
#[must_use]
pub fn recent(version: Option<Version>) -> &'static [Rules] {
    if version.is_some() { candidates(version) } else { since(TRITON.since) }
}

fn since(first: Version) -> &'static [Rules] {
    let index = RULES.iter().position(|rules| rules.since >= first).unwrap_or(0);
    RULES.get(index..).unwrap_or(&RULES)
}

/// The row that an estimate is made with: the version's own, the newest where it is unknown.
#[must_use]
pub fn likely(version: Option<Version>) -> &'static Rules {
    candidates(version).last().unwrap_or(&NEWEST)
}

/// The version that unversioned figures stand for.
pub const CONSTANTS: &str = "vllm-2026.11";
