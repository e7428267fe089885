//! Training rows as a user would annotate them: only documented fields, through the path of `check`.

use serde_json::{Value, json};
use vramguard::decide::policy::PolicyInput;
use vramguard::decide::report::{Report, Source};
use vramguard::decide::{Inventory, Policy};
use vramguard::estimate::TermName;
use vramguard::evaluate::{Environment, evaluate};
use vramguard::facts::catalog::Catalog;
use vramguard::facts::profile::Profiles;
use vramguard::spec::pod::PodTemplate;

use crate::support::{self, Row};
use crate::training::{rows, text};

const MEASURED: &str = include_str!("../data/measured-training.jsonl");

fn degree(row: &Value, name: &str) -> u64 {
    row["parallelism"][name].as_u64().unwrap_or(1).max(1)
}

fn sharding(row: &Value) -> &'static str {
    if text(row, "framework").to_ascii_lowercase().contains("megatron") {
        return "megatron";
    }
    match (degree(row, "fsdp") > 1, row["parallelism"]["zero"].as_u64()) {
        (true, _) => "fsdp",
        (_, Some(3)) => "zero3",
        (_, Some(2)) => "zero2",
        (_, Some(1)) => "zero1",
        _ if degree(row, "num_gpus") > degree(row, "tp") * degree(row, "pp") * degree(row, "cp") => "ddp",
        _ => "none",
    }
}

fn precision(row: &Value) -> &'static str {
    let said = text(row, "precision");
    let pure = ["pure bf16", "bf16-true", "nf4 base + bf16", "full fine-tune"];
    if pure.iter().any(|word| said.contains(word)) {
        "bf16"
    } else if said.starts_with("FP8") {
        "fp8"
    } else {
        "mixed-bf16"
    }
}

fn optimizer(row: &Value) -> &'static str {
    let said = text(row, "optimizer").to_ascii_lowercase();
    if said.contains("muon") {
        "muon"
    } else if said.starts_with("paged") {
        "paged-adamw"
    } else if said.contains("8bit") || said.contains("8-bit") {
        "adamw-8bit"
    } else if said.starts_with("none") {
        "sgd"
    } else {
        "adamw"
    }
}

fn lora(row: &Value) -> Option<Value> {
    let lora = row.get("lora")?;
    let targets = match &lora["targets"] {
        Value::Array(names) => json!(names),
        Value::String(name) if name.to_ascii_lowercase().contains("all") => json!(["all-linear"]),
        _ => json!([]),
    };
    let mut out = json!({"rank": lora["rank"].as_u64().unwrap_or(8)});
    if targets != json!([]) {
        out["targets"] = targets;
    }
    Some(out)
}

/// The annotation block of a row.
fn block(row: &Value, trainer: bool) -> Option<Value> {
    let (batch, sequence) = (row["micro_batch_size"].as_u64()?, row["seq_len"].as_u64()?);
    let said = text(row, "activation_checkpointing");
    let checkpointing = ["none", "selective", "full"].into_iter().find(|name| said.starts_with(name))?;
    let (tensor, pipeline, context) = (degree(row, "tp"), degree(row, "pp"), degree(row, "cp"));
    let data = (degree(row, "num_gpus") / (tensor * pipeline * context)).max(degree(row, "dp")).max(1);
    let mut training = json!({
        "optimizer": optimizer(row), "precision": precision(row), "sharding": sharding(row),
        "checkpointing": checkpointing,
    });
    if let Some(lora) = lora(row) {
        training["lora"] = lora;
    }
    let loss = text(row, "loss");
    if loss.contains("Liger") || loss.contains("cut") {
        training["loss"] = json!("fused");
    } else if loss.starts_with("chunked") && !loss.contains("chunk 0") {
        training["loss"] = json!("chunked");
    } else if !loss.is_empty() {
        training["loss"] = json!("default");
    }
    if let Some(steps) = row["grad_accum"].as_u64().filter(|steps| *steps > 1) {
        training["gradientAccumulation"] = json!(steps);
    }
    if row.get("offload").is_some_and(|offload| !offload.is_null()) {
        training["cpuOffload"] = json!(true);
    }
    if trainer {
        training["trainer"] = json!(text(row, "framework").to_ascii_lowercase());
    }
    let mut block = json!({
        "task": "training", "model": text(row, "model").split(" (").next()?, "contextLength": sequence,
        "batchSize": batch, "training": training,
        "parallelism": {"tensor": tensor, "pipeline": pipeline, "data": data, "context": context,
            "expert": degree(row, "ep")},
    });
    if text(row, "method") == "qlora" {
        block["quantization"] = json!(if text(row, "precision").contains("int8") { "int8" } else { "nf4" });
    }
    Some(block)
}

fn report(row: &Value, trainer: bool) -> Option<Report> {
    let block = block(row, trainer)?;
    let gpus = degree(row, "num_gpus").min(8);
    let pod = json!({
        "metadata": {"name": "train", "annotations": {"vramguard.io/spec": block.to_string()}},
        "spec": {"containers": [{"name": "trainer", "image": "pytorch", "command": ["python", "train.py"],
            "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}}}]},
    });
    let pod: PodTemplate = serde_json::from_value(pod).unwrap();
    let inventory: Option<&Inventory> = None;
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: Profiles::none(),
        source: None,
        inventory,
        policy: &Policy::default(),
        config_maps: None,
    };
    Some(evaluate(&pod, &Source::default(), &PolicyInput::default(), &environment).remove(0))
}

fn compare(row: &Value, trainer: bool) -> Option<Row> {
    let report = report(row, trainer)?;
    let Some(estimate) = report.estimate else {
        println!("not estimated: {}: {} {}", text(row, "id"), report.verdict, report.message);
        return None;
    };
    let outside = [TermName::Runtime, TermName::Comm, TermName::Fragmentation];
    let allocated = |part: fn(&vramguard::estimate::Interval) -> f64| -> f64 {
        let terms = estimate.terms.iter().filter(|term| !outside.contains(&term.name));
        terms.map(|term| part(&term.bytes)).sum()
    };
    let measured = &row["measured"];
    let inside = ["peak_allocated_gib", "peak_active_gib"].iter().find_map(|counter| measured[*counter].as_f64());
    let tune = if text(row, "framework") == "torchtune" { measured["total_gib"].as_f64() } else { None };
    let (value, low, likely, high) = if let Some(value) = inside.or(tune) {
        let detail = estimate.training.as_ref().unwrap();
        (value, allocated(|i| i.low.gib()), detail.peak_allocated_bytes.gib(), allocated(|i| i.high.gib()))
    } else {
        let value = ["peak_reserved_gib", "total_gib"].iter().find_map(|counter| measured[*counter].as_f64())?;
        let required = estimate.per_gpu.required;
        (value, required.low.gib(), required.likely.gib(), required.high.gib())
    };
    let group = format!("{} {}", text(row, "framework"), text(row, "method"));
    Some(Row { group, name: text(row, "id").to_owned(), measured: value, low, likely, high })
}

pub(crate) fn table(trainer: bool) -> Vec<String> {
    let finished = rows(MEASURED).filter(|row| text(row, "outcome") == "ok");
    let compared: Vec<Row> = finished.filter_map(|row| compare(&row, trainer)).collect();
    let title = if trainer { "annotated, with the trainer named" } else { "annotated, without the trainer's name" };
    support::lines(title, &compared)
}

#[test]
fn annotated_runs() {
    println!("{}\n{}", table(false).join("\n"), table(true).join("\n"));
}
