//! Which objects carry pod templates, and where: one table, so that a further kind is a further row.

use serde::Deserialize;
use serde_json::Value;

use super::declaration::SpecError;
use super::draft::Draft;
use super::gpus;
use super::pod::{PodTemplate, or_default};

/// What lies at the end of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `metadata` and `spec` of a pod.
    PodTemplate,
    /// The pod's `spec` alone.
    PodSpec,
}

/// A kind that carries pod templates.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// API group; empty for the core. Any version of it counts.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Paths to the templates, dotted; `[]` steps into every item of a list, `{}` into every value of a map, an empty
    /// path is the object itself.
    pub paths: &'static [&'static str],
    /// What lies there.
    pub shape: Shape,
    /// Path to the number of replicas; empty without.
    pub replicas: &'static str,
    /// Paths to numbers of pods whose product is how many a template makes, where its pods work on one job together.
    pub pods: &'static [&'static str],
    /// Path and value without which they do not.
    pub together: Option<(&'static str, &'static str)>,
}

const fn row(group: &'static str, kind: &'static str, paths: &'static [&'static str], replicas: &'static str) -> Kind {
    Kind { group, kind, paths, shape: Shape::PodTemplate, replicas, pods: &[], together: None }
}

/// A job of one kind of pods for each role.
const fn job(kind: &'static str, paths: &'static [&'static str], pods: &'static [&'static str]) -> Kind {
    Kind { pods, ..row("kubeflow.org", kind, paths, "") }
}

/// Every kind that is read.
pub const KINDS: &[Kind] = &[
    row("", "Pod", &[""], ""),
    row("", "PodTemplate", &["template"], ""),
    row("", "ReplicationController", &["spec.template"], "spec.replicas"),
    row("apps", "Deployment", &["spec.template"], "spec.replicas"),
    row("apps", "ReplicaSet", &["spec.template"], "spec.replicas"),
    row("apps", "StatefulSet", &["spec.template"], "spec.replicas"),
    row("apps", "DaemonSet", &["spec.template"], ""),
    Kind {
        pods: &["spec.parallelism"],
        together: Some(("spec.completionMode", "Indexed")),
        ..row("batch", "Job", &["spec.template"], "spec.parallelism")
    },
    row("batch", "CronJob", &["spec.jobTemplate.spec.template"], "spec.jobTemplate.spec.parallelism"),
    row(
        "leaderworkerset.x-k8s.io",
        "LeaderWorkerSet",
        &["spec.leaderWorkerTemplate.leaderTemplate", "spec.leaderWorkerTemplate.workerTemplate"],
        "spec.replicas",
    ),
    Kind {
        pods: &["spec.replicatedJobs[].replicas", "spec.replicatedJobs[].template.spec.parallelism"],
        ..row("jobset.x-k8s.io", "JobSet", &["spec.replicatedJobs[].template.spec.template"], "")
    },
    job("PyTorchJob", &["spec.pytorchReplicaSpecs{}.template"], &["spec.pytorchReplicaSpecs{}.replicas"]),
    job("TFJob", &["spec.tfReplicaSpecs{}.template"], &["spec.tfReplicaSpecs{}.replicas"]),
    job("XGBoostJob", &["spec.xgbReplicaSpecs{}.template"], &["spec.xgbReplicaSpecs{}.replicas"]),
    job("PaddleJob", &["spec.paddleReplicaSpecs{}.template"], &["spec.paddleReplicaSpecs{}.replicas"]),
    job("JAXJob", &["spec.jaxReplicaSpecs{}.template"], &["spec.jaxReplicaSpecs{}.replicas"]),
    job("MPIJob", &["spec.mpiReplicaSpecs{}.template"], &["spec.mpiReplicaSpecs{}.replicas"]),
    row("ray.io", "RayCluster", &["spec.headGroupSpec.template", "spec.workerGroupSpecs[].template"], ""),
    row(
        "ray.io",
        "RayJob",
        &[
            "spec.rayClusterSpec.headGroupSpec.template",
            "spec.rayClusterSpec.workerGroupSpecs[].template",
            "spec.submitterPodTemplate",
        ],
        "",
    ),
    row(
        "ray.io",
        "RayService",
        &["spec.rayClusterConfig.headGroupSpec.template", "spec.rayClusterConfig.workerGroupSpecs[].template"],
        "",
    ),
    Kind { pods: &["spec.tasks[].replicas"], ..row("batch.volcano.sh", "Job", &["spec.tasks[].template"], "") },
    row("serving.knative.dev", "Service", &["spec.template"], ""),
    row("serving.knative.dev", "Configuration", &["spec.template"], ""),
    Kind {
        shape: Shape::PodSpec,
        ..row(
            "serving.kserve.io",
            "LLMInferenceService",
            &["spec.template", "spec.worker", "spec.prefill.template", "spec.prefill.worker"],
            "spec.replicas",
        )
    },
    Kind {
        shape: Shape::PodSpec,
        ..row("grove.io", "PodCliqueSet", &["spec.template.cliques[].spec.podSpec"], "spec.replicas")
    },
];

/// Deepest nesting of lists in lists.
const MAX_LISTS: usize = 4;

/// Which object the user wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// `apiVersion`, e.g. `apps/v1`.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty when none is given.
    pub namespace: String,
    /// Name, or `generateName`.
    pub name: String,
}

/// A pod template with the object that carries it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// The object.
    pub object: Identity,
    /// Where in the object, e.g. `spec.template` or `spec.replicatedJobs[1].template.spec.template`; empty for a pod.
    pub path: String,
    /// Replicas that the object asks for of it, where the kind says so.
    pub replicas: Option<u64>,
    /// The template; its namespace is the object's where it has none of its own.
    pub pod: PodTemplate,
}

/// The row of an object's kind.
#[must_use]
pub fn kind_of(api_version: &str, kind: &str) -> Option<&'static Kind> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    KINDS.iter().find(|row| row.kind == kind && row.group == group)
}

/// Who an object is.
///
/// # Errors
/// When the value is no object, or `apiVersion` or `kind` is missing.
pub fn identity(object: &Value) -> Result<Identity, SpecError> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Head {
        #[serde(deserialize_with = "or_default")]
        api_version: String,
        #[serde(deserialize_with = "or_default")]
        kind: String,
        #[serde(deserialize_with = "or_default")]
        metadata: Meta,
    }
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default)]
    struct Meta {
        #[serde(deserialize_with = "or_default")]
        namespace: String,
        #[serde(deserialize_with = "or_default")]
        name: String,
        #[serde(deserialize_with = "or_default")]
        generate_name: String,
    }
    if !object.is_object() {
        return Err(Draft::error(
            "document",
            "is no Kubernetes object: a map with `apiVersion` and `kind` is expected",
        ));
    }
    let head = Head::deserialize(object).map_err(|error| Draft::error("metadata", error.to_string()))?;
    if head.kind.is_empty() || head.api_version.is_empty() {
        let missing = if head.kind.is_empty() { "kind" } else { "apiVersion" };
        return Err(Draft::error("document", format!("is no Kubernetes object: `{missing}` is missing")));
    }
    let Meta { namespace, name, generate_name } = head.metadata;
    let name = if name.is_empty() { generate_name } else { name };
    Ok(Identity { api_version: head.api_version, kind: head.kind, namespace, name })
}

/// Every pod template of an object, lists included. An object of another kind carries none.
///
/// # Errors
/// When the object, or the first malformed item of a list, cannot be read; the error names object and path.
pub fn templates(object: &Value) -> Result<Vec<Template>, SpecError> {
    let (templates, mut problems) = readable(object);
    if problems.is_empty() { Ok(templates) } else { Err(problems.swap_remove(0)) }
}

/// Every pod template that can be read, and what is wrong with the others: a malformed item of a list, or one malformed
/// template among an object's several, loses no other.
#[must_use]
pub fn readable(object: &Value) -> (Vec<Template>, Vec<SpecError>) {
    let mut found = Readable::default();
    found.collect(object, MAX_LISTS);
    (found.templates, found.problems)
}

#[derive(Default)]
struct Readable {
    templates: Vec<Template>,
    problems: Vec<SpecError>,
}

impl Readable {
    fn collect(&mut self, object: &Value, depth: usize) {
        let identity = match identity(object) {
            Ok(identity) => identity,
            Err(problem) => return self.problems.push(problem),
        };
        let Some(items) = list_items(object, &identity) else { return self.one(object, &identity) };
        if depth == 0 {
            return self.problems.push(Draft::error(&identity.kind, "lists are nested too deeply"));
        }
        for (index, item) in items.iter().enumerate() {
            let before = self.problems.len();
            self.item(item, &identity, depth);
            for problem in self.problems.iter_mut().skip(before) {
                problem.location = format!("items[{index}]: {}", problem.location);
            }
        }
    }

    /// Items of a typed list may leave out their own kind.
    fn item(&mut self, item: &Value, list: &Identity, depth: usize) {
        let item_kind = list.kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        match (item.get("kind"), item_kind) {
            (None, Some(kind)) if item.is_object() => match inherit(item, list, kind) {
                Ok(identity) => self.one(item, &identity),
                Err(problem) => self.problems.push(problem),
            },
            _ => self.collect(item, depth - 1),
        }
    }

    fn one(&mut self, object: &Value, identity: &Identity) {
        let Some(row) = kind_of(&identity.api_version, &identity.kind) else { return };
        let replicas = if row.replicas.is_empty() { None } else { at(object, row.replicas).and_then(Value::as_u64) };
        let first = self.templates.len();
        for pattern in row.paths {
            let mut found = Vec::new();
            follow(object, pattern, String::new(), &mut found);
            for (path, value) in found {
                match decode(value, row.shape) {
                    Ok(mut pod) => {
                        if pod.namespace.is_empty() {
                            pod.namespace.clone_from(&identity.namespace);
                        }
                        self.templates.push(Template { object: identity.clone(), path, replicas, pod });
                    }
                    Err(problem) => self.problems.push(Draft::error(place(identity, &path), problem)),
                }
            }
        }
        let pods = pods(object, row, self.templates.get(first..).unwrap_or_default());
        self.templates.iter_mut().skip(first).for_each(|template| template.pod.pods = pods);
    }
}

/// How many pods with GPUs work on the object's job together.
fn pods(object: &Value, row: &Kind, templates: &[Template]) -> Option<u64> {
    let together = row.together.is_none_or(|(path, value)| at(object, path).and_then(Value::as_str) == Some(value));
    if row.pods.is_empty() || !together {
        return None;
    }
    let mut counts = Vec::new();
    row.pods.iter().for_each(|pattern| follow(object, pattern, String::new(), &mut counts));
    let of = |template: &Template| {
        let beside = |path: &String| path.rsplit_once('.').is_some_and(|(parent, _)| template.path.starts_with(parent));
        let factors = counts.iter().filter(|(path, _)| beside(path)).filter_map(|(_, count)| count.as_u64());
        factors.fold(1, u64::saturating_mul)
    };
    let with_gpus = templates.iter().filter(|template| template.pod.containers().any(|c| gpus::request(c).is_some()));
    Some(with_gpus.map(of).fold(0, u64::saturating_add)).filter(|pods| *pods > 0)
}

/// Kind, namespace, name and path, for messages.
fn place(identity: &Identity, path: &str) -> String {
    let Identity { kind, namespace, name, .. } = identity;
    let name = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
    if path.is_empty() { format!("{kind} {name}") } else { format!("{kind} {name}: {path}") }
}

/// The items of a `List`, `PodList` and the like.
fn list_items<'a>(object: &'a Value, identity: &Identity) -> Option<&'a Vec<Value>> {
    if identity.kind.ends_with("List") { object.get("items").and_then(Value::as_array) } else { None }
}

fn inherit(item: &Value, list: &Identity, kind: &str) -> Result<Identity, SpecError> {
    let mut named = item.clone();
    if let Value::Object(map) = &mut named {
        map.retain(|key, _| key == "metadata");
        map.insert("apiVersion".to_owned(), Value::from(list.api_version.as_str()));
        map.insert("kind".to_owned(), Value::from(kind));
    }
    identity(&named)
}

fn decode(value: &Value, shape: Shape) -> Result<PodTemplate, String> {
    match shape {
        Shape::PodTemplate => PodTemplate::deserialize(value).map_err(|error| error.to_string()),
        Shape::PodSpec => {
            let spec = super::pod::PodSpec::deserialize(value).map_err(|error| error.to_string())?;
            Ok(PodTemplate { spec, ..PodTemplate::default() })
        }
    }
}

/// The value at a plain dotted path.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(object, |value, key| value.get(key))
}

/// Every value that a path pattern leads to, with its own path; absent and null ones are skipped.
fn follow<'a>(value: &'a Value, pattern: &str, path: String, out: &mut Vec<(String, &'a Value)>) {
    if value.is_null() {
        return;
    }
    let (step, rest) = match pattern.split_once('.') {
        Some((step, rest)) => (step, rest),
        None => (pattern, ""),
    };
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if step.is_empty() {
        out.push((path, value));
    } else if let Some(key) = step.strip_suffix("[]") {
        for (index, item) in value.get(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
            follow(item, rest, format!("{}[{index}]", join(key)), out);
        }
    } else if let Some(key) = step.strip_suffix("{}") {
        for (name, item) in value.get(key).and_then(Value::as_object).into_iter().flatten() {
            follow(item, rest, format!("{}.{name}", join(key)), out);
        }
    } else if let Some(inner) = value.get(step) {
        follow(inner, rest, join(step), out);
    }
}

#[cfg(test)]
mod tests;
