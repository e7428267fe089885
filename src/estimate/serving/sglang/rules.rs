//! SGLang's constants by version and by the device's memory: one row a change.

use crate::estimate::Device;
use crate::estimate::model::{Attention, Model, Tensor, TensorKind};
use crate::estimate::units::{Bytes, MIB};
use crate::estimate::workload::{Version, Workload};

/// How a version chooses `--mem-fraction-static` when it is not given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fraction {
    /// By the number of ranks up to 80 GiB, and by what is set aside above.
    Ranks(Above),
    /// Set aside by memory.
    Memory,
    /// Set aside by what it is for: chunk, graphs, ranks, and what graphs of prefills take.
    Parts {
        /// Graphs of prefills are captured and have a part of their own.
        prefill_graphs: bool,
    },
}

/// What versions that go by ranks do from 80 GiB on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Above {
    /// The same.
    Same,
    /// 13 GiB are set aside.
    Fixed,
    /// Up to 18 GiB are set aside, and a fifth from 180,000 MiB on.
    Graded,
}

/// What multimodal models keep of the share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Encoder {
    /// A fixed part.
    Fixed(f64),
    /// A part that shrinks with the encoder.
    Graded,
}

/// A row holds from its version until the next row's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rules {
    /// First version of the row.
    pub since: Version,
    /// Default of `--mem-fraction-static`.
    pub fraction: Fraction,
    /// What multimodal models keep of it.
    pub encoder: Encoder,
    /// MiB more that are set aside for draft models.
    pub draft: f64,
    /// Sizes of chunks and graphs by the device's memory.
    pub tiers: &'static [Tier],
    /// Sliding-window layers have a pool of their own.
    pub window_pools: bool,
}

const fn row(patch: [u16; 3], fraction: Fraction, encoder: Encoder, tiers: &'static [Tier]) -> Rules {
    Rules { since: Version(patch), fraction, encoder, draft: 2.0 * 1024.0, tiers, window_pools: false }
}

/// Oldest first. Sources: `sglang/srt/server_args.py` of 0.4.1, 0.4.4, 0.4.6 to 0.4.9, 0.5.1 to 0.5.4, 0.5.6, 0.5.9,
/// 0.5.10, 0.5.12 and 0.5.14, `sglang/srt/arg_groups/memory_hook.py` of 0.5.23, `model_runner.py` for multimodal models; logs of 0.4.2
/// (0.880 of free memory on RTX 4090) and 0.4.4 (0.836 with an encoder on H200).
const RULES: [Rules; 9] = [
    row([0, 0, 0], Fraction::Ranks(Above::Same), Encoder::Fixed(0.95), OLD_TIERS),
    row([0, 4, 5], Fraction::Ranks(Above::Fixed), Encoder::Fixed(0.90), OLD_TIERS),
    row([0, 4, 7], Fraction::Ranks(Above::Graded), Encoder::Fixed(0.90), OLD_TIERS),
    row([0, 4, 8], Fraction::Memory, Encoder::Fixed(0.90), OLD_TIERS),
    row([0, 5, 0], Fraction::Memory, Encoder::Graded, OLD_TIERS),
    Rules { window_pools: true, ..row([0, 5, 1], Fraction::Memory, Encoder::Graded, OLD_TIERS) },
    Rules { window_pools: true, ..row([0, 5, 3], Fraction::Parts { prefill_graphs: false }, Encoder::Graded, TIERS) },
    Rules { window_pools: true, ..row([0, 5, 10], Fraction::Parts { prefill_graphs: true }, Encoder::Graded, TIERS) },
    NEWEST,
];

const NEWEST: Rules = Rules {
    window_pools: true,
    draft: 0.0,
    ..row([0, 5, 14], Fraction::Parts { prefill_graphs: true }, Encoder::Graded, TIERS)
};

/// The share by ranks: from so many on, the most first.
const BY_RANKS: [(u64, f64); 5] = [(16, 0.79), (8, 0.81), (4, 0.85), (2, 0.87), (0, 0.88)];
/// What is set aside by memory: below so many MiB, GiB, and GiB per rank.
const BY_MEMORY: [(u64, f64, f64); 4] =
    [(35 * 1024, 2.8, 0.1), (90 * 1024, 9.5, 0.5), (160 * 1024, 12.0, 0.5), (u64::MAX, 32.0, 0.0)];

/// The rows that may be in force: one for a known version, all otherwise.
pub(super) fn candidates(version: Option<Version>) -> &'static [Rules] {
    let Some(version) = version else { return &RULES };
    let index = RULES.iter().rposition(|rules| rules.since <= version).unwrap_or(0);
    RULES.get(index..=index).unwrap_or(&RULES)
}

/// The rows that are likely in force: as before, but only those of 0.5.3 and later for an unknown version.
pub(super) fn recent(version: Option<Version>) -> &'static [Rules] {
    let all = candidates(version);
    if version.is_some() { all } else { all.get(all.len().saturating_sub(3)..).unwrap_or(all) }
}

/// The row that an estimate is made with: the version's own, the newest where it is unknown.
pub(super) fn likely(version: Option<Version>) -> &'static Rules {
    candidates(version).last().unwrap_or(&NEWEST)
}

/// Defaults by the memory that nvidia-smi names: chunk, and the largest batch with a graph below and from 4 ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tier {
    below_mib: u64,
    chunk: u64,
    graphs: u64,
    graphs_from_4: u64,
}

/// `_handle_gpu_memory_settings`, smallest first.
const TIERS: &[Tier] = &[
    Tier { below_mib: 20 * 1024, chunk: 2048, graphs: 8, graphs_from_4: 8 },
    Tier { below_mib: 35 * 1024, chunk: 2048, graphs: 24, graphs_from_4: 80 },
    Tier { below_mib: 60 * 1024, chunk: 4096, graphs: 32, graphs_from_4: 160 },
    Tier { below_mib: 160 * 1024, chunk: 8192, graphs: 256, graphs_from_4: 512 },
    Tier { below_mib: u64::MAX, chunk: 16_384, graphs: 512, graphs_from_4: 512 },
];
/// The same before 0.5.3.
const OLD_TIERS: &[Tier] = &[
    Tier { below_mib: 25_000, chunk: 2048, graphs: 8, graphs_from_4: 80 },
    Tier { below_mib: 180_000, chunk: 8192, graphs: 160, graphs_from_4: 160 },
    Tier { below_mib: u64::MAX, chunk: 16_384, graphs: 160, graphs_from_4: 160 },
];

/// From this much memory on the set-aside is at least [`LARGE_MINIMUM`], MiB.
const LARGE_GPU: f64 = 60.0 * 1024.0;
const LARGE_MINIMUM: f64 = 10.0 * 1024.0;
/// MiB set aside for graphs of prefills: for each size, and in all with latent attention.
const PREFILL_GRAPH: f64 = 8.0;
const LATENT_PREFILL_GRAPHS: f64 = 1.5 * 1024.0;
/// Share that multimodal models keep where it falls with the encoder's size against ViT-L (24 layers of 1024).
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
    /// Data-parallel ranks of the attention.
    attention_data: u64,
    /// The model has latent attention.
    latent: bool,
    /// Parameters of vision and audio towers against ViT-L's; `None` for text models.
    encoder: Option<f64>,
}

impl Sizes {
    pub(super) fn new(workload: &Workload, model: &Model, device: &Device, rules: &Rules) -> Self {
        let engine = &workload.engine;
        let split = &workload.parallelism;
        let nvml_mib = nvml(device.visible).as_f64() / MIB as f64;
        let tier = rules.tiers.iter().find(|tier| nvml_mib < tier.below_mib as f64);
        let (chunk, below_4, from_4) = tier.map_or((8192, 160, 160), |t| (t.chunk, t.graphs, t.graphs_from_4));
        let graphs = if split.tensor >= 4 { from_4 } else { below_4 };
        let tower: u64 = model.outer.iter().filter(|t| t.kind == TensorKind::Tower).map(Tensor::parameters).sum();
        Self {
            chunk: engine.max_num_batched_tokens.unwrap_or(chunk),
            graphs: if engine.enforce_eager { 0 } else { engine.graph_batch.unwrap_or(graphs) },
            nvml_mib,
            tensor: split.tensor,
            ranks: split.tensor.saturating_mul(split.pipeline),
            drafts: engine.speculative_tokens > 0,
            attention_data: engine.attention_data.max(1),
            latent: model.layers.iter().any(|group| matches!(group.attention, Attention::Latent { .. })),
            encoder: (tower > 0).then(|| tower as f64 / ENCODER_BASELINE),
        }
    }

    /// The default `--mem-fraction-static` under a row.
    pub(super) fn fraction(&self, rules: &Rules) -> f64 {
        let draft = if self.drafts { rules.draft } else { 0.0 };
        let text = match rules.fraction {
            Fraction::Ranks(above) => self.by_ranks(above),
            Fraction::Memory => {
                let row = BY_MEMORY.iter().find(|(below, _, _)| self.nvml_mib < *below as f64);
                let (base, each) = row.map_or((32.0, 0.0), |(_, base, each)| (*base, *each));
                let attention = if self.attention_data > 1 { 4.0 } else { 0.0 };
                self.share((base + each * self.ranks as f64 + attention) * 1024.0 + draft)
            }
            Fraction::Parts { prefill_graphs } => {
                let prefill = if prefill_graphs && self.graphs > 0 { self.prefill_graphs() } else { 0.0 };
                let chunk = 1.5 * self.chunk.max(2048) as f64;
                let parts = 512.0 + chunk + self.decode_graphs() + 1024.0 * self.ranks as f64 / 8.0 + prefill;
                let least = if self.nvml_mib > LARGE_GPU { LARGE_MINIMUM } else { 0.0 };
                self.share(parts.max(least) + draft)
            }
        };
        text * self.encoder.map_or(1.0, |ratio| match rules.encoder {
            Encoder::Fixed(share) => share,
            Encoder::Graded => ENCODER_SHARE * (1.0 - 0.1 * (ratio - 1.0)).clamp(0.8, 1.05),
        })
    }

    fn by_ranks(&self, above: Above) -> f64 {
        const MIB_80_GIB: f64 = 81_920.0;
        let ranks = if above == Above::Graded { self.ranks } else { self.tensor };
        let share = BY_RANKS.iter().find(|(from, _)| ranks >= *from).map_or(0.88, |(_, share)| *share);
        let memory = self.nvml_mib;
        match above {
            _ if above == Above::Same || memory <= MIB_80_GIB => share,
            Above::Graded if memory > 180_000.0 => 0.79,
            Above::Graded if memory > 96.0 * 1024.0 => {
                (0.88 + 48.0 * 1024.0 * 0.12 / memory).min((memory - 18.0 * 1024.0) / memory)
            }
            Above::Graded => 0.88,
            Above::Same | Above::Fixed => (memory - 13.0 * 1024.0) / memory,
        }
    }

    /// MiB for graphs of decoding; attention parallel over data pads every rank's batch.
    fn decode_graphs(&self) -> f64 {
        let graphs = self.graphs as f64;
        let padded = if self.attention_data > 1 { graphs * self.attention_data as f64 } else { 0.0 };
        let each = if self.graphs > 300 { 4.5 } else { 3.0 };
        2.0 * graphs + each * padded
    }

    /// MiB for graphs of prefills: sizes grow in steps of 4, 16, 32, 64, 256 and 512 up to the chunk.
    fn prefill_graphs(&self) -> f64 {
        const STEPS: [(u64, u64, u64); 6] =
            [(4, 32, 4), (48, 256, 16), (288, 512, 32), (576, 1024, 64), (1280, 4096, 256), (4608, u64::MAX, 512)];
        if self.latent {
            return LATENT_PREFILL_GRAPHS;
        }
        let sizes = STEPS.iter().filter(|(from, _, _)| *from <= self.chunk);
        let count: u64 = sizes.map(|(from, to, step)| (self.chunk.min(*to) - from) / step + 1).sum();
        count as f64 * PREFILL_GRAPH
    }

    /// Whether the share depends on the size of a vision or audio tower.
    pub(super) const fn encoder_matters(&self, rules: &Rules) -> bool {
        self.encoder.is_some() && matches!(rules.encoder, Encoder::Graded)
    }

    fn share(&self, set_aside: f64) -> f64 {
        (((self.nvml_mib - set_aside) / self.nvml_mib) * 1000.0).round() / 1000.0
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
        let (attention_data, latent) = (1, false);
        Sizes { chunk, graphs, nvml_mib, tensor, ranks: tensor, drafts: false, attention_data, latent, encoder: None }
    }

    fn default_of(version: [u16; 3], sizes: &Sizes) -> f64 {
        (sizes.fraction(&candidates(Some(Version(version)))[0]) * 1000.0).round() / 1000.0
    }

    /// 81,559 MiB: 512 + 1.5 x 8192 + 2 x 256 + 128 set aside, and 58 sizes of prefill graphs since 0.5.10.
    #[test]
    fn defaults_of_each_era_on_an_h100() {
        let h100 = sizes(81_559.0, 1, 8192, 256);
        for (version, fraction) in
            [([0, 4, 2], 0.88), ([0, 4, 7], 0.88), ([0, 4, 9], 0.874), ([0, 5, 6], 0.835), ([0, 5, 14], 0.83)]
        {
            assert!(
                (default_of(version, &h100) - fraction).abs() < 1e-9,
                "{version:?}: {}",
                default_of(version, &h100)
            );
        }
        assert!((h100.prefill_graphs() - 58.0 * 8.0).abs() < 1e-9);
        let latent = Sizes { latent: true, ..h100 };
        assert!((latent.prefill_graphs() - 1536.0).abs() < 1e-9);
    }

    /// Above 80 GiB: 13 GiB set aside, then up to 18.
    #[test]
    fn larger_devices_had_rules_of_their_own() {
        let h200 = sizes(143_771.0, 8, 8192, 160);
        assert!((default_of([0, 4, 4], &h200) - 0.81).abs() < 1e-9);
        assert!((default_of([0, 4, 6], &h200) - 0.907).abs() < 1e-9);
        assert!((default_of([0, 4, 7], &h200) - 0.872).abs() < 1e-9);
        assert!((default_of([0, 4, 9], &h200) - 0.886).abs() < 1e-9);
    }

    /// 64 GiB, two ranks, as logged: 0.792 of free memory.
    #[test]
    fn parts_add_up_on_other_devices() {
        assert!((default_of([0, 5, 8], &sizes(65_536.0, 2, 8192, 256)) - 0.793).abs() < 1e-9);
    }

    /// Eight ranks of attention parallel over data with graphs up to 512: 4.5 MiB for each sequence of each rank.
    #[test]
    fn attention_parallel_over_data_sets_more_aside() {
        let plain = sizes(143_771.0, 8, 8192, 512);
        let over_data = Sizes { attention_data: 8, ..plain };
        assert!((over_data.decode_graphs() - plain.decode_graphs() - 4.5 * 512.0 * 8.0).abs() < 1e-9);
        assert!(default_of([0, 5, 6], &over_data) < default_of([0, 5, 6], &plain));
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
