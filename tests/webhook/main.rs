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
mod figures;
mod hostile;
mod probes;
mod profiles;
mod server;
mod tls;
mod watch;
