//! Estimates against measurements of real runs, through the same path as `check` and the webhook.
//!
//! Prints, per family: rows, mean absolute percentage error, median, worst row, and how many measurements lie inside
//! the interval. Fails when a target is missed. `tests/data/README.md` names the sources.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise in its own data and prints its figures"
)]

mod annotated;
mod checkpoints;
mod document;
mod engines;
mod megatron;
mod serving;
mod statistics;
mod support;
mod training;
mod vllm_versions;
