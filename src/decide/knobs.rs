//! What an engine lets its users turn: one row an engine.

use crate::estimate::dtype::DType;
use crate::estimate::workload::{EngineName, Workload};

/// How a number of concurrent sequences is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequences {
    /// The batch alone.
    Batch,
    /// The batch, and the scheduler's limit with it.
    Scheduled,
    /// Slots that share the declared context: each further one needs its own share of it.
    SharedContext,
}

/// One engine's row.
pub(crate) struct Knobs {
    engine: EngineName,
    /// Divides matrices over GPUs.
    pub(crate) tensor: bool,
    /// How concurrency is asked for.
    pub(crate) sequences: Sequences,
    /// Formats of the cache that it can be asked for, besides its own.
    pub(crate) caches: &'static [DType],
    /// Quantizations of an unquantized checkpoint: those that it does itself when it loads, then those that need
    /// another checkpoint.
    pub(crate) quantizations: &'static [&'static str],
    /// Of them, how many it does itself.
    pub(crate) at_load: usize,
}

const ROWS: [Knobs; 7] = [
    row(EngineName::Vllm, true, Sequences::Scheduled, &[DType::Fp8], &["fp8", "awq"], 1),
    row(EngineName::Sglang, true, Sequences::Scheduled, &[DType::Fp8], &["fp8", "awq"], 1),
    row(EngineName::Tgi, true, Sequences::Scheduled, &[DType::Fp8], &["fp8", "awq"], 1),
    row(EngineName::Trtllm, true, Sequences::Scheduled, &[DType::Fp8, DType::Int8], &["fp8", "awq"], 0),
    row(EngineName::Llamacpp, false, Sequences::SharedContext, &[DType::Int8, DType::Int4], &["q8_0", "q4_k_m"], 0),
    row(EngineName::Ollama, false, Sequences::Batch, &[DType::Int8, DType::Int4], &["q8_0", "q4_k_m"], 0),
    row(EngineName::Generic, true, Sequences::Batch, &[], &["int8", "nf4"], 2),
];

const fn row(
    engine: EngineName,
    tensor: bool,
    sequences: Sequences,
    caches: &'static [DType],
    quantizations: &'static [&'static str],
    at_load: usize,
) -> Knobs {
    Knobs { engine, tensor, sequences, caches, quantizations, at_load }
}

/// What stands in for an engine without a row.
const PLAIN: Knobs = row(EngineName::Generic, true, Sequences::Batch, &[], &[], 0);

impl Knobs {
    /// The row of an engine.
    pub(crate) fn of(engine: EngineName) -> &'static Self {
        const ALL: &[Knobs] = &ROWS;
        const NONE: &Knobs = &PLAIN;
        ALL.iter().find(|row| row.engine == engine).unwrap_or(NONE)
    }

    /// The workload with `n` concurrent sequences, each as long as they were.
    pub(crate) fn with_sequences(&self, workload: &Workload, n: u64) -> Workload {
        let mut changed = Workload { batch_size: Some(n), ..workload.clone() };
        match self.sequences {
            Sequences::Batch => {}
            Sequences::Scheduled => changed.engine.max_num_seqs = Some(n),
            Sequences::SharedContext => {
                changed.context_length = workload.context_length.map(|tokens| tokens.saturating_mul(n));
            }
        }
        if changed.engine.parallel_slots.is_some() {
            changed.engine.parallel_slots = Some(n);
        }
        changed
    }

    /// The workload with `n` of its `now` sequences, each as long as they were.
    pub(crate) fn with_fewer(&self, workload: &Workload, now: u64, n: u64) -> Workload {
        match self.sequences {
            Sequences::SharedContext => {
                let share = |tokens: u64| (tokens / now.max(1)).max(1);
                self.with_sequences(
                    &Workload { context_length: workload.context_length.map(share), ..workload.clone() },
                    n,
                )
            }
            _ => self.with_sequences(workload, n),
        }
    }
}
