//! vramguard: the Kubernetes admission hook and command line that know whether a model fits the GPU.
//!
//! Data moves one way. [`spec`] reads Kubernetes objects into declarations; [`facts`] resolves model references;
//! [`estimate`] computes what a replica needs per GPU; [`decide`] holds that against an inventory of GPU classes and
//! makes verdicts, fixes and decisions. [`evaluate`] is the one path through all of them, used by the webhook and by
//! the command line alike.

pub mod decide;
pub mod estimate;
pub mod evaluate;
pub mod facts;
pub mod spec;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(feature = "webhook")]
pub mod config;
#[cfg(feature = "webhook")]
pub mod telemetry;
#[cfg(feature = "webhook")]
pub mod webhook;
