//! The admission server over real sockets: what it answers, and that it is still there afterwards.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may stop at the first surprise, as tests may"
)]

mod client;
mod decisions;
mod drain;
mod fake_api;
#[path = "../support/fake_hub.rs"]
#[allow(dead_code, reason = "other tests use the rest of the vocabulary")]
mod fake_hub;
mod figures;
mod hostile;
mod hub;
mod probes;
mod profiles;
mod server;
mod tls;
mod watch;
