//! Records in stores that are trusted with nothing but keeping them: sealed before they leave.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use stvor_protocol::{
    IdentityKeyPair, PeerRecord, SealedError, StorageKey, StoredError, UserRecord,
};

use crate::random::OsRandom;
use crate::store::{Changes, SessionStore, StoreError, StoreErrorKind};

/// Keeps bytes for each peer of a user. The user's own record is kept under the user's own id:
/// nobody is a peer of themselves.
#[async_trait]
pub trait SealedStore: Send + Sync {
    /// What was last saved for the peer.
    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Replaces all of these. Where only some can be replaced, an error is returned, and a reader
    /// may find any of them: they are given in an order in which each is right without the next.
    async fn save(&self, user_id: &str, rows: Vec<(String, Vec<u8>)>) -> Result<(), StoreError>;
}

/// A [`SessionStore`] that seals what it gives to a [`SealedStore`].
pub struct SealedSessions {
    store: Arc<dyn SealedStore>,
    /// Of the users who have come.
    keys: Mutex<HashMap<String, Keys>>,
}

#[derive(Clone)]
struct Keys {
    identity: IdentityKeyPair,
    storage: StorageKey,
}

impl SealedSessions {
    /// Seals what `store` is to keep.
    pub fn new(store: Arc<dyn SealedStore>) -> Self {
        Self { store, keys: Mutex::default() }
    }

    fn keys(&self, user_id: &str) -> Result<Keys, StoreError> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys.get(user_id).cloned();
        keys.ok_or_else(|| StoreError::failed("the user's identity is not known yet"))
    }
}

/// What a record that cannot be read says about its store.
fn unreadable(error: StoredError) -> StoreError {
    let kind = match error {
        StoredError::Sealed(SealedError::OtherIdentity) => StoreErrorKind::OtherIdentity,
        _ => StoreErrorKind::Damaged,
    };
    StoreError::of(kind, error.to_string())
}

#[async_trait]
impl SessionStore for SealedSessions {
    fn identify(&self, user_id: &str, identity: &IdentityKeyPair) {
        let storage = StorageKey::derive(identity);
        let keys = Keys { identity: identity.clone(), storage };
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(user_id.to_owned(), keys);
    }

    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<PeerRecord>, StoreError> {
        let Keys { identity, storage } = self.keys(user_id)?;
        let Some(sealed) = self.store.load(user_id, peer_id).await? else { return Ok(None) };
        let record = PeerRecord::from_sealed(&storage, &identity, user_id, peer_id, &sealed);
        record.map(Some).map_err(unreadable)
    }

    async fn load_user(&self, user_id: &str) -> Result<Option<UserRecord>, StoreError> {
        let Keys { identity, storage } = self.keys(user_id)?;
        let Some(sealed) = self.store.load(user_id, user_id).await? else { return Ok(None) };
        let record = UserRecord::from_sealed(&storage, &identity, user_id, &sealed);
        record.map(Some).map_err(unreadable)
    }

    /// Peers first, the user's own record last. Should only the first be kept, a one-time prekey
    /// outlives its use, which the session made with it recognises; the other way round, a first
    /// message could not be opened any more.
    async fn save(&self, user_id: &str, changes: &Changes) -> Result<(), StoreError> {
        let Keys { storage, .. } = self.keys(user_id)?;
        let mut random = OsRandom::default();
        let peers = changes.peers.iter().map(|(peer, record)| {
            (peer.clone(), record.to_sealed(&storage, user_id, peer, &mut random))
        });
        let mut rows: Vec<_> = peers.collect();
        if let Some(own) = &changes.user {
            rows.push((user_id.to_owned(), own.to_sealed(&storage, user_id, &mut random)));
        }
        self.store.save(user_id, rows).await
    }
}
