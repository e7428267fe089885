//! The nodes that the cluster has for the time of one test.

use std::borrow::Borrow;
use std::sync::MutexGuard;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::flags::KWOK_ANNOTATION;
use super::kubectl::Kubectl;
use super::wait::until;

const READY_LIMIT: Duration = Duration::from_mins(1);

/// Nodes of one test. Dropping it removes them, with every pod, and lets the next test have its own.
pub(crate) struct Nodes<'a> {
    admin: &'a Kubectl,
    names: Vec<String>,
    _owner: MutexGuard<'a, ()>,
}

impl<'a> Nodes<'a> {
    pub(super) fn create(admin: &'a Kubectl, owner: MutexGuard<'a, ()>, nodes: Vec<Value>) -> Result<Self> {
        let mut guard = Self { admin, names: Vec::new(), _owner: owner };
        guard.admit(nodes)?;
        Ok(guard)
    }

    /// One more node, ready, that leaves with the others.
    pub(crate) fn add(&mut self, node: &impl Borrow<Value>) -> Result<()> {
        self.admit(vec![node.borrow().clone()])
    }

    fn admit(&mut self, mut nodes: Vec<Value>) -> Result<()> {
        for node in &mut nodes {
            let name = node.pointer("/metadata/name").and_then(Value::as_str).context("a node without name")?;
            self.names.push(name.to_owned());
            let metadata = node.get_mut("metadata").context("a node without metadata")?;
            let (key, value) = KWOK_ANNOTATION;
            metadata["annotations"][key] = value.into();
        }
        if nodes.is_empty() {
            return Ok(());
        }
        self.admin.create(&nodes)?;
        until("the nodes to be ready", READY_LIMIT, || self.all_ready())
    }

    /// Whether every node is ready and free of the taint that new nodes carry.
    fn all_ready(&self) -> Result<bool> {
        let nodes = self.admin.get(&["nodes"])?;
        let items = nodes.get("items").and_then(Value::as_array).context("a list without items")?;
        let ready = |node: &Value| {
            let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
            let is_ready = conditions
                .is_some_and(|all| all.iter().any(|each| each["type"] == "Ready" && each["status"] == "True"));
            let not_ready = node
                .pointer("/spec/taints")
                .and_then(Value::as_array)
                .is_some_and(|taints| taints.iter().any(|taint| taint["key"] == "node.kubernetes.io/not-ready"));
            is_ready && !not_ready
        };
        Ok(items.iter().filter(|node| ready(node)).count() >= self.names.len())
    }
}

impl Drop for Nodes<'_> {
    fn drop(&mut self) {
        if self.names.is_empty() {
            return;
        }
        // A failure here cannot be reported; the next test's own nodes will fail to be created, and say why.
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let _ = self.admin.run(&[&["delete", "nodes", "--wait=true", "--ignore-not-found"], names.as_slice()].concat());
        // Pods stay bound to a name: a later node of that name would be found occupied.
        let pods = ["delete", "pods", "--all", "--all-namespaces", "--force", "--grace-period=0", "--wait=true"];
        let _ = self.admin.run(&pods);
    }
}
