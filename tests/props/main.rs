//! What must hold of every estimate: of any engine and trainer, for models of the catalogue and for made-up ones.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise in its own data")]

mod models;
mod serving;
mod speed;
mod training;

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;
use vramguard::estimate::{Bytes, Estimate, Interval};

/// `a` needs no more than `b`, bound by bound, up to the rounding of a few terms to bytes.
fn at_most(a: Interval, b: Interval) -> bool {
    let slack = Bytes(64);
    a.low <= b.low + slack && a.likely <= b.likely + slack && a.high <= b.high + slack
}

fn ordered(interval: Interval) -> bool {
    interval.low <= interval.likely && interval.likely <= interval.high
}

/// Every interval of an estimate has its bounds in order.
fn in_order(estimate: &Estimate) -> bool {
    let per_gpu = estimate.per_gpu;
    let whole = [per_gpu.required, per_gpu.wanted, per_gpu.reserved];
    whole.into_iter().chain(estimate.terms.iter().map(|term| term.bytes)).all(ordered)
}

/// So many cases, the same in every run; or as many as `PROPTEST_CASES` says, others in every run.
fn config(cases: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok());
    let rng_seed = if asked.is_some() { RngSeed::Random } else { RngSeed::Fixed(19) };
    ProptestConfig { cases: asked.unwrap_or(cases), failure_persistence: None, rng_seed, ..ProptestConfig::default() }
}
