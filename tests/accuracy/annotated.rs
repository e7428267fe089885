//! Training rows as a user would annotate them: only documented fields, through the path of `check`.

use serde_json::{Value, json};
use vramguard::decide::policy::PolicyInput;
use vramguard::decide::report::{Report, Source};
use vramguard::decide::{Inventory, Policy};
use vramguard::estimate::workload::{Checkpointing, Lora, Loss, Optimizer, Precision, Sharding};
use vramguard::estimate::{Bytes, Estimate, Interval, Workload};
use vramguard::evaluate::{Environment, evaluate};
use vramguard::facts::catalog::Catalog;
use vramguard::facts::profile::Profiles;
use vramguard::spec::pod::PodTemplate;

use crate::support::{self, Row};
use crate::training::{self, MEASURED, rows, text};

/// How much of a row its annotations say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Said {
    /// What everybody knows: task, model, lengths, ranks, optimizer, precision, sharding, checkpointing, loss, adapters.
    Main,
    /// Every documented field that the row states.
    All,
    /// The main fields and the trainer.
    Named,
    /// All and the trainer.
    Trainer,
}

impl Said {
    const EVERY: [Self; 4] = [Self::Main, Self::Named, Self::All, Self::Trainer];

    const fn further(self) -> bool {
        matches!(self, Self::All | Self::Trainer)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Main => "annotated, main fields",
            Self::Named => "annotated, main fields and the trainer",
            Self::All => "annotated, every field but the trainer",
            Self::Trainer => "annotated, every field and the trainer",
        }
    }
}

/// The adapters of a row.
fn adapters(lora: &Lora, said: Said) -> Value {
    let mut out = json!({"rank": lora.rank});
    if !lora.targets.is_empty() {
        out["targets"] = json!(lora.targets);
    }
    if said.further() {
        out["doubleQuantization"] = json!(lora.double_quantization);
        out["dropout"] = json!(lora.dropout);
    }
    out
}

/// Fields beside the main ones that a row states.
fn further(workload: &Workload) -> Vec<(&'static str, Value)> {
    let training = &workload.training;
    let mut fields = vec![];
    if training.eager_attention {
        fields.push(("eagerAttention", json!(true)));
    }
    if let Some(fused) = training.fused_kernels {
        fields.push(("fusedKernels", json!(fused)));
    }
    if training.keep_gathered {
        fields.push(("keepGathered", json!(true)));
    }
    if let Some(stages) = training.virtual_stages {
        fields.push(("virtualStages", json!(stages)));
    }
    if !training.recompute_modules.is_empty() {
        fields.push(("recomputeModules", json!(training.recompute_modules)));
    }
    if let Some(fixed) = training.fixed_lengths {
        fields.push(("fixedLengths", json!(fixed)));
    }
    fields
}

/// The quantization of the base by the name that users write.
fn quantization(workload: &Workload) -> Option<&str> {
    let adapted = workload.training.lora.as_ref().is_some_and(|lora| lora.quantized_base);
    match &workload.quantization {
        Some(gptq) if gptq.name == "gptq" && gptq.bits > 4.0 => Some("gptq-int8"),
        Some(quantization) => Some(&quantization.name),
        None => adapted.then_some("nf4"),
    }
}

/// The annotation block of a row.
fn block(row: &Value, workload: &Workload, said: Said) -> Option<Value> {
    let declared = &workload.training;
    let parallelism = workload.parallelism;
    let mut training = json!({
        "optimizer": declared.optimizer.map(Optimizer::name)?,
        "precision": declared.precision.map(Precision::name)?,
        "sharding": declared.sharding.map(Sharding::name)?,
        "checkpointing": declared.checkpointing.map(Checkpointing::name)?,
        "cpuOffload": declared.cpu_offload,
    });
    if let Some(lora) = &declared.lora {
        training["lora"] = adapters(lora, said);
    }
    if let Some(loss) = declared.loss {
        training["loss"] = json!(Loss::name(loss));
    }
    if let Some(steps) = declared.gradient_accumulation {
        training["gradientAccumulation"] = json!(steps);
    }
    if said.further() {
        for (field, value) in further(workload) {
            training[field] = value;
        }
    }
    if matches!(said, Said::Named | Said::Trainer) {
        training["trainer"] = json!(text(row, "framework").to_ascii_lowercase());
    }
    let mut block = json!({
        "task": "training", "model": text(row, "model").split(" (").next()?,
        "contextLength": workload.context_length, "batchSize": row["micro_batch_size"], "training": training,
        "parallelism": {"tensor": parallelism.tensor, "pipeline": parallelism.pipeline, "data": parallelism.data,
            "context": parallelism.context, "expert": parallelism.expert},
    });
    if let Some(name) = quantization(workload) {
        block["quantization"] = json!(name);
    }
    Some(block)
}

/// What `check` answers for a pod without a choice of GPUs.
pub(crate) fn checked(pod: Value) -> Report {
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
    evaluate(&pod, &Source::default(), &PolicyInput::default(), &environment).remove(0)
}

fn estimate(row: &Value, said: Said) -> Option<Estimate> {
    let workload = training::declared(row)?;
    let block = block(row, &workload, said)?;
    let gpus = row["parallelism"]["num_gpus"].as_u64().unwrap_or(1).clamp(1, 8);
    let report = checked(json!({
        "metadata": {"name": "train", "annotations": {"vramguard.io/spec": block.to_string()}},
        "spec": {"containers": [{"name": "trainer", "image": "pytorch", "command": ["python", "train.py"],
            "resources": {"limits": {"nvidia.com/gpu": gpus.to_string()}}}]},
    }));
    if report.estimate.is_none() && said == Said::Main {
        println!("not estimated: {}: {} {}", text(row, "id"), report.verdict, report.message);
    }
    let view = report.estimate?;
    Some(Estimate {
        per_gpu: view.per_gpu,
        usable: Bytes::ZERO,
        terms: view.terms,
        serving: None,
        training: view.training,
        worst_rank: view.worst_rank,
        refusals: Vec::new(),
        notes: Vec::new(),
        gpus: view.gpus,
    })
}

fn compared(said: Said, reserved: fn(&Estimate) -> Interval) -> Vec<Row> {
    let finished = rows(MEASURED).filter(|row| text(row, "outcome") == "ok");
    finished.filter_map(|row| training::row_of(&row, &estimate(&row, said)?, reserved)).collect()
}

/// A line for each, and those of the main fields by trainer.
pub(crate) fn table() -> Vec<String> {
    let main = compared(Said::Main, training::held);
    let mut lines = support::lines(Said::Main.name(), &main);
    lines.push("all of them".to_owned());
    for said in Said::EVERY {
        let figures = support::summarize(&compared(said, training::held));
        lines.push(format!("{}  below low {}", support::line(said.name(), figures), below(said).len()));
    }
    lines.push(training::simple_line());
    lines
}

/// Finished runs below the bound that a denial rests on, whatever counter was read: the whole of what is required.
fn below(said: Said) -> Vec<Row> {
    let finished = rows(MEASURED).filter(|row| text(row, "outcome") == "ok");
    let all = finished.filter_map(|row| {
        let estimate = estimate(&row, said)?;
        let low = estimate.per_gpu.required.low.gib();
        Some(Row { low, ..training::row_of(&row, &estimate, training::held)? })
    });
    training::denied(all.collect())
}

/// What is held: mean and median error, and the share inside the interval.
const fn goal(said: Said) -> (f64, f64, f64) {
    match said {
        Said::Main => (0.138, 0.082, 0.89),
        Said::Named => (0.122, 0.066, 0.88),
        Said::All => (0.119, 0.054, 0.9),
        Said::Trainer => (0.101, 0.05, 0.89),
    }
}

#[test]
fn annotated_runs() {
    println!("{}", table().join("\n"));
    for said in Said::EVERY {
        let rows = compared(said, training::held);
        if std::env::var_os("VRAMGUARD_ROWS").is_some() {
            println!("{}", support::lines(said.name(), &rows).join("\n"));
        }
        let (figures, (mape, median, inside)) = (support::summarize(&rows), goal(said));
        assert!(figures.count >= 150 && below(said).is_empty(), "{said:?}: {:?}", below(said));
        assert!(figures.mape < mape && figures.median < median && figures.coverage > inside, "{said:?}: {figures:?}");
    }
}

#[test]
fn annotated_runs_that_ran_out_of_memory_never_fit_surely() {
    for said in Said::EVERY {
        let ran_out = rows(MEASURED).filter(|row| text(row, "outcome").starts_with("OOM"));
        let known = ran_out.filter_map(|row| Some((estimate(&row, said)?.per_gpu.required.high.gib(), row)));
        let all: Vec<(f64, Value)> = known.collect();
        let fit = all.iter().filter(|(high, row)| *high <= training::visible(text(row, "gpu")));
        let fitting: Vec<&str> = fit.map(|(_, row)| text(row, "id")).collect();
        assert!(all.len() > 10 && fitting.is_empty(), "{said:?}: {fitting:?} of {}", all.len());
    }
}
