//! YAML and JSON text to values, the one place that knows the YAML library.
//!
//! Explicit options: budgets against bombs, YAML 1.1 octal numbers as kubectl reads them, duplicate keys refused.
//! Errors carry line and column.

use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Options, Spanned};

use super::numbers::shown;

/// Deepest nesting of a document: the library recurses, and 100 levels overflow a 2 MiB stack in a debug build. CRDs of
/// whole pod templates, the deepest objects there are, stay below 50.
const MAX_DEPTH: usize = 64;
/// Most parser events of one text, aliases expanded: about 40 MB of manifests.
const MAX_EVENTS: usize = 4_000_000;
/// Most scalars, lists and maps of one text: a list of ten thousand pods as the API server prints them.
const MAX_NODES: usize = MAX_EVENTS;
/// Most bytes of scalars of one text.
const MAX_SCALAR_BYTES: usize = 256 << 20;
/// Most documents of one text.
const MAX_DOCUMENTS: usize = 100_000;
/// Most events that aliases may add: enough for Helm charts, too few for a bomb.
const MAX_REPLAYED: usize = 200_000;

/// Text that is no YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", position(*.line, *.column))]
pub struct YamlError {
    /// Line, from 1; 0 when unknown.
    pub line: u64,
    /// Column, from 1; 0 when unknown.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

fn position(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!("line {line}, column {column}: ") }
}

/// One document of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Number in the text, from 0; empty documents are not counted.
    pub index: usize,
    /// Line of its first key, from 1.
    pub line: u64,
    /// Its content.
    pub value: Value,
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_events: MAX_EVENTS,
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_total_scalar_bytes: MAX_SCALAR_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        emit_comments: false,
        with_snippet: false,
    }
}

/// A single document.
///
/// # Errors
/// When the text is no YAML, holds several documents, repeats a key, or is a bomb.
pub fn value(text: &str) -> Result<Value, YamlError> {
    serde_saphyr::from_str_with_options::<Option<Value>>(text, options())
        .map(Option::unwrap_or_default)
        .map_err(|e| error(&e))
}

/// Every document that is not empty.
///
/// # Errors
/// As [`value`], for the first document that is wrong.
pub fn documents(text: &str) -> Result<Vec<Document>, YamlError> {
    let spanned: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|e| error(&e))?;
    let documents = spanned.into_iter().filter(|document| !document.value.is_null());
    Ok(documents
        .enumerate()
        .map(|(index, document)| Document { index, line: document.referenced.line(), value: document.value })
        .collect())
}

/// A typed value, e.g. a policy file.
///
/// # Errors
/// As [`value`], and when the content does not match the type.
pub fn typed<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, YamlError> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|e| error(&e))
}

/// The library's error in one line.
fn error(error: &serde_saphyr::Error) -> YamlError {
    let location = error.location();
    let (line, column) = location.map_or((0, 0), |l| (l.line(), l.column()));
    YamlError { line, column, message: message(error, &format!(" at line {line}, column {column}")) }
}

/// What is wrong in our words where the library speaks of its own options; the place, which stands before it, once.
fn message(error: &serde_saphyr::Error, place: &str) -> String {
    use serde_saphyr::Error;
    use serde_saphyr::budget::BudgetBreach;
    match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{}` is a duplicate", shown(key)),
        Error::DuplicateMappingKey { key: None, .. } => "a duplicate key".to_owned(),
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => format!("nested more than {MAX_DEPTH} levels deep"),
        Error::Budget { .. } => "more content than is read of one text: split it".to_owned(),
        other => {
            let text = other.to_string();
            // Wrapped with the places of the anchor and of its use.
            if text.starts_with("alias replay limit") {
                return format!("its aliases (`*name`) expand to more than {MAX_REPLAYED} nodes");
            }
            text.strip_suffix(place).unwrap_or(&text).to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
