//! `vramguard explain`: the term tree behind an estimate.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::args::OutputArgs;
use super::error::Failure;
use super::exit::Exit;
use super::output::{self, Format};
use super::render::tree;
use super::workload_flags::WorkloadArgs;
use super::{capacity, engine};
use crate::decide::report::{CapacityView, WorkloadView};
use crate::decide::{Candidates, Report, Verdict};
use crate::estimate::explain::Explanation;
use crate::evaluate;
use crate::facts::catalog::Catalog;
use crate::spec::declaration::Declaration;

const EXAMPLES: &str = "\
Examples:
  vramguard explain --model meta-llama/Llama-3.1-8B-Instruct --engine vllm --context-length 8192 --gpu L40S
  vramguard explain --model google/gemma-2-9b-it --engine sglang -o json
  vramguard explain --model meta-llama/Llama-2-7b-hf --task training --sharding zero3 --data-parallel 4 \\
      --batch-size 4 --context-length 4096 --gpu A100-80GB

Exit codes: 0 it could be estimated, 2 bad input";

/// One workload, described by flags.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub workload: WorkloadArgs,
    #[command(flatten)]
    pub capacity: CapacityArgs,
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputArgs,
}

/// Where it may run.
#[derive(Debug, Args)]
#[command(next_help_heading = "Capacity")]
pub(super) struct CapacityArgs {
    /// GPU to hold the estimate against, see `vramguard gpus`
    #[arg(long, value_name = "GPU")]
    pub gpu: Option<String>,
    /// Nodes to hold the estimate against, as `kubectl get nodes -o yaml` prints them
    #[arg(long, value_name = "FILE", conflicts_with = "gpu")]
    pub nodes: Option<PathBuf>,
}

impl CapacityArgs {
    /// The classes that were given; `None` if none were.
    pub(super) fn candidates(&self, declaration: &Declaration) -> Result<Option<Candidates>, Failure> {
        if let Some(name) = &self.gpu {
            return engine::given(name, declaration).map(Some);
        }
        let Some(path) = &self.nodes else { return Ok(None) };
        Ok(Some(Candidates::everywhere(&capacity::from_file(path)?.inventory)))
    }
}

/// What `explain -o json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'static str,
    kind: &'static str,
    workload: Option<&'a WorkloadView>,
    #[serde(flatten)]
    explanation: &'a Explanation,
    capacity: Option<&'a CapacityView>,
    verdict: Verdict,
    notes: &'a [String],
}

pub(super) fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    let declaration = args.workload.declaration()?;
    let candidates = args.capacity.candidates(&declaration)?;
    let report = engine::estimate(&declaration, candidates.as_ref());
    let explanation = explained(&declaration, &report, candidates.as_ref())?;
    match args.output.format {
        Format::Table => output::text(&tree::explanation(&report, &explanation))?,
        format => output::document(
            &Document {
                api_version: "vramguard.io/v1",
                kind: "Explanation",
                workload: report.workload.as_ref(),
                explanation: &explanation,
                capacity: report.capacity.as_ref(),
                verdict: report.verdict,
                notes: &report.notes,
            },
            format,
        )?,
    }
    Ok(Exit::Success)
}

/// The explanation of a report, or why there is none.
pub(super) fn explained(
    declaration: &Declaration,
    report: &Report,
    candidates: Option<&Candidates>,
) -> Result<Explanation, Failure> {
    let explanation =
        report.estimate.as_ref().and_then(|_| evaluate::explain(declaration, report, candidates, Catalog::embedded()));
    explanation.ok_or_else(|| engine::refused(report))
}
