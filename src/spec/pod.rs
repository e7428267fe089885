//! A slim view of pods and pod templates: what decides memory and placement, and nothing else.
//!
//! Everything unread (`managedFields`, `status`, volumes, probes...) is skipped by the decoder and never allocated.
//! `null` counts as absent everywhere, as it does for the API server.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use self::env::after_start;
pub use self::env::{Elsewhere, EnvFrom, EnvVar, Reference};
use super::selector::NodeSelector;

mod env;

/// Written by kubectl on every object, as large as the object itself, and never read here.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A pod, or the template that a controller makes pods from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodTemplate {
    /// Namespace; empty when none is given.
    pub namespace: String,
    /// Name; empty for most templates.
    pub name: String,
    /// Prefix that the API server makes a name from; empty when unused.
    pub generate_name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations, without kubectl's copy of the object.
    pub annotations: BTreeMap<String, String>,
    /// The object has an annotation map, be it empty: decides how a patch adds to it.
    pub has_annotations: bool,
    /// The object that made the pod (`controller: true`), if any.
    pub controller: Option<Owner>,
    /// Pods that hold one copy of the model together, as far as the object that carries the template says so.
    pub replica_pods: ReplicaPods,
    /// What the pod runs and where it may.
    pub spec: PodSpec,
}

/// Pods of one replica of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReplicaPods {
    /// Nothing is said: one, unless the pod's own labels or arguments say otherwise.
    #[default]
    Unsaid,
    /// So many, this one included.
    Known(u64),
    /// More than one, or a number that is only known at run time.
    Several,
}

/// The controller of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// E.g. `ReplicaSet`.
    #[serde(deserialize_with = "or_default")]
    pub kind: String,
    /// Name of the object.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Whether this owner manages the pod.
    #[serde(deserialize_with = "or_default")]
    pub controller: bool,
}

/// What a pod runs and where it may land.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Containers.
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    /// Init containers, sidecars (`restartPolicy: Always`) among them.
    #[serde(deserialize_with = "or_default")]
    pub init_containers: Vec<Container>,
    /// Volumes; only ConfigMaps in them are looked at.
    #[serde(deserialize_with = "or_default")]
    pub volumes: Vec<Volume>,
    /// Claims on devices (dynamic resource allocation).
    #[serde(deserialize_with = "or_default")]
    pub resource_claims: Vec<PodClaim>,
    /// Labels that the node must have.
    #[serde(deserialize_with = "strings")]
    pub node_selector: BTreeMap<String, String>,
    /// `nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution`; preferences do not exclude a node.
    #[serde(rename = "affinity", deserialize_with = "required_node_affinity")]
    pub required_affinity: Option<NodeSelector>,
    /// Taints that the pod accepts.
    #[serde(deserialize_with = "or_default")]
    pub tolerations: Vec<Toleration>,
    /// Node that the pod is bound to; empty lets the scheduler choose.
    #[serde(deserialize_with = "or_default")]
    pub node_name: String,
    /// Runtime class; empty for the default.
    #[serde(deserialize_with = "or_default")]
    pub runtime_class_name: String,
    /// Scheduler; empty for the default.
    #[serde(deserialize_with = "or_default")]
    pub scheduler_name: String,
}

/// One container.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Name, unique in the pod.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Image reference.
    #[serde(deserialize_with = "or_default")]
    pub image: String,
    /// Entry point; the image's when empty.
    #[serde(deserialize_with = "words")]
    pub command: Vec<String>,
    /// Arguments.
    #[serde(deserialize_with = "words")]
    pub args: Vec<String>,
    /// Environment in order; later entries win.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<EnvVar>,
    /// Whole ConfigMaps or Secrets that are imported as variables, in order; `env` wins.
    #[serde(deserialize_with = "or_default")]
    pub env_from: Vec<EnvFrom>,
    /// Directory that it starts in; the image's when empty.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Where volumes are mounted.
    #[serde(deserialize_with = "or_default")]
    pub volume_mounts: Vec<VolumeMount>,
    /// Requests and limits.
    #[serde(deserialize_with = "or_default")]
    pub resources: Resources,
    /// What runs in it once it has started.
    #[serde(rename = "lifecycle", deserialize_with = "after_start")]
    pub after_start: Vec<String>,
    /// `Always` makes an init container a sidecar.
    #[serde(deserialize_with = "or_default")]
    pub restart_policy: String,
}

/// A volume: the ConfigMaps that its files come from, none for every other kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Volume {
    /// Name, unique in the pod.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// One ConfigMap.
    #[serde(deserialize_with = "or_default")]
    pub config_map: Option<ConfigMapSource>,
    /// Several sources in one directory.
    #[serde(deserialize_with = "or_default")]
    pub projected: Option<Projected>,
}

/// Sources of a projected volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Projected {
    /// Each holds a ConfigMap, or something that is not looked at.
    #[serde(deserialize_with = "or_default")]
    pub sources: Vec<ProjectedSource>,
}

/// One source of a projected volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectedSource {
    /// A ConfigMap.
    #[serde(deserialize_with = "or_default")]
    pub config_map: Option<ConfigMapSource>,
}

/// A ConfigMap as files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ConfigMapSource {
    /// Name of the object.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Keys with their paths; empty means every key under its own name.
    #[serde(deserialize_with = "or_default")]
    pub items: Vec<KeyPath>,
}

/// A key of a ConfigMap and the file that it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct KeyPath {
    /// Key.
    #[serde(deserialize_with = "or_default")]
    pub key: String,
    /// Path in the volume.
    #[serde(deserialize_with = "or_default")]
    pub path: String,
}

/// Where a container sees a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// Volume.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Directory, or file with `sub_path`.
    #[serde(deserialize_with = "or_default")]
    pub mount_path: String,
    /// File or directory of the volume; all of it when empty.
    #[serde(deserialize_with = "or_default")]
    pub sub_path: String,
}

/// Requests and limits: quantities as written.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Upper bounds; extended resources must be given here.
    #[serde(deserialize_with = "quantities")]
    pub limits: BTreeMap<String, String>,
    /// Lower bounds.
    #[serde(deserialize_with = "quantities")]
    pub requests: BTreeMap<String, String>,
    /// Claims of the pod that the container uses (dynamic resource allocation).
    #[serde(deserialize_with = "or_default")]
    pub claims: Vec<UsedClaim>,
}

/// A claim that a container uses.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct UsedClaim {
    /// Name in the pod.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// One request of it; empty for all.
    #[serde(deserialize_with = "or_default")]
    pub request: String,
}

/// A claim of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodClaim {
    /// Name in the pod.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// Name of an object that exists.
    #[serde(deserialize_with = "or_default")]
    pub resource_claim_name: String,
    /// Name of the template that one is made from for each pod.
    #[serde(deserialize_with = "or_default")]
    pub resource_claim_template_name: String,
}

/// A taint that the pod accepts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// Taint key; empty (with `Exists`) accepts every key.
    #[serde(deserialize_with = "or_default")]
    pub key: String,
    /// `Exists`, `Equal` (also when empty), `Gt` or `Lt`.
    #[serde(deserialize_with = "or_default")]
    pub operator: String,
    /// Value to compare with.
    #[serde(deserialize_with = "or_default")]
    pub value: String,
    /// `NoSchedule`, `NoExecute`, `PreferNoSchedule`; empty accepts every effect.
    #[serde(deserialize_with = "or_default")]
    pub effect: String,
}

impl PodTemplate {
    /// Name, or the prefix it will be made from.
    #[must_use]
    pub fn display_name(&self) -> &str {
        if self.name.is_empty() { &self.generate_name } else { &self.name }
    }

    /// The container of a name, init containers included.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.containers().find(|container| container.name == name)
    }

    /// Containers, then init containers.
    pub fn containers(&self) -> impl Iterator<Item = &Container> {
        self.spec.containers.iter().chain(&self.spec.init_containers)
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    #[serde(deserialize_with = "or_default")]
    namespace: String,
    #[serde(deserialize_with = "or_default")]
    name: String,
    #[serde(deserialize_with = "or_default")]
    generate_name: String,
    #[serde(deserialize_with = "strings")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "strings_option")]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "or_default")]
    owner_references: Vec<Owner>,
}

impl<'de> Deserialize<'de> for PodTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Object {
            #[serde(deserialize_with = "or_default")]
            metadata: Metadata,
            #[serde(deserialize_with = "or_default")]
            spec: PodSpec,
        }
        let Object { metadata, spec } = Object::deserialize(deserializer)?;
        Ok(Self {
            namespace: metadata.namespace,
            name: metadata.name,
            generate_name: metadata.generate_name,
            labels: metadata.labels,
            has_annotations: metadata.annotations.is_some(),
            annotations: metadata.annotations.unwrap_or_default(),
            controller: metadata.owner_references.into_iter().find(|owner| owner.controller),
            replica_pods: ReplicaPods::Unsaid,
            spec,
        })
    }
}

/// `null` counts as absent.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

fn required_node_affinity<'de, D: Deserializer<'de>>(d: D) -> Result<Option<NodeSelector>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Affinity {
        #[serde(default)]
        node_affinity: Option<NodeAffinity>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct NodeAffinity {
        #[serde(default)]
        required_during_scheduling_ignored_during_execution: Option<NodeSelector>,
    }
    let affinity = Option::<Affinity>::deserialize(d)?;
    Ok(affinity.and_then(|a| a.node_affinity).and_then(|n| n.required_during_scheduling_ignored_during_execution))
}

/// A string; other scalars are refused as the API server refuses them, with what to do.
struct Quoted(String);

/// A quantity: a string or a bare number.
struct QuantityText(String);

struct ScalarVisitor {
    numbers: bool,
}

impl Visitor<'_> for ScalarVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.numbers { "a quantity" } else { "a string (put quotes around the value)" })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<String, E> {
        if self.numbers { Ok(n.to_string()) } else { Err(E::invalid_type(de::Unexpected::Unsigned(n), &self)) }
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<String, E> {
        if self.numbers { Ok(n.to_string()) } else { Err(E::invalid_type(de::Unexpected::Signed(n), &self)) }
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<String, E> {
        if self.numbers { Ok(n.to_string()) } else { Err(E::invalid_type(de::Unexpected::Float(n), &self)) }
    }
}

impl<'de> Deserialize<'de> for Quoted {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ScalarVisitor { numbers: false }).map(Self)
    }
}

impl<'de> Deserialize<'de> for QuantityText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ScalarVisitor { numbers: true }).map(Self)
    }
}

fn quoted_option<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Quoted>::deserialize(d)?.map(|text| text.0))
}

fn words<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<Quoted>>::deserialize(d)?.unwrap_or_default().into_iter().map(|word| word.0).collect())
}

fn quantities<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    let map = Option::<BTreeMap<String, QuantityText>>::deserialize(d)?.unwrap_or_default();
    Ok(map.into_iter().map(|(key, value)| (key, value.0)).collect())
}

/// A map of strings; the value that breaks the rule is named in the error.
struct Strings(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(StringsVisitor).map(Self)
    }
}

struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == LAST_APPLIED {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map
                .next_value::<Option<Quoted>>()
                .map_err(|error| de::Error::custom(format_args!("`{key}`: {error}")))?;
            out.insert(key, value.map(|text| text.0).unwrap_or_default());
        }
        Ok(out)
    }
}

fn strings_option<'de, D: Deserializer<'de>>(d: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    Ok(Option::<Strings>::deserialize(d)?.map(|map| map.0))
}

fn strings<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(strings_option(d)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
