//! The admission server: TLS, two review endpoints, probes and metrics.
//!
//! A review's way is decode, evaluate, encode, inline in the connection's task: it takes microseconds and waits for
//! nothing but its own body.

mod app;
mod decide;
mod error;
mod gauges;
mod handler;
mod health;
mod limits;
mod respond;
mod router;
pub mod server;
pub mod tls;
mod workloads;

pub use app::App;
