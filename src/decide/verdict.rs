//! Verdicts, reason codes and decisions: stable names, part of the interface.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the engine says of a workload on the GPUs that it can land on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Even the high estimate fits.
    Fits,
    /// It fits on no node that there is, and on one that an autoscaler could add.
    FitsAfterScaleUp,
    /// The capacity lies inside the interval.
    Tight,
    /// Even the low estimate exceeds the best eligible GPU.
    TooBig,
    /// The engine would refuse to start on every eligible GPU, whatever the bytes.
    EngineRefuses,
    /// No node that the pod can land on has the GPUs it asks for.
    NoEligibleGpu,
    /// Annotations or arguments are malformed or impossible.
    InvalidSpec,
    /// Two sources contradict each other.
    SpecConflict,
    /// Parallelism and model, or parallelism and GPU count, do not go together.
    ParallelismMismatch,
    /// The model, or a fact of it that is needed, is not known.
    UnknownModel,
    /// Something else that decides memory could not be read.
    UnknownWorkload,
    /// The memory of the eligible GPUs is not known.
    UnknownCapacity,
    /// Asks for no GPU and says nothing about a model: not our business.
    NotApplicable,
}

impl Verdict {
    /// All verdicts, for documentation and metrics.
    pub const ALL: [Self; 13] = [
        Self::Fits,
        Self::FitsAfterScaleUp,
        Self::Tight,
        Self::TooBig,
        Self::EngineRefuses,
        Self::NoEligibleGpu,
        Self::InvalidSpec,
        Self::SpecConflict,
        Self::ParallelismMismatch,
        Self::UnknownModel,
        Self::UnknownWorkload,
        Self::UnknownCapacity,
        Self::NotApplicable,
    ];

    /// The stable code, e.g. `TOO_BIG`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Fits => "FITS",
            Self::FitsAfterScaleUp => "FITS_AFTER_SCALE_UP",
            Self::Tight => "TIGHT",
            Self::TooBig => "TOO_BIG",
            Self::EngineRefuses => "ENGINE_REFUSES",
            Self::NoEligibleGpu => "NO_ELIGIBLE_GPU",
            Self::InvalidSpec => "INVALID_SPEC",
            Self::SpecConflict => "SPEC_CONFLICT",
            Self::ParallelismMismatch => "PARALLELISM_MISMATCH",
            Self::UnknownModel => "UNKNOWN_MODEL",
            Self::UnknownWorkload => "UNKNOWN_WORKLOAD",
            Self::UnknownCapacity => "UNKNOWN_CAPACITY",
            Self::NotApplicable => "NOT_APPLICABLE",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What policy makes of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// Admitted without a word.
    Allow,
    /// Admitted with a warning.
    Warn,
    /// Refused.
    Deny,
}

impl Decision {
    /// The name used in output and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

/// How far policy goes, from nothing to denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is evaluated.
    Off,
    /// Metrics and audit annotations only.
    Audit,
    /// Also warnings to the user.
    Warn,
    /// Also denials.
    Enforce,
}

impl Mode {
    /// The modes from laxest to strictest, by the names that users write.
    pub const NAMES: &'static [&'static str] = &["off", "audit", "warn", "enforce"];

    /// The name used in annotations, labels and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }

    /// Reads a mode name.
    #[must_use]
    pub fn from_name(text: &str) -> Option<Self> {
        Some(match text {
            "off" => Self::Off,
            "audit" => Self::Audit,
            "warn" => Self::Warn,
            "enforce" => Self::Enforce,
            _ => return None,
        })
    }
}
