//! Quantities are intervals with a provenance, never bare numbers.

use std::iter::Sum;
use std::ops::Add;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::Bytes;

/// `low <= likely <= high`, in bytes. Nine of ten measurements should lie inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// What is surely needed: a denial rests on this bound alone.
    pub low: Bytes,
    /// The single best estimate.
    pub likely: Bytes,
    /// What is needed at worst: `FITS` is only said when even this fits.
    pub high: Bytes,
}

impl Interval {
    /// Nothing, surely.
    pub const ZERO: Self = Self::exact(Bytes::ZERO);

    /// A known quantity.
    #[must_use]
    pub const fn exact(bytes: Bytes) -> Self {
        Self { low: bytes, likely: bytes, high: bytes }
    }

    /// The three bounds in any order; they are sorted, so the invariant always holds.
    #[must_use]
    pub fn new(low: Bytes, likely: Bytes, high: Bytes) -> Self {
        Self { low: low.min(likely), likely, high: high.max(likely) }
    }

    /// `likely` with a relative error below and above, e.g. `spread(b, 0.05, 0.10)`.
    #[must_use]
    pub fn spread(likely: Bytes, below: f64, above: f64) -> Self {
        Self::new(likely.scale(1.0 - below), likely, likely.scale(1.0 + above))
    }

    /// Every bound multiplied by a non-negative factor.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self { low: self.low.scale(factor), likely: self.likely.scale(factor), high: self.high.scale(factor) }
    }

    /// `high - low`.
    #[must_use]
    pub fn width(self) -> Bytes {
        self.high - self.low
    }

    /// The larger of two needs, bound by bound.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), likely: self.likely.max(other.likely), high: self.high.max(other.high) }
    }
}

impl Add for Interval {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { low: self.low + other.low, likely: self.likely + other.likely, high: self.high + other.high }
    }
}

impl Sum for Interval {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// How a quantity is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// Follows from the model's shape or the checkpoint's bytes alone.
    Exact,
    /// Follows from a documented rule of the engine or trainer.
    Derived,
    /// Fitted to measured runs of this engine.
    Calibrated,
    /// Nothing was said and nothing could be read; a stated default.
    Assumed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_always_ordered() {
        let i = Interval::new(Bytes(9), Bytes(5), Bytes(1));
        assert!(i.low <= i.likely && i.likely <= i.high);
        assert_eq!(Interval::spread(Bytes(100), 0.1, 0.2), Interval::new(Bytes(90), Bytes(100), Bytes(120)));
    }
}
