//! Model and GPU facts: embedded catalogues, looked up by reference.
pub mod gpus;
