//! Records in stores that are trusted with nothing but keeping them: sealed before they leave.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    /// By user and peer, what failed saves were to keep, since the last that did not fail.
    tried: Mutex<HashMap<(String, String), Tried>>,
}

/// Failed saves that are remembered for a record: of more, those in the middle are not recognised.
const MAX_TRIED: usize = 8;

/// What tells a sealed record from every other: its form, its key's id and its random salt.
const HEAD: usize = 21;

#[derive(Default)]
struct Tried {
    heads: VecDeque<[u8; HEAD]>,
    /// Whether the record that was loaded last is one of them.
    is_kept: bool,
}

fn head_of(sealed: &[u8]) -> Option<[u8; HEAD]> {
    sealed.first_chunk().copied()
}

#[derive(Clone)]
struct Keys {
    identity: IdentityKeyPair,
    storage: StorageKey,
}

impl SealedSessions {
    /// Seals what `store` is to keep.
    pub fn new(store: Arc<dyn SealedStore>) -> Self {
        Self { store, keys: Mutex::default(), tried: Mutex::default() }
    }

    fn tried(&self) -> MutexGuard<'_, HashMap<(String, String), Tried>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which records a save has kept, or may have kept.
    fn note(&self, user_id: &str, heads: Vec<(String, [u8; HEAD])>, error: Option<&StoreError>) {
        let mut tried = self.tried();
        if error.is_none() && tried.is_empty() {
            return;
        }
        for (peer, head) in heads {
            let kept = error.is_none_or(|error| error.saved.contains(&peer));
            let key = (user_id.to_owned(), peer);
            if kept {
                tried.remove(&key);
                continue;
            }
            let Tried { heads, .. } = tried.entry(key).or_default();
            if error.is_some_and(|error| error.kind == StoreErrorKind::Conflict) {
                continue; // nothing was kept
            }
            heads.push_back(head);
            if heads.len() > MAX_TRIED {
                heads.remove(MAX_TRIED / 2); // kept was the first of an outage, or the last
            }
        }
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
        if let Some(tried) = self.tried().get_mut(&(user_id.to_owned(), peer_id.to_owned())) {
            tried.is_kept = head_of(&sealed).is_some_and(|head| tried.heads.contains(&head));
        }
        let record = PeerRecord::from_sealed(&storage, &identity, user_id, peer_id, &sealed);
        record.map(Some).map_err(unreadable)
    }

    async fn load_user(&self, user_id: &str) -> Result<Option<UserRecord>, StoreError> {
        let Keys { identity, storage } = self.keys(user_id)?;
        let Some(sealed) = self.store.load(user_id, user_id).await? else { return Ok(None) };
        let record = UserRecord::from_sealed(&storage, &identity, user_id, &sealed);
        record.map(Some).map_err(unreadable)
    }

    fn was_kept(&self, user_id: &str, peer_id: &str) -> bool {
        let key = (user_id.to_owned(), peer_id.to_owned());
        self.tried().get(&key).is_some_and(|tried| tried.is_kept)
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
        let heads = rows.iter().filter_map(|(peer, row)| Some((peer.clone(), head_of(row)?)));
        let heads = heads.collect();
        let outcome = self.store.save(user_id, rows).await;
        self.note(user_id, heads, outcome.as_ref().err());
        outcome
    }
}
