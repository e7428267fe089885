//! Readers of flag values: each says what is allowed.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;

use crate::estimate::dtype::DType;
use crate::estimate::workload::{EngineName, Method, Task, Version};

/// A choice by name that also knows aliases: only the names are documented and completed.
#[derive(Clone)]
pub(super) struct Named<T> {
    names: &'static [&'static str],
    read: fn(&str) -> Option<T>,
}

impl<T> Named<T> {
    /// `names` are shown; `read` may accept more.
    pub(super) const fn new(names: &'static [&'static str], read: fn(&str) -> Option<T>) -> Self {
        Self { names, read }
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Named<T> {
    type Value = T;

    fn parse_ref(&self, cmd: &clap::Command, arg: Option<&clap::Arg>, value: &OsStr) -> Result<T, clap::Error> {
        if let Some(found) = value.to_str().and_then(self.read) {
            return Ok(found);
        }
        // Writes the error: the possible values, and the nearest one.
        PossibleValuesParser::new(self.names).parse_ref(cmd, arg, value)?;
        Err(clap::Error::new(ErrorKind::InvalidValue).with_cmd(cmd))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.names.iter().map(PossibleValue::new)))
    }
}

/// A number format, or `auto` for the model's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DTypeOrAuto(pub(super) Option<DType>);

/// `--dtype`, `--kv-cache-dtype`.
pub(super) fn dtype() -> Named<DTypeOrAuto> {
    Named::new(&["auto", "fp32", "fp16", "bf16", "fp8", "int8", "int4", "fp4"], |text| match text {
        "auto" => Some(DTypeOrAuto(None)),
        text => text.parse().ok().map(|dtype| DTypeOrAuto(Some(dtype))),
    })
}

/// `--task`.
pub(super) fn task() -> Named<Task> {
    Named::new(&["inference", "training"], |text| match text {
        "inference" | "serving" => Some(Task::Inference),
        "training" | "finetuning" => Some(Task::Training),
        _ => None,
    })
}

/// `--method`.
pub(super) fn method() -> Named<Method> {
    Named::new(&["auto", "reference"], |text| match text {
        "auto" => Some(Method::Auto),
        "reference" => Some(Method::Reference),
        _ => None,
    })
}

/// `--engine`.
pub(super) fn engine() -> Named<EngineName> {
    const ALL: [EngineName; 7] = [
        EngineName::Vllm,
        EngineName::Sglang,
        EngineName::Tgi,
        EngineName::Trtllm,
        EngineName::Llamacpp,
        EngineName::Ollama,
        EngineName::Generic,
    ];
    Named::new(&["vllm", "sglang", "tgi", "trtllm", "llamacpp", "ollama", "generic"], |text| {
        ALL.into_iter().find(|engine| engine.name() == text)
    })
}

/// A whole number of at least 1.
pub(super) fn positive(text: &str) -> Result<u64, String> {
    match text.replace('_', "").parse::<u64>() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) if text.starts_with('-') => Err("must not be negative: a whole number of at least 1".to_owned()),
        Err(_) => Err("not a whole number of at least 1 that fits in 64 bits".to_owned()),
    }
}

/// A positive number with an optional suffix: `6.74e9`, `6.74B`, `7b`, `350M`.
pub(super) fn parameters(text: &str) -> Result<f64, String> {
    const SUFFIXES: [(char, f64); 4] = [('k', 1e3), ('m', 1e6), ('b', 1e9), ('t', 1e12)];
    let lower = text.trim().replace('_', "").to_ascii_lowercase();
    let (digits, factor) = SUFFIXES
        .into_iter()
        .find_map(|(suffix, factor)| Some((lower.strip_suffix(suffix)?, factor)))
        .unwrap_or((&lower, 1.0));
    // `inf` and `nan` are words that the float reader knows; users mean none of them.
    let number: f64 = match digits.parse() {
        Ok(number) if digits.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => number,
        _ => return Err("not a number; write it as 6.74e9 or 6.74B".to_owned()),
    };
    let count = number * factor;
    if !count.is_finite() || count > 1e18 {
        return Err("too large: at most 1e18 parameters".to_owned());
    }
    if count < 1.0 {
        return Err("must be at least 1".to_owned());
    }
    Ok(count)
}

/// A share of the device's memory, above 0 and at most 1.
pub(super) fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        Ok(_) => Err("must be above 0 and at most 1, e.g. 0.9".to_owned()),
        Err(_) => Err("not a number; a share such as 0.9".to_owned()),
    }
}

/// A dotted version: `0.19`, `v0.19.0`, `0.19.0rc1`.
pub(super) fn version(text: &str) -> Result<Version, String> {
    let wrong = || "not a version; write it as 0.19.0".to_owned();
    let mut parts = [0u16; 3];
    let mut numbers = text.trim_start_matches('v').split('.');
    for (position, part) in parts.iter_mut().enumerate() {
        let Some(number) = numbers.next() else { break };
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        match number.get(..end).and_then(|digits| digits.parse().ok()) {
            Some(value) => *part = value,
            None if position > 0 => break,
            None => return Err(wrong()),
        }
    }
    Ok(Version(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_counts_are_read_as_people_write_them() {
        assert_eq!(parameters("6.74e9"), Ok(6.74e9));
        assert_eq!(parameters("6.74B"), Ok(6.74e9));
        assert_eq!(parameters("350m"), Ok(350e6));
        for wrong in ["1e400", "-7b", "0", "nan", "inf", "seven", ""] {
            assert!(parameters(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn counts_and_shares_have_limits() {
        assert_eq!(positive("131_072"), Ok(131_072));
        for wrong in ["0", "-1", "1.5", "1e400", "99999999999999999999", ""] {
            assert!(positive(wrong).is_err(), "{wrong}");
        }
        assert_eq!(fraction("0.9"), Ok(0.9));
        for wrong in ["0", "1.01", "-0.5", "nan", "inf"] {
            assert!(fraction(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_are_read_as_far_as_they_go() {
        assert_eq!(version("v0.19"), Ok(Version([0, 19, 0])));
        assert_eq!(version("0.19.1rc2"), Ok(Version([0, 19, 1])));
        assert!(version("latest").is_err());
    }
}
