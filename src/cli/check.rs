//! `vramguard check`: the workloads in manifests against the GPUs of a cluster.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::capacity::{self, Capacity};
use super::documents::{self, Document, Problem};
use super::error::{Failure, code};
use super::exit::Exit;
use super::hub::HubArgs;
use super::manifests;
use super::output::{self, Format};
use super::profiles::Given;
use super::render::{junit, sarif, table};
use crate::decide::Policy;
use crate::decide::policy::PolicyInput;
use crate::decide::report::{CheckResult, InputError, Report, Source};
use crate::evaluate::{self, Environment};
use crate::facts::catalog::Catalog;
use crate::facts::lookup::ModelSource;
use crate::facts::profile::{Profile, Profiles};
use crate::spec::dra::{Published, objects};
use crate::spec::files::ConfigMaps;
use crate::spec::pod::PodTemplate;
use crate::spec::{kinds, patch, yaml};

/// Fewer files than this are read before a bar could be seen.
const BAR_FROM: usize = 200;
/// Notes printed one by one.
const NOTE_LIMIT: usize = 20;

const EXAMPLES: &str = "\
Examples:
  vramguard check -f examples/ --nodes examples/nodes.yaml
  helm template ./chart | vramguard check -f - --nodes nodes.yaml -o json
  kubectl get pods,deployments -A -o yaml | vramguard check -f - --cluster --strict
  vramguard check -f deploy/ --nodes nodes.yaml -o sarif > vramguard.sarif

Exit codes: 0 everything fits, 1 something is denied, 2 bad input, 3 only warnings (with --strict)";

/// Manifests and what to hold them against.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CheckArgs {
    /// Files, directories (searched for *.yaml, *.yml and *.json), or `-` for standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    pub filename: Vec<PathBuf>,
    /// Nodes to hold the workloads against, as `kubectl get nodes -o yaml` prints them
    #[arg(long, value_name = "FILE")]
    pub nodes: Option<PathBuf>,
    /// Hold the workloads against the nodes of the current cluster
    #[cfg(feature = "cluster")]
    #[arg(long, conflicts_with = "nodes")]
    pub cluster: bool,
    /// Kubeconfig of the cluster
    #[cfg(feature = "cluster")]
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub kubeconfig: Option<PathBuf>,
    /// Policy file, as the webhook reads it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Exit with 3 if there are warnings
    #[arg(long)]
    pub strict: bool,
    /// Table for people; JSON or YAML for programs; SARIF or JUnit for CI
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    pub output: CheckFormat,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum CheckFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// The same as YAML.
    Yaml,
    /// What is denied or warned of, for code hosts to show beside the lines.
    Sarif,
    /// A test case a workload, for CI systems to list.
    Junit,
}

impl CheckFormat {
    /// The format for errors of the command itself.
    pub(super) const fn of_errors(self) -> Format {
        match self {
            Self::Table | Self::Sarif | Self::Junit => Format::Table,
            Self::Json => Format::Json,
            Self::Yaml => Format::Yaml,
        }
    }
}

pub(super) fn run(args: &CheckArgs) -> Result<Exit, Failure> {
    let policy = args.policy()?;
    let mut capacity = args.capacity()?;
    let mut checked = Checked::default();
    let skip: Vec<PathBuf> = args.nodes.iter().chain(&args.config).cloned().collect();
    let (files, failures) = manifests::collect(&args.filename, &skip);
    checked.problems.extend(failures.iter().map(unread));
    let mut given = Given::look(&files);
    checked.problems.append(&mut given.problems);
    let profiles = given.profiles(capacity.as_ref().map_or(&[], |capacity| &capacity.profiles));
    let hub = args.hub.source()?;
    let bar = progress(files.len());
    for file in files {
        checked.file(&file, given.text(&file));
        bar.inc(1);
    }
    bar.finish_and_clear();
    // Claims among the manifests count for every pod beside them.
    if let Some(capacity) = &mut capacity {
        capacity.inventory.dynamic.extend(std::mem::take(&mut checked.published.dynamic));
    }
    let known = Known { policy: &policy, profiles: &profiles, source: hub.as_deref(), capacity: capacity.as_ref() };
    checked.evaluate(known);
    if let Some(capacity) = capacity {
        checked.notes.extend(capacity.notes);
        checked.problems.extend(capacity.problems);
    }
    checked.print(args.output)?;
    Ok(if checked.problems.is_empty() {
        Exit::of(checked.reports.iter().map(|report| report.decision), args.strict)
    } else {
        Exit::BadInput
    })
}

impl CheckArgs {
    fn policy(&self) -> Result<Policy, Failure> {
        let Some(path) = &self.config else { return Ok(Policy::default()) };
        let text = manifests::read_bounded(path, manifests::MANIFEST_LIMIT)?;
        yaml::typed(&text)
            .map_err(|error| Failure::new(code::BAD_INPUT, format!("{}: not a policy: {error}", path.display())))
    }

    fn capacity(&self) -> Result<Option<Capacity>, Failure> {
        #[cfg(feature = "cluster")]
        if self.cluster {
            return capacity::from_cluster(self.kubeconfig.as_deref()).map(Some);
        }
        self.nodes.as_deref().map(capacity::from_file).transpose()
    }
}

/// Hidden unless a person watches and there is something to watch.
fn progress(files: usize) -> ProgressBar {
    if files < BAR_FROM {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {eta} left");
    // The bar draws to standard error, and only if that is a terminal.
    ProgressBar::new(files as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What manifests are held against.
#[derive(Clone, Copy)]
struct Known<'a> {
    policy: &'a Policy,
    profiles: &'a Profiles,
    source: Option<&'a dyn ModelSource>,
    capacity: Option<&'a Capacity>,
}

/// What came of the inputs.
#[derive(Default)]
struct Checked {
    reports: Vec<Report>,
    problems: Vec<Problem>,
    notes: Vec<String>,
    /// Read and not yet judged: a ConfigMap may come after the pod that has it mounted.
    found: Vec<(Source, PodTemplate)>,
    config_maps: ConfigMaps,
    /// Claims and device classes among the manifests: they count for every pod beside them, whatever the order.
    published: Published,
}

impl Checked {
    fn file(&mut self, path: &std::path::Path, text: Result<String, Failure>) {
        let name = path.display().to_string();
        let text = match text {
            Ok(text) => text,
            Err(failure) => return self.problems.push(unread(&failure)),
        };
        let (documents, problems) = documents::read(&name, &text);
        self.problems.extend(problems);
        for document in documents {
            self.publish(&name, document.line, &document.value);
            self.document(&name, &document);
        }
    }

    /// Takes in claims, be they in a list.
    fn publish(&mut self, file: &str, line: u64, object: &Value) {
        for item in object.get("items").and_then(Value::as_array).into_iter().flatten() {
            self.publish(file, line, item);
        }
        if let Err(error) = self.published.add(object) {
            self.problems.push(Problem { file: file.to_owned(), line, message: error.to_string() });
        }
    }

    fn document(&mut self, file: &str, document: &Document) {
        let kind = document.value.get("kind").and_then(Value::as_str);
        if kind.is_some_and(|kind| objects::KINDS.contains(&kind)) || Profile::is_one(&document.value) {
            return;
        }
        if let Err(error) = kinds::identity(&document.value) {
            let place = Problem { file: file.to_owned(), line: document.line, message: error.to_string() };
            return self.notes.push(format!("{place}; skipped"));
        }
        let (templates, wrong) = kinds::readable(&document.value);
        self.problems.extend(wrong.iter().map(|error| Problem {
            file: file.to_owned(),
            line: document.line,
            message: error.to_string(),
        }));
        self.config_maps.collect(&document.value);
        let sourced = templates.into_iter().map(|found| (source(file, document, found.object), found.pod));
        self.found.extend(sourced);
    }

    fn evaluate(&mut self, known: Known<'_>) {
        let environment = Environment {
            catalog: Catalog::embedded(),
            profiles: known.profiles,
            source: known.source,
            inventory: known.capacity.map(|capacity| &capacity.inventory),
            policy: known.policy,
            config_maps: Some(&self.config_maps),
        };
        for (source, pod) in &self.found {
            let label = known.capacity.and_then(|capacity| capacity.modes.get(&source.namespace));
            let asked = PolicyInput {
                namespace: &source.namespace,
                namespace_label: label.map(String::as_str),
                ..PolicyInput::default()
            };
            let mut reports = evaluate::evaluate(pod, source, &asked, &environment);
            // Admission patches pods only, so that nobody's templates drift.
            for report in reports.iter_mut().filter(|report| report.source.kind == "Pod") {
                report.patch = patch::annotate(pod, &patch::record(report));
            }
            self.reports.extend(reports);
        }
    }

    fn print(&mut self, format: CheckFormat) -> Result<(), Failure> {
        for note in self.notes.iter().take(NOTE_LIMIT) {
            output::complain(&format!("note: {note}\n"));
        }
        if let Some(more) = self.notes.len().checked_sub(NOTE_LIMIT).filter(|more| *more > 0) {
            output::complain(&format!("note: and {more} more\n"));
        }
        let mut result = CheckResult::new(std::mem::take(&mut self.reports));
        result.errors = self.problems.iter().map(view).collect();
        match format {
            CheckFormat::Sarif => output::document(&sarif::document(&result), Format::Json)?,
            CheckFormat::Junit => output::bytes(junit::document(&result).as_bytes())?,
            CheckFormat::Table => {
                output::text(&table::check(&result))?;
                for problem in &self.problems {
                    output::complain(&format!("error: {problem}\n"));
                }
            }
            format if result.results.is_empty() && !self.problems.is_empty() => {
                let all: Vec<String> = self.problems.iter().map(Problem::to_string).collect();
                Failure::new(code::BAD_INPUT, all.join("; ")).print(format.of_errors());
            }
            format => output::document(&result, format.of_errors())?,
        }
        self.reports = result.results;
        Ok(())
    }
}

fn source(file: &str, document: &Document, object: kinds::Identity) -> Source {
    let kinds::Identity { kind, namespace, name, .. } = object;
    let (index, line) = (Some(document.index), Some(document.line));
    Source { file: Some(file.to_owned()), document: index, line, kind, namespace, name, container: String::new() }
}

/// A file that could not be read at all: its message names it.
fn unread(failure: &Failure) -> Problem {
    Problem { file: String::new(), line: 0, message: failure.to_string() }
}

fn view(problem: &Problem) -> InputError {
    let line = Some(problem.line).filter(|line| *line > 0);
    InputError { file: problem.file.clone(), line, message: problem.message.clone() }
}
