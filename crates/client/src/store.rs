//! What outlives a step: identities, records, nonces, fingerprints. One trait for each of the
//! documentation's adapters.
//!
//! Every method names the user, because the users of one app may share a store. A step of a user's
//! task writes once: [`SessionStore::save`] takes all records that the step changed.

use std::sync::Arc;

use async_trait::async_trait;
use stvor_protocol::{IdentityKeyPair, PeerRecord, UserRecord};

use crate::memory::MemoryStore;

/// A store did not do what it was asked. The step that needed it is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What is to be done about it.
    pub kind: StoreErrorKind,
    /// What happened, without user data and without a stop.
    pub message: String,
    /// A number by which whoever made the store finds what it threw.
    pub cause: Option<u64>,
    /// Records that a save has replaced before it failed with others, by peer.
    pub saved: Vec<String>,
}

/// What is to be done about a store's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The same call may succeed later.
    Failed,
    /// Another process has written what was read here: to be read again.
    Conflict,
    /// What is kept belongs to another identity than the one in use.
    OtherIdentity,
    /// What is kept, or the place where it is kept, cannot be read; trying again is no use.
    Damaged,
}

impl StoreError {
    /// It did not work; `message` says why, without user data and without a stop.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::of(StoreErrorKind::Failed, message)
    }

    /// An error of this kind.
    pub fn of(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None, saved: Vec::new() }
    }
}

/// Keeps a user's identity: made once, never replaced (I6).
#[async_trait]
pub trait IdentityStore: Send + Sync {
    /// Whether the user's identity is still to be made, by whoever calls first. Only a store knows
    /// that which keeps identities no longer than the process.
    fn is_to_be_made(&self, _user_id: &str) -> bool {
        false
    }
    /// The user's identity; made and kept at the first call, whoever calls first.
    async fn identity_key_pair(&self, user_id: &str) -> Result<IdentityKeyPair, StoreError>;
}

/// What a step changes: one write, whatever the step did.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Records of peers, by their ids.
    pub peers: Vec<(String, PeerRecord)>,
    /// The user's own record, if it changed.
    pub user: Option<UserRecord>,
}

impl Changes {
    /// The records of the peers `saved`, and the rest with the user's own.
    pub(crate) fn split(self, saved: &[String]) -> (Self, Self) {
        let Self { peers, user } = self;
        let (kept, rest) = peers.into_iter().partition(|(id, _)| saved.contains(id));
        (Self { peers: kept, user: None }, Self { peers: rest, user })
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.user.is_none()
    }
}

/// Keeps one record for each peer of a user, and one for the user.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Says who the user is, before anything of theirs is read or written.
    fn identify(&self, _user_id: &str, _identity: &IdentityKeyPair) {}
    /// The peer's record that was last saved.
    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<PeerRecord>, StoreError>;
    /// The user's own record that was last saved.
    async fn load_user(&self, user_id: &str) -> Result<Option<UserRecord>, StoreError>;
    /// Whether what [`load`](Self::load) has last given of this peer is what a failed
    /// [`save`](Self::save) was to keep: it was kept all the same, and only the answer was lost.
    fn was_kept(&self, _user_id: &str, _peer_id: &str) -> bool {
        false
    }
    /// Replaces these records: all of them or, with an error, none. After an error nobody knows
    /// whether they were replaced, unless the error says so.
    async fn save(&self, user_id: &str, changes: &Changes) -> Result<(), StoreError>;
}

/// Remembers nonces of opened messages for at least five minutes (I5).
#[async_trait]
pub trait ReplayCache: Send + Sync {
    /// Marks the nonce, in one atomic step; `true` if it had been marked before.
    async fn check_and_mark(
        &self,
        user_id: &str,
        peer_id: &str,
        nonce: [u8; 12],
    ) -> Result<bool, StoreError>;

    /// Marks several at once; for each, in order, whether it had been marked before.
    async fn check_and_mark_all(
        &self,
        user_id: &str,
        nonces: &[(String, [u8; 12])],
    ) -> Result<Vec<bool>, StoreError> {
        let each = nonces.iter().map(|(peer, nonce)| self.check_and_mark(user_id, peer, *nonce));
        futures_util::future::try_join_all(each).await
    }
}

/// Keeps the fingerprint of the identity key first seen of each peer.
#[async_trait]
pub trait TofuStore: Send + Sync {
    /// Pins `fingerprint` if nothing is pinned yet.
    async fn store_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError>;
    /// Pins `fingerprint` in place of any other: the application has accepted a change.
    async fn replace_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError>;
    /// Whether `fingerprint` is the pinned one; `None` if nothing is pinned.
    async fn verify_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<Option<bool>, StoreError>;
}

/// The four stores of a user. Cloning shares them.
#[derive(Clone)]
pub struct Stores {
    /// Long-term keys.
    pub identity: Arc<dyn IdentityStore>,
    /// Records.
    pub sessions: Arc<dyn SessionStore>,
    /// Nonces.
    pub replay: Arc<dyn ReplayCache>,
    /// Fingerprints.
    pub tofu: Arc<dyn TofuStore>,
}

impl Stores {
    /// Stores that forget everything when the last clone is dropped. Make one for an app, not one
    /// for a connection: a user who connects again then keeps their identity and sessions.
    pub fn memory() -> Self {
        let store = Arc::new(MemoryStore::default());
        Self {
            identity: store.clone(),
            sessions: store.clone(),
            replay: store.clone(),
            tofu: store,
        }
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}
