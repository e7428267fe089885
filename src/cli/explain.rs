//! `vramguard explain`: the term tree behind an estimate.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::args::OutputArgs;
use super::error::{Failure, code};
use super::exit::Exit;
use super::output::{self, Format};
use super::render::style::clean;
use super::render::tree;
use super::workload_flags::WorkloadArgs;
use super::{capacity, documents, engine, manifests};
use crate::decide::policy::PolicyInput;
use crate::decide::report::{CapacityView, Source, WorkloadView};
use crate::decide::{Candidates, Policy, Report, Verdict};
use crate::estimate::explain::Explanation;
use crate::evaluate::{self, Environment};
use crate::facts::catalog::Catalog;
use crate::facts::lookup::Models;
use crate::facts::profile::Profiles;
use crate::spec::declaration::Declaration;
use crate::spec::kinds;

const EXAMPLES: &str = "\
Examples:
  vramguard explain --model meta-llama/Llama-3.1-8B-Instruct --engine vllm --context-length 8192 --gpu L40S
  vramguard explain --model google/gemma-2-9b-it --engine sglang -o json
  vramguard explain --model meta-llama/Llama-2-7b-hf --task training --sharding zero3 --data-parallel 4 \\
      --batch-size 4 --context-length 4096 --gpu A100-80GB
  vramguard explain -f examples/07-vllm-llama-3.1-70b-tp4.yaml --nodes examples/nodes.yaml

Exit codes: 0 it could be estimated, 2 bad input";

/// One workload, described by flags.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub workload: WorkloadArgs,
    #[command(flatten)]
    pub capacity: CapacityArgs,
    /// Explain the workloads of a manifest instead, `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", help_heading = "Manifest", conflicts_with_all =
        ["ModelArgs", "RunArgs", "ParallelismArgs", "EngineArgs", "TrainingArgs", "gpu"])]
    pub filename: Option<PathBuf>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a Source>,
    workload: Option<&'a WorkloadView>,
    #[serde(flatten)]
    explanation: &'a Explanation,
    capacity: Option<&'a CapacityView>,
    verdict: Verdict,
    notes: &'a [String],
}

impl<'a> Document<'a> {
    fn new(report: &'a Report, explanation: &'a Explanation) -> Self {
        Self {
            api_version: "vramguard.io/v1",
            kind: "Explanation",
            source: Some(&report.source).filter(|source| source.file.is_some()),
            workload: report.workload.as_ref(),
            explanation,
            capacity: report.capacity.as_ref(),
            verdict: report.verdict,
            notes: &report.notes,
        }
    }
}

pub(super) fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    if let Some(path) = &args.filename {
        return manifest(path, args);
    }
    let declaration = args.workload.declaration()?;
    let candidates = args.capacity.candidates(&declaration)?;
    let report = engine::estimate(&declaration, candidates.as_ref(), None);
    let explanation = explained(&declaration, &report, candidates.as_ref())?;
    match args.output.format {
        Format::Table => output::text(&tree::explanation(&report, &explanation))?,
        format => output::document(&Document::new(&report, &explanation), format)?,
    }
    Ok(Exit::Success)
}

/// Every workload of a manifest, one after the other; a list where documents are asked for.
fn manifest(path: &Path, args: &ExplainArgs) -> Result<Exit, Failure> {
    let capacity = args.capacity.nodes.as_deref().map(capacity::from_file).transpose()?;
    let name = path.display().to_string();
    let (documents, problems) = documents::read(&name, &manifests::read_bounded(path, manifests::MANIFEST_LIMIT)?);
    if let Some(problem) = problems.first() {
        return Err(Failure::new(code::BAD_INPUT, problem.to_string()));
    }
    let inventory = capacity.as_ref().map(|capacity| &capacity.inventory);
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: Profiles::none(),
        source: None,
        inventory,
        policy: &Policy::default(),
        config_maps: None,
    };
    let mut found = Vec::new();
    for document in &documents {
        for template in kinds::readable(&document.value).0 {
            let kinds::Identity { kind, namespace, name: object, .. } = template.object;
            let (file, index, line) = (Some(name.clone()), Some(document.index), Some(document.line));
            let source =
                Source { file, document: index, line, kind, namespace, name: object, container: String::new() };
            found.extend(evaluate::explain_template(&template.pod, &source, &PolicyInput::default(), &environment));
        }
    }
    let mut explained: Vec<(&Report, &Explanation)> = Vec::new();
    for (report, explanation) in &found {
        match explanation {
            Some(explanation) => explained.push((report, explanation)),
            None if report.verdict == Verdict::NotApplicable => {}
            None => output::complain(&format!("note: {}: {}\n", title(report), report.message)),
        }
    }
    if explained.is_empty() {
        return Err(Failure::new(code::BAD_INPUT, format!("{name}: no workload in it that can be explained")));
    }
    match args.output.format {
        Format::Table => {
            let one = |(report, explanation): &(&Report, &Explanation)| {
                format!("{}\n{}", title(report), tree::explanation(report, explanation))
            };
            output::text(&explained.iter().map(one).collect::<Vec<_>>().join("\n"))?;
        }
        format => {
            let all: Vec<Document<'_>> = explained.iter().map(|(report, tree)| Document::new(report, tree)).collect();
            output::document(&all, format)?;
        }
    }
    Ok(Exit::Success)
}

/// `Deployment/chat, container vllm`.
fn title(report: &Report) -> String {
    let source = &report.source;
    clean(&format!("{}/{}, container {}", source.kind, source.name, source.container))
}

/// The explanation of a report, or why there is none.
pub(super) fn explained(
    declaration: &Declaration,
    report: &Report,
    candidates: Option<&Candidates>,
) -> Result<Explanation, Failure> {
    let models = Models { catalog: Catalog::embedded(), profiles: Profiles::none(), source: None, namespace: "" };
    let explanation = report.estimate.as_ref().and_then(|_| evaluate::explain(declaration, report, candidates, models));
    explanation.ok_or_else(|| engine::refused(report))
}
