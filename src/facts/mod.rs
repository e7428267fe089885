//! Model and GPU facts: embedded catalogues, looked up by reference.

pub mod catalog;
pub mod gpus;
pub mod runtime_memory;
