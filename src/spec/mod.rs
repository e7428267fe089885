//! Kubernetes objects to declarations and decisions back to admission responses. No I/O.

pub mod declaration;
mod gpu_labels;
pub mod nodes;
