//! `vramguard.io/` annotations: one block (`vramguard.io/spec`, YAML or JSON) or flat keys, the same fields.
//!
//! Every flat key is the field's path in kebab-case (`vramguard.io/context-length`,
//! `vramguard.io/parallelism-tensor`); common ones have a short name (`vramguard.io/tensor-parallel`,
//! `vramguard.io/optimizer`). A group takes pairs: `vramguard.io/parallelism: "tensor=2,data=4"`; the group `engine`
//! takes the engine's name alone, too. Strict: an unknown field or key is an error with a suggestion, and so is a field
//! that block and flat keys give different values.

pub mod reference;

use std::collections::BTreeMap;

use serde_json::Value;

use super::declaration::{Origin, SpecError};
use super::draft::{Draft, Source};
use super::fields::{self, FIELDS, Field};
use super::numbers::shown;
use super::suggest::did_you_mean;
use super::yaml;
use crate::decide::Mode;

/// Prefix of every annotation and label that belongs to vramguard.
pub const PREFIX: &str = "vramguard.io/";
/// The block.
pub const SPEC: &str = "vramguard.io/spec";
/// Names the container that the annotations speak of.
pub const CONTAINER: &str = "vramguard.io/container";
/// Mode asked by the pod.
pub const MODE: &str = "vramguard.io/mode";
/// Reason for an exemption.
pub const EXEMPT_REASON: &str = "vramguard.io/exempt-reason";
/// What may be changed.
pub const RIGHTSIZE: &str = "vramguard.io/rightsize";
/// Written back: the estimate.
pub const ESTIMATE: &str = "vramguard.io/estimate";
/// Written back: the verdict.
pub const VERDICT: &str = "vramguard.io/verdict";
/// Written back: what was changed.
pub const RIGHTSIZED: &str = "vramguard.io/rightsized";

/// Keys that say something other than a field of the workload.
const CONTROL_KEYS: &[&str] = &[SPEC, CONTAINER, MODE, EXEMPT_REASON, RIGHTSIZE];
/// Keys that vramguard itself writes: ignored when read.
const WRITTEN_KEYS: &[&str] = &[ESTIMATE, VERDICT, RIGHTSIZED];
/// Fields that hold fields.
const GROUPS: &[(&str, Option<&str>)] =
    &[("parallelism", None), ("engine", Some("name")), ("training", None), ("training.lora", Some("rank"))];
/// Strategies of `vramguard.io/rightsize`.
pub const STRATEGIES: &[&str] = &["steer", "gpus", "context", "sequences", "microbatch", "slice"];
/// A block larger than this is no declaration.
const LARGEST_BLOCK: usize = 256 * 1024;

type Annotations = BTreeMap<String, String>;

/// Whether any annotation speaks of the workload (mode and what vramguard wrote itself do not).
#[must_use]
pub fn describes_workload(annotations: &Annotations) -> bool {
    ours(annotations).any(|(key, _)| !WRITTEN_KEYS.contains(&key) && ![MODE, EXEMPT_REASON, RIGHTSIZE].contains(&key))
}

fn ours(annotations: &Annotations) -> impl Iterator<Item = (&str, &str)> {
    let from_prefix = annotations.range(PREFIX.to_owned()..);
    from_prefix.take_while(|(key, _)| key.starts_with(PREFIX)).map(|(key, value)| (key.as_str(), value.as_str()))
}

/// Reads every field that the annotations give into the draft.
pub(super) fn read(annotations: &Annotations, draft: &mut Draft) -> Result<(), SpecError> {
    let block = match annotations.get(SPEC) {
        Some(text) => block(text)?,
        None => Vec::new(),
    };
    for (location, field, value) in &block {
        set(draft, location, field, value)?;
    }
    for (key, text) in ours(annotations) {
        if WRITTEN_KEYS.contains(&key) || CONTROL_KEYS.contains(&key) {
            continue;
        }
        for (location, field, value) in flat(key, text)? {
            if let Some((other, _, given)) = block.iter().find(|(_, f, _)| f.path == field.path) {
                same(field, (other, given), (&location, &value))?;
            } else if !draft.is_free(field.path) {
                return Err(Draft::error(location, format!("gives `{}` a second time", field.path)));
            } else {
                set(draft, &location, field, &value)?;
            }
        }
    }
    Ok(())
}

fn set(draft: &mut Draft, location: &str, field: &'static Field, value: &Value) -> Result<(), SpecError> {
    draft.set(field, value, Source { origin: Origin::Annotation, location }).map_err(|p| Draft::error(location, p))
}

/// Reads mode, exemption and rightsizing, which apply to the pod whatever it runs.
pub(super) fn read_control(annotations: &Annotations, draft: &mut Draft) -> Result<(), SpecError> {
    if let Some(text) = annotations.get(MODE) {
        let mode = Mode::from_name(text.trim()).ok_or_else(|| {
            let hint = did_you_mean(text, Mode::NAMES.iter().copied());
            Draft::error(MODE, format!("`{}` is not known; allowed: {}{hint}", shown(text), Mode::NAMES.join(", ")))
        })?;
        draft.out.mode = Some(mode);
    }
    draft.out.exempt_reason = annotations.get(EXEMPT_REASON).cloned();
    let asked = annotations.get(RIGHTSIZE).map_or("", String::as_str);
    for word in asked.split(',').map(str::trim).filter(|word| !word.is_empty() && *word != "none") {
        let strategy = STRATEGIES.iter().find(|strategy| **strategy == word).ok_or_else(|| {
            let hint = did_you_mean(word, STRATEGIES.iter().copied());
            Draft::error(RIGHTSIZE, format!("`{}` is not known; allowed: {}{hint}", shown(word), STRATEGIES.join(", ")))
        })?;
        draft.out.rightsize.push(strategy);
    }
    Ok(())
}

type Setting = (String, &'static Field, Value);

/// The fields of the block.
fn block(text: &str) -> Result<Vec<Setting>, SpecError> {
    if text.len() > LARGEST_BLOCK {
        return Err(Draft::error(SPEC, format!("is longer than {} KiB", LARGEST_BLOCK / 1024)));
    }
    let value = yaml::value(text).map_err(|error| Draft::error(SPEC, error.to_string()))?;
    match value {
        Value::Object(_) => {
            let mut out = Vec::new();
            walk(&value, "", SPEC, &mut out)?;
            Ok(out)
        }
        Value::Null => Ok(Vec::new()),
        _ => Err(Draft::error(
            SPEC,
            "must be an object such as `{model: meta-llama/Llama-2-7b-hf, contextLength: 4096}`",
        )),
    }
}

/// Collects the leaves of an object; depth is bounded by the depth of the field names.
fn walk(value: &Value, prefix: &str, location: &str, out: &mut Vec<Setting>) -> Result<(), SpecError> {
    let Value::Object(map) = value else {
        return group_text(value, prefix, location, out);
    };
    for (key, inner) in map {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let is_group = GROUPS.iter().any(|(group, _)| *group == path);
        match (fields::by_path(&path), inner) {
            (None, _) if !is_group => return Err(unknown_field(prefix, key, location)),
            (_, Value::Null) => {}
            (Some(field), _) => out.push((format!("{location}: {path}"), field, inner.clone())),
            (None, _) => walk(inner, &path, location, out)?,
        }
    }
    Ok(())
}

/// A group given as text: pairs, or the value of its main field.
fn group_text(value: &Value, group: &str, location: &str, out: &mut Vec<Setting>) -> Result<(), SpecError> {
    let here = || format!("{location}: {group}");
    let main = GROUPS.iter().find(|(name, _)| *name == group).and_then(|(_, main)| *main);
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if main.is_some() => number.to_string(),
        _ => return Err(Draft::error(here(), "must be an object")),
    };
    if !text.contains('=') {
        let main = main
            .ok_or_else(|| Draft::error(here(), format!("must be an object or pairs such as `{}`", example(group))))?;
        let field =
            fields::by_path(&format!("{group}.{main}")).ok_or_else(|| Draft::error(here(), "must be an object"))?;
        out.push((here(), field, Value::String(text)));
        return Ok(());
    }
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Draft::error(here(), format!("`{}` is no pair such as `{}`", shown(pair), example(group)))
        })?;
        let path = format!("{group}.{}", key.trim());
        let field = fields::by_path(&path).ok_or_else(|| unknown_field(group, key.trim(), location))?;
        out.push((format!("{location}: {path}"), field, Value::String(value.trim().to_owned())));
    }
    Ok(())
}

fn example(group: &str) -> &'static str {
    match group {
        "parallelism" => "tensor=2,data=4",
        "training" => "sharding=zero3,checkpointing=full",
        "training.lora" => "rank=16",
        _ => "name=vllm,memoryFraction=0.9",
    }
}

/// An error that suggests a sibling, or the field of that name elsewhere.
fn unknown_field(group: &str, key: &str, location: &str) -> SpecError {
    let prefix = if group.is_empty() { String::new() } else { format!("{group}.") };
    let names = || FIELDS.iter().map(|field| field.path).chain(GROUPS.iter().map(|(name, _)| *name));
    let siblings = names().filter_map(|path| path.strip_prefix(prefix.as_str())).filter(|rest| !rest.contains('.'));
    let mut hint = did_you_mean(key, siblings.clone());
    if hint.is_empty() {
        let elsewhere = names().find(|path| path.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(key)));
        hint = elsewhere.map_or_else(String::new, |path| format!("; did you mean `{path}`?"));
    }
    if hint.is_empty() {
        hint = format!("; allowed: {}", siblings.collect::<Vec<_>>().join(", "));
    }
    Draft::error(format!("{location}: {prefix}{}", shown(key)), format!("unknown field{hint}"))
}

/// The fields that a flat annotation gives: one, or several for a group.
fn flat(key: &str, text: &str) -> Result<Vec<Setting>, SpecError> {
    let name = key.strip_prefix(PREFIX).unwrap_or(key);
    if let Some(field) = FIELDS.iter().find(|field| field.flat.contains(&name) || is_kebab(name, field.path)) {
        let value = match field.kind {
            fields::Kind::Object(_) => yaml::value(text).map_err(|error| Draft::error(key, error.to_string()))?,
            _ => Value::String(text.to_owned()),
        };
        return Ok(vec![(key.to_owned(), field, value)]);
    }
    let Some((group, _)) =
        GROUPS.iter().find(|(group, _)| is_kebab(name, group) || group.ends_with(&format!(".{name}")))
    else {
        return Err(unknown_key(name, key));
    };
    let value = if text.trim_start().starts_with('{') {
        yaml::value(text).map_err(|error| Draft::error(key, error.to_string()))?
    } else {
        Value::String(text.to_owned())
    };
    let mut out = Vec::new();
    walk(&value, group, key, &mut out)?;
    Ok(out)
}

fn unknown_key(name: &str, key: &str) -> SpecError {
    let kebab: Vec<String> = FIELDS.iter().map(|field| to_kebab(field.path)).collect();
    let short = FIELDS.iter().flat_map(|field| field.flat.iter().copied());
    let control = CONTROL_KEYS.iter().filter_map(|key| key.strip_prefix(PREFIX));
    let groups = GROUPS.iter().map(|(group, _)| *group);
    let hint = did_you_mean(name, short.chain(kebab.iter().map(String::as_str)).chain(control).chain(groups));
    Draft::error(key, format!("unknown annotation{hint}"))
}

/// The annotation that sets a path.
pub(super) fn annotation_of(path: &str) -> String {
    let short = fields::by_path(path).and_then(|field| field.flat.first());
    let name = short.map_or_else(|| to_kebab(path), |short| (*short).to_owned());
    format!("vramguard.io/{name}")
}

/// `parallelism.tensor` is `parallelism-tensor`, `contextLength` is `context-length`.
fn to_kebab(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        match c {
            '.' => out.push('-'),
            c if c.is_ascii_uppercase() => {
                out.push('-');
                out.push(c.to_ascii_lowercase());
            }
            c => out.push(c),
        }
    }
    out
}

fn is_kebab(name: &str, path: &str) -> bool {
    name.len() >= path.len() && to_kebab(path) == name
}

/// The same field from the block and from a flat key must have the same value.
fn same(field: &'static Field, block: (&str, &Value), flat: (&str, &Value)) -> Result<(), SpecError> {
    let (mut a, mut b) = (Draft::default(), Draft::default());
    field.set(&mut a, block.1).map_err(|problem| Draft::error(block.0, problem))?;
    field.set(&mut b, flat.1).map_err(|problem| Draft::error(flat.0, problem))?;
    if a.out == b.out && a.model == b.model {
        return Ok(());
    }
    Err(Draft::error(flat.0, format!("contradicts `{}`: give `{}` once, or the same value", block.0, field.path)))
}

#[cfg(test)]
mod tests;
