//! The command line.

#[cfg(feature = "webhook")]
pub mod serve;
