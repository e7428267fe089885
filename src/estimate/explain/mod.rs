//! The term tree behind a number: every term with its formula, taken apart as far as the model's shape tells.
//!
//! Nothing is computed a second way: parts are shares of the term that the engine reported, so they always sum to it.

mod cache;
mod parts;
mod weights;

use schemars::JsonSchema;
use serde::Serialize;

use super::model::Model;
use super::parallel::{self, Stage};
use super::workload::{ModelFacts, Task};
use super::{Bytes, Estimate, EstimateError, Interval, Provenance, TermName, Workload, training};

/// A number and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// A term's name, a class of tensors, a module, a group of layers.
    pub name: String,
    /// How much, per GPU of the worst rank.
    pub bytes: Interval,
    /// The formula with the numbers in it.
    pub formula: String,
    /// How it is known.
    pub provenance: Provenance,
    /// Addends; the likely values sum to this node's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

/// One moment of a training step.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Moment {
    /// `loss`, `backward-start`, `backward-end` or `step`.
    pub phase: String,
    /// Pipeline stage, from 0.
    pub stage: u64,
    /// What the allocator hands out.
    pub bytes: Interval,
    /// Its terms.
    pub terms: Vec<Node>,
}

/// An estimate taken apart.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What is required, as a tree of addends.
    pub required: Node,
    /// In training: the moments of a step, of which the largest is the peak.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub moments: Vec<Moment>,
}

/// Takes an estimate of this workload apart.
///
/// # Errors
/// As [`super::estimate`].
pub fn explain(workload: &Workload, estimate: &Estimate) -> Result<Explanation, EstimateError> {
    let model = match &workload.model {
        ModelFacts::Known(model) => Some(model.as_ref()),
        ModelFacts::Shape(_) => None,
    };
    let reference = workload.method == super::workload::Method::Reference;
    let stages = match model.filter(|_| !reference) {
        Some(model) => stages(workload, model)?,
        None => Vec::new(),
    };
    let worst = stages.iter().find(|stage| stage.describe() == estimate.worst_rank).or_else(|| stages.first());
    let mut children: Vec<Node> = Vec::new();
    for term in &estimate.terms {
        let children_of = match (term.name, model.zip(worst)) {
            (TermName::Weights, Some((model, stage))) => {
                weights::parts(workload, model, stage, term.bytes, term.provenance)
            }
            (TermName::KvCache | TermName::State, Some((_, stage))) => cache::parts(workload, stage, term),
            _ => Vec::new(),
        };
        children.push(Node {
            name: term.name.name().to_owned(),
            bytes: term.bytes,
            formula: term.formula.clone(),
            provenance: term.provenance,
            children: children_of,
        });
    }
    let required = estimate.per_gpu.required;
    children.extend(rest_of_pool(required, &children));
    let provenance = children.iter().map(|child| child.provenance).max().unwrap_or(Provenance::Exact);
    let formula = if estimate.worst_rank.is_empty() { String::new() } else { estimate.worst_rank.clone() };
    let required = Node { name: "required".to_owned(), bytes: required, formula, provenance, children };
    let trains = workload.task == Task::Training && model.is_some() && !reference;
    Ok(Explanation { required, moments: if trains { moments(workload)? } else { Vec::new() } })
}

fn stages<'a>(workload: &'a Workload, model: &'a Model) -> Result<Vec<Stage<'a>>, EstimateError> {
    let given = match workload.task {
        Task::Inference => workload.engine.layer_partition.as_deref(),
        Task::Training => Some(workload.training.stage_layers.as_slice()).filter(|layers| !layers.is_empty()),
    };
    parallel::stages(model, workload.parallelism.pipeline, given)
}

/// What a pool of a given size takes beyond the terms.
fn rest_of_pool(required: Interval, terms: &[Node]) -> Option<Node> {
    let named: Bytes = terms.iter().map(|term| term.bytes.likely).sum();
    let rest = required.likely - named;
    (rest > Bytes::ZERO).then(|| Node {
        name: "rest_of_pool".to_owned(),
        bytes: Interval::exact(rest),
        formula: "the rest of the pool that was asked for".to_owned(),
        provenance: Provenance::Exact,
        children: Vec::new(),
    })
}

fn moments(workload: &Workload) -> Result<Vec<Moment>, EstimateError> {
    let views = training::phases(workload)?;
    Ok(views
        .into_iter()
        .map(|view| {
            let terms = view.terms.iter().map(|(name, bytes)| Node {
                name: name.name().to_owned(),
                bytes: *bytes,
                formula: String::new(),
                provenance: Provenance::Derived,
                children: Vec::new(),
            });
            let bytes = view.terms.iter().map(|(_, bytes)| *bytes).sum();
            Moment { phase: view.name.to_owned(), stage: view.stage, bytes, terms: terms.collect() }
        })
        .collect())
}

#[cfg(test)]
mod tests;
