//! Estimates against measurements of real runs, through the same path as `check` and the webhook.
//!
//! Prints, per engine and family: rows, mean absolute percentage error, median, worst row, and how many measurements
//! lie inside the interval; other estimators' figures on the same rows; the constants refitted from the rows. Fails when
//! a target is missed. `tests/data/README.md` names the sources.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise in its own data and prints its figures"
)]

mod annotated;
mod checkpoints;
mod constants;
mod document;
mod engines;
mod family;
mod fit;
mod golden;
mod megatron;
mod megatron_pods;
mod peers;
mod profile;
mod sample;
mod serving;
mod single;
mod statistics;
mod support;
mod targets;
mod training;
mod vllm_versions;
