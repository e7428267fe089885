//! SGLang's constants by version and by the device's memory: one row a change.

use crate::estimate::Device;
use crate::estimate::model::{Model, Tensor, TensorKind};
use crate::estimate::units::{Bytes, MIB};
use crate::estimate::workload::{Version, Workload};

/// How a version chooses `--mem-fraction-static` when it is not given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fraction {
    /// By tensor-parallel degree: `(from this degree, fraction)`, largest degree first.
    Ranks(&'static [(u64, f64)]),
    /// Set aside by memory: `(below MiB, GiB, GiB per rank)`, smallest first.
    Memory(&'static [(u64, f64, f64)]),
    /// Set aside by what it is for: chunk, graphs, ranks.
    Parts,
}

/// A row holds from its version until the next row's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rules {
    /// First version of the row.
    pub since: Version,
    /// Default of `--mem-fraction-static`.
    pub fraction: Fraction,
    /// The share that multimodal models keep of it shrinks with their encoder.
    pub encoder_aware: bool,
    /// Sliding-window layers have a pool of their own.
    pub window_pools: bool,
}

/// Oldest first. Sources: `server_args.py` of the versions; logs of 0.4.2 (0.880 of free memory on RTX 4090) and 0.4.4
/// (0.836 with an encoder on H200).
const RULES: [Rules; 4] = [
    Rules {
        since: Version([0, 0, 0]),
        fraction: Fraction::Ranks(&[(16, 0.79), (8, 0.81), (4, 0.85), (2, 0.87), (0, 0.88)]),
        encoder_aware: false,
        window_pools: false,
    },
    Rules {
        since: Version([0, 4, 7]),
        fraction: Fraction::Memory(&[
            (35 * 1024, 2.8, 0.1),
            (90 * 1024, 9.5, 0.5),
            (160 * 1024, 12.0, 0.5),
            (u64::MAX, 32.0, 0.0),
        ]),
        encoder_aware: true,
        window_pools: false,
    },
    Rules {
        since: Version([0, 5, 0]),
        fraction: Fraction::Memory(&[
            (35 * 1024, 2.8, 0.1),
            (90 * 1024, 9.5, 0.5),
            (160 * 1024, 12.0, 0.5),
            (u64::MAX, 32.0, 0.0),
        ]),
        encoder_aware: true,
        window_pools: true,
    },
    NEWEST,
];

const NEWEST: Rules =
    Rules { since: Version([0, 5, 4]), fraction: Fraction::Parts, encoder_aware: true, window_pools: true };

/// The rows that may be in force: one for a known version, all otherwise.
pub(super) fn candidates(version: Option<Version>) -> &'static [Rules] {
    let Some(version) = version else { return &RULES };
    let index = RULES.iter().rposition(|rules| rules.since <= version).unwrap_or(0);
    RULES.get(index..=index).unwrap_or(&RULES)
}

/// The row that an estimate is made with: the version's own, the newest where it is unknown.
pub(super) fn likely(version: Option<Version>) -> &'static Rules {
    candidates(version).last().unwrap_or(&NEWEST)
}

/// Defaults by the memory that nvidia-smi names: chunk, and the largest batch with a graph below and from 4 ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tier {
    below_mib: u64,
    chunk: u64,
    graphs: u64,
    graphs_from_4: u64,
}

/// `_handle_gpu_memory_settings`, smallest first.
const TIERS: [Tier; 5] = [
    Tier { below_mib: 20 * 1024, chunk: 2048, graphs: 8, graphs_from_4: 8 },
    Tier { below_mib: 35 * 1024, chunk: 2048, graphs: 24, graphs_from_4: 80 },
    Tier { below_mib: 60 * 1024, chunk: 4096, graphs: 32, graphs_from_4: 160 },
    Tier { below_mib: 90 * 1024, chunk: 8192, graphs: 256, graphs_from_4: 512 },
    Tier { below_mib: 160 * 1024, chunk: 8192, graphs: 256, graphs_from_4: 512 },
];
/// Above all of them.
const LARGEST: Tier = Tier { below_mib: u64::MAX, chunk: 16_384, graphs: 512, graphs_from_4: 512 };

/// From this much memory on the set-aside is at least [`LARGE_MINIMUM`], MiB.
const LARGE_GPU: f64 = 60.0 * 1024.0;
const LARGE_MINIMUM: f64 = 10.0 * 1024.0;
/// Added for draft models, MiB.
const DRAFT: f64 = 2.0 * 1024.0;
/// Share that multimodal models keep, and how it falls with the encoder's size against ViT-L (24 layers of 1024).
const ENCODER_SHARE: f64 = 0.95;
const ENCODER_BASELINE: f64 = 12.0 * 24.0 * 1024.0 * 1024.0;

/// What decides the defaults.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sizes {
    /// Tokens of a prefill chunk.
    pub chunk: u64,
    /// Largest batch with a CUDA graph.
    pub graphs: u64,
    nvml_mib: f64,
    tensor: u64,
    ranks: u64,
    drafts: bool,
    /// Parameters of vision and audio towers against ViT-L's; `None` for text models.
    encoder: Option<f64>,
}

impl Sizes {
    pub(super) fn new(workload: &Workload, model: &Model, device: &Device) -> Self {
        let engine = &workload.engine;
        let split = &workload.parallelism;
        let nvml_mib = nvml(device.visible).as_f64() / MIB as f64;
        let tier = TIERS.iter().find(|tier| nvml_mib < tier.below_mib as f64).unwrap_or(&LARGEST);
        let graphs = if split.tensor >= 4 { tier.graphs_from_4 } else { tier.graphs };
        let tower: u64 = model.outer.iter().filter(|t| t.kind == TensorKind::Tower).map(Tensor::parameters).sum();
        Self {
            chunk: engine.max_num_batched_tokens.unwrap_or(tier.chunk),
            graphs: if engine.enforce_eager { 0 } else { engine.graph_batch.unwrap_or(graphs) },
            nvml_mib,
            tensor: split.tensor,
            ranks: split.tensor.saturating_mul(split.pipeline),
            drafts: engine.speculative_tokens > 0,
            encoder: (tower > 0).then(|| tower as f64 / ENCODER_BASELINE),
        }
    }

    /// The default `--mem-fraction-static` under a row.
    pub(super) fn fraction(&self, rules: &Rules) -> f64 {
        let text = match rules.fraction {
            Fraction::Ranks(table) => {
                table.iter().find(|(from, _)| self.tensor >= *from).map_or(0.88, |(_, fraction)| *fraction)
            }
            Fraction::Memory(table) => {
                let row = table.iter().find(|(below, _, _)| self.nvml_mib < *below as f64);
                let (base, each) = row.map_or((32.0, 0.0), |(_, base, each)| (*base, *each));
                self.share((base + each * self.ranks as f64) * 1024.0 + self.draft())
            }
            Fraction::Parts => {
                let chunk = 1.5 * self.chunk.max(2048) as f64;
                let parts = 512.0 + chunk + 2.0 * self.graphs as f64 + 1024.0 * self.ranks as f64 / 8.0;
                let least = if self.nvml_mib > LARGE_GPU { LARGE_MINIMUM } else { 0.0 };
                self.share(parts.max(least) + self.draft())
            }
        };
        text * self.encoder.map_or(1.0, |ratio| {
            let shrink = if rules.encoder_aware { (1.0 - 0.1 * (ratio - 1.0)).clamp(0.8, 1.05) } else { 1.0 };
            ENCODER_SHARE * shrink
        })
    }

    /// Whether the model has a vision or audio tower.
    pub(super) const fn has_encoder(&self) -> bool {
        self.encoder.is_some()
    }

    fn share(&self, set_aside: f64) -> f64 {
        (((self.nvml_mib - set_aside) / self.nvml_mib) * 1000.0).round() / 1000.0
    }

    const fn draft(&self) -> f64 {
        if self.drafts { DRAFT } else { 0.0 }
    }
}

/// What nvidia-smi names for a total that the runtime sees: the driver keeps 0.41 GiB and 0.18 %.
fn nvml(visible: Bytes) -> Bytes {
    (visible + Bytes::from_gib(0.41)).scale(1.0 / (1.0 - 0.0018))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(nvml_mib: f64, tensor: u64, chunk: u64, graphs: u64) -> Sizes {
        Sizes { chunk, graphs, nvml_mib, tensor, ranks: tensor, drafts: false, encoder: None }
    }

    fn default_of(version: [u16; 3], sizes: &Sizes) -> f64 {
        (sizes.fraction(&candidates(Some(Version(version)))[0]) * 1000.0).round() / 1000.0
    }

    /// 81,559 MiB: 512 + 1.5 x 8192 + 2 x 256 + 128 set aside.
    #[test]
    fn defaults_of_each_era_on_an_h100() {
        let h100 = sizes(81_559.0, 1, 8192, 256);
        for (version, fraction) in [([0, 4, 2], 0.88), ([0, 4, 9], 0.874), ([0, 5, 6], 0.835)] {
            assert!((default_of(version, &h100) - fraction).abs() < 1e-9, "{version:?}");
        }
    }

    /// 64 GiB, two ranks, as logged: 0.792 of free memory.
    #[test]
    fn parts_add_up_on_other_devices() {
        assert!((default_of([0, 5, 8], &sizes(65_536.0, 2, 8192, 256)) - 0.793).abs() < 1e-9);
    }

    #[test]
    fn encoders_lower_the_share() {
        let with = |encoder| Sizes { encoder, ..sizes(143_771.0, 1, 8192, 256) };
        // 0.4.4 on H200 with gemma-3's encoder: 0.88 x 0.95.
        assert!((default_of([0, 4, 4], &with(Some(1.38))) - 0.836).abs() < 1e-9);
        let rules = &candidates(Some(Version([0, 5, 6])))[0];
        assert!(with(Some(3.0)).fraction(rules) < with(Some(1.0)).fraction(rules));
        assert!(with(Some(100.0)).fraction(rules) > 0.6, "bounded below");
    }
}
