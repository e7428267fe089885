//! `plot context` and `plot batch`: what is needed as one number grows, against what GPUs offer.

use std::path::PathBuf;

use clap::Args;

use super::super::error::{Failure, code};
use super::super::render::chart::{Band, Chart, Mark, Series, Spot};
use super::super::workload_flags::WorkloadArgs;
use super::super::{engine, values};
use super::stack::titles;
use crate::decide::Report;
use crate::decide::report::Outcome;
use crate::decide::solve::Question;
use crate::estimate::Interval;
use crate::estimate::workload::Task;
use crate::spec::declaration::Declaration;

/// Points of a curve.
const POINTS: u64 = 48;
/// Where a sweep ends if nothing else is known.
const CONTEXT_END: u64 = 32_768;
const BATCH_END: u64 = 32;

const CONTEXT: &str = "\
Examples:
  vramguard plot context --model meta-llama/Llama-3.1-8B-Instruct --engine vllm --gpu A10 --gpu L40S -o context.svg
  vramguard plot context --model meta-llama/Llama-2-7b-hf --task training --batch-size 1 --to 16384 -o sequence.png";

const BATCH: &str = "\
Examples:
  vramguard plot batch --model meta-llama/Llama-3.1-8B-Instruct --engine vllm --context-length 8192 --gpu L40S -o batch.svg
  vramguard plot batch --model meta-llama/Llama-2-7b-hf --task training --context-length 4096 --to 8 -o micro.png";

/// What is needed as the context grows.
#[derive(Debug, Args)]
#[command(after_help = CONTEXT)]
pub(in crate::cli) struct ContextArgs {
    #[command(flatten)]
    pub sweep: SweepArgs,
}

/// What is needed as the batch grows.
#[derive(Debug, Args)]
#[command(after_help = BATCH)]
pub(in crate::cli) struct BatchArgs {
    #[command(flatten)]
    pub sweep: SweepArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SweepArgs {
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// GPU whose usable memory is drawn as a line, see `vramguard gpus`; several are possible
    #[arg(long, value_name = "GPU", help_heading = "Chart")]
    pub gpu: Vec<String>,
    /// Where the curve ends; the model's own maximum, or 32 sequences
    #[arg(long, value_name = "N", help_heading = "Chart", value_parser = values::positive, allow_negative_numbers = true)]
    pub to: Option<u64>,
    /// File to write: .svg or .png; `-` writes SVG to standard output
    #[arg(short = 'o', long = "output", value_name = "FILE", help_heading = "Chart")]
    pub output: PathBuf,
}

/// What is swept.
#[derive(Clone, Copy)]
pub(super) enum Axis {
    Context,
    Batch,
}

impl Axis {
    const fn with(self, declaration: &mut Declaration, n: u64) {
        match self {
            Self::Context => declaration.context_length = Some(n),
            Self::Batch => declaration.batch_size = Some(n),
        }
    }

    const fn question(self, task: Task) -> Question {
        match (self, task) {
            (Self::Context, Task::Inference) => Question::Context,
            (Self::Context, Task::Training) => Question::SequenceLength,
            (Self::Batch, Task::Inference) => Question::Concurrency,
            (Self::Batch, Task::Training) => Question::MicroBatch,
        }
    }

    const fn name(self, task: Task) -> &'static str {
        match (self, task) {
            (Self::Context, Task::Inference) => "Context length, tokens",
            (Self::Context, Task::Training) => "Sequence length, tokens",
            (Self::Batch, Task::Inference) => "Concurrent sequences",
            (Self::Batch, Task::Training) => "Micro-batch",
        }
    }

    /// The need that grows along the axis: sequences beyond the first are wanted, not required.
    const fn need(self, report: &crate::decide::report::EstimateView) -> Interval {
        match self {
            Self::Context => report.per_gpu.required,
            Self::Batch => report.per_gpu.wanted,
        }
    }
}

impl SweepArgs {
    pub(super) fn picture(&self, axis: Axis) -> Result<Chart, Failure> {
        let declaration = self.workload.declaration()?;
        let task = declaration.task.unwrap_or(Task::Inference);
        let first = estimate(&declaration, axis, 1, self.gpu.first())?;
        let end = self.to.unwrap_or_else(|| default_end(&declaration, axis));
        if end < 2 {
            return Err(Failure::new(code::USAGE, "a curve needs at least two points").hint("give --to at least 2"));
        }
        let (points, band) = self.curve(&declaration, axis, end)?;
        let (mut marks, mut spots) = (Vec::new(), Vec::new());
        for gpu in &self.gpu {
            let report = estimate(&declaration, axis, 1, Some(gpu))?;
            let Some(capacity) = &report.capacity else { continue };
            let name = engine::short_product(&engine::device(gpu)?.product).to_owned();
            marks.push(Mark { name, bytes: capacity.usable_bytes });
            let most = Self::most(&declaration, axis.question(task), gpu)?.filter(|most| *most < end);
            spots.extend(most.map(|at| Spot { at, bytes: capacity.usable_bytes, label: at.to_string() }));
        }
        let (title, subtitle) =
            titles(first.workload.as_ref(), matches!(axis, Axis::Batch), matches!(axis, Axis::Context));
        let what = if matches!(axis, Axis::Context) { "context" } else { "batch" };
        Ok(Chart {
            title: format!("{title}: GPU memory against {what}"),
            subtitle: format!("{subtitle} · shaded: low to high · dots: the most that surely fits"),
            x_axis: axis.name(task).to_owned(),
            y_axis: "Needed per GPU, GiB".to_owned(),
            x_unit: if matches!(axis, Axis::Context) { 2048.0 } else { 1.0 },
            series: vec![Series { name: "likely".to_owned(), color: 0, dash: 0, points }],
            bands: vec![Band { color: 0, points: band }],
            marks,
            spots,
        })
    }

    /// The likely values and the bounds, at points of equal distance.
    #[expect(clippy::type_complexity, reason = "two lists of coordinates")]
    fn curve(
        &self,
        declaration: &Declaration,
        axis: Axis,
        end: u64,
    ) -> Result<(Vec<(u64, crate::estimate::Bytes)>, Vec<(u64, Interval)>), Failure> {
        let mut at: Vec<u64> =
            (0..=POINTS).map(|n| (u128::from(end) * u128::from(n) / u128::from(POINTS)) as u64).collect();
        at.retain(|n| *n > 0);
        at.insert(0, 1);
        at.dedup();
        let (mut points, mut band) = (Vec::new(), Vec::new());
        for n in at {
            let report = estimate(declaration, axis, n, self.gpu.first())?;
            let need = report.estimate.as_ref().map(|view| axis.need(view)).ok_or_else(|| engine::refused(&report))?;
            points.push((n, need.likely));
            band.push((n, need));
        }
        Ok((points, band))
    }

    /// The largest number that surely fits the GPU.
    fn most(declaration: &Declaration, question: Question, gpu: &str) -> Result<Option<u64>, Failure> {
        let candidates = engine::given(gpu, declaration)?;
        let solutions = engine::solve(declaration, &[question], Some(&candidates), None);
        let proven = solutions.iter().find(|solution| solution.outcome == Outcome::Proven);
        Ok(proven.and_then(|solution| solution.value.as_ref()?.parse().ok()))
    }
}

fn estimate(declaration: &Declaration, axis: Axis, n: u64, gpu: Option<&String>) -> Result<Report, Failure> {
    let mut declaration = declaration.clone();
    axis.with(&mut declaration, n);
    let candidates = gpu.map(|gpu| engine::given(gpu, &declaration)).transpose()?;
    let report = engine::estimate(&declaration, candidates.as_ref(), None);
    if report.estimate.is_none() { Err(engine::refused(&report)) } else { Ok(report) }
}

fn default_end(declaration: &Declaration, axis: Axis) -> u64 {
    match axis {
        Axis::Batch => BATCH_END,
        Axis::Context => {
            let unset = Declaration { context_length: None, ..declaration.clone() };
            let own = engine::estimate(&unset, None, None).workload.and_then(|workload| workload.context_length);
            own.unwrap_or(CONTEXT_END).max(2)
        }
    }
}
