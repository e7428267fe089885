//! What lifts an engine's refusal, by its code.

use super::{Proposal, Search};
use crate::decide::fit;
use crate::decide::solve::{change, text};
use crate::estimate::dtype::DType;
use crate::estimate::workload::{ModelFacts, Workload};

/// One remedy for a code.
type Remedy = fn(&Search<'_>) -> Vec<Proposal>;

const REMEDIES: &[(&str, Remedy)] = &[
    ("CONTEXT_BEYOND_MODEL", longest_context),
    ("DTYPE_UNSUPPORTED", half_precision),
    ("BATCHED_TOKENS_TOO_FEW", more_tokens),
    ("SEQUENCES_EXCEED_STATES", fewer_sequences),
    ("POOL_BELOW_CONTEXT", larger_pool),
    ("GROUPS_NOT_DIVIDED", fewer_ranks),
    ("VOCABULARY_NOT_DIVIDED", fewer_ranks),
];

/// Proposals for every refusal on any class that the workload can land on.
pub(super) fn proposals(search: &Search<'_>) -> Vec<Proposal> {
    let fits = search.candidates.eligible.iter();
    let fits = fits.filter_map(|candidate| fit::fit(search.workload, candidate, search.strictness).ok());
    let mut codes: Vec<&str> = fits.flat_map(|fit| fit.estimate.refusals).map(|refusal| refusal.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let meant = REMEDIES.iter().filter(|(code, _)| codes.contains(code));
    meant.flat_map(|(_, remedy)| remedy(search)).collect()
}

fn proposal(
    search: &Search<'_>,
    strategy: &'static str,
    cost: &'static str,
    (path, from, to): (&str, Option<u64>, u64),
    edit: impl FnOnce(&mut Workload),
) -> Proposal {
    let mut workload = search.workload.clone();
    edit(&mut workload);
    let changes = vec![change(path, text(from), to)];
    Proposal { strategy, workload, gpus: search.gpus, changes, cost: cost.to_owned() }
}

fn model_maximum(search: &Search<'_>) -> Option<u64> {
    match &search.workload.model {
        ModelFacts::Known(model) => model.max_position_embeddings,
        ModelFacts::Shape(_) => None,
    }
}

fn longest_context(search: &Search<'_>) -> Vec<Proposal> {
    let Some(most) = model_maximum(search) else { return Vec::new() };
    let now = search.workload.context_length;
    vec![proposal(search, "context", "the model's own maximum", ("contextLength", now, most), |workload| {
        workload.context_length = Some(most);
    })]
}

fn half_precision(search: &Search<'_>) -> Vec<Proposal> {
    let mut workload = search.workload.clone();
    workload.dtype = Some(DType::Fp16);
    let from = search.workload.dtype.map_or("auto", DType::name);
    let changes = vec![change("dtype", from, "fp16")];
    let cost = "a smaller range of numbers".to_owned();
    vec![Proposal { strategy: "dtype", workload, gpus: search.gpus, changes, cost }]
}

fn more_tokens(search: &Search<'_>) -> Vec<Proposal> {
    let engine = &search.workload.engine;
    let context = search.workload.context_length.or_else(|| model_maximum(search)).unwrap_or(0);
    let least = if engine.chunked_prefill == Some(true) { 0 } else { context };
    let least = least.max(engine.max_num_seqs.unwrap_or(0));
    let change = ("engine.maxNumBatchedTokens", engine.max_num_batched_tokens, least);
    vec![proposal(search, "batched-tokens", "larger steps", change, |workload| {
        workload.engine.max_num_batched_tokens = Some(least);
    })]
}

fn fewer_sequences(search: &Search<'_>) -> Vec<Proposal> {
    let now = search.workload.engine.max_num_seqs;
    let powers = (0..11).rev().map(|shift| 1_u64 << shift).filter(|n| now.is_none_or(|now| *n < now));
    powers
        .map(|n| {
            proposal(search, "sequences", "fewer requests at once", ("engine.maxNumSeqs", now, n), |workload| {
                workload.engine.max_num_seqs = Some(n);
            })
        })
        .collect()
}

fn larger_pool(search: &Search<'_>) -> Vec<Proposal> {
    let Some(context) = search.workload.context_length else { return Vec::new() };
    let now = search.workload.engine.max_total_tokens;
    vec![proposal(search, "pool", "more memory for the cache", ("engine.maxTotalTokens", now, context), |workload| {
        workload.engine.max_total_tokens = Some(context);
    })]
}

/// Smaller tensor-parallel degrees, the other ranks as pipeline stages.
fn fewer_ranks(search: &Search<'_>) -> Vec<Proposal> {
    let split = search.workload.parallelism;
    let smaller =
        [8_u64, 4, 2, 1].into_iter().filter(|degree| *degree < split.tensor && split.tensor.is_multiple_of(*degree));
    smaller
        .map(|degree| {
            let pipeline = split.pipeline.saturating_mul(split.tensor / degree);
            let change_of_tensor = ("parallelism.tensor", Some(split.tensor), degree);
            let mut out = proposal(search, "parallelism", "pipeline stages instead", change_of_tensor, |workload| {
                workload.parallelism.tensor = degree;
                workload.parallelism.pipeline = pipeline;
            });
            out.changes.push(change("parallelism.pipeline", split.pipeline, pipeline));
            out
        })
        .collect()
}
