//! The order of all sessions between two peers, the same on both sides.

use std::fmt;

use crate::codec::{Malformed, Reader, Write};
use crate::fingerprint::hex;

/// Length of a session id.
pub(super) const SESSION_ID_LENGTH: usize = 8;

/// The name of a session, the same on both sides. Public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; SESSION_ID_LENGTH]);

impl SessionId {
    pub(super) fn new(bytes: [u8; SESSION_ID_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes.
    pub fn as_bytes(&self) -> &[u8; SESSION_ID_LENGTH] {
        &self.0
    }

    /// The session of these 8 bytes, for a record that refers to one.
    pub fn from_bytes(bytes: [u8; SESSION_ID_LENGTH]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// Where a session stands: both sides send on the highest that they hold. Ordered by time; the id
/// settles what began in the same millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// When it began, by its initiator's clock, moved past every session that it knew.
    pub(super) begun_ms: u64,
    pub(super) id: SessionId,
}

impl Rank {
    pub(super) fn write(&self, out: &mut impl Write) {
        out.put_u64(self.begun_ms);
        out.put(&self.id.0);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self { begun_ms: reader.u64()?, id: SessionId(*reader.array()?) })
    }
}
