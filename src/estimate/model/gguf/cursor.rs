//! Little-endian reading that never leaves its bytes.

use super::GgufError;

/// A place in the header.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that are left.
    pub(super) const fn left(&self) -> u64 {
        self.bytes.len().saturating_sub(self.at) as u64
    }

    /// Something that cannot be, here.
    pub(super) fn invalid(&self, problem: impl Into<String>) -> GgufError {
        GgufError::Invalid { at: self.at as u64, problem: problem.into() }
    }

    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: u64) -> Result<&'a [u8], GgufError> {
        let truncated = GgufError::Truncated(self.bytes.len() as u64);
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let Some((found, end)) = end.and_then(|end| Some((self.bytes.get(self.at..end)?, end))) else {
            return Err(truncated);
        };
        self.at = end;
        Ok(found)
    }

    /// Steps over `count` values of `size` bytes.
    pub(super) fn skip(&mut self, count: u64, size: u64) -> Result<(), GgufError> {
        match count.checked_mul(size) {
            Some(bytes) => self.bytes(bytes).map(|_| ()),
            None => Err(self.invalid(format!("an array of {count} values is longer than any file"))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        let truncated = GgufError::Truncated(self.bytes.len() as u64);
        let found = self.bytes(N as u64)?;
        found.first_chunk::<N>().copied().ok_or(truncated)
    }

    pub(super) fn u8(&mut self) -> Result<u8, GgufError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, GgufError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, GgufError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, GgufError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string of at most `most` bytes.
    pub(super) fn text(&mut self, most: u64) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > most {
            return Err(self.invalid(format!("a name of {length} bytes, at most {most} are allowed")));
        }
        let bytes = self.bytes(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.invalid("a name is not UTF-8")),
        }
    }
}
