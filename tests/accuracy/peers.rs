//! Other estimators on the same start-ups, and the formulas that everybody knows.
//!
//! What tools answered is in `tests/data/peer-*.jsonl`; formulas are evaluated on every row here, those of tools with
//! the weights that were measured.

use std::collections::BTreeMap;

use vramguard::estimate::model::{Attention, Mlp, Model};

use crate::family;
use crate::sample::{Quantity, Sample};
use crate::serving::{self, Run};
use crate::statistics::Errors;

const ANSWERS: &str = include_str!("../data/peer-vllm-0.19-h100.jsonl");

const GIB: f64 = (1_u64 << 30) as f64;

/// What an estimator says of a start-up, per GPU: GiB and tokens.
#[derive(Debug, Clone, Copy, Default)]
struct Answer {
    weights: Option<f64>,
    non_kv: Option<f64>,
    pool: Option<f64>,
    tokens: Option<f64>,
}

/// An estimator by what it is called in the table.
type Estimator = (&'static str, fn(&Run, &Model) -> Answer);

/// The formulas. The tools' own are given the measured weights, which flatters them.
const FORMULAS: [Estimator; 5] = [
    ("llm-d-planner, its constants", llmd_planner),
    ("KAITO, 1.05 x weights + 2.3 GiB", |run, _| scaled(run, 1.05, 2.3)),
    ("GPUStack, 1.2 x weights + 2 GiB", |run, _| scaled(run, 1.2, 2.0)),
    ("1.2 x parameters x bytes", |run, model| naive(run, model, 1.2)),
    ("parameters x bytes + KV", |run, model| naive(run, model, 1.0)),
];

fn ranks(run: &Run) -> f64 {
    run.number("tp") * run.number("pp")
}

fn beside(run: &Run, weights: Option<f64>, non_kv: f64, tokens: Option<f64>) -> Answer {
    Answer { weights, non_kv: Some(non_kv), pool: Some(run.number("requested_memory_gib") - non_kv), tokens }
}

fn scaled(run: &Run, factor: f64, more: f64) -> Answer {
    let non_kv = factor * run.number("weights_memory_gib") + more;
    beside(run, None, non_kv, None)
}

/// Activations by architecture, memory outside torch by ranks, both divided over the ranks; cards by their nameplate.
fn llmd_planner(run: &Run, model: &Model) -> Answer {
    let mixture = model.layers.iter().any(|group| matches!(group.mlp, Mlp::Moe { .. }));
    let activations = match model.model_type.as_str() {
        "llama" => 4.8,
        "qwen2" | "qwen3" => 5.6,
        "pixtral" | "mistral3" | "llava" | "llava_next" => 2.5,
        _ if mixture => 8.0,
        _ => 5.5,
    };
    let outside = if run.number("tp") > 1.0 { 0.6 } else { 0.15 };
    let non_kv = run.number("weights_memory_gib") + (activations + outside) / ranks(run);
    let pool = 80.0 * run.number("gpu_memory_utilization") - non_kv;
    Answer { weights: None, non_kv: Some(non_kv), pool: Some(pool), tokens: None }
}

/// Parameters at the format's width over the ranks, times a factor.
fn naive(run: &Run, model: &Model, factor: f64) -> Answer {
    let quantized = run.row["quantization"].as_str().unwrap_or("None");
    let bytes = match (quantized, run.row["dtype"].as_str()) {
        ("gptq_marlin", _) => 0.5,
        ("None", Some("torch.float32")) => 4.0,
        ("None", _) => 2.0,
        _ => 1.0,
    };
    let weights = model.parameters() as f64 * bytes / ranks(run) / GIB;
    let non_kv = factor * weights;
    beside(run, Some(weights), non_kv, Some(naive_tokens(run, model, run.number("requested_memory_gib") - non_kv)))
}

/// Two vectors of every key/value head and layer, divided over the ranks.
fn naive_tokens(run: &Run, model: &Model, pool: f64) -> f64 {
    let width = |attention: &Attention| match attention {
        Attention::Full(h) | Attention::Sliding { heads: h, .. } | Attention::Chunked { heads: h, .. } => {
            (h.key_dim + h.value_dim) * h.kv_heads
        }
        Attention::Latent { heads, nope, rope, value, .. } => heads * (nope + rope + value),
        _ => 0,
    };
    let elements: u64 = model.layers.iter().map(|group| group.count * width(&group.attention)).sum();
    let bytes = match (run.row["kv_cache_dtype"].as_str(), run.row["dtype"].as_str()) {
        (Some("fp8"), _) => 1.0,
        (_, Some("torch.float32")) => 4.0,
        _ => 2.0,
    };
    pool.max(0.0) * GIB / (elements as f64 * bytes / ranks(run))
}

fn answered(run: &Run) -> Option<Answer> {
    let answers = serving::rows(ANSWERS);
    let answer = answers.into_iter().find(|answer| answer["row"] == run.row["log_file"])?;
    let number = |name: &str| answer[name].as_f64();
    Some(Answer {
        weights: number("weights_gib"),
        non_kv: number("non_kv_gib"),
        pool: number("kv_pool_gib"),
        tokens: number("kv_tokens"),
    })
}

/// The same quantities and rows as ours: of pipelines, tokens only.
fn compared(run: &Run, answer: Answer) -> Vec<Sample> {
    let sample = |quantity, estimate: Option<f64>, field: &str| {
        Some(Sample {
            engine: serving::ENGINE,
            family: run.model.as_deref().map_or("unknown", family::of),
            quantized: run.quantized(),
            id: run.label.clone(),
            quantity,
            estimate: estimate?,
            measured: run.number(field),
            bounds: None,
        })
    };
    let per_stage = |sample: Option<Sample>| sample.filter(|_| !run.pipeline());
    let all = [
        per_stage(sample(Quantity::Weights, answer.weights, "weights_memory_gib")),
        per_stage(sample(Quantity::NonKv, answer.non_kv, "total_non_kv_cache_gib")),
        per_stage(sample(Quantity::Pool, answer.pool, "kv_cache_memory_gib")),
        sample(Quantity::Tokens, answer.tokens, "kv_cache_tokens"),
    ];
    all.into_iter().flatten().collect()
}

const QUANTITIES: [Quantity; 4] = [Quantity::Weights, Quantity::NonKv, Quantity::Pool, Quantity::Tokens];

fn line(name: &str, samples: &[Sample]) -> String {
    let cells = QUANTITIES.map(|quantity| {
        let errors = crate::sample::errors(samples, quantity, |_| true);
        if errors.n() == 0 {
            format!("{:>21}", "-")
        } else {
            format!("{:>10.2} {:>10.1}", errors.mape(), errors.worst().1)
        }
    });
    format!("  {name:<33}{}", cells.join(""))
}

fn head(title: &str) -> [String; 2] {
    let names = QUANTITIES.map(|quantity| format!("{:>21}", quantity.name())).join("");
    [
        format!("{title:<35}{names}"),
        format!("{:<35}{}", "  MAPE and worst, %", format!("{:>10} {:>10}", "MAPE", "worst").repeat(4)),
    ]
}

/// Every estimator on the rows that it has an answer to, with ours on the same rows, then family by family.
pub fn table() -> Vec<String> {
    let runs = || serving::runs().iter().filter(|run| !run.repeated);
    let ours = serving::samples();
    let also = |ids: &[&Sample]| -> Vec<Sample> {
        ours.iter()
            .filter(|own| ids.iter().any(|other| other.id == own.id && other.quantity == own.quantity))
            .cloned()
            .collect()
    };
    let answers: Vec<Sample> = runs().filter_map(|run| Some(compared(run, answered(run)?))).flatten().collect();
    let mut lines = head("configurations that aiconfigurator answers").to_vec();
    lines.push(line("vramguard", &also(&answers.iter().collect::<Vec<_>>())));
    lines.push(line("aiconfigurator 0.12", &answers));
    let known: Vec<(&Run, &Model)> = runs().filter_map(|run| Some((run, run.model.as_deref()?))).collect();
    let mut families: BTreeMap<&str, Vec<(&Run, &Model)>> = BTreeMap::new();
    for (run, model) in &known {
        families.entry(family::of(model)).or_default().push((run, model));
    }
    let all = [("all configurations", known)];
    for (name, rows) in all.into_iter().chain(families) {
        lines.push(String::new());
        lines.extend(head(&format!("{name} ({})", rows.len())));
        let mut first = true;
        for (formula, estimator) in FORMULAS {
            let theirs: Vec<Sample> =
                rows.iter().flat_map(|(run, model)| compared(run, estimator(run, model))).collect();
            if first {
                let labels: Vec<&str> = rows.iter().map(|(run, _)| run.label.as_str()).collect();
                let own: Vec<Sample> = ours.iter().filter(|s| labels.contains(&s.id.as_str())).cloned().collect();
                lines.push(line("vramguard", &own));
                first = false;
            }
            lines.push(line(formula, &theirs));
        }
    }
    lines
}

/// MAPE of an estimator over all configurations: what ours is asserted to beat.
pub fn best_of_others(quantity: Quantity) -> f64 {
    let runs = || serving::runs().iter().filter(|run| !run.repeated);
    let mape = |samples: &[Sample]| crate::sample::errors(samples, quantity, |_| true);
    let answers: Vec<Sample> = runs().filter_map(|run| Some(compared(run, answered(run)?))).flatten().collect();
    let formulas = FORMULAS.map(|(_, estimator)| {
        runs()
            .filter_map(|run| Some(compared(run, estimator(run, run.model.as_deref()?))))
            .flatten()
            .collect::<Vec<_>>()
    });
    let all: Vec<Errors> = formulas.iter().map(|samples| mape(samples)).chain([mape(&answers)]).collect();
    all.iter().filter(|errors| errors.n() > 0).map(Errors::mape).fold(f64::INFINITY, f64::min)
}
