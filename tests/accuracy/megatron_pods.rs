//! Megatron's own functional tests as pods of nothing but their command lines, without an annotation.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use vramguard::estimate::model::hf_config;
use vramguard::estimate::training;
use vramguard::spec::{ModelReference, PodTemplate, declare};

use crate::megatron::{MEGATRON, kind, megatron_world};
use crate::support::{self, Row};
use crate::training::{rows, text, workload};

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
        Some(ModelReference::Config(config)) => hf_config::read("measured", config).map_err(|e| e.to_string())?,
        other => return Err(format!("no model: {other:?}, {:?}", declaration.unread)),
    };
    let batch = declaration.batch_size.ok_or("no batch")?;
    let sequence = declaration.context_length.ok_or("no length")?;
    let workload = workload(model, batch, sequence, declaration.training, declaration.parallelism);
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

/// What tells runs apart: test, ranks and arguments.
fn command(row: &Value) -> String {
    format!("{} {} {}", text(row, "test"), row["world_size"], row["args"])
}

struct Compared {
    rows: Vec<Row>,
    /// Why others have no estimate, and how many.
    missing: BTreeMap<String, usize>,
    /// Runs below the bound that a denial rests on, of commands that took as much as estimated elsewhere.
    contradictory: Vec<String>,
    /// Runs below the bound, of other commands.
    denied: Vec<String>,
}

fn compared() -> Compared {
    let (mut compared, mut missing) = (Vec::new(), BTreeMap::new());
    for row in rows(MEGATRON) {
        match compare(&row) {
            Ok(estimate) => compared.push((command(&row), estimate)),
            Err(why) => *missing.entry(why).or_insert(0) += 1,
        }
    }
    let elsewhere = |command: &str| compared.iter().any(|(other, row)| other == command && row.covered());
    let below = compared.iter().filter(|(_, row)| row.measured < row.low);
    let (contradictory, denied): (Vec<_>, Vec<_>) = below.partition(|(command, _)| elsewhere(command));
    let names = |runs: Vec<&(String, Row)>| runs.into_iter().map(|(_, row)| row.name.clone()).collect();
    let (contradictory, denied) = (names(contradictory), names(denied));
    Compared { rows: compared.into_iter().map(|(_, row)| row).collect(), missing, contradictory, denied }
}

/// The figures, by family.
pub(crate) fn table() -> Vec<String> {
    let all = compared();
    let mut lines = support::lines("Megatron, from command lines without an annotation", &all.rows);
    lines.push(format!(
        "  without an estimate {}, below low {}, and {} of a command whose other run lies inside",
        all.missing.values().sum::<usize>(),
        all.denied.len(),
        all.contradictory.len()
    ));
    lines
}

#[test]
fn command_lines_of_functional_tests() {
    println!("{}", table().join("\n"));
    let all = compared();
    println!("{:#?} {:?}", all.missing, all.contradictory);
    let figures = support::summarize(&all.rows);
    assert!(figures.count >= 393 && figures.mape < 0.053 && figures.median < 0.019, "{figures:?}");
    assert!(
        figures.coverage > 0.9 && all.denied.is_empty() && all.contradictory.len() < 2,
        "{figures:?} {:?}",
        all.denied
    );
}
