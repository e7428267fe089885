//! Pod templates of Kubernetes objects: which kinds carry them is a [table](KINDS), other kinds are searched for what
//! looks like one.

mod discover;
mod made;
mod paths;
mod pods;
mod table;

use serde::Deserialize;
use serde_json::Value;

use self::paths::{at, follow};
pub use self::table::{KINDS, Kind, Part, Shape};
use super::declaration::SpecError;
use super::draft::Draft;
use super::pod::{PodTemplate, ReplicaPods, or_default};

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

/// Every pod template of an object, lists included; of an object of a kind that is not known, what looks like one.
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
        let Some(row) = kind_of(&identity.api_version, &identity.kind) else {
            for (path, shape, value) in discover::templates(object) {
                self.add(identity, path, None, ReplicaPods::Unsaid, decode(value, shape));
            }
            return;
        };
        let replicas = if row.replicas.is_empty() { None } else { at(object, row.replicas).and_then(Value::as_u64) };
        for part in row.parts {
            for (path, value) in follow(object, part.path) {
                let decoded = match part.shape {
                    Shape::Made(make) => match make(value, object) {
                        Some(template) => decode(&template, Shape::PodTemplate),
                        None => continue,
                    },
                    shape => decode(value, shape),
                };
                let pods = (row.pods)(object, &path);
                self.add(identity, path, replicas, pods, decoded);
            }
        }
    }

    fn add(
        &mut self,
        identity: &Identity,
        path: String,
        replicas: Option<u64>,
        pods: ReplicaPods,
        decoded: Result<PodTemplate, String>,
    ) {
        match decoded {
            Ok(mut pod) => {
                if pod.namespace.is_empty() {
                    pod.namespace.clone_from(&identity.namespace);
                }
                if pods != ReplicaPods::Unsaid {
                    pod.replica_pods = pods;
                }
                self.templates.push(Template { object: identity.clone(), path, replicas, pod });
            }
            Err(problem) => self.problems.push(Draft::error(place(identity, &path), problem)),
        }
    }
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
    if shape == Shape::PodSpec {
        let spec = super::pod::PodSpec::deserialize(value).map_err(|error| error.to_string())?;
        return Ok(PodTemplate { spec, ..PodTemplate::default() });
    }
    PodTemplate::deserialize(value).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
