//! `plot breakdown` and `plot phases`: stacked terms against what a GPU offers.

use std::path::PathBuf;

use clap::Args;

use super::super::error::{Failure, code};
use super::super::render::stack::{Bar, Stack};
use super::super::workload_flags::WorkloadArgs;
use super::super::{engine, explain};
use crate::decide::Report;
use crate::decide::report::WorkloadView;
use crate::estimate::explain::Moment;
use crate::estimate::workload::Task;
use crate::estimate::{Bytes, TermName};
use crate::spec::declaration::Declaration;

/// More bars than this cannot be told apart.
const MOST_BARS: usize = 8;

const BREAKDOWN: &str = "\
Examples:
  vramguard plot breakdown --model meta-llama/Llama-2-7b-hf --batch-size 4 --context-length 4096 \\
      --gpu T4 --gpu A10 --gpu L40S -o breakdown.svg
  vramguard plot breakdown --model meta-llama/Llama-3.1-8B-Instruct --engine vllm --gpu L4 -o breakdown.png";

const PHASES: &str = "\
Examples:
  vramguard plot phases --model meta-llama/Llama-2-7b-hf --precision mixed-bf16 --sharding zero3 --data-parallel 4 \\
      --checkpointing full --batch-size 4 --context-length 4096 --gpu A100-80GB -o phases.svg";

/// Stacked terms for one or several GPUs.
#[derive(Debug, Args)]
#[command(after_help = BREAKDOWN)]
pub(in crate::cli) struct BreakdownArgs {
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// GPU to hold the estimate against, see `vramguard gpus`; several draw several bars
    #[arg(long, value_name = "GPU", help_heading = "Chart")]
    pub gpu: Vec<String>,
    /// File to write: .svg or .png; `-` writes SVG to standard output
    #[arg(short = 'o', long = "output", value_name = "FILE", help_heading = "Chart")]
    pub output: PathBuf,
}

/// Memory over the phases of a training step.
#[derive(Debug, Args)]
#[command(after_help = PHASES)]
pub(in crate::cli) struct PhasesArgs {
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// GPU whose memory is drawn as a line, see `vramguard gpus`
    #[arg(long, value_name = "GPU", help_heading = "Chart")]
    pub gpu: Option<String>,
    /// File to write: .svg or .png; `-` writes SVG to standard output
    #[arg(short = 'o', long = "output", value_name = "FILE", help_heading = "Chart")]
    pub output: PathBuf,
}

impl BreakdownArgs {
    pub(super) fn picture(&self) -> Result<Stack, Failure> {
        if self.gpu.len() > MOST_BARS {
            let message = format!("{} GPUs are more than a chart shows", self.gpu.len());
            return Err(Failure::new(code::USAGE, message).hint(format!("give --gpu at most {MOST_BARS} times")));
        }
        let declaration = self.workload.declaration()?;
        let mut bars = Vec::new();
        let mut first = None;
        for gpu in self.gpu.iter().map(|gpu| Some(gpu.as_str())).chain(self.gpu.is_empty().then_some(None)) {
            let report = held_against(&declaration, gpu)?;
            bars.push(bar(&report, gpu)?);
            first.get_or_insert(report);
        }
        let (title, subtitle) = titles(first.as_ref().and_then(|report| report.workload.as_ref()), true, true);
        Ok(Stack { title: format!("{title}: GPU memory by term"), subtitle, bars })
    }
}

impl PhasesArgs {
    pub(super) fn picture(&self) -> Result<Stack, Failure> {
        let mut declaration = self.workload.declaration()?;
        if self.workload.run.task == Some(Task::Inference) {
            let failure = Failure::new(code::USAGE, "a server has no phases of a training step");
            return Err(failure.hint("leave out --task, or ask for `plot breakdown`"));
        }
        declaration.task = Some(Task::Training);
        let report = held_against(&declaration, self.gpu.as_deref())?;
        let candidates = self.gpu.as_deref().map(|gpu| engine::given(gpu, &declaration)).transpose()?;
        let explanation = explain::explained(&declaration, &report, candidates.as_ref())?;
        if explanation.moments.is_empty() {
            let failure = Failure::new(code::USAGE, "the phases of a step are only known for known architectures");
            return Err(failure.hint("name the model with --model, or give its --config-json"));
        }
        // What is there in every phase, outside the allocator.
        let always: Vec<(TermName, Bytes)> = report
            .estimate
            .iter()
            .flat_map(|estimate| &estimate.terms)
            .filter(|term| matches!(term.name, TermName::Runtime | TermName::Comm))
            .map(|term| (term.name, term.bytes.likely))
            .collect();
        let usable = report.capacity.as_ref().map(|capacity| capacity.usable_bytes);
        let bars = explanation.moments.iter().map(|moment| phase(moment, &always, usable)).collect();
        let (title, subtitle) = titles(report.workload.as_ref(), true, true);
        let gpu = report.capacity.as_ref().map_or_else(String::new, |capacity| format!(" · {}", capacity.gpu_class));
        let subtitle = format!("{subtitle}{gpu} · without fragmentation");
        Ok(Stack { title: format!("{title}: GPU memory over a training step"), subtitle, bars })
    }
}

fn held_against(declaration: &Declaration, gpu: Option<&str>) -> Result<Report, Failure> {
    let candidates = gpu.map(|gpu| engine::given(gpu, declaration)).transpose()?;
    Ok(engine::estimate(declaration, candidates.as_ref(), None))
}

fn bar(report: &Report, gpu: Option<&str>) -> Result<Bar, Failure> {
    let Some(estimate) = &report.estimate else { return Err(engine::refused(report)) };
    let name = gpu.map(engine::device).transpose()?;
    let name = name.map_or_else(String::new, |device| engine::short_product(&device.product).to_owned());
    Ok(Bar {
        name,
        terms: estimate.terms.iter().map(|term| (term.name, term.bytes.likely)).collect(),
        total: estimate.per_gpu.required,
        usable: report.capacity.as_ref().map(|capacity| capacity.usable_bytes),
        verdict: gpu.map(|_| report.verdict),
    })
}

fn phase(moment: &Moment, always: &[(TermName, Bytes)], usable: Option<Bytes>) -> Bar {
    let named = |name: &str| TermName::ALL.into_iter().find(|term| term.name() == name);
    let own = moment.terms.iter().filter_map(|term| Some((named(&term.name)?, term.bytes.likely)));
    let outside: Bytes = always.iter().map(|(_, bytes)| *bytes).sum();
    let stage = if moment.stage > 0 { format!(", stage {}", moment.stage + 1) } else { String::new() };
    Bar {
        name: format!("{}{stage}", moment.phase.replace('-', " ")),
        terms: own.chain(always.iter().copied()).collect(),
        total: moment.bytes + crate::estimate::Interval::exact(outside),
        usable,
        verdict: None,
    }
}

/// The model's short name, and what runs: with its context and batch where they are no axis.
pub(super) fn titles(workload: Option<&WorkloadView>, context: bool, batch: bool) -> (String, String) {
    let Some(workload) = workload else { return (String::new(), String::new()) };
    let title = workload.model.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    let mut facts = vec![workload.engine.name.clone()];
    facts.extend(workload.dtype.clone());
    facts.extend(workload.quantization.clone());
    facts.extend(workload.context_length.filter(|_| context).map(|tokens| format!("context {tokens}")));
    facts.extend(workload.batch_size.filter(|_| batch).map(|batch| format!("batch {batch}")));
    facts.extend(super::super::render::breakdown::degrees(workload.parallelism));
    (title, facts.join(" · "))
}
