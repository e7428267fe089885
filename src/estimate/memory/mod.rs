//! Memory terms: one addend of an estimate a file, shared by engines and trainers.

pub mod allocator;
pub mod kv_cache;
pub mod reference;
pub mod weights;
