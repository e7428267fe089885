//! Kubernetes objects to declarations and decisions back to admission responses. No I/O.

pub mod declaration;
