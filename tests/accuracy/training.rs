//! Training estimates against measured runs.

use std::sync::Arc;

use serde_json::Value;
use vramguard::estimate::model::{Model, Quantization};
use vramguard::estimate::workload::{
    Checkpointing, Engine, Lora, Loss, Method, ModelFacts, Optimizer, Parallelism, Precision, Sharding, Task, Training,
};
use vramguard::estimate::{Bytes, Device, Estimate, Interval, TermName, Workload, training};
use vramguard::facts::catalog::Catalog;

use crate::support::{self, Row, models};

pub(crate) const MEASURED: &str = include_str!("../data/measured-training.jsonl");

pub(crate) fn rows(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap())
}

fn device() -> Device {
    Device { product: "any".to_owned(), visible: Bytes::from_gib(80.0), compute_capability: None }
}

pub(crate) fn text<'a>(row: &'a Value, field: &str) -> &'a str {
    row[field].as_str().unwrap_or_default()
}

pub(crate) fn workload(
    model: Model,
    batch: u64,
    sequence: u64,
    training: Training,
    parallelism: Parallelism,
) -> Workload {
    Workload {
        task: Task::Training,
        model: ModelFacts::Known(Arc::new(model)),
        parallelism,
        dtype: None,
        quantization: None,
        kv_cache_dtype: None,
        context_length: Some(sequence),
        batch_size: Some(batch),
        engine: Engine::default(),
        training,
        method: Method::Auto,
    }
}

fn degree(row: &Value, name: &str) -> u64 {
    row["parallelism"][name].as_u64().unwrap_or(1).max(1)
}

fn sharding(row: &Value) -> (Sharding, Parallelism) {
    let (tensor, pipeline, context, expert) =
        (degree(row, "tp"), degree(row, "pp"), degree(row, "cp"), degree(row, "ep"));
    let gpus = degree(row, "num_gpus");
    let others = tensor * pipeline * context;
    let (sharding, data) = if text(row, "framework").to_ascii_lowercase().contains("megatron") {
        (Sharding::Megatron, degree(row, "dp").max(gpus / others).max(1))
    } else if degree(row, "fsdp") > 1 {
        (Sharding::Fsdp, (degree(row, "fsdp") / context).max(1))
    } else {
        match row["parallelism"]["zero"].as_u64() {
            Some(3) => (Sharding::Zero3, gpus / others),
            Some(2) => (Sharding::Zero2, gpus / others),
            Some(1) => (Sharding::Zero1, gpus / others),
            _ if gpus > others => (Sharding::Ddp, gpus / others),
            _ => (Sharding::None, 1),
        }
    };
    (sharding, Parallelism { tensor, pipeline, data, expert, context })
}

fn precision(row: &Value) -> Precision {
    let said = text(row, "precision");
    let pure = ["pure bf16", "bf16-true", "nf4 base + bf16", "full fine-tune"];
    if pure.iter().any(|word| said.contains(word)) {
        Precision::Bf16
    } else if said.starts_with("FP8") {
        Precision::Fp8
    } else {
        Precision::MixedBf16
    }
}

fn loss(row: &Value) -> Option<Loss> {
    let said = text(row, "loss");
    if said.is_empty() {
        None
    } else if said.contains("Liger") || said.contains("cut") {
        Some(Loss::Fused)
    } else if said.starts_with("chunked") && !said.contains("chunk 0") {
        Some(Loss::Chunked)
    } else {
        Some(Loss::Default)
    }
}

fn checkpointing(row: &Value) -> Option<Checkpointing> {
    let said = text(row, "activation_checkpointing");
    [("none", Checkpointing::None), ("selective", Checkpointing::Selective), ("full", Checkpointing::Full)]
        .into_iter()
        .find(|(name, _)| said.starts_with(name))
        .map(|(_, checkpointing)| checkpointing)
}

fn lora(row: &Value) -> Option<Lora> {
    let lora = row.get("lora")?;
    let targets = match &lora["targets"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(name) if name.to_ascii_lowercase().contains("all") => vec!["all-linear".to_owned()],
        Value::String(name) if name != "DEFAULT" => vec![name.clone()],
        _ => Vec::new(),
    };
    let framework = text(row, "framework");
    Some(Lora {
        rank: lora["rank"].as_u64().unwrap_or(8),
        targets,
        quantized_base: text(row, "method") == "qlora",
        double_quantization: text(row, "precision").contains("dq") || text(row, "precision").contains("double"),
        fp32_adapters: framework.contains("HF") || framework.contains("swift") || framework.contains("PEFT"),
        dropout: lora["dropout"].as_f64().unwrap_or(0.0) > 0.0,
        modules_to_save: Vec::new(),
    })
}

fn optimizer(row: &Value) -> Optimizer {
    let said = text(row, "optimizer").to_ascii_lowercase();
    if said.contains("muon") {
        Optimizer::Muon
    } else if said.starts_with("paged") {
        Optimizer::PagedAdamW
    } else if said.contains("8bit") || said.contains("8-bit") {
        Optimizer::AdamW8bit
    } else if said.starts_with("none") {
        Optimizer::Sgd
    } else {
        Optimizer::AdamW
    }
}

/// A model of the catalogue, else of published dimensions.
fn model(name: &str) -> Option<Model> {
    let name = name.split(" (").next().unwrap_or(name);
    let known = Catalog::embedded().find(name).ok().map(|model| Model::clone(&model));
    known.or_else(|| models::by_name(name))
}

/// Names in brackets, such as `selective [mlp+core_attn]`.
fn bracketed(said: &str) -> Vec<String> {
    let inner = said.split(['[', ']']).nth(1).unwrap_or_default();
    inner.split(['+', ',']).map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// Whether samples are of one length, where the row says so.
fn fixed_lengths(row: &Value) -> Option<bool> {
    let notes = text(row, "notes");
    let packed = notes.contains("packed") || notes.contains("packing");
    if notes.contains("short samples") { Some(false) } else { packed.then_some(true) }
}

/// The workload of a row that says everything that memory depends on.
pub(crate) fn declared(row: &Value) -> Option<Workload> {
    let model = model(text(row, "model"))?;
    let (local, sequence) = (row["micro_batch_size"].as_u64()?, row["seq_len"].as_u64()?);
    let checkpointing = Some(checkpointing(row)?);
    let (sharding, parallelism) = sharding(row);
    // torchtitan's local batch is a pipeline's whole batch: it is cut into micro-batches of one sample.
    let cut = parallelism.pipeline > 1 && text(row, "framework") == "torchtitan";
    let (batch, micro_batches) = if cut { (1, Some(local)) } else { (local, None) };
    let training = Training {
        optimizer: Some(optimizer(row)),
        precision: Some(precision(row)),
        sharding: Some(sharding),
        checkpointing,
        lora: lora(row),
        loss: loss(row),
        gradient_accumulation: row["grad_accum"].as_u64(),
        micro_batches,
        eager_attention: text(row, "attention").starts_with("eager"),
        trainer: Some(text(row, "framework").to_ascii_lowercase()),
        cpu_offload: row.get("offload").is_some_and(|offload| !offload.is_null()),
        fused_kernels: row["compile"].as_bool(),
        virtual_stages: text(row, "notes")
            .split("VPP=")
            .nth(1)
            .and_then(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()),
        recompute_modules: bracketed(text(row, "activation_checkpointing")),
        keep_gathered: text(row, "notes").contains("reshard_after_forward=never"),
        fixed_lengths: fixed_lengths(row),
        ..Training::default()
    };
    let quantization = quantization(row);
    Some(Workload { quantization, ..workload(model, batch, sequence, training, parallelism) })
}

/// What a quantized base comes in, where it is not NF4.
fn quantization(row: &Value) -> Option<Quantization> {
    let said = text(row, "precision").to_ascii_lowercase();
    let bits = if said.contains("int8") { 8.0 } else { 4.0 };
    let name = if said.contains("gptq") {
        "gptq"
    } else if said.contains("int8") {
        "int8"
    } else {
        return None;
    };
    Quantization::from_name(name).map(|quantization| Quantization { bits, ..quantization })
}

/// Marks rows that contradict themselves: they count in the error, but prove no false denial.
const CONTRADICTORY: &str = ", below its bare states";

/// A single GPU that would have held more than was measured: the row's table does not say how many it had.
fn contradicts(row: &Value, estimate: &Estimate, measured: f64) -> bool {
    let detail = estimate.training.as_ref().unwrap();
    let states = detail.parameters_bytes + detail.gradients_bytes + detail.optimizer_bytes;
    let alone = degree(row, "num_gpus") == 1 && text(row, "method") == "full";
    alone && text(row, "offload").is_empty() && measured < 0.9 * states.gib()
}

/// What the allocator hands out, as an interval.
fn allocated(estimate: &Estimate) -> Interval {
    let outside = [TermName::Runtime, TermName::Comm, TermName::Fragmentation];
    estimate.terms.iter().filter(|term| !outside.contains(&term.name)).map(|term| term.bytes).sum()
}

/// What the allocator surely needs: less than it takes where it keeps cached blocks.
pub(crate) fn needed(estimate: &Estimate) -> Interval {
    let outside = [TermName::Runtime, TermName::Comm];
    let terms = estimate.terms.iter().filter(|term| !outside.contains(&term.name));
    terms.map(|term| term.bytes).sum()
}

/// What the allocator holds.
pub(crate) fn held(estimate: &Estimate) -> Interval {
    estimate.per_gpu.reserved
}

fn compare(row: &Value) -> Option<Row> {
    compare_with(row, held)
}

/// The same with the bounds that a decision rests on.
fn decided(row: &Value) -> Option<Row> {
    compare_with(row, needed)
}

fn compare_with(row: &Value, reserved: fn(&Estimate) -> Interval) -> Option<Row> {
    let estimate = training::estimate(&declared(row)?, &device()).unwrap();
    row_of(row, &estimate, reserved)
}

/// A row beside an estimate, by the counter that was read.
pub(crate) fn row_of(row: &Value, estimate: &Estimate, reserved: fn(&Estimate) -> Interval) -> Option<Row> {
    let measured = &row["measured"];
    // torchtune's "peak memory" is its allocator's, not the device's.
    let total = if text(row, "framework") == "torchtune" { allocated(estimate) } else { estimate.per_gpu.required };
    let counters = [
        ("peak_allocated_gib", allocated(estimate)),
        ("peak_active_gib", allocated(estimate)),
        ("peak_reserved_gib", reserved(estimate)),
        ("total_gib", total),
    ];
    let (value, interval) =
        counters.into_iter().find_map(|(counter, interval)| Some((measured[counter].as_f64()?, interval)))?;
    let odd = if contradicts(row, estimate, value) { CONTRADICTORY } else { "" };
    Some(Row {
        group: format!("{} {}{odd}", text(row, "framework"), text(row, "method")),
        name: text(row, "id").to_owned(),
        measured: value,
        low: interval.low.gib(),
        likely: interval.likely.gib(),
        high: interval.high.gib(),
    })
}

/// A run whose allocator's slack can be told: what was measured beside the slack's own rule.
pub(crate) struct Slack {
    pub(crate) id: String,
    pub(crate) model: String,
    /// Share of states in the rule, and of activations, logits and transients.
    pub(crate) shares: (f64, f64),
    /// Everything that is allocated, and what the rule adds to it, GiB.
    pub(crate) allocated: f64,
    pub(crate) added: f64,
    /// What the rule gives to a trainer that leaves cached blocks behind, GiB; none of others or of a full device.
    pub(crate) cached: Option<f64>,
    /// What the allocator held, GiB.
    pub(crate) reserved: f64,
}

/// The percentages of the rule that an estimate's slack was made with.
fn shares(estimate: &Estimate) -> Option<(f64, f64)> {
    let term = estimate.terms.iter().find(|term| term.name == TermName::Fragmentation)?;
    let mut percentages = term.formula.split('%').filter_map(|part| part.rsplit(' ').next()?.parse::<f64>().ok());
    Some((percentages.next()? / 100.0, percentages.next()? / 100.0))
}

fn slack(row: &Value) -> Option<Slack> {
    let workload = declared(row)?;
    let estimate = training::estimate(&workload, &device()).unwrap();
    let (at_rest, at_work) = shares(&estimate)?;
    let of = |names: &[TermName]| -> f64 {
        estimate.terms.iter().filter(|term| names.contains(&term.name)).map(|term| term.bytes.likely.gib()).sum()
    };
    let outside = of(&[TermName::Runtime, TermName::Comm]);
    let measured = &row["measured"];
    // torchtune's totals are its allocator's own peak.
    let total = measured["total_gib"].as_f64().filter(|_| text(row, "framework") != "torchtune");
    let reserved = measured["peak_reserved_gib"].as_f64().or(total.map(|total| total - outside))?;
    let (allocated, fragmentation) = (allocated(&estimate).likely.gib(), of(&[TermName::Fragmentation]));
    let (held, room) = (estimate.per_gpu.reserved.likely.gib(), device().visible.gib() - of(&[TermName::Runtime]));
    let cached = (held > allocated + fragmentation + 0.01).then_some(held);
    Some(Slack {
        id: text(row, "id").to_owned(),
        model: text(row, "model").to_owned(),
        shares: (at_rest, at_work),
        allocated,
        added: fragmentation,
        cached: cached.filter(|held| *held < room - 0.01),
        reserved,
    })
}

/// Every run that tells its slack.
pub(crate) fn slacks() -> Vec<Slack> {
    rows(MEASURED).filter(|row| text(row, "outcome") == "ok").filter_map(|row| slack(&row)).collect()
}

/// The reference formula, parameters divided over the ranks of the replica, on the same row.
fn simple_rule(row: &Value) -> Option<Row> {
    let exact = compare(row)?;
    let mut workload = declared(row)?;
    workload.method = Method::Reference;
    let estimate = vramguard::estimate::estimate(&workload, &device()).ok()?;
    let required = estimate.per_gpu.required.likely.gib();
    Some(Row { low: required, likely: required, high: required, ..exact })
}

/// Runs that finished, each with its estimate.
fn compared(how: fn(&Value) -> Option<Row>) -> Vec<Row> {
    rows(MEASURED).filter(|row| text(row, "outcome") == "ok").filter_map(|row| how(&row)).collect()
}

/// The figures, by framework and method, with the simple rule on the same rows.
pub(crate) fn table() -> Vec<String> {
    let title = "training runs that declare batch, sequence, GPUs and checkpointing";
    let mut lines = support::lines(title, &compared(compare));
    lines.push(simple_line());
    lines
}

/// The simple rule's figures.
pub(crate) fn simple_line() -> String {
    let rule = support::summarize(&compared(simple_rule));
    let (mape, median) = (100.0 * rule.mape, 100.0 * rule.median);
    format!("  {:<46} n {:>3}  MAPE {mape:>5.1}%  median {median:>5.1}%", "the simple rule", rule.count)
}

#[test]
fn measured_runs_with_declared_settings() {
    println!("{}", table().join("\n"));
    let exact = compared(compare);
    let (all, rule) = (support::summarize(&exact), support::summarize(&compared(simple_rule)));
    assert!(all.count > 50 && all.mape < 0.11 && all.mape < 0.2 * rule.mape, "{all:?} {rule:?}");
    assert!(all.median < 0.055 && all.coverage > 0.83, "{all:?}");
    never_denied(compared(decided));
    let titan = support::summarize(exact.iter().filter(|row| row.group.starts_with("torchtitan")));
    assert!(titan.median < 0.05, "{titan:?}");
}

/// What ran must not have been denied: a denial rests on the lower bound alone.
pub(crate) fn never_denied(rows: Vec<Row>) {
    let denied = denied(rows);
    assert!(denied.is_empty(), "{denied:?}");
}

/// Runs that would have been denied, without those that contradict themselves.
pub(crate) fn denied(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().filter(|row| row.measured < row.low && !row.group.ends_with(CONTRADICTORY)).collect()
}

/// Memory that the runtime sees on the GPU that a row names; the largest variant where several are meant.
pub(crate) fn visible(gpu: &str) -> f64 {
    let sizes = [
        ("40GB", 39.4),
        ("H100 96", 95.0),
        ("H100", 79.2),
        ("A100", 79.15),
        ("A10G", 22.0),
        ("H200", 139.8),
        ("184", 178.4),
    ];
    sizes.into_iter().find(|(name, _)| gpu.contains(name)).map_or(80.0, |(_, gib)| gib)
}

#[test]
fn runs_that_ran_out_of_memory_never_fit_surely() {
    let (mut count, mut missed) = (0, Vec::new());
    for row in rows(MEASURED).filter(|row| text(row, "outcome").starts_with("OOM")) {
        let Some(workload) = declared(&row) else { continue };
        let high = training::estimate(&workload, &device()).unwrap().per_gpu.required.high.gib();
        count += 1;
        if high <= visible(text(&row, "gpu")) {
            missed.push(format!("{}: {high:.1} GiB", text(&row, "id")));
        }
    }
    println!("out of memory: {count} runs, said to fit: {missed:?}");
    assert!(count > 10 && missed.is_empty(), "{missed:?} of {count}");
}
