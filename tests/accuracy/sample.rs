//! One estimate beside one measurement, and tables of them by engine and family.

use crate::statistics::Errors;

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    Weights,
    NonKv,
    Pool,
    Tokens,
    TokenBytes,
    State,
    Compute,
}

impl Quantity {
    pub const ALL: [Self; 7] =
        [Self::Weights, Self::NonKv, Self::Pool, Self::Tokens, Self::TokenBytes, Self::State, Self::Compute];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::NonKv => "non-KV",
            Self::Pool => "KV pool",
            Self::Tokens => "KV tokens",
            Self::TokenBytes => "KV B/token",
            Self::State => "state",
            Self::Compute => "compute",
        }
    }
}

/// One estimate beside one measurement. Bytes are in GiB, but for bytes per token.
#[derive(Debug, Clone)]
pub struct Sample {
    pub engine: &'static str,
    pub family: &'static str,
    /// The weights are quantized, by the checkpoint or by the engine.
    pub quantized: bool,
    pub id: String,
    pub quantity: Quantity,
    pub estimate: f64,
    pub measured: f64,
    /// The estimate's bounds, where it has them.
    pub bounds: Option<(f64, f64)>,
}

/// Errors over the samples of one quantity that pass `keep`.
pub fn errors<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
    quantity: Quantity,
    keep: impl Fn(&Sample) -> bool,
) -> Errors {
    let mut errors = Errors::default();
    for sample in samples.into_iter().filter(|sample| sample.quantity == quantity && keep(sample)) {
        errors.add(&sample.id, sample.estimate, sample.measured);
        if let Some((low, high)) = sample.bounds {
            errors.interval(low, high, sample.measured);
        }
    }
    errors
}

const FAMILIES: [&str; 5] = ["dense", "mixture", "latent", "hybrid", "multimodal"];

/// A line for every family and quantity that an engine's rows have, then over its quantized and over all its rows.
pub fn table(engine: &str, samples: &[Sample]) -> Vec<String> {
    let mut lines = vec![engine.to_owned()];
    let mut group = |name: &str, keep: &dyn Fn(&Sample) -> bool| {
        for quantity in Quantity::ALL {
            let errors = errors(samples, quantity, |sample| sample.engine == engine && keep(sample));
            if errors.n() > 0 {
                lines.push(format!("  {name:<11}{:<11}{errors}", quantity.name()));
            }
        }
    };
    for family in FAMILIES {
        group(family, &|sample| sample.family == family);
    }
    group("quantized", &|sample| sample.quantized);
    group("all", &|_| true);
    lines
}
