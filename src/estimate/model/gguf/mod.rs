//! Reads the header of a GGUF file (versions 2 and 3): metadata, tensors with formats and sizes, and from both a
//! [`Model`](super::Model) as llama.cpp loads it.
//!
//! Nothing is believed: every count is held against the bytes that are there before anything is allocated, values that
//! are not needed are stepped over, and tensors must not overlap.

mod cursor;
mod layer;
mod metadata;
mod model;
mod types;

use std::collections::BTreeSet;

use super::checkpoint::{CheckpointFacts, StoredTensor};
use cursor::Cursor;
pub use metadata::Metadata;
pub use model::{ModelError, model};

/// Names of tensors and keys, bytes; ggml allows 63, tools write a few more.
const MOST_NAME: u64 = 512;
/// Dimensions of a ggml tensor.
const MOST_DIMENSIONS: u32 = 4;
/// Fewest bytes of a tensor's entry: name length, dimensions, one size, format, offset.
const LEAST_ENTRY: u64 = 8 + 4 + 8 + 4 + 8;
/// `general.alignment` where it is not given.
const ALIGNMENT: u64 = 32;

/// A GGUF header.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// Keys and values.
    pub metadata: Metadata,
    /// Tensors; shapes outermost first, as elsewhere.
    pub facts: CheckpointFacts,
    /// Files that the tensors were read from.
    pub parts: u64,
}

/// The bytes are no readable GGUF header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The header goes on beyond the bytes given: give more, if the file has more.
    #[error("the header is cut at byte {0}")]
    Truncated(u64),
    /// Another kind of file.
    #[error("no GGUF file: it does not begin with `GGUF`")]
    NotGguf,
    /// A version that no reader knows.
    #[error("GGUF version {0} is not readable: versions 2 and 3 (little endian) are")]
    Version(u32),
    /// Something that cannot be.
    #[error("at byte {at}: {problem}")]
    Invalid {
        /// Where.
        at: u64,
        /// What is wrong.
        problem: String,
    },
    /// A tensor that cannot be.
    #[error("tensor `{name}`: {problem}")]
    Tensor {
        /// Its name, cut.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

/// A tensor with the place of its data.
struct Entry {
    tensor: StoredTensor,
    offset: u64,
}

/// Reads a header from the first bytes of a file.
///
/// # Errors
/// [`GgufError::Truncated`] when the header is longer than `bytes`; the others when no further bytes would help.
pub fn read(bytes: &[u8]) -> Result<Gguf, GgufError> {
    let mut cursor = Cursor::new(bytes);
    if cursor.bytes(4)? != b"GGUF" {
        return Err(GgufError::NotGguf);
    }
    let version = cursor.u32()?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    let tensors = cursor.u64()?;
    let pairs = cursor.u64()?;
    let metadata = Metadata::read(&mut cursor, pairs)?;
    // An entry that is not there yet may come with more bytes: only absurd counts are final.
    if tensors > MOST_TENSORS {
        return Err(cursor.invalid(format!("{tensors} tensors, at most {MOST_TENSORS} are allowed")));
    }
    if tensors.saturating_mul(LEAST_ENTRY) > cursor.left() {
        return Err(GgufError::Truncated(bytes.len() as u64));
    }
    let mut entries = Vec::with_capacity(tensors as usize);
    for _ in 0..tensors {
        entries.push(entry(&mut cursor)?);
    }
    check(&mut entries, metadata.count("general.alignment").unwrap_or(ALIGNMENT))?;
    let facts = CheckpointFacts::of(entries.into_iter().map(|entry| entry.tensor).collect());
    Ok(Gguf { metadata, facts, parts: 1 })
}

/// The parts of one file as a whole: metadata of the first, tensors of all.
///
/// # Errors
/// When there is no part, or two of them hold a tensor of the same name.
pub fn join(parts: Vec<Gguf>) -> Result<Gguf, GgufError> {
    let count = parts.len() as u64;
    let mut metadata = None;
    let mut tensors = Vec::new();
    for part in parts {
        metadata.get_or_insert(part.metadata);
        tensors.extend(part.facts.tensors);
    }
    let metadata = metadata.ok_or(GgufError::Truncated(0))?;
    let mut seen = BTreeSet::new();
    if let Some(tensor) = tensors.iter().find(|tensor| !seen.insert(tensor.name.as_str())) {
        let name = tensor.name.chars().take(100).collect();
        return Err(GgufError::Tensor { name, problem: "two parts hold it".to_owned() });
    }
    Ok(Gguf { metadata, facts: CheckpointFacts::of(tensors), parts: count })
}

/// Tensors in one file: the largest mixtures have some thousands.
const MOST_TENSORS: u64 = 1 << 20;

fn entry(cursor: &mut Cursor<'_>) -> Result<Entry, GgufError> {
    let name = cursor.text(MOST_NAME)?;
    let wrong = |problem: String| GgufError::Tensor { name: name.chars().take(100).collect(), problem };
    let dimensions = cursor.u32()?;
    if dimensions > MOST_DIMENSIONS {
        return Err(wrong(format!("{dimensions} dimensions, at most {MOST_DIMENSIONS} are allowed")));
    }
    let mut shape = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        shape.push(cursor.u64()?);
    }
    let id = cursor.u32()?;
    let offset = cursor.u64()?;
    let format = types::find(id).ok_or_else(|| wrong(format!("the ggml type {id} is not known")))?;
    let row = shape.first().copied().unwrap_or(1);
    if !row.is_multiple_of(format.block) {
        return Err(wrong(format!("rows of {row} are no whole blocks of {}, which {} has", format.block, format.name)));
    }
    let elements = shape.iter().try_fold(1_u64, |product, size| product.checked_mul(*size));
    let bytes = elements.and_then(|n| (n / format.block).checked_mul(format.bytes));
    let bytes = bytes.ok_or_else(|| wrong("it has more bytes than there can be".to_owned()))?;
    shape.reverse();
    Ok(Entry { tensor: StoredTensor { name, dtype: format.name, shape, bytes }, offset })
}

/// Checks the entries against each other: aligned, each name once, no overlap.
fn check(entries: &mut [Entry], alignment: u64) -> Result<(), GgufError> {
    let wrong = |entry: &Entry, problem: &str| GgufError::Tensor {
        name: entry.tensor.name.chars().take(100).collect(),
        problem: problem.to_owned(),
    };
    entries.sort_unstable_by(|a, b| a.tensor.name.cmp(&b.tensor.name));
    for pair in entries.windows(2) {
        if let [a, b] = pair
            && a.tensor.name == b.tensor.name
        {
            return Err(wrong(a, "the name occurs twice"));
        }
    }
    entries.sort_by_key(|entry| (entry.offset, entry.tensor.bytes));
    let mut at = 0_u64;
    for entry in &*entries {
        if alignment == 0 || !entry.offset.is_multiple_of(alignment) {
            return Err(wrong(entry, &format!("its offset is no multiple of the alignment, {alignment}")));
        }
        if entry.offset < at {
            return Err(wrong(entry, "its data overlaps another tensor's"));
        }
        let end = entry.offset.checked_add(entry.tensor.bytes);
        at = end.ok_or_else(|| wrong(entry, "it ends beyond what a file can have"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
