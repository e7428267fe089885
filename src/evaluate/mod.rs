//! The one evaluation path: pod template → declaration → workload → estimate → fit → decision → report.
//!
//! The webhook and the command line both call [`evaluate`], so a denial in the cluster can be replayed in a terminal.

mod doubt;
mod flags;
mod message;
mod resolve;
mod shelf;
mod stored;
mod view;

use crate::decide::fit::{self, Assessment, Strictness};
use crate::decide::fixes::Search;
use crate::decide::policy::PolicyInput;
use crate::decide::report::{Report, Solution, Source};
use crate::decide::solve::{Question, Solver};
use crate::decide::{Candidates, Decision, Inventory, Mode, Policy, Verdict};
use crate::estimate::explain::{self, Explanation};
use crate::estimate::workload::EngineName;
use crate::estimate::{Estimate, EstimateError, TermName, Workload};
use crate::facts::catalog::Catalog;
use crate::facts::lookup::{ModelSource, Models};
use crate::facts::profile::Profiles;
use crate::spec::declaration::{Declaration, SpecError};
use crate::spec::files::ConfigMaps;
use crate::spec::pod::PodTemplate;

/// What an evaluation may look at.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Models that the program knows.
    pub catalog: &'a Catalog,
    /// Models that users described.
    pub profiles: &'a Profiles,
    /// Asked about models that neither knows.
    pub source: Option<&'a dyn ModelSource>,
    /// Known capacity; `None` where nothing was given (`check` without nodes).
    pub inventory: Option<&'a Inventory>,
    /// Policy in force.
    pub policy: &'a Policy,
    /// ConfigMaps that pods may have mounted as files; `None` where none were looked for.
    pub config_maps: Option<&'a ConfigMaps>,
}

impl<'a> Environment<'a> {
    /// The catalogue alone: nobody described a model, nothing is asked, no files are seen.
    #[must_use]
    pub fn catalogued(inventory: Option<&'a Inventory>, policy: &'a Policy) -> Self {
        let catalog = Catalog::embedded();
        Self { catalog, profiles: Profiles::none(), source: None, inventory, policy, config_maps: None }
    }

    /// Everything that knows models, for pods of a namespace.
    fn models<'n>(&self, namespace: &'n str) -> Models<'n>
    where
        'a: 'n,
    {
        Models { catalog: self.catalog, profiles: self.profiles, source: self.source, namespace }
    }
}

/// One report for every container of the template that runs a model; none for pods that ask for no GPU and say nothing.
#[must_use]
pub fn evaluate(
    template: &PodTemplate,
    source: &Source,
    asked: &PolicyInput<'_>,
    environment: &Environment<'_>,
) -> Vec<Report> {
    let declared = crate::spec::declare_with(template, environment.config_maps);
    declared
        .into_iter()
        .map(|declared| match declared {
            Ok(mut declaration) => {
                let candidates = landing(template, &mut declaration, environment.inventory, environment.policy);
                evaluate_declaration(&declaration, source, asked, candidates.as_ref(), environment)
            }
            Err(error) => invalid(template, source, asked, environment.policy, &error),
        })
        .collect()
}

/// Where the container's pod can land; `None` when nothing is known about capacity or no GPU is requested.
fn landing(
    template: &PodTemplate,
    declaration: &mut Declaration,
    inventory: Option<&Inventory>,
    policy: &Policy,
) -> Option<Candidates> {
    if !declaration.claims.is_empty() {
        let inventory = inventory?;
        let mut claimed = crate::spec::dra::claimed(template, &declaration.claims, inventory);
        declaration.gpus = claimed.request;
        if let Some(candidates) =
            claimed.candidates.as_mut().filter(|_| !inventory.possible.is_empty() || !policy.node_shapes.is_empty())
        {
            candidates.possible_unknown.push("an autoscaler may add nodes, whose devices are not known".to_owned());
        }
        return claimed.candidates;
    }
    let request = declaration.gpus.as_ref()?;
    let inventory = inventory?;
    let mut candidates = crate::spec::eligibility::candidates(template, request, inventory);
    let shapes = crate::spec::nodepools::shapes(&policy.node_shapes);
    crate::spec::eligibility::could_be_added(
        template,
        request,
        inventory.possible.iter().chain(&shapes),
        &mut candidates,
    );
    Some(candidates)
}

/// The report for one declaration, held against `candidates`, or against nothing.
#[must_use]
pub fn evaluate_declaration(
    declaration: &Declaration,
    source: &Source,
    asked: &PolicyInput<'_>,
    candidates: Option<&Candidates>,
    environment: &Environment<'_>,
) -> Report {
    let asked = PolicyInput {
        pod_mode: declaration.mode.or(asked.pod_mode),
        exempt_reason: declaration.exempt_reason.as_deref().or(asked.exempt_reason),
        ..asked.clone()
    };
    let mut draft = Draft::new(source, &declaration.container, &asked, environment.policy);
    draft.notes.extend(declaration.unread.iter().chain(&declaration.notes).cloned());
    if let Some(conflict) = declaration.conflicts.first() {
        draft.notes.extend(declaration.conflicts.iter().skip(1).cloned());
        return draft.finish(Verdict::SpecConflict, conflict.clone());
    }
    if declaration.model.is_none() && declaration.unknown_fields.contains("model") {
        return draft.finish(Verdict::UnknownWorkload, message::unread(declaration));
    }
    let models = environment.models(asked.namespace);
    let resolved = match resolve::workload(declaration, models) {
        Ok(resolved) => resolved,
        Err(problem) => return draft.finish(problem.verdict, problem.message),
    };
    draft.notes.extend(resolved.notes);
    draft.described = resolved.described;
    let workload = resolved.workload;
    draft.workload = Some(view::workload(declaration, &workload));
    if declaration.unknown_fields.contains("model") {
        return draft.finish(Verdict::UnknownWorkload, message::unread(declaration));
    }
    let checked =
        resolve::check_gpus(declaration, &workload).and_then(|()| resolve::check_model(declaration, &workload, models));
    match checked {
        Ok(note) => draft.notes.extend(note),
        Err(problem) => {
            draft.report.reason = problem.reason;
            return draft.finish(problem.verdict, problem.message);
        }
    }
    draft.judge(declaration, &workload, candidates)
}

/// Answers to questions about a declaration; none if it cannot be resolved, which its report says.
#[must_use]
pub fn solve(
    declaration: &Declaration,
    questions: &[Question],
    candidates: &Candidates,
    environment: &Environment<'_>,
) -> Vec<Solution> {
    let Ok(resolved) = resolve::workload(declaration, environment.models("")) else { return Vec::new() };
    let workload = &resolved.workload;
    let strictness = Strictness { require_wanted: environment.policy.require_wanted };
    let solver = Solver { workload, candidates, strictness, shelf: shelf::shelf() };
    let mut solutions: Vec<Solution> = questions.iter().map(|question| solver.solve(*question)).collect();
    for solution in &mut solutions {
        let listed = solution.alternatives.iter_mut().flat_map(|alternative| alternative.changes.iter_mut());
        for change in solution.changes.iter_mut().chain(listed) {
            flags::in_source_words(change, workload, declaration);
        }
    }
    solutions
}

/// As [`evaluate`], each report with its estimate taken apart, where there is one.
#[must_use]
pub fn explain_template(
    template: &PodTemplate,
    source: &Source,
    asked: &PolicyInput<'_>,
    environment: &Environment<'_>,
) -> Vec<(Report, Option<Explanation>)> {
    let declared = crate::spec::declare(template).into_iter();
    let explained = |declaration: &mut Declaration| {
        let candidates = landing(template, declaration, environment.inventory, environment.policy);
        let report = evaluate_declaration(declaration, source, asked, candidates.as_ref(), environment);
        let explanation = explain(declaration, &report, candidates.as_ref(), environment.models(asked.namespace));
        (report, explanation)
    };
    declared
        .map(|declared| match declared {
            Ok(mut declaration) => explained(&mut declaration),
            Err(error) => (invalid(template, source, asked, environment.policy, &error), None),
        })
        .collect()
}

/// Takes apart the estimate of a report that was made from this declaration: on the class that the report names, or on
/// none.
#[must_use]
pub fn explain(
    declaration: &Declaration,
    report: &Report,
    candidates: Option<&Candidates>,
    models: Models<'_>,
) -> Option<Explanation> {
    let workload = resolve::workload(declaration, models).ok()?.workload;
    let named = report.capacity.as_ref().map(|capacity| capacity.gpu_class.as_str());
    let mut eligible = candidates.into_iter().flat_map(|candidates| &candidates.eligible);
    let class = eligible.find(|candidate| Some(candidate.class.name().as_str()) == named).map(|found| &found.class);
    let device = class.map_or_else(resolve::imaginary_device, |class| class.device.clone());
    let estimate = crate::estimate::estimate(&workload, &device).ok()?;
    explain::explain(&workload, &estimate).ok()
}

/// A report in the making.
struct Draft<'a> {
    report: Report,
    policy: &'a Policy,
    notes: Vec<String>,
    workload: Option<crate::decide::report::WorkloadView>,
    /// A profile says how the checkpoint is stored: its path need not be doubted.
    described: bool,
}

impl<'a> Draft<'a> {
    fn new(source: &Source, container: &str, asked: &PolicyInput<'_>, policy: &'a Policy) -> Self {
        let effective = policy.effective_mode(asked);
        let report = Report {
            source: Source { container: container.to_owned(), ..source.clone() },
            workload: None,
            estimate: None,
            capacity: None,
            verdict: Verdict::NotApplicable,
            reason: None,
            decision: Decision::Allow,
            mode: effective.mode,
            exempted: effective.exempted,
            message: String::new(),
            notes: Vec::new(),
            fixes: Vec::new(),
            solutions: Vec::new(),
            patch: Vec::new(),
        };
        Self { report, policy, notes: Vec::new(), workload: None, described: false }
    }

    fn finish(mut self, verdict: Verdict, message: String) -> Report {
        let judged = self.policy.judge(verdict);
        // A workload that also fits only part of where it may land deserves a word, not a refusal.
        let judged =
            if verdict == Verdict::Fits && self.report.decision == Decision::Warn { Decision::Warn } else { judged };
        self.report.verdict = verdict;
        self.report.decision = Policy::under_mode(judged, self.report.mode);
        self.report.message = message;
        self.report.notes = self.notes;
        self.report.workload = self.workload;
        self.report
    }

    fn judge(mut self, declaration: &Declaration, workload: &Workload, candidates: Option<&Candidates>) -> Report {
        let strictness = Strictness { require_wanted: self.policy.require_wanted };
        let Some(candidates) = candidates else { return self.without_capacity(declaration, workload) };
        let cheapest = doubt::cheapest(declaration, workload);
        let assessment = match (fit::assess(workload, candidates, strictness), &cheapest) {
            (Ok(assessment), _) => assessment,
            (Err(error), None) => return self.refuse(&error),
            (Err(_), Some(_)) => return self.finish(Verdict::UnknownWorkload, message::unread(declaration)),
        };
        self.describe(workload, &assessment);
        // What could not be read may be what makes it fit.
        let sure = |cheapest| fit::assess(cheapest, candidates, strictness).is_ok_and(|other| !refused(other.verdict));
        let unsure = !refused(assessment.verdict) || cheapest.as_ref().is_some_and(sure);
        if cheapest.is_some() && unsure && assessment.best.is_some() {
            return self.finish(Verdict::UnknownWorkload, message::unread(declaration));
        }
        if !self.described
            && refused(assessment.verdict)
            && doubt::quantized(declaration, workload).as_ref().is_some_and(sure)
        {
            return self.finish(Verdict::UnknownWorkload, message::stored_unknown(declaration));
        }
        if matches!(assessment.verdict, Verdict::TooBig | Verdict::EngineRefuses | Verdict::Tight) {
            let gpus = declaration.gpus.as_ref().map_or(1, |request| request.count);
            let search = Search { workload, gpus, candidates, strictness, shelf: shelf::shelf() };
            let mut fixes = search.run();
            for change in fixes.iter_mut().flat_map(|fix| fix.changes.iter_mut()) {
                flags::in_source_words(change, workload, declaration);
            }
            self.report.fixes = fixes;
        }
        // It fits with the default that stands in for what could not be read, which is worth a word.
        if !assessment.misfits.is_empty() || cheapest.is_some() {
            self.report.decision = Decision::Warn;
        }
        self.report.reason = reason(&assessment);
        let text = message::verdict(&assessment, candidates, declaration, &self.report.fixes, strictness);
        self.finish(assessment.verdict, text)
    }

    /// Nothing to hold the estimate against: say what it needs anyway.
    fn without_capacity(mut self, declaration: &Declaration, workload: &Workload) -> Report {
        match crate::estimate::estimate(workload, &resolve::imaginary_device()) {
            Ok(mut estimate) => {
                forget_device(workload, &mut estimate);
                let text = message::without_capacity(declaration, &estimate);
                self.notes.extend(estimate.notes.iter().cloned());
                self.report.estimate = Some(view::estimate(&estimate));
                self.finish(Verdict::UnknownCapacity, text)
            }
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(mut self, error: &EstimateError) -> Report {
        if let EstimateError::Undivided(refusal) = error {
            self.report.reason = Some(refusal.code);
        }
        let verdict = match error {
            EstimateError::Invalid { .. } => Verdict::InvalidSpec,
            EstimateError::Parallelism(_) | EstimateError::Undivided(_) => Verdict::ParallelismMismatch,
            EstimateError::Missing { .. } => Verdict::UnknownWorkload,
        };
        self.finish(verdict, error.to_string())
    }

    fn describe(&mut self, workload: &Workload, assessment: &Assessment) {
        let Some(best) = &assessment.best else {
            if let Ok(mut estimate) = crate::estimate::estimate(workload, &resolve::imaginary_device()) {
                forget_device(workload, &mut estimate);
                self.report.estimate = Some(view::estimate(&estimate));
            }
            return;
        };
        self.notes.extend(best.estimate.notes.iter().cloned());
        self.notes.extend(message::queues(workload, best));
        self.notes.extend(message::shared(workload, best));
        self.report.estimate = Some(view::estimate(&best.estimate));
        self.report.capacity = Some(view::capacity(best));
    }
}

/// The code of what decides a refusal: the engine's own, or the term that does not fit.
fn reason(assessment: &Assessment) -> Option<&'static str> {
    let best = assessment.best.as_ref().filter(|_| refused(assessment.verdict))?;
    let estimate = &best.estimate;
    let weights = estimate.terms.iter().find(|term| term.name == TermName::Weights);
    if weights.is_some_and(|weights| weights.bytes.low > estimate.usable) {
        return Some("WEIGHTS_EXCEED_DEVICE");
    }
    estimate.refusals.first().map(|refusal| refusal.code).or_else(|| {
        let cache = estimate.terms.iter().find(|term| term.name == TermName::KvCache)?;
        let without = estimate.per_gpu.required.low - cache.bytes.low;
        (estimate.serving.is_some() && without <= estimate.usable).then_some("KV_BELOW_ONE_REQUEST")
    })
}

/// Verdicts that rest on the estimate and lead to a refusal.
const fn refused(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::TooBig | Verdict::EngineRefuses)
}

/// Figures that depend on the device mean nothing without one.
fn forget_device(workload: &Workload, estimate: &mut Estimate) {
    if workload.engine.name != EngineName::Generic {
        estimate.per_gpu.reserved = estimate.per_gpu.wanted;
    }
    estimate.refusals.clear();
    if let Some(serving) = &mut estimate.serving {
        serving.kv_pool_bytes = crate::estimate::Bytes::ZERO;
        serving.kv_tokens = 0;
        serving.max_context = 0;
        serving.expected_log.clear();
    }
}

/// The report for a template whose annotations or arguments are malformed.
fn invalid(
    template: &PodTemplate,
    source: &Source,
    asked: &PolicyInput<'_>,
    policy: &Policy,
    error: &SpecError,
) -> Report {
    let asked = PolicyInput {
        pod_mode: template
            .annotations
            .get("vramguard.io/mode")
            .and_then(|text| Mode::from_name(text))
            .or(asked.pod_mode),
        ..asked.clone()
    };
    Draft::new(source, "", &asked, policy).finish(Verdict::InvalidSpec, error.to_string())
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod sharing_tests;
