//! Byte counts. Everything inside the crate is in bytes; people read GiB (2^30).

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number of bytes. Arithmetic saturates: a hostile input gives an absurdly large need, never a wrap-around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// Bytes in one GiB.
pub const GIB: u64 = 1 << 30;
/// Bytes in one MiB.
pub const MIB: u64 = 1 << 20;

impl Bytes {
    /// No bytes at all.
    pub const ZERO: Self = Self(0);

    /// Whole mebibytes, the unit of NVML and of the `nvidia.com/gpu.memory` label.
    #[must_use]
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(MIB))
    }

    /// A measured or computed number of GiB, rounded to the nearest byte; negative and NaN become zero.
    #[must_use]
    pub fn from_gib(gib: f64) -> Self {
        Self::from_f64(gib * GIB as f64)
    }

    /// A computed number of bytes, rounded to the nearest; negative and NaN become zero, too large saturates.
    #[must_use]
    pub fn from_f64(bytes: f64) -> Self {
        // `as` saturates at both ends and maps NaN to zero, which is the documented behaviour here.
        Self(bytes.round() as u64)
    }

    /// In GiB, for people and charts.
    #[must_use]
    pub fn gib(self) -> f64 {
        self.0 as f64 / GIB as f64
    }

    /// As a float, for ratios.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        self.0 as f64
    }

    /// `self × factor`, rounded, saturating.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self::from_f64(self.0 as f64 * factor)
    }

    /// `self × n`, saturating.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// `self / n` rounded up; `n = 0` counts as 1.
    #[must_use]
    pub const fn div_ceil(self, n: u64) -> Self {
        Self(self.0.div_ceil(if n == 0 { 1 } else { n }))
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    /// Saturates at zero.
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// `12.6 GiB`; the precision can be given: `{:.2}`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.*} GiB", f.precision().unwrap_or(1), self.gib())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(Bytes(u64::MAX) + Bytes(1), Bytes(u64::MAX));
        assert_eq!(Bytes(1) - Bytes(2), Bytes::ZERO);
        assert_eq!(Bytes::from_f64(f64::NAN), Bytes::ZERO);
        assert_eq!(Bytes::from_f64(1e300), Bytes(u64::MAX));
        assert_eq!(Bytes(5).div_ceil(0), Bytes(5));
    }

    #[test]
    fn people_read_gib() {
        assert_eq!(Bytes::from_mib(81559).to_string(), "79.6 GiB");
        assert_eq!(format!("{:.2}", Bytes(GIB)), "1.00 GiB");
    }
}
