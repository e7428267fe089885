//! The program from outside: what it prints, what it exits with, and that README, examples and schema tell the truth.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail like tests"
)]

mod bad_input;
mod check;
mod docs;
mod estimate;
mod plot;
mod profiles;
mod support;
