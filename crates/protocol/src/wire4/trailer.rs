//! The trailer: what wire 4 adds to a header, and how both travel in one field.
//!
//! Spec: docs/PROTOCOL.md, "Trailer".

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::handshake::Handshake;
use super::rank::Rank;
use super::{Decrypt4Error, VERSION};
use crate::codec::{Malformed, Reader, Write};
use crate::header::HEADER_LENGTH;

/// The only flag: a handshake follows.
const HANDSHAKE: u8 = 1;

/// Length of a trailer without a handshake.
const TRAILER_LENGTH: usize = 26;

/// Separates header and trailer; base64url does not have it, and wire 3 does not either.
const SEPARATOR: char = '.';

pub(super) struct Trailer<'a> {
    /// When the message was sealed, by the sender's clock.
    pub(super) timestamp_ms: u64,
    /// The session. Its whole rank is here, so that a peer that does not hold it can begin one
    /// that stands above it.
    pub(super) rank: Rank,
    pub(super) handshake: Option<Handshake<'a>>,
}

impl<'a> Trailer<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (version, flags) = (reader.u8()?, reader.u8()?);
        if version != VERSION || flags & !HANDSHAKE != 0 {
            return Err(Malformed);
        }
        let (timestamp_ms, rank) = (reader.u64()?, Rank::read(&mut reader)?);
        let handshake =
            if flags & HANDSHAKE == 0 { None } else { Some(Handshake::parse(reader.rest())?) };
        reader.end()?;
        Ok(Self { timestamp_ms, rank, handshake })
    }
}

/// A trailer's bytes; `handshake` are those of a [`Handshake`].
pub(super) fn trailer(timestamp_ms: u64, rank: Rank, handshake: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(TRAILER_LENGTH + handshake.map_or(0, <[u8]>::len));
    bytes.put_u8(VERSION);
    bytes.put_u8(if handshake.is_some() { HANDSHAKE } else { 0 });
    bytes.put_u64(timestamp_ms);
    rank.write(&mut bytes);
    bytes.put(handshake.unwrap_or_default());
    bytes
}

/// The header field of a message: `base64url(header) "." base64url(trailer)`, without padding.
pub fn header_field(header: &[u8; HEADER_LENGTH], trailer: &[u8]) -> String {
    let mut field = String::with_capacity((header.len() + trailer.len()) * 4 / 3 + 4);
    URL_SAFE_NO_PAD.encode_string(header, &mut field);
    field.push(SEPARATOR);
    URL_SAFE_NO_PAD.encode_string(trailer, &mut field);
    field
}

/// The two halves of a [header field](header_field), decoded. Nothing in them is checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderField {
    /// The header.
    pub header: [u8; HEADER_LENGTH],
    /// The trailer.
    pub trailer: Vec<u8>,
}

/// Takes the header field of a message apart; `None` for a field without a `.`, which is wire 3's.
///
/// # Errors
///
/// [`Decrypt4Error::Malformed`]: one of the halves is not base64url without padding, or the first
/// is not 85 bytes.
pub fn parse_header_field(field: &str) -> Result<Option<HeaderField>, Decrypt4Error> {
    let Some((header, trailer)) = field.split_once(SEPARATOR) else { return Ok(None) };
    let decode = |text| URL_SAFE_NO_PAD.decode(text).map_err(|_| Decrypt4Error::Malformed);
    let header = decode(header)?.try_into().map_err(|_| Decrypt4Error::Malformed)?;
    Ok(Some(HeaderField { header, trailer: decode(trailer)? }))
}
