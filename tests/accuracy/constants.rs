//! Constants against refits from rows: what is in the source must be what the rows say.

use serde_json::Value;
use vramguard::estimate::constants::{Basis, Constant, all};
use vramguard::estimate::model::Model;
use vramguard::estimate::parallel::stages;
use vramguard::estimate::serving::vllm::activation::{self, FIT, Profile};
use vramguard::facts::catalog::Catalog;

use crate::sample::Quantity;
use crate::statistics::{Errors, median};
use crate::training::Slack;
use crate::{engines, profile, training};

const ROWS: &str = include_str!("../data/measured-serving.jsonl");
const GIB: f64 = (1_u64 << 30) as f64;

fn row(id: &str) -> Value {
    let rows = ROWS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    rows.into_iter().find(|row| row["id"] == id).unwrap()
}

fn measured(row: &Value, name: &str) -> Option<f64> {
    row["measured"][name].as_f64()
}

/// The median over some rows, and how many they are.
fn over(values: impl IntoIterator<Item = f64>) -> Option<(f64, usize)> {
    let values: Vec<f64> = values.into_iter().collect();
    let count = values.len();
    (count > 0).then(|| (median(values), count))
}

/// Bytes a logit for which a profile run has the row's peak: tokens and sequences as the version's defaults are.
fn sampler(id: &str, model: &str, tokens: f64, sequences: f64) -> f64 {
    let (row, model) = (row(id), Catalog::embedded().find(model).unwrap());
    let peak = measured(&row, "activation_peak_gib").unwrap();
    let at = |sampler| activations(&model, tokens, sequences, sampler);
    // Linear where the sampler decides: every row here is such.
    let slope = (at(200.0) - at(100.0)) / 100.0;
    100.0 - (at(100.0) - peak) / slope
}

fn activations(model: &Model, tokens: f64, sequences: f64, sampler: f64) -> f64 {
    let profile = Profile {
        tokens,
        sequences,
        element: 2.0,
        sampler,
        tensor: 1.0,
        expert: 1.0,
        data: 1.0,
        indexed: 0.0,
        fit: FIT,
    };
    activation::peak(model, &stages(model, 1, None).unwrap()[0], &profile) / GIB
}

const SMALL: (f64, f64) = (2048.0, 256.0);

fn samplers(rows: &[(&str, &str, (f64, f64))]) -> Option<(f64, usize)> {
    over(rows.iter().map(|(id, model, (tokens, sequences))| sampler(id, model, *tokens, *sequences)))
}

fn outside(ids: &[&str]) -> Option<(f64, usize)> {
    over(ids.iter().map(|id| {
        let row = row(id);
        let grown =
            || Some(measured(&row, "consumed_weights_plus_non_torch_gib")? - measured(&row, "weights_gib_per_gpu")?);
        measured(&row, "non_torch_gib").or_else(grown).unwrap()
    }))
}

fn sglang_graphs() -> Option<(f64, usize)> {
    let rows = ROWS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    over(rows.filter(|row| row["framework"] == "sglang").filter_map(|row| measured(&row, "cudagraph_gib")))
}

/// What is gone before a model is loaded: of the device, less what is free then.
fn process(rows: &[(&str, Option<f64>)]) -> Option<(f64, usize)> {
    over(rows.iter().map(|(id, visible)| {
        let row = row(id);
        let loaded = || Some(measured(&row, "avail_after_load_gib")? + measured(&row, "weights_gib_per_gpu")?);
        let free = measured(&row, "avail_before_load_gib").or_else(loaded).unwrap();
        visible.or_else(|| engines::described(id)?.0).unwrap() - free
    }))
}

/// Loaded weights beyond the stored ones, where those are plain: the estimates' errors, and the slack in them.
fn loader(constant: f64) -> Option<(f64, usize)> {
    let samples = engines::measure().samples;
    let plain = |sample: &&crate::sample::Sample| {
        sample.engine == "SGLang"
            && sample.quantity == Quantity::Weights
            && sample.family == "dense"
            && !sample.quantized
    };
    over(samples.iter().filter(plain).map(|sample| sample.measured - sample.estimate + constant))
}

/// Decoder and runtime buffers for 2048 sequences of a vocabulary of 256,000.
fn decoder() -> Option<(f64, usize)> {
    let row = row("sc-166");
    let gib = measured(&row, "runtime_buffers_gb")? + measured(&row, "decoder_gb")?;
    over([gib * GIB / (2048.0 * 256_000.0)])
}

/// A compute buffer of 512 tokens in fp32: streams of the width of the residual are what the rule misses of it.
fn streams(constant: f64) -> Option<(f64, usize)> {
    let samples = engines::measure().samples;
    let of = samples.iter().find(|sample| sample.quantity == Quantity::Compute && sample.id == "sc-077")?;
    let hidden = Catalog::embedded().find(engines::described("sc-077")?.1).ok()?.hidden_size as f64;
    over([constant + (of.measured - of.estimate) * GIB / (512.0 * 4.0 * hidden)])
}

/// Share of states that a multi-tensor step leaves: its runs tell of cached blocks, and of no other rule.
const STEPPED: f64 = 0.01;

/// Runs whose slack a rule describes, by the share of work in it; or those that leave cached blocks.
fn class<'a>(slacks: &'a [Slack], name: &str, value: f64) -> Vec<&'a Slack> {
    let same = |a: f64, b: f64| (a - b).abs() < 0.001;
    let plain = |slack: &&Slack| {
        let (at_rest, at_work) = slack.shares;
        slack.cached.is_none() && !same(at_rest, STEPPED) && same(at_work, (value * 100.0).round() / 100.0)
    };
    let cached = name.starts_with("training, cached");
    slacks.iter().filter(|slack| if cached { slack.cached.is_some() } else { plain(slack) }).collect()
}

/// What a run says of its class's constant: what its allocator held beyond what was allocated, over what the rule adds.
fn told(value: f64, slack: &Slack) -> f64 {
    value * (slack.reserved - slack.allocated) / added(slack)
}

/// What the rule adds: its shares of states and of work, or cached blocks.
fn added(slack: &Slack) -> f64 {
    slack.cached.map_or(slack.added, |held| held - slack.allocated)
}

/// The constant by its rows: its value, and how many rows there are.
fn refit(constant: &Constant) -> Option<(f64, usize)> {
    let rows = profile::rows();
    let profiled = || (profile::refit(&rows), rows.len());
    let fitted = |of: &dyn Fn(&profile::Constants) -> f64| {
        let (constants, count) = profiled();
        Some((of(&constants), count))
    };
    match constant.name.as_str() {
        "vLLM 0.11: sampler" => samplers(&[("sc-150", "Qwen/Qwen3-8B-FP8", SMALL)]),
        "vLLM 0.19: sampler" => fitted(&|c| c.sampler),
        "vLLM 0.11: outside torch, one rank" => outside(&["sc-150", "sc-171"]),
        "vLLM 0.19: outside torch, one rank" => fitted(&|c| c.outside[0]),
        "vLLM profile, base" => fitted(&|c| c.fit.base / GIB),
        "vLLM profile, residual streams of a layer" => fitted(&|c| c.fit.streams),
        "vLLM profile, residual streams of a later stage" => fitted(&|c| c.fit.stage_streams),
        "vLLM profile, multimodal tower" => fitted(&|c| c.fit.tower / GIB),
        "vLLM 0.19: outside torch, 2 linked ranks" => fitted(&|c| c.outside[1]),
        "vLLM 0.19: outside torch, more linked ranks" => fitted(&|c| c.outside[2]),
        "vLLM outside torch, pipeline" => fitted(&|c| c.outside[3]),
        "vLLM graphs, a layer" => profile::graphs(),
        "SGLang graphs" => sglang_graphs(),
        "loader's slack" => loader(constant.value),
        "process, one rank" => process(&[("sc-049", None), ("sc-069", None), ("sc-076", None), ("sc-159", None)]),
        "process, linked ranks" => process(&[("sc-019", None), ("sc-051", Some(139.8))]),
        "TensorRT-LLM decoder and buffers" => decoder(),
        "llama.cpp streams of a batch" => streams(constant.value),
        name if name.starts_with("training") => {
            let slacks = training::slacks();
            over(class(&slacks, name, constant.value).iter().map(|slack| told(constant.value, slack)))
        }
        _ => None,
    }
}

/// Every constant with its refit, or its source.
pub fn table() -> Vec<String> {
    let mut lines = vec![format!("{:<49}{:>8}{:>9}{:>11}{:>6}", "constant", "value", "refit", "tolerance", "rows")];
    for constant in all() {
        let head = format!("{:<49}{:>8.3}", constant.name, constant.value);
        lines.push(match constant.basis {
            Basis::Rows { tolerance } => {
                let (value, rows) = refit(&constant).unwrap_or((f64::NAN, 0));
                format!("{head}{value:>9.3}{tolerance:>11.3}{rows:>6}  {}", constant.unit)
            }
            Basis::Source(source) => format!("{head}  {}; {source}", constant.unit),
        });
    }
    lines
}

/// Errors of what allocators hold: with the source's constants, refitted ones, and ones that did not see the model.
fn held_out() -> [Errors; 3] {
    let slacks = training::slacks();
    let mut errors = [Errors::default(), Errors::default(), Errors::default()];
    for constant in all().iter().filter(|constant| constant.name.starts_with("training")) {
        let (name, value) = (constant.name.as_str(), constant.value);
        let rows = class(&slacks, name, value);
        for slack in &rows {
            let values = |others: bool| rows.iter().filter(move |row| !others || row.model != slack.model);
            let fit = |others| over(values(others).map(|row| told(value, row)));
            let (Some((seen, _)), Some((unseen, _))) = (fit(false), fit(true)) else { continue };
            for (errors, share) in errors.iter_mut().zip([value, seen, unseen]) {
                errors.add(&slack.id, slack.allocated + added(slack) * share / value, slack.reserved);
            }
        }
    }
    errors
}

/// Scores of training runs side by side.
pub fn training_table() -> Vec<String> {
    let names = ["as in the source", "fitted to all", "not seen"];
    names.into_iter().zip(held_out()).map(|(name, errors)| format!("  {name:<18}{errors}")).collect()
}

#[test]
fn constants_are_what_their_rows_say() {
    println!("{}", table().join("\n"));
    let mut wrong = Vec::new();
    for constant in all() {
        let Basis::Rows { tolerance } = constant.basis else { continue };
        let Some((value, _)) = refit(&constant) else {
            wrong.push(format!("{}: no refit", constant.name));
            continue;
        };
        if (value - constant.value).abs() > tolerance {
            wrong.push(format!("{}: {} against {value:.3}", constant.name, constant.value));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_trainer_that_the_fit_did_not_see() {
    println!("{}", training_table().join("\n"));
    let [_, seen, unseen] = held_out();
    assert!(unseen.n() > 80 && unseen.mape() < 2.0 * seen.mape(), "{seen} {unseen}");
}
