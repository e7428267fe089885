//! A decoded review to what is done about it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::app::App;
use super::handler::Endpoint;
use super::respond;
use crate::decide::policy::{EffectiveMode, PolicyInput};
use crate::decide::report::Source;
use crate::decide::{Decision, Mode, Policy, Report, Verdict};
use crate::evaluate::{self, Environment};
use crate::facts::catalog::Catalog;
use crate::spec::kinds::{self, Identity, Template};
use crate::spec::pod::PodTemplate;
use crate::spec::review::{Operation, Request, Response};

/// What our annotations begin with.
const OURS: &str = "vramguard.io/";

/// Set by the kubelet on its copies of static pods: refusing one changes nothing on the node.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What is done about a review.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) response: Response,
    pub(super) verdict: Verdict,
    pub(super) decision: Decision,
    pub(super) mode: EffectiveMode,
}

/// Judges the object of a review.
pub(super) fn decide(app: &App, endpoint: Endpoint, request: &Request<'_>) -> Outcome {
    let (snapshot, policy) = (app.cluster.snapshot(), app.policy.current());
    let config_maps = app.cluster.config_maps();
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let label = snapshot.namespace_modes.get(namespace).map(String::as_str);
    let asked = PolicyInput { namespace, namespace_label: label, ..PolicyInput::default() };
    let usual = policy.effective_mode(&asked);
    let templates = match templates(endpoint, request) {
        Ok(templates) => templates,
        Err(problem) => return unreadable(request, &policy, usual, &problem),
    };
    let environment = Environment {
        catalog: Catalog::embedded(),
        profiles: &snapshot.profiles,
        source: app.model_source(),
        inventory: snapshot.known_inventory(),
        policy: &policy,
        config_maps: config_maps.as_deref(),
    };
    let mut judged = Judged::default();
    for template in &templates {
        judged.add(template, &asked, &environment);
    }
    judged.outcome(endpoint, request, usual)
}

/// The pod templates to judge; none when the request is none of our business.
fn templates(endpoint: Endpoint, request: &Request<'_>) -> Result<Vec<Template>, String> {
    let operations: &[Operation] = match endpoint {
        Endpoint::Validate => &[Operation::Create, Operation::Update],
        Endpoint::Mutate => &[Operation::Create],
    };
    let whole = request.sub_resource.as_deref().unwrap_or_default().is_empty();
    let is_pod = request.kind.group.is_empty() && request.kind.kind == "Pod";
    let Some(object) = request.object.filter(|_| whole && operations.contains(&request.operation)) else {
        return Ok(Vec::new());
    };
    if endpoint == Endpoint::Mutate && !is_pod {
        return Ok(Vec::new());
    }
    let new = read(object.get(), request, is_pod)?;
    if request.operation == Operation::Update {
        let old = request.old_object.map(|old| read(old.get(), request, is_pod)).transpose()?;
        if is_being_deleted(object.get()) || old.is_some_and(|old: Vec<Template>| same_for_us(&old, &new)) {
            return Ok(Vec::new());
        }
    }
    // Files are those of the namespace that the object is for, whatever a template says of its own.
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let placed = |mut template: Template| {
        namespace.clone_into(&mut template.pod.namespace);
        template
    };
    let ours = new.into_iter().filter(|template| !template.pod.annotations.contains_key(MIRROR));
    Ok(ours.map(placed).collect())
}

/// A pod is decoded at once, skipping what is not read; other kinds are searched for their templates.
fn read(object: &str, request: &Request<'_>, is_pod: bool) -> Result<Vec<Template>, String> {
    if !is_pod {
        let object: serde_json::Value = serde_json::from_str(object).map_err(|error| error.to_string())?;
        return kinds::templates(&object).map_err(|error| error.to_string());
    }
    let pod: PodTemplate = serde_json::from_str(object).map_err(|error| error.to_string())?;
    let named = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let name = if pod.display_name().is_empty() { named(&request.name) } else { pod.display_name().to_owned() };
    let object = Identity { api_version: "v1".into(), kind: "Pod".into(), namespace: named(&request.namespace), name };
    Ok(vec![Template { object, path: String::new(), replicas: None, pod }])
}

/// Whether an update leaves everything as it was that a decision depends on: scaling, status, other annotations.
fn same_for_us(old: &[Template], new: &[Template]) -> bool {
    fn ours(template: &Template) -> impl Iterator<Item = (&String, &String)> {
        template.pod.annotations.iter().filter(|(key, _)| key.starts_with(OURS))
    }
    old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(old, new)| old.path == new.path && old.pod.spec == new.pod.spec && ours(old).eq(ours(new)))
}

/// An object on its way out is only updated to let it go.
fn is_being_deleted(object: &str) -> bool {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        deletion_timestamp: Option<IgnoredAny>,
    }
    serde_json::from_str::<Object>(object).is_ok_and(|object| object.metadata.deletion_timestamp.is_some())
}

/// The object cannot be read as its kind: the API server will say so itself where that matters.
fn unreadable(request: &Request<'_>, policy: &Policy, mode: EffectiveMode, problem: &str) -> Outcome {
    let verdict = Verdict::UnknownWorkload;
    let decision = Policy::under_mode(policy.judge(verdict), mode.mode);
    let message = format!("{verdict}: the {} could not be read: {problem}", request.kind.kind);
    let response = respond::plain(&request.uid, decision, verdict, message);
    Outcome { response, verdict, decision, mode }
}

/// Everything found in one object.
#[derive(Debug, Default)]
struct Judged<'a> {
    /// With the template that each is about.
    reports: Vec<(&'a Template, Report)>,
    /// The mode in which a template was not looked at.
    off: Option<EffectiveMode>,
}

impl<'a> Judged<'a> {
    fn add(&mut self, template: &'a Template, asked: &PolicyInput<'_>, environment: &Environment<'_>) {
        let annotation = |key: &str| template.pod.annotations.get(key).map(String::as_str);
        let asked = PolicyInput {
            pod_mode: annotation("vramguard.io/mode").and_then(Mode::from_name),
            exempt_reason: annotation("vramguard.io/exempt-reason"),
            ..asked.clone()
        };
        let mode = environment.policy.effective_mode(&asked);
        if mode.mode == Mode::Off {
            self.off = Some(mode);
            return;
        }
        let Identity { kind, namespace, name, .. } = template.object.clone();
        let source = Source { kind, namespace, name, ..Source::default() };
        let reports = evaluate::evaluate(&template.pod, &source, &asked, environment);
        self.reports.extend(reports.into_iter().map(|report| (template, report)));
    }

    fn outcome(self, endpoint: Endpoint, request: &Request<'_>, usual: EffectiveMode) -> Outcome {
        // The gravest verdict speaks for the object; of equals the first.
        let worst = self.reports.iter().map(|(_, report)| report).reduce(|worst, report| {
            if (report.decision, gravity(report.verdict)) > (worst.decision, gravity(worst.verdict)) {
                report
            } else {
                worst
            }
        });
        let Some(worst) = worst else {
            let mode = self.off.unwrap_or(usual);
            let response = Response::allow(request.uid.clone());
            return Outcome { response, verdict: Verdict::NotApplicable, decision: Decision::Allow, mode };
        };
        let (verdict, mode) = (worst.verdict, EffectiveMode { mode: worst.mode, exempted: worst.exempted });
        let (response, decision) = match endpoint {
            Endpoint::Validate => (respond::verdicts(&request.uid, &self.reports, worst), worst.decision),
            Endpoint::Mutate => (respond::annotations(&request.uid, &self.reports, worst), Decision::Allow),
        };
        Outcome { response, verdict, decision, mode }
    }
}

/// How much a verdict matters beside another, whatever the mode makes of them.
fn gravity(verdict: Verdict) -> Decision {
    Policy::default().judge(verdict)
}
