//! Megatron's own functional tests as pods of nothing but their command lines, without an annotation.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vramguard::estimate::training;
use vramguard::estimate::workload::ModelFacts;
use vramguard::spec::{ModelReference, PodTemplate, declare};

use crate::megatron::{MEGATRON, kind, megatron_world};
use crate::support::{self, Row};
use crate::training::{CONTRADICTORY, denied, rows, text, workload};

/// Runs with the same arguments whose measurements lie further apart than this share prove nothing.
const APART: f64 = 0.25;

fn words(flag: &str, value: &Value) -> Vec<String> {
    let said = match value {
        Value::Bool(false) | Value::Null => return Vec::new(),
        Value::Bool(true) => return vec![flag.to_owned()],
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let list = said.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let values = match list {
        Some(list) => list.split_whitespace().map(str::to_owned).collect(),
        None => vec![said.clone()],
    };
    [vec![flag.to_owned()], values].concat()
}

/// The script that a test starts.
fn script(test: &str) -> &'static str {
    match test.split('/').next() {
        Some("bert") => "pretrain_bert.py",
        Some("t5") => "pretrain_t5.py",
        Some("hybrid" | "nemotron") => "pretrain_hybrid.py",
        Some("multimodal-llava") => "pretrain_vlm.py",
        _ => "pretrain_gpt.py",
    }
}

fn pod(row: &Value) -> Option<PodTemplate> {
    let world = megatron_world(row)?;
    let gpus = world.min(8);
    let launch = ["torchrun", "--nproc-per-node", &gpus.to_string(), "--nnodes", &(world / gpus).to_string()];
    let mut command: Vec<String> = launch.into_iter().map(str::to_owned).collect();
    command.push(script(text(row, "test")).to_owned());
    command.extend(row["args"].as_object()?.iter().flat_map(|(flag, value)| words(flag, value)));
    let pod = json!({
        "metadata": {"name": "pretrain"},
        "spec": {"containers": [{"name": "trainer", "image": "pytorch", "command": command,
            "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}}}]},
    });
    serde_json::from_value(pod).ok()
}

/// The estimate of a row's last rank, which is the one that is logged.
fn compare(row: &Value) -> Result<Row, String> {
    let pod = pod(row).ok_or("GPUs are not said")?;
    let declaration = declare(&pod).pop().ok_or("nothing declared")?.map_err(|error| error.to_string())?;
    if let Some(conflict) = declaration.conflicts.first() {
        return Err(conflict.clone());
    }
    let model = match &declaration.model {
        Some(ModelReference::Loaded(model)) => vramguard::estimate::model::Model::clone(model),
        Some(ModelReference::Config(config)) => {
            vramguard::estimate::model::hf_config::read("measured", config).map_err(|error| error.to_string())?
        }
        other => return Err(format!("no model: {other:?}, {:?}", declaration.unread)),
    };
    let batch = declaration.batch_size.ok_or("no batch")?;
    let sequence = declaration.context_length.ok_or("no length")?;
    let workload = workload(model, batch, sequence, declaration.training, declaration.parallelism);
    assert!(matches!(workload.model, ModelFacts::Known(_)));
    let peaks = training::stage_peaks(&workload).map_err(|error| error.to_string())?;
    let allocated = peaks.last().ok_or("no stage")?.allocated;
    Ok(Row {
        group: kind(row).to_owned(),
        name: format!("{} {}", text(row, "test"), text(row, "env")),
        measured: row["max_allocated_bytes"].as_f64().ok_or("not measured")? / f64::from(1 << 30),
        low: allocated.low.gib(),
        likely: allocated.likely.gib(),
        high: allocated.high.gib(),
    })
}

/// Tests whose arguments were run twice, on one kind of GPU or another, with results that no rule can give both.
fn contradictory() -> Vec<String> {
    let mut runs: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for row in rows(MEGATRON) {
        let measured = row["max_allocated_bytes"].as_f64().unwrap_or(f64::NAN);
        let key = format!("{} {} {}", text(&row, "test"), row["world_size"], row["args"]);
        let (least, most) = runs.entry(key).or_insert((measured, measured));
        *least = least.min(measured);
        *most = most.max(measured);
    }
    runs.into_iter().filter(|(_, (least, most))| most / least > 1.0 + APART).map(|(key, _)| key).collect()
}

/// Rows with their estimates, and why the others have none.
fn compared() -> (Vec<Row>, BTreeMap<String, usize>) {
    let (mut found, mut missing) = (Vec::new(), BTreeMap::new());
    let odd = contradictory();
    for row in rows(MEGATRON) {
        match compare(&row) {
            Ok(mut estimate) => {
                if odd.contains(&format!("{} {} {}", text(&row, "test"), row["world_size"], row["args"])) {
                    estimate.group.push_str(CONTRADICTORY);
                }
                found.push(estimate);
            }
            Err(why) => *missing.entry(why).or_insert(0) += 1,
        }
    }
    (found, missing)
}

/// The figures, by family.
pub(crate) fn table() -> Vec<String> {
    let (rows, missing) = compared();
    let mut lines = support::lines("the same from their command lines, without an annotation", &rows);
    let dropped: usize = missing.values().sum();
    lines.push(format!("  without an estimate {dropped}, below low {}", denied(rows).len()));
    lines
}

#[test]
fn command_lines_of_functional_tests() {
    println!("{}", table().join("\n"));
    let (rows, missing) = compared();
    println!("{missing:#?} {:?} {:?}", contradictory().len(), denied(rows.clone()));
}
