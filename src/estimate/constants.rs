//! The constants that neither a model's shape nor an engine's source gives, each with what it rests on.
//!
//! A constant that rests on rows is refitted by `cargo test --test accuracy`, which fails when the value here is further
//! from the refit than the tolerance beside it.

use super::memory::comm::{nccl, training_context};
use super::serving::{llamacpp, server, sglang, tgi, trtllm, vllm};
use super::training::{assumed, trainers};
use super::workload::Version;
use super::{Bytes, Device};
use vllm::activation::FIT;
use vllm::rules::{self, RULES};
use vllm::sizes;

/// A constant in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Name, unique.
    pub name: String,
    /// Its likely value.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it rests on.
    pub basis: Basis,
}

/// What a constant rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Basis {
    /// Rows of `tests/data`: the refit lies within this distance, in the constant's own unit.
    Rows {
        /// Distance.
        tolerance: f64,
    },
    /// Logs or documents that are no rows here.
    Source(&'static str),
}

fn fitted(name: impl Into<String>, value: f64, unit: &'static str, tolerance: f64) -> Constant {
    Constant { name: name.into(), value, unit, basis: Basis::Rows { tolerance } }
}

fn sourced(name: impl Into<String>, value: f64, unit: &'static str, source: &'static str) -> Constant {
    Constant { name: name.into(), value, unit, basis: Basis::Source(source) }
}

const LOGIT: &str = "B a logit";
const GIB: f64 = (1u64 << 30) as f64;

/// All of them.
#[must_use]
pub fn all() -> Vec<Constant> {
    let mut all = vllm_versions();
    all.extend([
        fitted("vLLM profile, base", FIT.base / GIB, "GiB", 0.02),
        fitted("vLLM profile, residual streams of a layer", FIT.streams, "buffers", 0.25),
        fitted("vLLM profile, residual streams of a later stage", FIT.stage_streams, "buffers", 0.25),
        fitted("vLLM profile, multimodal tower", FIT.tower / GIB, "GiB", 0.05),
        fitted("vLLM outside torch, pipeline", sizes::PIPELINE[1], "GiB", 0.02),
        fitted("vLLM 0.19: outside torch, 2 linked ranks", linked(2), "GiB", 0.06),
        fitted("vLLM 0.19: outside torch, more linked ranks", linked(4), "GiB", 0.06),
        sourced(
            "vLLM outside torch, ranks over PCIe",
            sizes::UNLINKED[1],
            "GiB",
            "0.2 to 0.4 logged on small cards, 1.7 on four large ones",
        ),
        fitted("vLLM graphs, a layer", sizes::GRAPH_LAYER[1], "GiB", 0.004),
        fitted("SGLang graphs", sglang::GRAPHS.1, "GiB", 0.1),
        sourced("SGLang workspaces", sglang::WORKSPACE.1, "GiB", "assumed, between 0.1 and 1"),
        fitted("loader's slack", server::LOADER.1, "GiB", 0.05),
        fitted("process, one rank", server::PROCESS.1, "GiB", 0.05),
        fitted("process, linked ranks", server::PROCESS_LINKED.1, "GiB", 0.3),
        sourced(
            "process, ranks over PCIe",
            server::PROCESS_UNLINKED.1,
            "GiB",
            "assumed, between one rank and linked ones",
        ),
        fitted("TensorRT-LLM decoder and buffers", trtllm::DECODER, LOGIT, 1.1),
        sourced("TensorRT-LLM workspaces", trtllm::WORKSPACE.1, "GiB", "assumed, between 0 and 3"),
        sourced("TensorRT-LLM graphs", trtllm::GRAPHS.1, "GiB", "assumed, between 0 and 2"),
        sourced("TGI graphs", tgi::GRAPHS.1, "GiB", "assumed, between 0 and 1"),
        sourced("llama.cpp process", llamacpp::PROCESS.1, "GiB", "0.3 to 0.5 logged"),
        fitted("llama.cpp streams of a batch", llamacpp::STREAMS, "buffers", 1.0),
    ]);
    all.extend(training());
    all
}

/// Memory outside torch of so many ranks of vLLM 0.19 on H100, GiB.
fn linked(tensor: u64) -> f64 {
    let product = "NVIDIA-H100-80GB-HBM3".to_owned();
    let device = Device { product, visible: Bytes::from_gib(79.19), compute_capability: None };
    let spread = sizes::Spread { tensor, pipeline: 1, experts: 1 };
    sizes::non_torch(rules::likely(Some(Version([0, 19, 0]))), &spread, &device)[1]
}

/// Versions whose logs are rows: the tolerance of the sampler's bytes, and of the GiB outside torch.
const LOGGED: [(Version, f64, f64); 2] = [(Version([0, 11, 0]), 1.5, 0.05), (Version([0, 19, 0]), 0.15, 0.02)];

fn vllm_versions() -> Vec<Constant> {
    let logged = LOGGED.iter().flat_map(|(version, sampler, outside)| {
        let (rules, [_, minor, _]) = (rules::likely(Some(*version)), version.0);
        [
            fitted(format!("vLLM 0.{minor}: sampler"), rules.sampler[1], LOGIT, *sampler),
            fitted(format!("vLLM 0.{minor}: outside torch, one rank"), rules.outside[1], "GiB", *outside),
        ]
    });
    let fitted = |rules: &rules::Rules| LOGGED.iter().any(|(version, _, _)| rules::likely(Some(*version)) == rules);
    let others = RULES.iter().filter(|rules| !fitted(rules)).flat_map(|rules| {
        let [major, minor, patch] = rules.since.0;
        let name = |what| format!("vLLM from {major}.{minor}.{patch}: {what}");
        [
            sourced(name("sampler"), rules.sampler[1], LOGIT, rules.source),
            sourced(name("outside torch, one rank"), rules.outside[1], "GiB", rules.source),
        ]
    });
    logged.chain(others).collect()
}

fn training() -> Vec<Constant> {
    const UNIT: &str = "of work";
    vec![
        sourced(
            "training process",
            training_context().likely.gib(),
            "GiB",
            "assumed: context, cuBLAS and cuDNN handles",
        ),
        sourced("training NCCL, one group", nccl(2, 1).likely.gib(), "GiB", "assumed, between 0.3 and 2"),
        fitted("training slack, steady sizes", assumed::STEADY[1].1, UNIT, 0.1),
        fitted("training slack, Megatron", assumed::MEGATRON[1].1, UNIT, 0.1),
        fitted("training slack, varying sizes", assumed::PLAIN[1].1, UNIT, 0.1),
        fitted("training slack, varying sizes under FSDP", assumed::SHARDED[1].1, UNIT, 0.2),
        sourced(
            "training slack, expandable segments",
            assumed::EXPANDABLE[1].1,
            UNIT,
            "assumed: segments that grow leave little unused",
        ),
        fitted("training, cached blocks of other lengths", trainers::SWIFT.cached, UNIT, 0.35),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_values_are_numbers() {
        let mut names: Vec<String> = all().into_iter().inspect(|c| assert!(c.value >= 0.0)).map(|c| c.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
