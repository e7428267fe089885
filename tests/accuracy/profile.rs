//! The profile run of vLLM 0.19 on H100: its constants fitted to rows, and judged on models that the fit did not see.

use std::collections::BTreeMap;

use vramguard::estimate::dtype::DType;
use vramguard::estimate::model::Model;
use vramguard::estimate::parallel::{Stage, stages};
use vramguard::estimate::serving::vllm::activation::{self, Fit, Profile};

use crate::family;
use crate::fit::least_squares;
use crate::serving::{self, Run};
use crate::statistics::{Errors, median};

const GIB: f64 = (1_u64 << 30) as f64;

/// What is fitted.
#[derive(Debug, Clone, Copy)]
pub struct Constants {
    pub sampler: f64,
    pub fit: Fit,
    /// Outside torch, GiB: one rank, two linked ones, more, and stages of a pipeline.
    pub outside: [f64; 4],
}

/// Different configurations of models that the catalogue knows.
pub fn rows() -> Vec<(&'static Run, &'static Model)> {
    let known = serving::runs().iter().filter(|run| !run.repeated && run.report.estimate.is_some());
    known.filter_map(|run| Some((run, run.model.as_deref()?))).collect()
}

fn peak(model: &Model, stage: &Stage<'_>, profile: &Profile) -> f64 {
    activation::peak(model, stage, profile) / GIB
}

/// The activation peak of a row, GiB; of a pipeline, that of a stage between first and last.
fn activations(run: &Run, model: &Model, sampler: f64, fit: Fit) -> Option<f64> {
    let element = if run.row["dtype"] == "torch.float32" { DType::Fp32 } else { DType::Bf16 };
    let profile = Profile {
        tokens: 8192.0,
        sequences: 1024.0,
        element: element.bytes(),
        sampler,
        tensor: run.number("tp"),
        expert: 1.0,
        data: 1.0,
        indexed: 0.0,
        fit,
    };
    let stages = stages(model, run.row["pp"].as_u64().unwrap(), None).unwrap();
    let stage = if run.pipeline() {
        stages.iter().find(|stage| !stage.is_first() && !stage.is_last())?
    } else {
        stages.first()?
    };
    Some(peak(model, stage, &profile))
}

fn class(run: &Run) -> usize {
    match (run.number("tp") as u64, run.pipeline()) {
        (_, true) => 3,
        (1, _) => 0,
        (2, _) => 1,
        _ => 2,
    }
}

/// Least squares over the rows' activation peaks, and medians of what they hold outside torch.
pub fn refit(rows: &[(&Run, &Model)]) -> Constants {
    let of = |p: &[f64]| Fit { base: p[1] * GIB, streams: p[2], stage_streams: p[3], tower: p[4] * GIB };
    let residuals = |p: &[f64]| {
        let errors = rows.iter().filter_map(|(run, model)| {
            Some(activations(run, model, p[0], of(p))? - run.number("activation_memory_gib"))
        });
        errors.collect()
    };
    // Far from any answer: ten bytes a logit, and one of everything else.
    let found = least_squares(&[10.0, 1.0, 1.0, 1.0, 1.0], residuals);
    let outside = [0, 1, 2, 3].map(|class_of| {
        let same = rows.iter().filter(|(run, _)| class(run) == class_of);
        median(same.map(|(run, _)| run.number("non_torch_forward_gib")).collect())
    });
    Constants { sampler: found[0], fit: of(&found), outside }
}

/// The graph estimate of a decoder layer without experts, GiB: the median over models on one stage, and how many.
pub fn graphs() -> Option<(f64, usize)> {
    let plain = rows().into_iter().filter(|(run, model)| !run.pipeline() && family::of(model) == "dense");
    let each = plain.map(|(run, model)| run.number("cuda_graph_estimated_gib") / model.layer_count() as f64);
    let each: Vec<f64> = each.collect();
    let count = each.len();
    (count > 0).then(|| (median(each), count))
}

/// Everything but the cache, GiB, with these constants.
fn non_kv(run: &Run, model: &Model, constants: &Constants) -> Option<f64> {
    let serving = run.report.estimate.as_ref()?.serving.as_ref()?;
    let activations = activations(run, model, constants.sampler, constants.fit)?;
    Some(serving.weights_bytes.gib() + activations + constants.outside[class(run)])
}

fn scores(rows: &[(&Run, &Model)], constants: impl Fn(&Run) -> Constants) -> [Errors; 2] {
    let mut errors = [Errors::default(), Errors::default()];
    for (run, model) in rows.iter().filter(|(run, _)| !run.pipeline()) {
        let Some(non_kv) = non_kv(run, model, &constants(run)) else { continue };
        let measured = run.number("total_non_kv_cache_gib");
        errors[0].add(&run.label, non_kv, measured);
        errors[1].add(&run.label, run.number("requested_memory_gib") - non_kv, run.number("kv_cache_memory_gib"));
    }
    errors
}

/// Layers, width and vocabulary: the same of a model and its tunes and quantizations.
type Architecture = (u64, u64, u64);

fn architecture(model: &Model) -> Architecture {
    (model.layer_count(), model.hidden_size, model.vocab_size)
}

/// Scores of a fit to all rows, and of fits that never saw the architecture they are judged on: non-KV and pool of each.
pub fn held_out() -> [[Errors; 2]; 2] {
    let rows = rows();
    let seen = refit(&rows);
    let mut models: Vec<Architecture> = rows.iter().map(|(_, model)| architecture(model)).collect();
    models.sort_unstable();
    models.dedup();
    let unseen = models.into_iter().map(|left| {
        let others = rows.iter().filter(|(_, model)| architecture(model) != left).copied().collect::<Vec<_>>();
        (left, refit(&others))
    });
    let unseen: BTreeMap<Architecture, Constants> = unseen.collect();
    let without = |run: &Run| run.model.as_deref().map_or(seen, |model| unseen[&architecture(model)]);
    [scores(&rows, |_| seen), scores(&rows, without)]
}

/// Scores side by side.
pub fn table() -> Vec<String> {
    let mut lines = Vec::new();
    for (name, [non_kv, pool]) in ["fitted to all", "not seen"].into_iter().zip(held_out()) {
        lines.push(format!("  {name:<15}{:<10}{non_kv}", "non-KV"));
        lines.push(format!("  {name:<15}{:<10}{pool}", "KV pool"));
    }
    lines
}

#[test]
fn a_model_that_the_fit_did_not_see() {
    let [_, unseen] = held_out();
    println!("{}", table().join("\n"));
    assert!(unseen[0].mape() <= 3.0 && unseen[1].mape() <= 1.5, "{} {}", unseen[0], unseen[1]);
}
