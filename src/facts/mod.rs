//! Model and GPU facts: embedded catalogues and objects of the cluster, looked up by reference.

pub mod catalog;
pub mod gpus;
#[cfg(feature = "hub")]
pub mod hub;
pub mod lookup;
pub mod profile;
pub mod runtime_memory;
