//! Keys and values of a GGUF header: numbers and short texts are kept, everything else is stepped over.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::{GgufError, MOST_NAME};

/// Longest text that is kept.
const MOST_TEXT: u64 = 256;
/// Longest array that is kept: one number a layer.
const MOST_KEPT: u64 = 4096;
/// Keys of one file.
const MOST_PAIRS: u64 = 1 << 16;
/// Fewest bytes of a pair: key length, type, one byte.
const LEAST_PAIR: u64 = 8 + 4 + 1;
/// Arrays in arrays.
const MOST_DEPTH: u32 = 4;

/// A value that is kept.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Count(u64),
    Real(f64),
    Flag(bool),
    Text(String),
    /// Numbers or flags, one a layer.
    Counts(Vec<u64>),
    /// Only how many.
    Long(u64),
}

/// Metadata.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata(BTreeMap<String, Value>);

/// A value type's number and the bytes of one value; `None` for strings and arrays.
const fn width(kind: u32) -> Option<u64> {
    match kind {
        U8 | I8 | BOOL => Some(1),
        U16 | I16 => Some(2),
        U32 | I32 | F32 => Some(4),
        U64 | I64 | F64 => Some(8),
        _ => None,
    }
}

const U8: u32 = 0;
const I8: u32 = 1;
const U16: u32 = 2;
const I16: u32 = 3;
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const STRING: u32 = 8;
const ARRAY: u32 = 9;
const U64: u32 = 10;
const I64: u32 = 11;
const F64: u32 = 12;

impl Metadata {
    pub(super) fn read(cursor: &mut Cursor<'_>, pairs: u64) -> Result<Self, GgufError> {
        if pairs > MOST_PAIRS {
            return Err(cursor.invalid(format!("{pairs} keys, at most {MOST_PAIRS} are allowed")));
        }
        if pairs.saturating_mul(LEAST_PAIR) > cursor.left() {
            return Err(cursor.bytes(u64::MAX).err().unwrap_or(GgufError::Truncated(0)));
        }
        let mut values = BTreeMap::new();
        for _ in 0..pairs {
            let key = cursor.text(MOST_NAME)?;
            let kind = cursor.u32()?;
            if let Some(value) = value(cursor, kind)? {
                values.insert(key, value);
            }
        }
        Ok(Self(values))
    }

    /// A whole number that is not negative.
    #[must_use]
    pub fn count(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::Count(n) => Some(*n),
            _ => None,
        }
    }

    /// A number with a fraction.
    #[must_use]
    pub fn real(&self, key: &str) -> Option<f64> {
        match self.0.get(key)? {
            Value::Real(n) => Some(*n),
            Value::Count(n) => Some(*n as f64),
            _ => None,
        }
    }

    /// A short text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.0.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A flag.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The number of a layer: of an array its entry, else the number that holds for all.
    #[must_use]
    pub fn of_layer(&self, key: &str, layer: u64) -> Option<u64> {
        match self.0.get(key)? {
            Value::Count(n) => Some(*n),
            Value::Counts(list) => list.get(usize::try_from(layer).ok()?).copied(),
            _ => None,
        }
    }

    /// Whether the key is an array of numbers or flags, one a layer.
    #[must_use]
    pub fn is_list(&self, key: &str) -> bool {
        matches!(self.0.get(key), Some(Value::Counts(_)))
    }

    /// Entries of an array.
    #[must_use]
    pub fn length(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Value::Counts(list) => Some(list.len() as u64),
            Value::Long(n) => Some(*n),
            _ => None,
        }
    }
}

fn value(cursor: &mut Cursor<'_>, kind: u32) -> Result<Option<Value>, GgufError> {
    Ok(match kind {
        STRING => {
            let length = cursor.u64()?;
            let bytes = cursor.bytes(length)?;
            let short = (length <= MOST_TEXT).then(|| std::str::from_utf8(bytes).ok()).flatten();
            short.map(|text| Value::Text(text.to_owned()))
        }
        ARRAY => array(cursor)?,
        F32 => Some(Value::Real(f64::from(f32::from_bits(cursor.u32()?)))),
        F64 => Some(Value::Real(f64::from_bits(cursor.u64()?))),
        BOOL => Some(Value::Flag(cursor.u8()? != 0)),
        _ => number(cursor, kind)?.map(Value::Count),
    })
}

/// A whole number; `None` if it is negative.
fn number(cursor: &mut Cursor<'_>, kind: u32) -> Result<Option<u64>, GgufError> {
    Ok(match kind {
        U8 | BOOL => Some(u64::from(cursor.u8()?)),
        I8 => u64::try_from(cursor.u8()?.cast_signed()).ok(),
        U16 => Some(u64::from(cursor.u16()?)),
        I16 => u64::try_from(cursor.u16()?.cast_signed()).ok(),
        U32 => Some(u64::from(cursor.u32()?)),
        I32 => u64::try_from(cursor.u32()?.cast_signed()).ok(),
        U64 => Some(cursor.u64()?),
        I64 => u64::try_from(cursor.u64()?.cast_signed()).ok(),
        other => return Err(cursor.invalid(format!("the value type {other} is not known"))),
    })
}

/// Keeps short lists of whole numbers, steps over all others.
fn array(cursor: &mut Cursor<'_>) -> Result<Option<Value>, GgufError> {
    let kind = cursor.u32()?;
    let length = cursor.u64()?;
    let whole = matches!(kind, U8 | I8 | U16 | I16 | U32 | I32 | U64 | I64 | BOOL);
    if !whole || length > MOST_KEPT {
        step_over(cursor, kind, length, 1)?;
        return Ok(Some(Value::Long(length)));
    }
    let mut kept = Vec::new();
    for _ in 0..length {
        kept.push(number(cursor, kind)?);
    }
    // Negative numbers are no counts.
    Ok(Some(kept.into_iter().collect::<Option<Vec<u64>>>().map_or(Value::Long(length), Value::Counts)))
}

fn step_over(cursor: &mut Cursor<'_>, kind: u32, length: u64, depth: u32) -> Result<(), GgufError> {
    if let Some(width) = width(kind) {
        return cursor.skip(length, width);
    }
    if !matches!(kind, STRING | ARRAY) {
        return Err(cursor.invalid(format!("the value type {kind} is not known")));
    }
    if depth > MOST_DEPTH {
        return Err(cursor.invalid(format!("arrays in arrays, at most {MOST_DEPTH} deep are allowed")));
    }
    // Each entry takes at least its own length: the loop ends with the bytes.
    for _ in 0..length {
        if kind == STRING {
            let bytes = cursor.u64()?;
            cursor.skip(bytes, 1)?;
        } else {
            let (inner, entries) = (cursor.u32()?, cursor.u64()?);
            step_over(cursor, inner, entries, depth + 1)?;
        }
    }
    Ok(())
}
