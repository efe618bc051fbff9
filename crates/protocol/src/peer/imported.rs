//! A session that the original has saved, on its way into a record.
//!
//! It waits for the peer's keys: a record of wire 3 begins with a bundle, and the original keeps
//! none. Until they are shown it says one thing only, whose they have to be.

use std::sync::Arc;

use super::PeerRecord;
use crate::keys::IdentityKeyPair;
use crate::session::{SavedSessionError, Session};

/// Why a saved session cannot be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It is not in the original's form, or holds a state that must not be gone on from.
    #[error(transparent)]
    Session(#[from] SavedSessionError),
    /// It was made with another identity key.
    #[error("the session belongs to another identity")]
    OtherIdentity,
}

impl PeerRecord {
    /// A record that goes on with a session as the original has saved it: UTF-8 JSON. `ours` is
    /// the identity that it was made with.
    ///
    /// # Errors
    ///
    /// Any [`ImportError`].
    pub fn import(ours: &IdentityKeyPair, json: &[u8], now_ms: u64) -> Result<Self, ImportError> {
        let session = Session::deserialize(json)?;
        if session.our_identity() != ours.public() {
            return Err(ImportError::OtherIdentity);
        }
        Ok(Self { imported: Some(Arc::new(session)), ..Self::new(now_ms) })
    }
}
