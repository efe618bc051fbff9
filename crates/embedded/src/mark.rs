//! The second and third page of a file: how the rest was left.
//!
//! redb's own header is covered by no checksum as a whole, and its pages are checked only after a
//! crash. A mark says whether the file was closed, how long it has to be, and, if it was closed,
//! what redb's header was: so a file that lost its end, or any bit, is not taken for a whole one.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::header::{HEADER_LENGTH, keyed};
use crate::key::FileKey;

/// Bytes of redb's header.
pub(crate) const REDB_HEADER: usize = 320;

/// Where the pages of redb begin.
pub(crate) const DATA: u64 = 4 * HEADER_LENGTH as u64;

/// Bytes of a mark: less than a sector of 512, which disks write whole or not at all.
pub(crate) const MARK_LENGTH: usize = 32 + REDB_HEADER + 32;

/// How the file was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The higher of two is the later.
    pub(crate) sequence: u64,
    /// Closed, and not opened since.
    pub(crate) closed: bool,
    /// The length that redb knows: exactly if closed, at most if not.
    pub(crate) logical: u64,
    /// The length that the file has at least.
    pub(crate) physical: u64,
    /// redb's header: exactly if closed; if not, the parts of it that never change.
    pub(crate) header: [u8; REDB_HEADER],
}

impl Mark {
    /// Where the mark in this slot, 0 or 1, is. They have a page each, so that a write of one
    /// cannot harm the other.
    pub(crate) fn offset(slot: u64) -> u64 {
        (1 + slot) * HEADER_LENGTH as u64
    }

    pub(crate) fn to_bytes(&self, key: &MarkKey) -> [u8; MARK_LENGTH] {
        let mut bytes = [0; MARK_LENGTH];
        bytes[..8].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[8] = u8::from(self.closed);
        bytes[16..24].copy_from_slice(&self.logical.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.physical.to_le_bytes());
        bytes[32..32 + REDB_HEADER].copy_from_slice(&self.header);
        let tag = key.mac(&bytes[..32 + REDB_HEADER]).finalize().into_bytes();
        bytes[32 + REDB_HEADER..].copy_from_slice(&tag);
        bytes
    }

    /// The mark, or none if the bytes are not one: never written, half written, or altered.
    pub(crate) fn from_bytes(bytes: &[u8; MARK_LENGTH], key: &MarkKey) -> Option<Self> {
        let (content, tag) = bytes.split_at(32 + REDB_HEADER);
        key.mac(content).verify_slice(tag).ok()?;
        let u64_at = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&content[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let mut header = [0; REDB_HEADER];
        header.copy_from_slice(&content[32..]);
        Some(Self {
            sequence: u64_at(0),
            closed: content[8] == 1,
            logical: u64_at(16),
            physical: u64_at(24),
            header,
        })
    }

    /// Whether `header`, read from the file, can be what was left.
    pub(crate) fn fits(&self, header: &[u8; REDB_HEADER]) -> bool {
        if self.closed {
            return self.header == *header;
        }
        // The magic number; page size and regions. The byte between says which commit is the
        // last, and behind them are the commits, each with its checksum.
        self.header[..9] == header[..9] && self.header[12..24] == header[12..24]
    }
}

/// What marks are authenticated with.
pub(crate) struct MarkKey(Hmac<Sha256>);

impl MarkKey {
    pub(crate) fn new(key: &FileKey) -> Self {
        Self(keyed(&key.derive("marks")))
    }

    fn mac(&self, bytes: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(bytes)
    }
}

/// redb's header with what says: find the last whole commit yourself, trust no page unchecked.
///
/// redb keeps three flags in one byte without a checksum: which of two commits is the last,
/// whether it was left open, whether the last was written in two phases. Only the second matters
/// to a file that was left open, because the commits themselves say the rest.
pub(crate) fn left_open(mut header: [u8; REDB_HEADER]) -> [u8; REDB_HEADER] {
    const RECOVERY_REQUIRED: u8 = 2;
    const TWO_PHASE_COMMIT: u8 = 4;
    header[9] = (header[9] | RECOVERY_REQUIRED) & !TWO_PHASE_COMMIT;
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use crate::key::Key;

    #[test]
    fn a_mark_comes_back_and_an_altered_one_does_not() {
        let key = MarkKey::new(&Header::create(&Key::from_bytes([7; 32])).unwrap().key);
        let mark = Mark {
            sequence: 3,
            closed: true,
            logical: 4096,
            physical: 8192,
            header: [9; REDB_HEADER],
        };
        let bytes = mark.to_bytes(&key);
        assert_eq!(Mark::from_bytes(&bytes, &key), Some(mark));
        for bit in 0..MARK_LENGTH * 8 {
            let mut altered = bytes;
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Mark::from_bytes(&altered, &key), None, "bit {bit}");
        }
    }
}
