//! The archive's primitive values, read from what has arrived so far.

use std::borrow::Cow;

use super::{ArchiveError, Limits};

/// Bytes of an integer in every archive that a known pg_dump writes.
pub(super) const INT_BYTES: usize = 4;

/// Why a value could not be read from the bytes at hand.
pub(super) enum Stop {
    /// At least this many bytes are needed, counted from where the cursor began.
    Incomplete(usize),
    /// No further byte will help.
    Failed(ArchiveError),
}

impl From<ArchiveError> for Stop {
    fn from(error: ArchiveError) -> Self {
        Stop::Failed(error)
    }
}

/// Reads values from the front of `bytes`, which begin at byte `base` of the stream.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    taken: usize,
    /// Where the value that was read last begins.
    last: usize,
    base: u64,
    limits: &'a Limits,
    /// Whether a text was not UTF-8.
    lossy: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], base: u64, limits: &'a Limits) -> Self {
        Cursor { bytes, taken: 0, last: 0, base, limits, lossy: false }
    }

    /// How many bytes were read.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.lossy
    }

    pub(super) fn limits(&self) -> &'a Limits {
        self.limits
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> Stop {
        Stop::Failed(ArchiveError::Damaged { at: self.base + self.last as u64, what: what.into() })
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let end = self.taken.saturating_add(count);
        if end > self.limits.entry_bytes {
            return Err(Stop::Failed(ArchiveError::TooLarge(format!("an entry of more than {} bytes", self.limits.entry_bytes))));
        }
        let bytes = self.bytes.get(self.taken..end).ok_or(Stop::Incomplete(end))?;
        self.last = self.taken;
        self.taken = end;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// A sign byte and a magnitude, the least significant byte first.
    pub(super) fn int(&mut self) -> Result<i64, Stop> {
        let bytes = self.take(1 + INT_BYTES)?;
        let [sign, a, b, c, d] = *bytes else { return Err(self.damaged("a number is missing")) };
        let magnitude = i64::from(u32::from_le_bytes([a, b, c, d]));
        match sign {
            0 => Ok(magnitude),
            1 => Ok(-magnitude),
            other => Err(self.damaged(format!("{other} is not the sign of a number"))),
        }
    }

    /// A length and that many bytes; a negative length is NULL. The length alone reserves nothing.
    pub(super) fn text(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        let length = self.int()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| self.damaged(format!("{length} is not the length of a text")))?;
        self.take(length).map(Some)
    }

    /// A text as a string; what is not UTF-8 (names in a database of another encoding) is replaced.
    pub(super) fn string(&mut self) -> Result<Option<String>, Stop> {
        let Some(bytes) = self.text()? else { return Ok(None) };
        let text = String::from_utf8_lossy(bytes);
        self.lossy |= matches!(text, Cow::Owned(_));
        Ok(Some(text.into_owned()))
    }
}
