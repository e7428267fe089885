//! Estimates against measurements: prints error and coverage per framework and holds them to a limit.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test stops at the first surprise in its own data and prints its figures"
)]

mod support;
mod training;
