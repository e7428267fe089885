//! Decisions: estimates against capacity, verdicts, proven fixes, policy. Pure, like [`crate::estimate`].

#![deny(clippy::disallowed_methods, reason = "pure: see clippy.toml")]

pub mod fit;
pub mod fixes;
pub mod inventory;
mod knobs;
pub mod policy;
pub mod report;
pub mod solve;
pub mod verdict;

pub use inventory::{Candidate, Candidates, GpuClass, Inventory, NodeClass};
pub use policy::Policy;
pub use report::{CheckResult, Report};
pub use verdict::{Decision, Mode, Verdict};
