//! What vLLM's defaults and overheads come to on a device, under a version's rules.

use crate::estimate::Device;

use super::rules::{Batch, Counted, Rules};

/// Memory from which vLLM uses its large and its largest defaults, GiB, and the product that is exempt from them.
const LARGE_GPU_GIB: f64 = 70.0;
const LARGEST_GPU_GIB: f64 = 160.0;
const EXEMPT_PRODUCT: &str = "A100";
/// Longest context that V0 prefills in one step, and the tokens that a step has at least.
const WHOLE_PROMPT: u64 = 32_768;
const LEAST_TOKENS: u64 = 2048;

/// Scheduler defaults that depend on the device (`EngineArgs.get_batch_defaults`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchDefaults {
    /// `--max-num-batched-tokens` of the API server.
    pub tokens: u64,
    /// `--max-num-seqs`.
    pub sequences: u64,
    /// The profile run ends in the sampler; not where prompts are cut into chunks and no chunk is the last.
    pub samples: bool,
}

/// The scheduler's defaults on a device for a longest context.
#[must_use]
pub fn batch_defaults(rules: &Rules, device: &Device, context: u64) -> BatchDefaults {
    const SMALL: BatchDefaults = BatchDefaults { tokens: 2048, sequences: 256, samples: true };
    const LARGE: BatchDefaults = BatchDefaults { tokens: 8192, sequences: 1024, samples: true };
    let large = device.visible.gib() >= LARGE_GPU_GIB;
    let exempt = device.product.contains(EXEMPT_PRODUCT);
    match rules.batch {
        Batch::WholePrompts(_) if context <= WHOLE_PROMPT => {
            BatchDefaults { tokens: context.max(LEAST_TOKENS), ..SMALL }
        }
        Batch::WholePrompts(tokens) => BatchDefaults { tokens, samples: false, ..SMALL },
        Batch::ByName => {
            let named = ["H100", "H200"].iter().any(|name| device.product.contains(name));
            if named { LARGE } else { BatchDefaults { sequences: LARGE.sequences, ..SMALL } }
        }
        Batch::Largest if device.visible.gib() >= LARGEST_GPU_GIB => BatchDefaults { tokens: 16_384, ..LARGE },
        Batch::ByMemory if large => LARGE,
        Batch::ButA100 | Batch::Largest if large && !exempt => LARGE,
        Batch::ByMemory | Batch::ButA100 | Batch::Largest => SMALL,
    }
}

/// How ranks are spread, as far as memory outside torch depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Tensor-parallel degree.
    pub tensor: u64,
    /// Pipeline stages.
    pub pipeline: u64,
    /// Ranks that exchange tokens for their experts.
    pub experts: u64,
}

/// Products of Hopper and later with NVLink, by what their names contain.
const LINKED: [&str; 8] = ["HBM3", "SXM5", "H200", "H800", "H20", "B200", "B300", "NVL"];
/// Context of a process and its libraries, GiB: 0.51 on H100.
const CONTEXT: [f64; 3] = [0.25, 0.5, 0.7];
/// Communicators as they are set up, GiB: 1.0 on H100 between two or four ranks.
const COMMUNICATORS: [f64; 3] = [0.1, 0.9, 1.4];

/// Growth of memory outside torch, GiB: stages of a pipeline, ranks over PCIe.
pub const PIPELINE: [f64; 3] = [0.02, 0.07, 0.6];
/// See [`PIPELINE`].
pub const UNLINKED: [f64; 3] = [0.1, 0.5, 2.2];

/// Memory outside torch that counts against the budget, GiB: low, likely, high.
#[must_use]
pub fn non_torch(rules: &Rules, spread: &Spread, device: &Device) -> [f64; 3] {
    // From Hopper on cards with NVLink get symmetric-memory and all-reduce workspaces; others only NCCL's channels.
    let linked = LINKED.iter().any(|name| device.product.contains(name));
    let growth = match (spread.tensor, spread.pipeline, linked) {
        (1, _, _) if spread.experts > 1 => [0.1, 1.2, 3.0],
        (1, 1, _) => rules.outside,
        (1, _, _) => PIPELINE,
        (_, _, true) => rules.linked,
        (_, _, false) => UNLINKED,
    };
    let alone = spread.tensor.saturating_mul(spread.pipeline).saturating_mul(spread.experts.max(1)) <= 1;
    let add = |[a, b, c]: [f64; 3], [d, e, f]: [f64; 3]| [a + d, b + e, c + f];
    let communicators = if alone { [0.0; 3] } else { COMMUNICATORS };
    match rules.counted {
        Counted::Growth => growth,
        Counted::WithCommunicators => add(growth, communicators),
        Counted::All => add(add(growth, communicators), CONTEXT),
    }
}

/// GiB of the graphs' memory estimate for one decoder layer: dense, and with a mixture of many experts.
///
/// On H100 0.61 to 0.84 for 28 to 32 layers, 1.5 to 1.9 for 80; 1.04 to 1.39 for the 27 of fine-grained mixtures, 4.99
/// for the 78 of one on B200. The newer model runner measures most of them instead: 0.48 for 32 layers, 0.07 and 0.69
/// for 36 and 42 on cards of 6 and 32 GB.
pub const GRAPH_LAYER: [f64; 3] = [0.012, 0.0235, 0.055];
const GRAPH_MIXTURE: [f64; 3] = [0.02, 0.05, 0.12];
const GRAPH_LEAN: [f64; 3] = [0.002, 0.012, 0.03];
const GRAPH_LEAN_MIXTURE: [f64; 3] = [0.004, 0.025, 0.08];
/// A mixture of more experts than this is fine-grained.
pub const MANY_EXPERTS: u64 = 16;

/// Sizes that graphs are captured for up to a batch: 1, 2, 4, then in steps of 8 up to 256 and of 16 above.
fn graph_sizes(largest: u64) -> u64 {
    let small = [1, 2, 4].iter().filter(|size| **size <= largest).count() as u64;
    small + largest.min(256) / 8 + largest.saturating_sub(256) / 16
}

/// The share of the usual graph memory that graphs up to a batch take; the first one of each kind takes the most.
#[must_use]
pub fn graph_share(largest: Option<u64>, sequences: u64) -> f64 {
    const USUAL: u64 = 512;
    const FIRST: f64 = 0.3;
    let largest = largest.unwrap_or_else(|| sequences.saturating_mul(2).min(USUAL));
    FIRST + (1.0 - FIRST) * graph_sizes(largest) as f64 / graph_sizes(USUAL) as f64
}

/// The graph memory that is subtracted from the budget, GiB, for decoder layers without and with fine-grained mixtures.
#[must_use]
pub fn graphs(lean: bool, layers: u64, mixtures: u64) -> [f64; 3] {
    let (plain, mixture) = if lean { (GRAPH_LEAN, GRAPH_LEAN_MIXTURE) } else { (GRAPH_LAYER, GRAPH_MIXTURE) };
    let of = |plain: f64, mixture: f64| layers as f64 * plain + mixtures as f64 * mixture;
    let ([low, likely, high], [mixed_low, mixed_likely, mixed_high]) = (plain, mixture);
    [of(low, mixed_low), of(likely, mixed_likely), of(high, mixed_high)]
}

#[cfg(test)]
mod tests {
    use super::super::rules::{RULES, likely};
    use super::*;
    use crate::estimate::Bytes;
    use crate::estimate::workload::Version;

    fn device(product: &str, gib: f64) -> Device {
        Device { product: product.to_owned(), visible: Bytes::from_gib(gib), compute_capability: None }
    }

    fn at(version: [u16; 3], product: &str, gib: f64, context: u64) -> (u64, u64) {
        let defaults = batch_defaults(likely(Some(Version(version))), &device(product, gib), context);
        (defaults.tokens, defaults.sequences)
    }

    #[test]
    fn rows_are_in_order() {
        assert!(RULES.windows(2).all(|pair| pair[0].since < pair[1].since));
        assert_eq!(RULES.last().map(|rules| rules.since), Some(likely(None).since));
    }

    /// `arg_utils.py` of the releases.
    #[test]
    fn the_schedulers_defaults_of_each_era() {
        let (a100, h100) = ("NVIDIA-A100-SXM4-80GB", "NVIDIA-H100-80GB-HBM3");
        assert_eq!(at([0, 6, 2], a100, 79.15, 8192), (8192, 256));
        assert_eq!(at([0, 6, 2], a100, 79.15, 131_072), (512, 256));
        assert_eq!(at([0, 7, 3], a100, 79.15, 131_072), (2048, 256));
        assert_eq!(at([0, 8, 0], a100, 79.15, 8192), (2048, 1024));
        assert_eq!(at([0, 8, 0], h100, 79.19, 8192), (8192, 1024));
        assert_eq!(at([0, 8, 5], a100, 79.15, 8192), (8192, 1024));
        assert_eq!(at([0, 9, 0], a100, 79.15, 8192), (2048, 256));
        assert_eq!(at([0, 27, 1], "NVIDIA-B200", 178.35, 8192), (8192, 1024));
        assert_eq!(at([0, 28, 0], "NVIDIA-B200", 178.35, 8192), (16_384, 1024));
        assert_eq!(at([0, 28, 0], a100, 79.15, 8192), (2048, 256));
        assert_eq!(at([0, 28, 0], "NVIDIA-L4", 22.03, 8192), (2048, 256));
    }

    /// 51 sizes up to 512, as logged.
    #[test]
    fn fewer_sizes_take_less() {
        assert_eq!(graph_sizes(512), 51);
        assert_eq!([1, 8, 256].map(graph_sizes), [1, 4, 35]);
        assert!((graph_share(None, 256) - 1.0).abs() < 1e-9 && (graph_share(None, 1024) - 1.0).abs() < 1e-9);
        assert!(graph_share(Some(8), 256) < 0.4 && graph_share(None, 1) < graph_share(None, 64));
    }

    #[test]
    fn the_default_share_and_the_graphs_changed_with_0_20() {
        let row = |minor| likely(Some(Version([0, minor, 1])));
        assert!((row(19).memory_fraction - 0.9).abs() < 1e-9 && !row(19).graphs_in_budget);
        assert!((row(20).memory_fraction - 0.92).abs() < 1e-9 && row(20).graphs_in_budget);
        assert!(!row(20).tokens_by_concurrency && row(21).tokens_by_concurrency);
    }

    /// On H100 communicators take 1.0 GiB before 0.11's snapshot, and the context counts up to 0.9.0.
    #[test]
    fn what_counts_outside_torch() {
        let h100 = device("NVIDIA-H100-80GB-HBM3", 79.19);
        let spread = Spread { tensor: 2, pipeline: 1, experts: 1 };
        let row = |version: [u16; 3]| likely(Some(Version(version)));
        let shared = |version: [u16; 3]| non_torch(row(version), &spread, &h100)[1];
        assert!((shared([0, 19, 0]) - 2.1).abs() < 1e-9);
        assert!(shared([0, 9, 0]) > shared([0, 10, 2]) && shared([0, 10, 2]) > 1.0);
        let alone = Spread { tensor: 1, ..spread };
        let one = |version: [u16; 3]| non_torch(row(version), &alone, &h100)[1];
        assert!((one([0, 9, 0]) - one([0, 9, 1]) - 0.5).abs() < 1e-9);
    }
}
