//! Kubernetes quantities (`1.5Gi`, `100m`, `1e3`), exactly: no float is involved.
//!
//! Grammar and rounding of `k8s.io/apimachinery/pkg/api/resource`: a signed decimal number with a binary suffix
//! (`Ki`...`Ei`), a decimal suffix (`n`, `u`, `m`, `k`, `M`...`E`) or a decimal exponent; finer than a nano is rounded
//! away from zero, larger than 2^63 - 1 is capped.

use std::str::FromStr;

use super::units::Bytes;

/// Nano-units in one unit.
const NANOS: u128 = 1_000_000_000;
/// Largest magnitude, in units.
const MAX_UNITS: u128 = i64::MAX as u128;
/// Longer texts are no number that anyone writes; the bound caps the work.
const LONGEST: usize = 1024;
/// Exponents beyond it change no result: the longest text is all shifted out or capped long before.
const MAX_EXPONENT: i64 = 4096;

/// A quantity, in nano-units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Quantity(i128);

/// The text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a quantity: a number with an optional suffix (n u m k M G T P E, Ki Mi Gi Ti Pi Ei) or exponent")]
pub struct QuantityError(pub String);

/// What a suffix multiplies with.
#[derive(Clone, Copy)]
enum Scale {
    /// A power of ten.
    Ten(i64),
    /// A power of two.
    Two(u32),
}

const SUFFIXES: &[(&str, Scale)] = &[
    ("", Scale::Ten(0)),
    ("n", Scale::Ten(-9)),
    ("u", Scale::Ten(-6)),
    ("m", Scale::Ten(-3)),
    ("k", Scale::Ten(3)),
    ("M", Scale::Ten(6)),
    ("G", Scale::Ten(9)),
    ("T", Scale::Ten(12)),
    ("P", Scale::Ten(15)),
    ("E", Scale::Ten(18)),
    ("Ki", Scale::Two(10)),
    ("Mi", Scale::Two(20)),
    ("Gi", Scale::Two(30)),
    ("Ti", Scale::Two(40)),
    ("Pi", Scale::Two(50)),
    ("Ei", Scale::Two(60)),
];

impl Quantity {
    /// In nano-units, exactly.
    #[must_use]
    pub const fn nanos(self) -> i128 {
        self.0
    }

    /// In whole units, rounded away from zero (`Value()` in Go).
    #[must_use]
    pub fn value(self) -> i64 {
        let magnitude = self.0.unsigned_abs().div_ceil(NANOS).min(MAX_UNITS);
        let magnitude = i64::try_from(magnitude).unwrap_or(i64::MAX);
        if self.0 < 0 { -magnitude } else { magnitude }
    }

    /// As a byte count, rounded up; negative becomes zero.
    #[must_use]
    pub fn bytes(self) -> Bytes {
        Bytes(u64::try_from(self.value()).unwrap_or(0))
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| QuantityError(text.chars().take(40).collect()))
    }
}

fn parse(text: &str) -> Option<Quantity> {
    if text.len() > LONGEST {
        return None;
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number_len = unsigned.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let (number, suffix) = unsigned.split_at_checked(number_len)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let digits = |part: &str| part.bytes().map(|b| b - b'0').collect::<Vec<u8>>();
    let magnitude = match scale(suffix)? {
        Scale::Ten(exponent) => decimal(digits(whole), digits(fraction), exponent),
        Scale::Two(exponent) => binary(whole, digits(fraction), exponent),
    };
    let magnitude = i128::try_from(magnitude.min(MAX_UNITS * NANOS)).ok()?;
    Some(Quantity(if negative { -magnitude } else { magnitude }))
}

fn scale(suffix: &str) -> Option<Scale> {
    if let Some((_, scale)) = SUFFIXES.iter().find(|(name, _)| *name == suffix) {
        return Some(*scale);
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let clamped = digits.parse::<i64>().unwrap_or(i64::MAX).min(MAX_EXPONENT);
    Some(Scale::Ten(if exponent.starts_with('-') { -clamped } else { clamped }))
}

/// `whole.fraction × 10^exponent` in nano-units: shifts the decimal point and rounds what falls off.
fn decimal(whole: Vec<u8>, fraction: Vec<u8>, exponent: i64) -> u128 {
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent + 9);
    let digits = whole.into_iter().chain(fraction);
    let (mut nanos, mut position, mut rest) = (0_u128, 0_i64, false);
    for digit in digits {
        if position < point {
            nanos = push(nanos, digit);
        } else {
            rest |= digit != 0;
        }
        position += 1;
    }
    while position < point && nanos != 0 && nanos <= MAX_UNITS * NANOS {
        nanos = push(nanos, 0);
        position += 1;
    }
    nanos.saturating_add(u128::from(rest))
}

/// `whole.fraction × 2^exponent` in nano-units: doubles digit by digit, so that no fraction is lost.
fn binary(whole: &str, mut fraction: Vec<u8>, exponent: u32) -> u128 {
    let mut units = whole.bytes().fold(0, |units, b| push(units, b - b'0'));
    for _ in 0..exponent {
        let mut carry = 0;
        for digit in fraction.iter_mut().rev() {
            let doubled = *digit * 2 + carry;
            *digit = doubled % 10;
            carry = doubled / 10;
        }
        units = units.saturating_mul(2).saturating_add(u128::from(carry));
    }
    let mut nanos = units;
    for position in 0..9 {
        nanos = push(nanos, fraction.get(position).copied().unwrap_or(0));
    }
    nanos.saturating_add(u128::from(fraction.iter().skip(9).any(|digit| *digit != 0)))
}

fn push(number: u128, digit: u8) -> u128 {
    number.saturating_mul(10).saturating_add(u128::from(digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> i64 {
        text.parse::<Quantity>().unwrap().value()
    }

    fn nanos(text: &str) -> i128 {
        text.parse::<Quantity>().unwrap().nanos()
    }

    #[test]
    fn reads_what_the_api_server_reads() {
        for (text, units) in [
            ("0", 0),
            ("8", 8),
            ("+8", 8),
            ("-8", -8),
            ("1.5Gi", 1_610_612_736),
            ("80Gi", 85_899_345_920),
            ("1E", 1_000_000_000_000_000_000),
            ("1Ei", 1_152_921_504_606_846_976),
            ("1E3", 1000),
            ("1e3", 1000),
            ("12e-1", 2),
            ("100m", 1),
            ("-100m", -1),
            ("1n", 1),
            (".5", 1),
            ("5.", 5),
            ("0.1Ki", 103),
            ("16384M", 16_384_000_000),
            ("9223372036854775807", i64::MAX),
            ("9223372036854775808", i64::MAX),
            ("8Ei", i64::MAX),
            ("1e400", i64::MAX),
            ("-1e400", -i64::MAX),
            ("0e999999999999999999999", 0),
            ("1e-999999999999999999999", 1),
        ] {
            assert_eq!(value(text), units, "{text}");
        }
    }

    #[test]
    fn keeps_nanos_and_rounds_finer_away_from_zero() {
        assert_eq!(nanos("100m"), 100_000_000);
        assert_eq!(nanos("1.0000000001"), 1_000_000_001);
        assert_eq!(nanos("-1.0000000001"), -1_000_000_001);
        assert_eq!(nanos("0.0000000001Ki"), 103);
        assert_eq!(nanos("0.5n"), 1);
        assert_eq!(nanos("1u"), 1000);
    }

    #[test]
    fn refuses_what_the_grammar_refuses() {
        for text in [
            "", "+", "-", ".", "Gi", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "-3.01e-", "1e", "1 Gi",
            " 1", "1 ", "0x10", "1KiB", "1_000", "٣",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
        assert!("9".repeat(LONGEST + 1).parse::<Quantity>().is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in ".*") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn anything_like_a_quantity_is_within_bounds(text in "[+-]?[0-9]{0,40}(\\.[0-9]{0,40})?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,6})?") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                prop_assert!(quantity.nanos().unsigned_abs() <= MAX_UNITS * NANOS);
            }
        }

        #[test]
        fn binary_fractions_are_the_ceiling_of_exact_arithmetic(whole in 0..5000_u128, fraction in 0..1_000_000_u128, power in 0..4_u32) {
            let suffix = ["Ki", "Mi", "Gi", "Ti"][power as usize];
            let exact = (whole * 1_000_000 + fraction) * (NANOS / 1_000_000) * 2_u128.pow(10 * (power + 1));
            prop_assert_eq!(nanos(&format!("{whole}.{fraction:06}{suffix}")), i128::try_from(exact).unwrap());
        }

        #[test]
        fn decimal_suffix_and_exponent_agree(n in 0..1_000_000_000_u64, power in 0..3_usize) {
            let (suffix, exponent) = [("k", 3), ("M", 6), ("G", 9)][power];
            prop_assert_eq!(nanos(&format!("{n}{suffix}")), nanos(&format!("{n}e{exponent}")));
            prop_assert_eq!(nanos(&format!("{n}{suffix}")), i128::from(n) * 10_i128.pow(exponent + 9));
        }

        #[test]
        fn order_is_kept(a in 0..u64::MAX / 2, b in 0..u64::MAX / 2) {
            let (x, y): (Quantity, Quantity) = (a.to_string().parse().unwrap(), b.to_string().parse().unwrap());
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        }
    }
}
