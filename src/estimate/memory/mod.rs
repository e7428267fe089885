//! Memory terms: one addend of an estimate a file, shared by engines and trainers.

pub mod activations;
pub mod allocator;
pub mod comm;
pub mod gradients;
pub mod kv_cache;
pub mod logits;
pub mod optimizer;
pub mod reference;
pub mod transient;
pub mod weights;
