//! Numbers as people write them: `6.74B`, `7e9`, `4k`, `128K`, `16Gi`; every refusal names the value and the range.

use crate::estimate::Bytes;
use crate::estimate::quantity::Quantity;

/// Most parameters that a model may be declared with: a thousand times the largest known.
pub const MAX_PARAMETERS: f64 = 1e15;
/// Longest context that may be declared, tokens.
pub const MAX_TOKENS: u64 = 100_000_000;

/// Powers of 1024, as context lengths go: `4k` and `4K` are 4096.
const TOKEN_SUFFIXES: &[(char, f64)] = &[('k', 1024.0), ('m', 1_048_576.0)];
/// Powers of 1000, as parameter counts go: `6.74B` is 6.74e9.
const PARAMETER_SUFFIXES: &[(char, f64)] = &[('k', 1e3), ('m', 1e6), ('b', 1e9), ('g', 1e9), ('t', 1e12)];

/// A decimal number with at most one suffix letter of the table, any case; `None` if it is none or not finite.
fn scaled(text: &str, suffixes: &[(char, f64)]) -> Option<f64> {
    let text = text.trim();
    let (digits, factor) = match text.chars().last().map(|last| last.to_ascii_lowercase()) {
        Some(last) => match suffixes.iter().find(|(suffix, _)| *suffix == last) {
            Some((_, factor)) => (text.get(..text.len() - 1)?, *factor),
            None => (text, 1.0),
        },
        None => return None,
    };
    // Rust also reads `inf`, `nan` and `infinity`; a number here starts with a digit, a sign or a point.
    if !digits.bytes().all(|b| b.is_ascii_digit() || b"+-.eE_".contains(&b)) {
        return None;
    }
    let number: f64 = digits.replace('_', "").parse().ok()?;
    let value = number * factor;
    value.is_finite().then_some(value)
}

/// A whole number inside a range, e.g. a batch size.
///
/// # Errors
/// Says what was found and what is allowed.
pub fn count(text: &str, min: u64, max: u64) -> Result<u64, String> {
    whole(text, &[], min, max)
        .ok_or_else(|| format!("`{}` is not allowed: a whole number from {min} to {max}", shown(text)))
}

/// A number of tokens; `4k` and `4K` are 4096.
///
/// # Errors
/// Says what was found and what is allowed.
pub fn tokens(text: &str) -> Result<u64, String> {
    whole(text, TOKEN_SUFFIXES, 1, MAX_TOKENS).ok_or_else(|| {
        format!(
            "`{}` is not allowed: a whole number of tokens from 1 to {MAX_TOKENS}, such as `4096`, `128k`",
            shown(text)
        )
    })
}

fn whole(text: &str, suffixes: &[(char, f64)], min: u64, max: u64) -> Option<u64> {
    let value = if let Ok(exact) = text.trim().parse::<u64>() {
        exact
    } else {
        // Below 2^53 a float holds every whole number exactly; above, the limits have refused it.
        let value = scaled(text, suffixes)?;
        (value.fract() == 0.0 && (0.0..9e15).contains(&value)).then_some(value as u64)?
    };
    (min..=max).contains(&value).then_some(value)
}

/// A parameter count, e.g. `6.74B`.
///
/// # Errors
/// Says what was found and what is allowed.
pub fn parameters(text: &str) -> Result<f64, String> {
    scaled(text, PARAMETER_SUFFIXES)
        .filter(|value| (1.0..=MAX_PARAMETERS).contains(value))
        .ok_or_else(|| format!("`{}` is not allowed: a number from 1 to 1e15, such as `6.74B` or `7e9`", shown(text)))
}

/// A share above 0 and at most 1.
///
/// # Errors
/// Says what was found and what is allowed.
pub fn share(text: &str) -> Result<f64, String> {
    scaled(text, &[])
        .filter(|value| *value > 0.0 && *value <= 1.0)
        .ok_or_else(|| format!("`{}` is not allowed: a number above 0 and at most 1, such as `0.9`", shown(text)))
}

/// A number above 0 that may exceed 1.
///
/// # Errors
/// Says what was found and what is allowed.
pub fn ratio(text: &str) -> Result<f64, String> {
    scaled(text, &[])
        .filter(|value| *value > 0.0 && *value <= 1000.0)
        .ok_or_else(|| format!("`{}` is not allowed: a number above 0 and at most 1000, such as `0.9`", shown(text)))
}

/// A memory size as a Kubernetes quantity, e.g. `16Gi`; a bare number is bytes.
///
/// # Errors
/// Says what was found and what is allowed.
pub fn memory(text: &str) -> Result<Bytes, String> {
    let problem = || format!("`{}` is not allowed: a memory size from 0 up, such as `16Gi`", shown(text));
    let quantity: Quantity = text.trim().parse().map_err(|_| problem())?;
    if quantity.nanos() < 0 { Err(problem()) } else { Ok(quantity.bytes()) }
}

/// What the user wrote, cut so that an error stays one readable line.
#[must_use]
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut line: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_write_numbers_in_many_ways() {
        assert_eq!(parameters("6.74B"), Ok(6.74e9));
        assert_eq!(parameters("7e9"), Ok(7e9));
        assert_eq!(parameters("670m"), Ok(670e6));
        for text in ["4k", "4K", "4096", " 4096 ", "4_096", "4.096e3"] {
            assert_eq!(tokens(text), Ok(4096), "{text}");
        }
        assert_eq!(tokens("128K"), Ok(131_072));
        assert_eq!(tokens("1.5k"), Ok(1536));
        assert_eq!(count("8", 1, 10), Ok(8));
        assert_eq!(share("1"), Ok(1.0));
        assert_eq!(memory("16Gi"), Ok(Bytes(16 << 30)));
    }

    #[test]
    fn impossible_numbers_are_refused_with_the_range() {
        for text in ["-1", "0", "NaN", "nan", "inf", "1e400", "1e16", "many", "", "B", "-7B", "9223372036854775808B"] {
            let problem = parameters(text).unwrap_err();
            assert!(problem.contains("1 to 1e15"), "{text}: {problem}");
        }
        for text in ["-1", "0", "0.5", "1e400", "101m", "4kk", "k", "18446744073709551616"] {
            assert!(tokens(text).is_err(), "{text}");
        }
        for text in ["0", "-0.1", "1.01", "90%"] {
            assert!(share(text).is_err(), "{text}");
        }
        assert!(count("11", 1, 10).unwrap_err().contains("from 1 to 10"));
        assert!(memory("-1Gi").is_err() && memory("16 GB").is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".*") {
            let results = (parameters(&text), tokens(&text), share(&text), count(&text, 1, 9), memory(&text));
            if let (_, Ok(tokens), ..) = results {
                prop_assert!((1..=MAX_TOKENS).contains(&tokens));
            }
        }

        #[test]
        fn whole_numbers_are_read_exactly(n in 1..=MAX_TOKENS) {
            prop_assert_eq!(tokens(&n.to_string()), Ok(n));
        }
    }
}
