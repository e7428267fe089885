//! Functions: text, and the quantities and versions that Kubernetes adds.

use std::cmp::Ordering;

use super::Value;
use super::eval::order;
use crate::estimate::quantity::Quantity;

/// A quantity as CEL compares it.
#[must_use]
pub(super) fn quantity(text: &str) -> Value {
    text.parse::<Quantity>().map_or(Value::Unknown, |quantity| Value::Quantity(quantity.nanos()))
}

/// A version; parts beyond the third and labels are not understood.
#[must_use]
pub(crate) fn version(text: &str) -> Value {
    let parts: Vec<Option<u64>> = text.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_slice() {
        [Some(major), Some(minor), Some(patch)] => Value::Version([*major, *minor, *patch]),
        _ => Value::Unknown,
    }
}

pub(super) fn call(name: &str, arguments: &[Value]) -> Value {
    match (name, arguments) {
        ("quantity", [Value::Text(text)]) => quantity(text),
        ("semver", [Value::Text(text)]) => version(text),
        ("isQuantity", [Value::Text(text)]) => Value::Bool(text.parse::<Quantity>().is_ok()),
        ("size", [of]) => method(of, "size", &[]),
        ("string", [Value::Text(text)]) => Value::Text(text.clone()),
        ("int", [Value::Int(number)]) => Value::Int(*number),
        _ => Value::Unknown,
    }
}

pub(super) fn method(of: &Value, name: &str, arguments: &[Value]) -> Value {
    let ordered = |test: fn(Ordering) -> bool| {
        let [other] = arguments else { return Value::Unknown };
        order(of, other).map_or(Value::Unknown, |order| Value::Bool(test(order)))
    };
    match (name, of, arguments) {
        ("compareTo", _, [other]) => order(of, other).map_or(Value::Unknown, |order| Value::Int(order as i64)),
        ("isGreaterThan", ..) => ordered(Ordering::is_gt),
        ("isLessThan", ..) => ordered(Ordering::is_lt),
        ("orValue", Value::Absent, [default]) => default.clone(),
        ("orValue", present, [_]) => present.clone(),
        ("hasValue", Value::Unknown, []) => Value::Unknown,
        ("hasValue", present, []) => Value::Bool(*present != Value::Absent),
        ("major" | "minor" | "patch", Value::Version([major, minor, patch]), []) => {
            let part = match name {
                "major" => major,
                "minor" => minor,
                _ => patch,
            };
            i64::try_from(*part).map_or(Value::Unknown, Value::Int)
        }
        (_, Value::Text(text), arguments) => of_text(text, name, arguments),
        ("size", Value::List(items), []) => i64::try_from(items.len()).map_or(Value::Unknown, Value::Int),
        _ => Value::Unknown,
    }
}

fn of_text(text: &str, name: &str, arguments: &[Value]) -> Value {
    match (name, arguments) {
        ("lowerAscii", []) => Value::Text(text.to_ascii_lowercase()),
        ("upperAscii", []) => Value::Text(text.to_ascii_uppercase()),
        ("trim", []) => Value::Text(text.trim().to_owned()),
        ("startsWith", [Value::Text(other)]) => Value::Bool(text.starts_with(other.as_str())),
        ("endsWith", [Value::Text(other)]) => Value::Bool(text.ends_with(other.as_str())),
        ("contains", [Value::Text(other)]) => Value::Bool(text.contains(other.as_str())),
        ("matches", [Value::Text(pattern)]) => matches(text, pattern).map_or(Value::Unknown, Value::Bool),
        ("size", []) => i64::try_from(text.chars().count()).map_or(Value::Unknown, Value::Int),
        _ => Value::Unknown,
    }
}

/// Regular expressions of literal text, anchors and `.*`, alternatives at the top or in one group; others are unknown.
fn matches(text: &str, pattern: &str) -> Option<bool> {
    if let Some((before, rest)) = pattern.split_once('(') {
        let (inside, after) = rest.split_once(')')?;
        let inside = inside.strip_prefix("?:").unwrap_or(inside);
        let each = inside.split('|').map(|part| matches(text, &format!("{before}{part}{after}")));
        return any(each);
    }
    any(pattern.split('|').map(|part| simple(text, part)))
}

fn any(mut each: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    each.try_fold(false, |found, one| Some(found || one?))
}

fn simple(text: &str, pattern: &str) -> Option<bool> {
    let from_start = pattern.strip_prefix('^');
    let inner = from_start.unwrap_or(pattern);
    let to_end = inner.strip_suffix('$');
    let inner = to_end.unwrap_or(inner);
    let pieces: Vec<&str> = inner.split(".*").collect();
    if pieces.iter().any(|piece| piece.contains(['\\', '.', '*', '+', '?', '[', ']', '{', '}', '(', ')', '^', '$'])) {
        return None;
    }
    let mut rest = text;
    for (at, piece) in pieces.iter().enumerate() {
        let (first, last) = (at == 0, at + 1 == pieces.len());
        if first && from_start.is_some() {
            let Some(after) = rest.strip_prefix(piece) else { return Some(false) };
            rest = after;
            if last && to_end.is_some() {
                return Some(rest.is_empty());
            }
        } else if last && to_end.is_some() {
            return Some(rest.ends_with(piece));
        } else {
            let Some((_, after)) = rest.split_once(piece) else { return Some(false) };
            rest = after;
        }
    }
    Some(true)
}
