//! Sessions as bytes, a part of the peer's record. They hold every secret in clear: whoever keeps
//! them seals them first. Spec: docs/PROTOCOL.md, "Saved sessions of wire 4".

use std::sync::Arc;

use zeroize::Zeroizing;

use super::handshake::Handshake;
use super::rank::Rank;
use super::session::{RankedSession, Ratchet};
use super::sessions::{MAX_SESSIONS, Sessions};
use crate::codec::{Reader, Write};
use crate::keys::IdentityKey;
use crate::session::{Established, Initiated, SavedRecordError};

/// The form described here; another one has another number.
const VERSION: u8 = 1;

const OURS: u8 = 1;
const ESTABLISHED: u8 = 2;
const WITH_HANDSHAKE: u8 = 4;

impl Sessions {
    /// The sessions as bytes, to be sealed: they hold every secret in clear. Wiped when dropped.
    ///
    /// Some 300 bytes with one session that was answered and nothing skipped.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(512));
        self.write(&mut bytes);
        bytes
    }

    /// Reads back what [`to_bytes`](Self::to_bytes) has made. It goes on as the sessions
    /// themselves would have. Costs a scalar multiplication for each session.
    ///
    /// # Errors
    ///
    /// Any [`SavedRecordError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SavedRecordError> {
        let mut reader = Reader::new(bytes);
        let sessions = Self::read(&mut reader)?;
        reader.end()?;
        Ok(sessions)
    }

    /// Appends the sessions: 67 bytes, 25 for each, and its state; one established session takes
    /// 299 altogether.
    pub(crate) fn write(&self, out: &mut impl Write) {
        let Self { their_identity, sending: _, older: _, retired } = self;
        out.put_u8(VERSION);
        out.put(their_identity.as_bytes());
        out.put_u8(u8::from(retired.is_some()));
        if let Some(retired) = retired {
            retired.write(out);
        }
        out.put_u8(self.count() as u8);
        for session in self.iter() {
            session.write(out);
        }
    }

    /// Reads what [`write`](Self::write) has written, and no further.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        read_version(reader, VERSION)?;
        let their_identity = IdentityKey::parse(reader.array::<65>()?)
            .map_err(|_| SavedRecordError::Key { field: "IK" })?
            .at_rest();
        let retired = match reader.u8()? {
            0 => None,
            1 => Some(Rank::read(reader)?),
            _ => return Err(SavedRecordError::Malformed),
        };
        let count = usize::from(reader.u8()?);
        if count > MAX_SESSIONS {
            return Err(SavedRecordError::Malformed);
        }
        let mut sessions: Vec<RankedSession> = Vec::with_capacity(count);
        for _ in 0..count {
            let session = RankedSession::read(reader)?;
            let follows = sessions.last().is_none_or(|last| last.rank > session.rank);
            // The first, which is sent on, has its handshake until it is answered.
            if !follows
                || session.has_handshake() != (sessions.is_empty() && !session.is_answered())
            {
                return Err(SavedRecordError::State);
            }
            sessions.push(session);
        }
        let mut sessions = sessions.into_iter();
        let sending = sessions.next();
        Ok(Self { their_identity, sending, older: sessions.collect(), retired })
    }
}

impl RankedSession {
    fn has_handshake(&self) -> bool {
        matches!(self.ratchet, Ratchet::Initiated { handshake: Some(_), .. })
    }

    fn write(&self, out: &mut impl Write) {
        let Self { rank, is_ours, newest_ms, ratchet } = self;
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        rank.write(out);
        out.put_u8(
            flag(*is_ours, OURS)
                | flag(self.is_answered(), ESTABLISHED)
                | flag(self.has_handshake(), WITH_HANDSHAKE),
        );
        out.put_u64(*newest_ms);
        match ratchet {
            Ratchet::Established(state) => state.write(out),
            Ratchet::Initiated { state, handshake } => {
                state.write(out);
                if let Some(handshake) = handshake {
                    out.put_field(handshake);
                }
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        let rank = Rank::read(reader)?;
        let (flags, newest_ms) = (reader.u8()?, reader.u64()?);
        let ratchet = match flags & !OURS {
            ESTABLISHED => Ratchet::Established(Established::read(reader)?),
            0 | WITH_HANDSHAKE if flags & OURS != 0 => {
                let state = Initiated::read(reader)?;
                let handshake = match flags & WITH_HANDSHAKE {
                    0 => None,
                    _ => Some(Arc::from(Handshake::parse(reader.field()?)?.bytes)),
                };
                Ratchet::Initiated { state, handshake }
            }
            _ => return Err(SavedRecordError::Malformed),
        };
        Ok(Self { rank, is_ours: flags & OURS != 0, newest_ms, ratchet })
    }
}

/// The version that saved bytes begin with, the only one that is read.
pub(super) fn read_version(reader: &mut Reader<'_>, expected: u8) -> Result<(), SavedRecordError> {
    match reader.u8()? {
        version if version == expected => Ok(()),
        0 => Err(SavedRecordError::Malformed),
        version => Err(SavedRecordError::Version { version }),
    }
}
