//! Logs and metrics. Every happening is one struct in [`events`]: it is logged and counted together, so the two cannot
//! disagree. Only [`metrics`] names the Prometheus crate.

pub mod events;
pub mod families;
pub mod logs;
pub mod metrics;

pub use metrics::Metrics;

/// The version in logs and metrics.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
