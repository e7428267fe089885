//! Policy: what a verdict leads to, by mode, namespace and exemption.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::verdict::{Decision, Mode, Verdict};

/// The policy file. Every field has a default, unknown fields are errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// Mode of namespaces that say nothing.
    pub mode: Mode,
    /// Modes by namespace name; stronger than the default, weaker than the namespace's own label.
    pub namespaces: BTreeMap<String, Mode>,
    /// `allow` lets unknown models, workloads and capacities pass with a warning; `deny` refuses them.
    pub unknown: UnknownAction,
    /// A declared concurrency must fit at once, also for engines that would queue.
    pub require_wanted: bool,
    /// What to say of a workload that fits only on a node that an autoscaler could add.
    pub scale_up: ScaleUpAction,
    /// Nodes that an autoscaler could add and that no `NodePool` describes: node groups that may be empty.
    pub node_shapes: Vec<NodeShape>,
    /// `vramguard.io/mode` on a pod may be laxer than its namespace's mode, given a reason.
    pub allow_exemptions: bool,
}

/// What to do with what could not be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnknownAction {
    /// Admit with a warning that says what to add.
    #[default]
    Warn,
    /// Refuse.
    Deny,
}

/// What to do with what fits after a scale-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScaleUpAction {
    /// Admit without a word.
    Allow,
    /// Admit with a warning.
    #[default]
    Warn,
}

/// Nodes of one node group, of which there may be none at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NodeShape {
    /// Name of the node group.
    pub name: String,
    /// Labels that its nodes have: product, instance type, and what pods select by. Others may have any value.
    pub labels: BTreeMap<String, String>,
    /// Taints that its nodes have.
    pub taints: Vec<ShapeTaint>,
    /// Extended resources of one node; the instance type's where none are given.
    pub resources: BTreeMap<String, u64>,
}

/// A taint of a node shape.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ShapeTaint {
    /// Key.
    pub key: String,
    /// Value, possibly empty.
    pub value: String,
    /// `NoSchedule`, `NoExecute` or `PreferNoSchedule`.
    pub effect: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            namespaces: BTreeMap::new(),
            unknown: UnknownAction::Warn,
            require_wanted: false,
            scale_up: ScaleUpAction::Warn,
            node_shapes: Vec::new(),
            allow_exemptions: false,
        }
    }
}

/// Who asks and what they ask of policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PolicyInput<'a> {
    /// Namespace of the object.
    pub namespace: &'a str,
    /// Value of the namespace's `vramguard.io/mode` label, if it has one.
    pub namespace_label: Option<&'a str>,
    /// Mode asked by the pod's own annotation.
    pub pod_mode: Option<Mode>,
    /// Reason given for an exemption.
    pub exempt_reason: Option<&'a str>,
}

/// The mode in force and whether an exemption was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveMode {
    /// Mode in force.
    pub mode: Mode,
    /// The pod's laxer mode was granted.
    pub exempted: bool,
}

impl Policy {
    /// The mode in force: the namespace's label, else the policy's entry, else the default; a pod may be stricter
    /// always, laxer only where exemptions are allowed and a reason is given.
    #[must_use]
    pub fn effective_mode(&self, input: &PolicyInput<'_>) -> EffectiveMode {
        let namespace = input
            .namespace_label
            .and_then(Mode::from_name)
            .or_else(|| self.namespaces.get(input.namespace).copied())
            .unwrap_or(self.mode);
        match input.pod_mode {
            Some(mode) if mode >= namespace => EffectiveMode { mode, exempted: false },
            Some(mode) if self.allow_exemptions && input.exempt_reason.is_some_and(|r| !r.trim().is_empty()) => {
                EffectiveMode { mode, exempted: true }
            }
            _ => EffectiveMode { mode: namespace, exempted: false },
        }
    }

    /// What a verdict means before the mode is applied.
    #[must_use]
    pub const fn judge(&self, verdict: Verdict) -> Decision {
        match verdict {
            Verdict::Fits | Verdict::NotApplicable => Decision::Allow,
            Verdict::FitsAfterScaleUp => match self.scale_up {
                ScaleUpAction::Allow => Decision::Allow,
                ScaleUpAction::Warn => Decision::Warn,
            },
            // No node has the GPU now, but an autoscaler may add one: the pod waits, it is not refused.
            Verdict::Tight | Verdict::NoEligibleGpu => Decision::Warn,
            Verdict::TooBig
            | Verdict::EngineRefuses
            | Verdict::InvalidSpec
            | Verdict::SpecConflict
            | Verdict::ParallelismMismatch => Decision::Deny,
            Verdict::UnknownModel | Verdict::UnknownWorkload | Verdict::UnknownCapacity => match self.unknown {
                UnknownAction::Warn => Decision::Warn,
                UnknownAction::Deny => Decision::Deny,
            },
        }
    }

    /// What a mode lets through of a decision: `warn` turns denials into warnings, `audit` and `off` into silence.
    #[must_use]
    pub const fn under_mode(decision: Decision, mode: Mode) -> Decision {
        match (mode, decision) {
            (Mode::Off | Mode::Audit, _) => Decision::Allow,
            (Mode::Warn, Decision::Deny) => Decision::Warn,
            (_, decision) => decision,
        }
    }
}
