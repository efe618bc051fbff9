//! A received message of wire 4, taken apart.

use std::fmt;

use super::rank::Rank;
use super::schedule::session_id;
use super::trailer::Trailer;
use super::{Decrypt4Error, Parties, SessionId};
use crate::aead::TAG_LENGTH;
use crate::curve;
use crate::header::{HEADER_LENGTH, Header};
use crate::keys::IdentityKey;

/// A message whose header and trailer are well-formed. Nothing in it is authenticated yet.
pub struct Message4<'a> {
    pub(super) header: Header,
    pub(super) header_bytes: &'a [u8; HEADER_LENGTH],
    pub(super) trailer: Trailer<'a>,
    pub(super) trailer_bytes: &'a [u8],
    pub(super) ciphertext: &'a [u8],
}

impl<'a> Message4<'a> {
    /// `header` and `trailer` are the two halves of the [header field](crate::header_field),
    /// decoded; `ciphertext` ends in the tag.
    ///
    /// # Errors
    ///
    /// [`Decrypt4Error::Malformed`]
    pub fn parse(
        header: &'a [u8],
        trailer: &'a [u8],
        ciphertext: &'a [u8],
    ) -> Result<Self, Decrypt4Error> {
        let header_bytes = header.try_into().map_err(|_| Decrypt4Error::Malformed)?;
        if ciphertext.len() < TAG_LENGTH {
            return Err(Decrypt4Error::Malformed);
        }
        Ok(Self {
            header: Header::parse(header).map_err(|_| Decrypt4Error::Malformed)?,
            header_bytes,
            trailer: Trailer::parse(trailer)?,
            trailer_bytes: trailer,
            ciphertext,
        })
    }

    /// When it says that it was sealed, milliseconds since the Unix epoch.
    pub fn timestamp_ms(&self) -> u64 {
        self.trailer.timestamp_ms
    }

    /// The session that it says it belongs to.
    pub fn session(&self) -> SessionId {
        self.trailer.rank.id
    }

    /// When it says that the session began: what [`Sessions::begin`](crate::Sessions::begin) asks
    /// for where the message cannot be opened.
    pub fn begun_ms(&self) -> u64 {
        self.trailer.rank.begun_ms
    }

    /// Whether it brings a handshake: its sender has not heard from us on its session.
    pub fn has_handshake(&self) -> bool {
        self.trailer.handshake.is_some()
    }

    /// Whether it brings a handshake, and one with `identity`, the recipient's of `parties`. The
    /// session's id says so, and anybody can compute one that does.
    pub fn is_begun_with(&self, parties: Parties<'_>, identity: &IdentityKey) -> bool {
        let (Rank { begun_ms, id }, ephemeral) = (self.trailer.rank, &self.header.ratchet_key);
        self.trailer.handshake.as_ref().is_some_and(|handshake| {
            session_id(begun_ms, parties, identity, ephemeral, handshake.bytes) == id
        })
    }

    /// Whose it says it is, if it brings a handshake. Costs a square root.
    ///
    /// # Errors
    ///
    /// [`Decrypt4Error::Malformed`]: the identity key is not a point on the curve.
    pub fn sender_identity(&self) -> Result<Option<IdentityKey>, Decrypt4Error> {
        let Some(handshake) = &self.trailer.handshake else { return Ok(None) };
        let key = curve::PublicKey::parse_compressed(handshake.identity);
        key.map(|key| Some(key.into())).ok_or(Decrypt4Error::Malformed)
    }
}

impl fmt::Debug for Message4<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, header_bytes: _, trailer, trailer_bytes: _, ciphertext: _ } = self;
        f.debug_struct("Message4")
            .field("header", header)
            .field("session", &trailer.rank.id)
            .field("has_handshake", &trailer.handshake.is_some())
            .finish_non_exhaustive()
    }
}
