//! Kubernetes objects to declarations and decisions back to admission responses. No I/O.

#![deny(clippy::disallowed_methods, reason = "pure: see clippy.toml")]

pub mod annotations;
mod args;
pub mod cel;
pub mod declaration;
mod declare;
pub mod dra;
mod draft;
pub mod eligibility;
mod fields;
pub mod files;
pub mod gpus;
pub mod kinds;
pub mod numbers;
pub mod patch;
pub mod pod;
pub mod review;
pub mod selector;
pub mod suggest;
pub mod yaml;

pub use declaration::{Declaration, GpuRequest, ModelReference, Origin, SpecError};
pub use declare::{declare, declare_with};
pub use eligibility::candidates;
pub(crate) use fields::QUANTIZATIONS;
pub use pod::PodTemplate;
pub mod gpu_labels;
pub mod nodepools;
pub mod nodes;
