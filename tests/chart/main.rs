//! The chart as code: what it renders, what it refuses, and what a real API server and Prometheus' own checker say of it.
//!
//! helm, promtool and the control plane come from `tests/controlplane/build.sh`; where they cannot be built the tests
//! fail and say so.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test stops at the first surprise and says so"
)]

#[path = "../support/chart/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest of the vocabulary")]
mod chart;
#[path = "../support/controlplane/mod.rs"]
#[allow(dead_code, unused_imports, clippy::print_stderr, reason = "other tests use the rest of the vocabulary")]
mod controlplane;

mod api_server;
mod manifest;
mod monitoring;
mod objects;
mod values;
