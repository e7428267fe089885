//! Ollama: llama.cpp's arithmetic, but a model that does not fit is put on the GPU in part and never fails.

use super::llamacpp::{self, Setup};
use super::server;
use crate::estimate::model::Model;
use crate::estimate::units::Bytes;
use crate::estimate::workload::{Version, Workload};
use crate::estimate::{Device, Estimate, EstimateError};

/// Context where none is given.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Context {
    /// So many tokens.
    Tokens(u64),
    /// By the memory of all GPUs: from so many GiB, most first.
    ByMemory(&'static [(f64, u64)]),
}

/// A row holds from its version until the next row's.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rules {
    since: Version,
    context: Context,
    /// Parallel requests where `OLLAMA_NUM_PARALLEL` is not given; one where so many do not fit.
    parallel: u64,
}

/// Oldest first. Sources: `envconfig/config.go` of 0.6.6, 0.6.7, 0.9.6, 0.10.0, 0.15.4 and 0.15.5, `server/sched.go` of
/// 0.6.5 and 0.6.8 (`defaultParallel`), `server/routes.go` of 0.15.5 ("vram-based default context").
const RULES: [Rules; 4] = [
    Rules { since: Version([0, 0, 0]), context: Context::Tokens(2048), parallel: 4 },
    Rules { since: Version([0, 6, 7]), context: Context::Tokens(4096), parallel: 2 },
    Rules { since: Version([0, 10, 0]), context: Context::Tokens(4096), parallel: 1 },
    Rules {
        since: Version([0, 15, 5]),
        context: Context::ByMemory(&[(47.0, 262_144), (23.0, 32_768), (0.0, 4096)]),
        parallel: 1,
    },
];

/// Estimates an Ollama server with one model loaded.
///
/// # Errors
/// When there are more GPUs than layers.
pub(super) fn estimate(workload: &Workload, model: &Model, device: &Device) -> Result<Estimate, EstimateError> {
    let engine = &workload.engine;
    let rules = RULES.iter().rev().find(|rules| engine.version.is_none_or(|version| rules.since <= version));
    let rules = rules.unwrap_or(&RULES[0]);
    let gpus = server::gpus(&workload.parallelism);
    let default = rules.context.tokens(device.visible.gib() * gpus as f64);
    let default = default.min(model.max_position_embeddings.unwrap_or(u64::MAX));
    let context = workload.context_length.unwrap_or(default);
    let slots = engine.parallel_slots.or(workload.batch_size).unwrap_or(rules.parallel);
    // Every parallel request has the whole context.
    let setup = Setup {
        context: context.saturating_mul(slots),
        least_context: 0,
        slots: (slots, slots),
        layers_may_shrink: true,
        margin: Bytes::ZERO,
    };
    let mut estimate = llamacpp::evaluate(workload, model, device, setup)?;
    estimate.refusals.clear();
    estimate.notes = notes(workload, &estimate, context);
    if let Some(serving) = &mut estimate.serving {
        serving.expected_log.clear();
    }
    Ok(estimate)
}

impl Context {
    /// Tokens on GPUs with so many GiB together.
    fn tokens(self, gib: f64) -> u64 {
        match self {
            Self::Tokens(tokens) => tokens,
            Self::ByMemory(table) => table.iter().find(|(from, _)| gib >= *from).map_or(4096, |(_, tokens)| *tokens),
        }
    }
}

fn notes(workload: &Workload, estimate: &Estimate, context: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if estimate.per_gpu.required.high > estimate.usable {
        notes.push("what does not fit on the GPU stays on the CPU: Ollama runs the model, but slower".to_owned());
    }
    if workload.context_length.is_none() {
        notes.push(format!(
            "OLLAMA_CONTEXT_LENGTH is not given: {context} tokens are the default here; since 0.15.5 it grows with GPU \
             memory"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use crate::estimate::serving::fixtures::{self, Shape};
    use crate::estimate::units::Bytes;
    use crate::estimate::workload::{EngineName, Version};

    /// 128 KiB a token: 4096, two parallel requests of 4096, 32,768 and 131,072 (the model's own) tokens.
    #[test]
    fn defaults_follow_version_and_memory() {
        let cases = [
            ([0, 14, 0], 24.0, 0.5),
            ([0, 9, 0], 24.0, 1.0),
            ([0, 6, 6], 24.0, 1.0),
            ([0, 16, 0], 11.6, 0.5),
            ([0, 16, 0], 23.6, 4.0),
            ([0, 16, 0], 79.2, 16.0),
        ];
        for (version, gib, pool) in cases {
            let (mut workload, device) = fixtures::on(EngineName::Ollama, fixtures::dense(&Shape::LLAMA_8B), gib);
            workload.context_length = None;
            workload.engine.version = Some(Version(version));
            let serving = crate::estimate::estimate(&workload, &device).unwrap().serving.unwrap();
            assert_eq!(serving.kv_pool_bytes, Bytes::from_gib(pool), "{version:?} on {gib}");
        }
    }

    #[test]
    fn never_denied_and_every_request_has_its_context() {
        let (mut workload, device) = fixtures::on(EngineName::Ollama, fixtures::dense(&Shape::LLAMA_8B), 7.6);
        workload.context_length = Some(8192);
        workload.engine.parallel_slots = Some(4);
        let estimate = crate::estimate::estimate(&workload, &device).unwrap();
        assert!(estimate.per_gpu.required.low < Bytes::from_gib(1.0));
        assert!(estimate.per_gpu.required.likely > device.visible);
        assert!(estimate.refusals.is_empty());
        assert!(estimate.notes[0].contains("CPU"));
        assert_eq!(estimate.serving.unwrap().kv_pool_bytes, Bytes::from_gib(4.0));
    }
}
