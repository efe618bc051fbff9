//! What one side tells the other about the messages that it has received.

use super::MAX_SEQ;
use crate::codec::{Malformed, Reader, Write};

/// How many ranges a receipt names. What lies beyond them counts as not received, so it is sent
/// again; ranges are few unless a network loses every other message.
pub(super) const MAX_RANGES: usize = 32;

/// What was received of the peer's messages, and handled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Receipt {
    /// Every message up to this number has been received.
    pub(super) received: u64,
    /// The application has handled every message up to this number, at most `received`.
    pub(super) handled: u64,
    /// First and last of what was received beyond: ascending, apart, at most [`MAX_RANGES`].
    pub(super) have: Vec<(u64, u64)>,
}

impl Receipt {
    /// The highest number that the receipt says was received.
    pub(super) fn highest(&self) -> u64 {
        self.have.last().map_or(self.received, |&(_, last)| last)
    }

    /// Whether message `seq` was received.
    pub(super) fn names(&self, seq: u64) -> bool {
        let beyond = self.have.partition_point(|&(_, last)| last < seq);
        seq <= self.received || self.have.get(beyond).is_some_and(|&(first, _)| first <= seq)
    }

    /// How many numbers lie in the ranges.
    pub(super) fn count_beyond(&self) -> u64 {
        self.have.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// What it says of numbers up to `seq`.
    pub(super) fn up_to(&self, seq: u64) -> Self {
        let known = self.have.iter().filter(|(first, _)| *first <= seq);
        Self {
            received: self.received.min(seq),
            handled: self.handled.min(seq),
            have: known.map(|&(first, last)| (first, last.min(seq))).collect(),
        }
    }

    /// Without ranges there is no count of them either.
    pub(super) fn write(&self, out: &mut impl Write) {
        let Self { received, handled, have } = self;
        out.put_u64(*received);
        out.put_varint(received - handled);
        if !have.is_empty() {
            out.put_varint(have.len() as u64);
        }
        let mut end = *received;
        for (first, last) in have {
            out.put_varint(first - end);
            out.put_varint(last - first);
            end = *last;
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, has_ranges: bool) -> Result<Self, Malformed> {
        let received = reader.u64()?;
        let handled = received.checked_sub(reader.varint()?).ok_or(Malformed)?;
        let count = if has_ranges { reader.length()? } else { 0 };
        if count > MAX_RANGES || (has_ranges && count == 0) {
            return Err(Malformed);
        }
        let mut have = Vec::with_capacity(count);
        let mut end = received;
        for _ in 0..count {
            let first = later(end, reader.varint()?)?;
            if first - end < 2 {
                return Err(Malformed); // nothing is missing before it
            }
            end = later(first, reader.varint()?)?;
            have.push((first, end));
        }
        if end > MAX_SEQ {
            return Err(Malformed);
        }
        Ok(Self { received, handled, have })
    }
}

fn later(seq: u64, by: u64) -> Result<u64, Malformed> {
    seq.checked_add(by).ok_or(Malformed)
}
