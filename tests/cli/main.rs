//! The program from outside: what it prints, what it exits with, and that README, examples and schema tell the truth.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like tests"
)]

mod bad_input;
mod capacity;
mod check;
mod checkpoints;
mod docs;
mod estimate;
mod explain;
#[path = "../support/fake_hub.rs"]
#[allow(dead_code, reason = "other tests use the rest of the vocabulary")]
mod fake_hub;
mod hub;
mod plot;
mod profiles;
mod refusals;
mod solve;
mod support;
