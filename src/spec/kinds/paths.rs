//! Dotted paths through an object.

use serde_json::Value;

/// Values that one pattern may lead to; a manifest with more is no manifest.
const MOST: usize = 1000;

/// The value at a dotted path, as patterns without wildcards and [`follow`] write them: `spec.tasks[1].replicas`.
pub(super) fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(object);
    }
    path.split('.').try_fold(object, |value, step| match step.split_once('[') {
        Some((key, index)) => value.get(key)?.get(index.strip_suffix(']')?.parse::<usize>().ok()?),
        None => value.get(step),
    })
}

/// Every value that a pattern leads to, with its own path; absent and null ones are skipped. `[]` steps into every item
/// of a list, `{}` into every value of a map, an empty pattern is the object itself.
pub(super) fn follow<'a>(object: &'a Value, pattern: &str) -> Vec<(String, &'a Value)> {
    let mut found = Vec::new();
    step(object, pattern, String::new(), &mut found);
    found
}

fn step<'a>(value: &'a Value, pattern: &str, path: String, out: &mut Vec<(String, &'a Value)>) {
    if value.is_null() || out.len() >= MOST {
        return;
    }
    let (first, rest) = pattern.split_once('.').unwrap_or((pattern, ""));
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    if first.is_empty() {
        out.push((path, value));
    } else if let Some(key) = first.strip_suffix("[]") {
        for (index, item) in value.get(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
            step(item, rest, format!("{}[{index}]", join(key)), out);
        }
    } else if let Some(key) = first.strip_suffix("{}") {
        for (name, item) in value.get(key).and_then(Value::as_object).into_iter().flatten() {
            step(item, rest, format!("{}.{name}", join(key)), out);
        }
    } else if let Some(inner) = value.get(first) {
        step(inner, rest, join(first), out);
    }
}

/// The path of what a path lies in, without the last step.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}
