//! Reads the header of a safetensors file and the index of a sharded one.
//!
//! A file begins with the header's length (eight bytes, little endian) and that much JSON: a map of tensor names to
//! format, shape and offsets into the data behind the header. Nothing is believed: offsets must fit shapes, must not
//! overlap and must leave no gap. Work and memory are bounded by the bytes given.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::checkpoint::{CheckpointFacts, Hints, StoredTensor};

/// Longest header, bytes: what the Hugging Face libraries accept.
pub const MOST_HEADER: u64 = 25_000_000;
/// Bytes of the header's length.
const LENGTH: usize = 8;
/// Dimensions of a tensor.
const MOST_DIMENSIONS: usize = 16;

/// Formats and the bits of one element.
const DTYPES: &[(&str, u64)] = &[
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E4M3", 8),
    ("F8_E5M2", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("U16", 16),
    ("I16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("U32", 32),
    ("I32", 32),
    ("F32", 32),
    ("U64", 64),
    ("I64", 64),
    ("F64", 64),
    ("C64", 64),
];

/// The bytes are no readable safetensors header or index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SafetensorsError {
    /// Too few bytes.
    #[error("the header needs {needed} bytes, there are {given}: the file is cut, or no safetensors file")]
    Truncated {
        /// Bytes from the file's start to the end of its header.
        needed: u64,
        /// Bytes given.
        given: u64,
    },
    /// An absurd length.
    #[error("the header claims {0} bytes, at most {MOST_HEADER} are allowed: no safetensors file, or a damaged one")]
    TooLong(u64),
    /// Not the JSON that belongs there.
    #[error("the {0} is not readable: {1}")]
    Json(&'static str, String),
    /// A tensor that cannot be.
    #[error("tensor `{name}`: {problem}")]
    Tensor {
        /// Its name, cut.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The file ends elsewhere than its tensors do.
    #[error("tensors end at byte {expected} of the file, which has {found}: it is cut or damaged")]
    FileLength {
        /// Where tensors end.
        expected: u64,
        /// The file's length.
        found: u64,
    },
}

/// Bytes from the start of the file to the end of its header, from its first eight.
///
/// # Errors
/// When there are fewer than eight bytes, or the length exceeds [`MOST_HEADER`].
pub fn header_end(first: &[u8]) -> Result<u64, SafetensorsError> {
    let Some(length) = first.first_chunk::<LENGTH>() else {
        return Err(SafetensorsError::Truncated { needed: LENGTH as u64, given: first.len() as u64 });
    };
    let length = u64::from_le_bytes(*length);
    if length > MOST_HEADER { Err(SafetensorsError::TooLong(length)) } else { Ok(length + LENGTH as u64) }
}

/// Reads a header; `file_bytes` is the length of the whole file, where known.
///
/// # Errors
/// When the header is cut, not JSON of the right form, or describes tensors that cannot lie in one file.
pub fn read(head: &[u8], file_bytes: Option<u64>) -> Result<CheckpointFacts, SafetensorsError> {
    let end = header_end(head)?;
    let truncated = || SafetensorsError::Truncated { needed: end, given: head.len() as u64 };
    let json = head.get(LENGTH..end as usize).ok_or_else(truncated)?;
    let Header(entries) = serde_json::from_slice(json).map_err(|error| unreadable("header", &error))?;
    let data = check(&entries)?;
    match (end.checked_add(data), file_bytes) {
        (Some(expected), Some(found)) if expected != found => Err(SafetensorsError::FileLength { expected, found }),
        (None, _) => Err(SafetensorsError::FileLength { expected: u64::MAX, found: file_bytes.unwrap_or(0) }),
        _ => Ok(CheckpointFacts::of(entries.into_iter().map(|entry| entry.tensor).collect())),
    }
}

/// Reads a `model.safetensors.index.json`: names, and the bytes of all shards together.
///
/// # Errors
/// When it is too long, not JSON, or does not say `metadata.total_size`.
pub fn read_index(json: &[u8]) -> Result<CheckpointFacts, SafetensorsError> {
    if json.len() as u64 > MOST_HEADER {
        return Err(SafetensorsError::TooLong(json.len() as u64));
    }
    let index: Index = serde_json::from_slice(json).map_err(|error| unreadable("index", &error))?;
    let whole = |n: &f64| n.is_finite() && *n >= 1.0 && n.fract() == 0.0 && *n < u64::MAX as f64;
    let bytes = index.metadata.total_size;
    let bytes = bytes.as_u64().or_else(|| bytes.as_f64().filter(whole).map(|n| n as u64)).filter(|n| *n > 0);
    let bytes = bytes.ok_or_else(|| {
        SafetensorsError::Json("index", "metadata.total_size must be a number of bytes, at least 1".to_owned())
    })?;
    let stored = |name| StoredTensor { name, dtype: "", shape: Vec::new(), bytes: 0 };
    let tensors: Vec<StoredTensor> = index.weight_map.into_keys().map(stored).collect();
    Ok(CheckpointFacts { bytes, hints: Hints::of(&tensors), tensors, ..CheckpointFacts::default() })
}

/// The files that an index names, in order, each once.
///
/// # Errors
/// When the index is not readable, or a name is a path: files lie beside the index.
pub fn shards(json: &[u8]) -> Result<Vec<String>, SafetensorsError> {
    #[derive(Deserialize)]
    struct Files {
        weight_map: BTreeMap<String, String>,
    }
    let index: Files = serde_json::from_slice(json).map_err(|error| unreadable("index", &error))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    match names.iter().find(|name| name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0'])) {
        Some(path) => {
            let path: String = path.chars().take(100).collect();
            Err(SafetensorsError::Json("index", format!("`{path}` is no name of a file beside it")))
        }
        None => Ok(names.into_iter().collect()),
    }
}

/// The files of one checkpoint as one.
///
/// # Errors
/// When two of them hold a tensor of the same name.
pub fn join(files: Vec<CheckpointFacts>) -> Result<CheckpointFacts, SafetensorsError> {
    let tensors: Vec<StoredTensor> = files.into_iter().flat_map(|facts| facts.tensors).collect();
    let mut seen = BTreeSet::new();
    if let Some(tensor) = tensors.iter().find(|tensor| !seen.insert(tensor.name.as_str())) {
        let name = tensor.name.chars().take(100).collect();
        return Err(SafetensorsError::Tensor { name, problem: "two files hold it".to_owned() });
    }
    Ok(CheckpointFacts::of(tensors))
}

fn unreadable(what: &'static str, error: &serde_json::Error) -> SafetensorsError {
    SafetensorsError::Json(what, error.to_string().chars().take(200).collect())
}

#[derive(Deserialize)]
#[expect(clippy::zero_sized_map_values, reason = "the names are keys of a JSON object, the files are skipped")]
struct Index {
    metadata: IndexMetadata,
    weight_map: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct IndexMetadata {
    total_size: serde_json::Number,
}

/// One entry of the header, not yet checked against the others.
struct Entry {
    tensor: StoredTensor,
    begin: u64,
    end: u64,
}

/// The entries of a header, in order.
struct Header(Vec<Entry>);

#[derive(Deserialize)]
struct Raw {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of tensor names to their format, shape and offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                let IgnoredAny = map.next_value()?;
            } else {
                entries.push(entry(name, map.next_value()?).map_err(serde::de::Error::custom)?);
            }
        }
        Ok(Header(entries))
    }
}

/// Checks one entry by itself.
fn entry(name: String, raw: Raw) -> Result<Entry, SafetensorsError> {
    let wrong = |problem: String| SafetensorsError::Tensor { name: name.chars().take(100).collect(), problem };
    let Some((dtype, bits)) = DTYPES.iter().find(|(known, _)| *known == raw.dtype) else {
        return Err(wrong(format!("the format `{}` is not known", raw.dtype.chars().take(20).collect::<String>())));
    };
    if raw.shape.len() > MOST_DIMENSIONS {
        return Err(wrong(format!("{} dimensions, at most {MOST_DIMENSIONS} are allowed", raw.shape.len())));
    }
    let elements = raw.shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
    let stored = elements.and_then(|n| n.checked_mul(*bits)).filter(|n| n.is_multiple_of(8)).map(|n| n / 8);
    let (begin, end) = raw.data_offsets;
    let bytes = end.checked_sub(begin);
    match (bytes, stored) {
        (Some(bytes), Some(stored)) if bytes == stored => {
            Ok(Entry { tensor: StoredTensor { name, dtype, shape: raw.shape, bytes }, begin, end })
        }
        _ => Err(wrong(format!(
            "data_offsets [{begin}, {end}] do not fit the shape, which needs {}",
            stored.map_or_else(|| "more bytes than there can be".to_owned(), |n| format!("{n} bytes"))
        ))),
    }
}

/// Checks the entries against each other: names once, data without overlap or gap. Gives the length of the data.
fn check(entries: &[Entry]) -> Result<u64, SafetensorsError> {
    let wrong = |entry: &Entry, problem: &str| SafetensorsError::Tensor {
        name: entry.tensor.name.chars().take(100).collect(),
        problem: problem.to_owned(),
    };
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_unstable_by_key(|entry| (entry.begin, entry.end));
    let mut at = 0;
    for entry in &sorted {
        if entry.begin < at {
            return Err(wrong(entry, "its data overlaps another tensor's"));
        }
        if entry.begin > at {
            return Err(wrong(entry, "there is a gap before its data"));
        }
        at = entry.end;
    }
    sorted.sort_unstable_by(|a, b| a.tensor.name.cmp(&b.tensor.name));
    let twice = sorted.windows(2).find_map(|pair| match pair {
        [a, b] if a.tensor.name == b.tensor.name => Some(*a),
        _ => None,
    });
    twice.map_or(Ok(at), |entry| Err(wrong(entry, "the name occurs twice")))
}

#[cfg(test)]
mod tests;
