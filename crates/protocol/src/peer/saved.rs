//! Peer and user records as bytes, sealed for a store.
//!
//! Spec: docs/PROTOCOL.md, "Saved record".

use std::collections::BTreeSet;
use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::legacy::LegacyInbox;
use super::{MAX_FORMER_IDENTITIES, PeerRecord, UserRecord};
use crate::codec::{Reader, Write as _};
use crate::delivery::Delivery;
use crate::keys::IdentityKeyPair;
use crate::record::Record;
use crate::sealed::{SealedError, StorageKey};
use crate::session::{SavedRecordError, Session};
use crate::wire4::{Prekeys, Sessions};

/// The form written here, the first byte of it.
const VERSION: u8 = 1;

const HAS_LEGACY: u8 = 1;
const HAS_SESSIONS: u8 = 1 << 1;
const HAS_FORMER: u8 = 1 << 2;
const HAS_IMPORTED: u8 = 1 << 3;

/// Kinds of record in a sealing's context.
const PEER: &[u8] = b"peer";
const USER: &[u8] = b"user";

/// Peers of a user record at most; more were not written by us.
const MAX_ACTIVE: usize = 1 << 24;

/// Why a stored record cannot be used. Nothing was taken from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// It does not open.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// It opens, and is no record.
    #[error(transparent)]
    Record(#[from] SavedRecordError),
}

impl PeerRecord {
    /// The record, sealed for the place where `user` keeps what concerns `peer`.
    pub fn to_sealed(
        &self,
        key: &StorageKey,
        user: &str,
        peer: &str,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        key.seal(&[PEER, user.as_bytes(), peer.as_bytes()], &self.to_bytes(), rng)
    }

    /// Opens what [`to_sealed`](Self::to_sealed) has sealed. `ours` is the identity that the
    /// record was made with.
    ///
    /// # Errors
    ///
    /// Any [`StoredError`].
    pub fn from_sealed(
        key: &StorageKey,
        ours: &IdentityKeyPair,
        user: &str,
        peer: &str,
        sealed: &[u8],
    ) -> Result<Self, StoredError> {
        let bytes = key.open(&[PEER, user.as_bytes(), peer.as_bytes()], sealed)?;
        Ok(Self::from_bytes(ours, &bytes)?)
    }

    /// The record as bytes, secrets included.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let Self { legacy, imported, legacy_inbox, sessions, former, delivery, newest_bundle_ms } =
            self;
        let mut out = Zeroizing::new(Vec::with_capacity(1024));
        out.put_u8(VERSION);
        let has = |is_some, flag| if is_some { flag } else { 0 };
        out.put_u8(
            has(legacy.is_some(), HAS_LEGACY)
                | has(sessions.is_some(), HAS_SESSIONS)
                | has(!former.is_empty(), HAS_FORMER)
                | has(imported.is_some(), HAS_IMPORTED),
        );
        out.put_u64(*newest_bundle_ms);
        if let Some(legacy) = legacy {
            legacy.write(&mut out);
        }
        if let Some(sessions) = sessions {
            sessions.write(&mut out);
        }
        if !former.is_empty() {
            out.put_u8(former.len() as u8);
            former.iter().for_each(|sessions| sessions.write(&mut out));
        }
        if let Some(imported) = imported {
            out.put_field(&imported.serialize());
        }
        legacy_inbox.write(&mut out);
        delivery.write(&mut out);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written; to be [resumed](Self::resumed).
    ///
    /// # Errors
    ///
    /// Any [`SavedRecordError`].
    pub fn from_bytes(ours: &IdentityKeyPair, bytes: &[u8]) -> Result<Self, SavedRecordError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let flags = reader.u8()?;
        if flags & !(HAS_LEGACY | HAS_SESSIONS | HAS_FORMER | HAS_IMPORTED) != 0 {
            return Err(SavedRecordError::Malformed);
        }
        let newest_bundle_ms = reader.u64()?;
        let legacy = match flags & HAS_LEGACY {
            0 => None,
            _ => Some(Arc::new(Record::read(ours.public(), &mut reader)?)),
        };
        let sessions = match flags & HAS_SESSIONS {
            0 => None,
            _ => Some(Arc::new(Sessions::read(&mut reader)?)),
        };
        let former = match flags & HAS_FORMER {
            0 => Vec::new(),
            _ => read_former(&mut reader)?,
        };
        let imported = match flags & HAS_IMPORTED {
            0 => None,
            _ => Some(Arc::new(read_imported(ours, reader.field()?)?)),
        };
        let legacy_inbox = LegacyInbox::read(&mut reader)?;
        let delivery = Arc::new(Delivery::read(&mut reader, 0)?); // its timers are set when it is resumed
        reader.end()?;
        let former = Arc::new(former);
        Ok(Self { legacy, imported, legacy_inbox, sessions, former, delivery, newest_bundle_ms })
    }
}

impl UserRecord {
    /// The record, sealed for the place where `user` keeps it.
    pub fn to_sealed(
        &self,
        key: &StorageKey,
        user: &str,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        key.seal(&[USER, user.as_bytes()], &self.to_bytes(), rng)
    }

    /// Opens what [`to_sealed`](Self::to_sealed) has sealed.
    ///
    /// # Errors
    ///
    /// Any [`StoredError`].
    pub fn from_sealed(
        key: &StorageKey,
        ours: &IdentityKeyPair,
        user: &str,
        sealed: &[u8],
    ) -> Result<Self, StoredError> {
        let bytes = key.open(&[USER, user.as_bytes()], sealed)?;
        Ok(Self::from_bytes(ours, &bytes)?)
    }

    /// The record as bytes, secrets included.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let Self { prekeys, active } = self;
        let mut out = Zeroizing::new(Vec::with_capacity(16 << 10));
        out.put_u8(VERSION);
        out.put_field(&prekeys.to_bytes());
        out.put_varint(active.len() as u64);
        for peer in active.iter() {
            out.put_field(peer.as_bytes());
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written.
    ///
    /// # Errors
    ///
    /// Any [`SavedRecordError`].
    pub fn from_bytes(ours: &IdentityKeyPair, bytes: &[u8]) -> Result<Self, SavedRecordError> {
        let mut reader = Reader::new(bytes);
        version(&mut reader)?;
        let prekeys = Prekeys::from_bytes(ours, reader.field()?)?;
        let count = reader.length()?;
        if count > MAX_ACTIVE {
            return Err(SavedRecordError::Malformed);
        }
        let mut active = BTreeSet::<Arc<str>>::new();
        for _ in 0..count {
            let peer = std::str::from_utf8(reader.field()?);
            let peer = peer.map_err(|_| SavedRecordError::Malformed)?;
            if active.last().is_some_and(|last| **last >= *peer) {
                return Err(SavedRecordError::State); // ascending: a record has one encoding
            }
            active.insert(peer.into());
        }
        reader.end()?;
        Ok(Self { prekeys, active: active.into() })
    }
}

fn read_former(reader: &mut Reader<'_>) -> Result<Vec<Sessions>, SavedRecordError> {
    let count = usize::from(reader.u8()?);
    if !(1..=MAX_FORMER_IDENTITIES).contains(&count) {
        return Err(SavedRecordError::State);
    }
    let mut former = Vec::with_capacity(count);
    for _ in 0..count {
        let sessions = Sessions::read(reader)?;
        if sessions.count() > 0 {
            return Err(SavedRecordError::State);
        }
        former.push(sessions);
    }
    Ok(former)
}

fn read_imported(ours: &IdentityKeyPair, json: &[u8]) -> Result<Session, SavedRecordError> {
    let session = Session::deserialize(json).map_err(|_| SavedRecordError::Malformed)?;
    if session.our_identity() != ours.public() {
        return Err(SavedRecordError::Identity);
    }
    if *session.serialize() != json {
        return Err(SavedRecordError::Malformed); // a record has one encoding
    }
    Ok(session)
}

fn version(reader: &mut Reader<'_>) -> Result<(), SavedRecordError> {
    match reader.u8()? {
        VERSION => Ok(()),
        version => Err(SavedRecordError::Version { version }),
    }
}
