//! Where capacity comes from: a file of nodes, or the cluster.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::documents::{self, Problem};
use super::error::{Failure, code};
use super::manifests;
use crate::decide::Inventory;
use crate::facts::profile::Profile;
use crate::spec::dra::{Published, objects};
use crate::spec::nodepools::NodePool;
use crate::spec::nodes::NodeView;
use crate::spec::numbers::shown;

/// What is known of the cluster.
#[derive(Debug, Default)]
pub(super) struct Capacity {
    /// GPUs by class.
    pub inventory: Inventory,
    /// The `vramguard.io/mode` labels of namespaces.
    pub modes: BTreeMap<String, String>,
    /// Models that users of the cluster described.
    pub profiles: Vec<Arc<Profile>>,
    /// What is not read for capacity, one sentence each.
    pub notes: Vec<String>,
    /// Nodes that could not be read: a refusal may be wrong without them.
    pub problems: Vec<Problem>,
}

/// Nodes, device slices with their classes and claims, and node pools: in lists or as documents.
pub(super) fn from_file(path: &Path) -> Result<Capacity, Failure> {
    let text = manifests::read_bounded(path, manifests::MANIFEST_LIMIT)?;
    let name = path.display().to_string();
    let (documents, problems) = documents::read(&name, &text);
    if let Some(problem) = problems.first() {
        return Err(Failure::new(code::BAD_INPUT, problem.to_string()));
    }
    let mut found = Found::default();
    for document in documents {
        found.object(&name, document.value);
    }
    if found.is_empty() {
        if let Some(problem) = found.problems.first() {
            return Err(Failure::new(code::BAD_INPUT, problem.to_string()));
        }
        let failure = Failure::new(code::BAD_INPUT, format!("{name}: no Node in it"));
        return Err(failure.hint("--nodes takes the output of `kubectl get nodes -o yaml`"));
    }
    Ok(Capacity {
        inventory: found.published.inventory(found.nodes, &found.pools),
        modes: BTreeMap::new(),
        profiles: Vec::new(),
        notes: found.notes,
        problems: found.problems,
    })
}

#[derive(Default)]
struct Found {
    nodes: Vec<NodeView>,
    published: Published,
    pools: Vec<NodePool>,
    notes: Vec<String>,
    problems: Vec<Problem>,
}

impl Found {
    /// Nothing in it tells of capacity.
    const fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.published.slices.is_empty() && self.pools.is_empty()
    }

    fn problem(&mut self, file: &str, message: String) {
        self.problems.push(Problem { file: file.to_owned(), line: 0, message });
    }

    fn object(&mut self, file: &str, mut object: Value) {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "Node" => {
                let name = object.pointer("/metadata/name").and_then(Value::as_str).map(shown).unwrap_or_default();
                match serde_json::from_value::<NodeView>(object) {
                    Ok(node) => self.nodes.push(node),
                    Err(error) => self.problem(file, format!("Node {name}: {error}")),
                }
            }
            list if list == "List" || (list.ends_with("List") && object.get("items").is_some()) => {
                let Some(Value::Array(items)) = object.get_mut("items").map(Value::take) else { return };
                let of = list.strip_suffix("List").filter(|kind| !kind.is_empty());
                for mut item in items {
                    // Items of a typed list need not say what they are.
                    if let (Some(of), Some(fields)) = (of, item.as_object_mut()) {
                        fields.entry("kind").or_insert_with(|| of.into());
                    }
                    self.object(file, item);
                }
            }
            "NodePool" => match serde_json::from_value::<NodePool>(object) {
                Ok(pool) => self.pools.push(pool),
                Err(error) => self.problem(file, format!("NodePool: {error}")),
            },
            kind if objects::KINDS.contains(&kind) => {
                if let Err(error) = self.published.add(&object) {
                    self.problem(file, format!("{kind}: {error}"));
                }
            }
            "" => self.notes.push(format!("{file}: an object without a kind is left out")),
            other => self.notes.push(format!("{file}: {other} is not read for capacity")),
        }
    }
}

/// The nodes and namespaces of the cluster that the kubeconfig points to.
#[cfg(feature = "cluster")]
pub(super) fn from_cluster(kubeconfig: Option<&Path>) -> Result<Capacity, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(code::CLUSTER, format!("cannot start: {error}")))?;
    runtime.block_on(cluster::read(kubeconfig)).map_err(|error| {
        let failure = Failure::new(code::CLUSTER, format!("{error:#}"));
        failure.hint("without access to a cluster, save `kubectl get nodes -o yaml` to a file and use --nodes FILE")
    })
}

#[cfg(feature = "cluster")]
mod cluster {
    use super::{Capacity, NodeView, Path};
    use crate::cluster::{client, devices, profiles};
    use anyhow::Context as _;
    use k8s_openapi::api::core::v1::{Namespace, Node};
    use kube::Api;
    use kube::api::ListParams;

    const MODE_LABEL: &str = "vramguard.io/mode";

    pub(super) async fn read(kubeconfig: Option<&Path>) -> anyhow::Result<Capacity> {
        let client = client::connect(kubeconfig).await?;
        let listed =
            Api::<Node>::all(client.clone()).list(&ListParams::default()).await.context("cannot list nodes")?;
        let mut capacity = Capacity::default();
        let mut views = Vec::with_capacity(listed.items.len());
        for node in listed {
            views.push(serde_json::from_value::<NodeView>(serde_json::to_value(node)?)?);
        }
        let (published, pools, notes) = devices::list(&client).await;
        capacity.inventory = published.inventory(views, &pools);
        capacity.notes.extend(notes);
        match profiles::list(&client).await {
            Ok(found) => capacity.profiles = found,
            Err(error) => capacity.notes.push(format!("model profiles cannot be listed, none is known: {error}")),
        }
        match Api::<Namespace>::all(client).list(&ListParams::default()).await {
            Ok(namespaces) => capacity.modes = namespaces.into_iter().filter_map(mode).collect(),
            Err(error) => {
                capacity.notes.push(format!("namespaces cannot be listed, their mode labels are not known: {error}"));
            }
        }
        Ok(capacity)
    }

    fn mode(namespace: Namespace) -> Option<(String, String)> {
        let mode = namespace.metadata.labels?.remove(MODE_LABEL)?;
        Some((namespace.metadata.name?, mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> (Vec<String>, Vec<String>) {
        let mut found = Found::default();
        for document in documents::read("nodes.yaml", text).0 {
            found.object("nodes.yaml", document.value);
        }
        (found.nodes.into_iter().map(|node| node.metadata.name).collect(), found.notes)
    }

    #[test]
    fn lists_and_documents_of_nodes_are_read_alike() {
        let single = "kind: Node\nmetadata: {name: a}\n---\nkind: Node\nmetadata: {name: b}\n";
        let list = "kind: NodeList\nitems: [{metadata: {name: a}}, {kind: Node, metadata: {name: b}}]";
        let mixed =
            "kind: List\nitems: [{kind: Node, metadata: {name: a}}, {kind: Pod}, {kind: Node, metadata: {name: b}}]";
        for text in [single, list, mixed] {
            assert_eq!(names(text).0, ["a", "b"], "{text}");
        }
        assert_eq!(names(mixed).1, ["nodes.yaml: Pod is not read for capacity"]);
    }
}
