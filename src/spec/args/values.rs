//! Translations of values that engines spell in their own way.

use serde_json::Value;

use super::table::Reader;
use crate::estimate::dtype::DType;
use crate::spec::fields::QUANTIZATIONS;
use crate::spec::numbers::shown;

/// vLLM's whole numbers: lower-case suffixes count in thousands, upper-case ones in 1024s; `25.6k` is 25600.
pub(super) fn human_int(text: &str) -> Result<Value, String> {
    const FACTORS: &[(char, f64)] = &[
        ('k', 1e3),
        ('m', 1e6),
        ('g', 1e9),
        ('t', 1e12),
        ('K', 1024.0),
        ('M', 1_048_576.0),
        ('G', 1_073_741_824.0),
        ('T', 1_099_511_627_776.0),
    ];
    let text = text.trim();
    let problem = || format!("`{}` is no whole number that can be read", shown(text));
    if let Ok(number) = text.parse::<u64>() {
        return Ok(Value::from(number));
    }
    let (suffix, factor) = FACTORS.iter().find(|(suffix, _)| text.ends_with(*suffix)).ok_or_else(problem)?;
    let digits = text.strip_suffix(*suffix).unwrap_or(text);
    let number: f64 = digits.parse().map_err(|_| problem())?;
    let value = number * factor;
    if value.is_finite() && (0.0..1e18).contains(&value) { Ok(Value::from(value as u64)) } else { Err(problem()) }
}

/// As [`human_int`], in bytes.
pub(super) fn human_memory(text: &str) -> Result<Value, String> {
    human_int(text)
}

/// A number of GiB, as a quantity.
pub(super) fn gib(text: &str) -> Result<Value, String> {
    match text.trim().parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(Value::from(format!("{number}Gi"))),
        _ => Err(format!("`{}` is no number of GiB", shown(text))),
    }
}

/// Weight formats; `auto` says nothing.
pub(super) fn model_dtype(text: &str) -> Result<Value, String> {
    dtype(text, &[])
}

/// Cache formats; `auto` says nothing.
pub(super) fn kv_dtype(text: &str) -> Result<Value, String> {
    const OTHERS: &[(&str, DType)] = &[
        ("fp8_ds_mla", DType::Fp8),
        ("int8_per_token_head", DType::Int8),
        ("fp8_per_token_head", DType::Fp8),
        ("q8_0", DType::Int8),
        ("q4_0", DType::Int4),
        ("q4_1", DType::Int4),
        ("iq4_nl", DType::Int4),
    ];
    dtype(text, OTHERS)
}

fn dtype(text: &str, others: &[(&str, DType)]) -> Result<Value, String> {
    let name = text.trim().to_ascii_lowercase();
    if name.is_empty() || name == "auto" {
        return Ok(Value::Null);
    }
    let known = others.iter().find(|(other, _)| *other == name).map(|(_, dtype)| *dtype);
    match known.or_else(|| name.parse().ok()) {
        Some(dtype) => Ok(Value::from(dtype.name())),
        None => Err(format!("`{}` is a number format that is not known here", shown(text))),
    }
}

/// Quantization methods; the checkpoint's own where nothing is said.
pub(super) fn quantization(text: &str) -> Result<Value, String> {
    let name = text.trim().to_ascii_lowercase();
    match name.as_str() {
        "" | "auto" => Ok(Value::Null),
        known if QUANTIZATIONS.contains(&known) => Ok(Value::from(name)),
        _ => Err(format!("`{}` is a quantization that is not known here", shown(text))),
    }
}

/// Slots that share or multiply the context; -1 and 0 let the server choose. They are the batch, too, unless an
/// annotation names another.
pub(super) fn slots(reader: &mut Reader<'_>, text: &str) {
    let text = text.trim();
    if matches!(text, "-1" | "0") {
        return;
    }
    let annotated = !reader.draft.is_free("batchSize");
    reader.set("batchSize", &Value::from(text));
    if !annotated {
        reader.set("engine.parallelSlots", &Value::from(text));
    }
}

/// The largest batch with a graph; 0 switches graphs off.
pub(super) fn graph_batch(text: &str) -> Result<Value, String> {
    match most(text) {
        Some(0) => Ok(serde_json::json!({"engine.enforceEager": true})),
        Some(batch) => Ok(Value::from(batch)),
        None => Err(format!("`{}` is no batch size", shown(text))),
    }
}

/// The largest of some numbers, separated by commas.
pub(super) fn most(text: &str) -> Option<u64> {
    text.split([',', ' ', '[', ']'])
        .filter(|part| !part.is_empty())
        .map(|part| part.parse::<u64>().ok())
        .max()
        .flatten()
}

/// `16,16,16,14`.
#[expect(clippy::unnecessary_wraps, reason = "the tables hold translations that may fail")]
pub(super) fn layer_list(text: &str) -> Result<Value, String> {
    Ok(Value::from(text.split(',').map(str::trim).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vllm_numbers_count_in_thousands_and_in_1024s() {
        for (text, expected) in
            [("8192", 8192), ("8k", 8000), ("8K", 8192), ("25.6k", 25_600), ("1M", 1_048_576), ("2G", 1_u64 << 31)]
        {
            assert_eq!(human_int(text), Ok(Value::from(expected)), "{text}");
        }
        for text in ["", "k", "-1", "auto", "1e400k", "nank", "8kk"] {
            assert!(human_int(text).is_err(), "{text}");
        }
    }

    #[test]
    fn formats_keep_their_names_and_unknown_ones_are_said() {
        assert_eq!(model_dtype("half"), Ok(Value::from("fp16")));
        assert_eq!(model_dtype("auto"), Ok(Value::Null));
        assert_eq!(kv_dtype("fp8_e5m2"), Ok(Value::from("fp8")));
        assert_eq!(kv_dtype("fp8_ds_mla"), Ok(Value::from("fp8")));
        assert!(kv_dtype("turbo3").is_err());
        assert!(quantization("brandnew").is_err());
        assert_eq!(gib("1.5"), Ok(Value::from("1.5Gi")));
        assert!(gib("-1").is_err());
    }
}
