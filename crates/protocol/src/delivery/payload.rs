//! The payload of a message: what is sealed, byte for byte.
//!
//! ```text
//! flags u8
//!   || [receipt] || [varint number of the probe answered] || [varint number of this probe]
//!   || seq u64 || varint seq - prev || varint seq - oldest
//!   || [content kind u8 || varint length || content] || zeros
//! ```
//!
//! One payload, one encoding. Spec: docs/PROTOCOL.md, "Payload".

use zeroize::Zeroizing;

use super::MAX_SEQ;
use super::content::{Content, ContentKind, MAX_CONTENT_LENGTH};
use super::padding::padded_length;
use super::receipt::Receipt;
use crate::codec::{Malformed, Reader, Write};

const CONTENT: u8 = 1;
const RECEIPT: u8 = 1 << 1;
/// The receipt names ranges.
const RANGES: u8 = 1 << 2;
const PROMPT: u8 = 1 << 3;
const PROBE: u8 = 1 << 4;
const ANSWER: u8 = 1 << 5;
const RESEND: u8 = 1 << 6;
const RESEND_ALL: u8 = 1 << 7;
/// What says something about a receipt, so is nothing without one.
const WITH_RECEIPT: u8 = RANGES | ANSWER | RESEND | RESEND_ALL;

/// More than anything but ranges and content takes: a capacity, not a limit.
const USUAL_HEAD: usize = 64;
/// The same for one range.
const USUAL_RANGE: usize = 20;

/// A payload that no client of ours writes. The peer, not the relay, is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// With a kind of content that this version does not know.
    #[error("the payload has an unknown kind of content")]
    Unsupported,
    /// Cut short, too long, contradictory, wrongly padded, or a text that is not UTF-8.
    #[error("the payload is malformed")]
    Malformed,
}

impl From<Malformed> for PayloadError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// A place in the order of the sender's messages, and what the sender says of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The number of the content; without one, a number that a later content may have.
    pub(super) seq: u64,
    /// Nothing is to be expected between this number and `seq`.
    pub(super) prev: u64,
    /// Nothing is to be expected below this number. At most `seq` and `prev + 1`.
    pub(super) oldest: u64,
}

/// What a receipt asks of the peer or tells it besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asks {
    /// Answers the probe of this number.
    pub(super) answer: Option<u64>,
    /// Send again what is missing before what I have.
    pub(super) resend: bool,
    /// Send again whatever I have not received.
    pub(super) resend_all: bool,
}

/// What is put into a payload and taken out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Payload<'a> {
    pub(super) receipt: Option<(Receipt, Asks)>,
    /// Asks for a receipt at once, by this number.
    pub(super) probe: Option<u64>,
    pub(super) place: Place,
    pub(super) content: Option<Sent<'a>>,
}

/// A content and how its sender waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent<'a> {
    pub(super) kind: ContentKind,
    pub(super) bytes: &'a [u8],
    /// A receipt is to go at once when the application has handled it.
    pub(super) prompt: bool,
}

impl Payload<'_> {
    /// The padded bytes. One allocation, since they are secret; wiped when dropped.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let Self { receipt, probe, place, content } = self;
        let ranges = receipt.as_ref().map_or(0, |(receipt, _)| receipt.have.len());
        let length = content.as_ref().map_or(0, |content| content.bytes.len());
        let capacity = padded_length(USUAL_HEAD + ranges * USUAL_RANGE + length);
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));

        out.put_u8(self.flags());
        if let Some((receipt, asks)) = receipt {
            receipt.write(&mut out);
            if let Some(number) = asks.answer {
                out.put_varint(number);
            }
        }
        if let Some(number) = probe {
            out.put_varint(*number);
        }
        out.put_u64(place.seq);
        out.put_varint(place.seq - place.prev);
        out.put_varint(place.seq - place.oldest);
        if let Some(content) = content {
            out.put_u8(content.kind.code());
            out.put_field(content.bytes);
        }
        let padded = padded_length(out.len());
        out.resize(padded, 0);
        out
    }

    fn flags(&self) -> u8 {
        let asks = self.receipt.as_ref().map(|(_, asks)| *asks).unwrap_or_default();
        let ranges = self.receipt.as_ref().is_some_and(|(receipt, _)| !receipt.have.is_empty());
        let prompt = self.content.as_ref().is_some_and(|content| content.prompt);
        [
            (self.content.is_some(), CONTENT),
            (self.receipt.is_some(), RECEIPT),
            (ranges, RANGES),
            (prompt, PROMPT),
            (self.probe.is_some(), PROBE),
            (asks.answer.is_some(), ANSWER),
            (asks.resend, RESEND),
            (asks.resend_all, RESEND_ALL),
        ]
        .into_iter()
        .fold(0, |flags, (is_set, flag)| if is_set { flags | flag } else { flags })
    }
}

impl<'a> Payload<'a> {
    /// Takes a payload apart, and accepts nothing that [`to_bytes`](Self::to_bytes) does not write.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        let has = |flag| flags & flag != 0;
        if (has(PROMPT) && !has(CONTENT)) || (has(WITH_RECEIPT) && !has(RECEIPT)) {
            return Err(PayloadError::Malformed);
        }
        let receipt =
            if has(RECEIPT) { Some(Receipt::read(&mut reader, has(RANGES))?) } else { None };
        let answer = if has(ANSWER) { Some(reader.varint()?) } else { None };
        let probe = if has(PROBE) { Some(reader.varint()?) } else { None };
        let asks = Asks { answer, resend: has(RESEND), resend_all: has(RESEND_ALL) };
        let place = Place::read(&mut reader)?;
        let content = if has(CONTENT) { Some(Sent::read(&mut reader, has(PROMPT))?) } else { None };
        let padding = reader.rest();
        let is_padded = padded_length(bytes.len() - padding.len()) == bytes.len();
        if !is_padded || padding.iter().any(|&byte| byte != 0) {
            return Err(PayloadError::Malformed);
        }
        Ok(Self { receipt: receipt.map(|receipt| (receipt, asks)), probe, place, content })
    }
}

impl Place {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let seq = reader.u64()?;
        let prev = seq.checked_sub(reader.varint()?).ok_or(Malformed)?;
        let oldest = seq.checked_sub(reader.varint()?).ok_or(Malformed)?;
        let is_ordered = prev < seq && oldest >= 1 && oldest <= prev + 1;
        if is_ordered && seq <= MAX_SEQ { Ok(Self { seq, prev, oldest }) } else { Err(Malformed) }
    }
}

impl<'a> Sent<'a> {
    fn read(reader: &mut Reader<'a>, prompt: bool) -> Result<Self, PayloadError> {
        let kind = ContentKind::from_code(reader.u8()?).ok_or(PayloadError::Unsupported)?;
        let bytes = reader.field()?;
        let is_text = kind != ContentKind::Text || std::str::from_utf8(bytes).is_ok();
        if bytes.len() > MAX_CONTENT_LENGTH || !is_text {
            return Err(PayloadError::Malformed);
        }
        Ok(Self { kind, bytes, prompt })
    }

    pub(super) fn to_content(&self) -> Content {
        Content::new(self.kind, Zeroizing::new(self.bytes.to_vec()))
    }
}
