//! Stores that a test watches, lets fail or holds up.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use stvor_client::{Changes, ReplayCache, SessionStore, StoreError, Stores, TofuStore};
use stvor_protocol::{IdentityKeyPair, PeerRecord, UserRecord};

/// What a store is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Load {
        peer: String,
    },
    LoadUser,
    Save,
    /// A save was done, and of this many replaced prekeys if the user's own record was in it.
    Saved {
        replaced: Option<usize>,
    },
    Mark {
        nonces: usize,
    },
    Pin,
    Replace,
    Verify,
}

/// The same stores, but that `at` is told of each call beforehand, and of a save once more when it
/// is done; what it fails with the call fails with.
pub(crate) fn watched<At, Answer>(inner: &Stores, at: At) -> Stores
where
    At: Fn(Call) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let at = Box::new(move |call| -> BoxFuture<'static, _> { Box::pin(at(call)) });
    let watched = Arc::new(Watched { inner: inner.clone(), at });
    let (sessions, replay, tofu) = (watched.clone(), watched.clone(), watched);
    Stores { sessions, replay, tofu, ..inner.clone() }
}

/// How often something is to fail from now on.
#[derive(Clone, Default)]
pub(crate) struct Failures(Arc<AtomicUsize>);

impl Failures {
    pub(crate) fn set(&self, times: usize) {
        self.0.store(times, SeqCst);
    }

    pub(crate) fn left(&self) -> usize {
        self.0.load(SeqCst)
    }

    pub(crate) fn next(&self) -> Result<(), StoreError> {
        let failing = self.0.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() { Err(StoreError::failed("the disk is on fire")) } else { Ok(()) }
    }
}

/// Stores of which the calls that `is_it` fail as often as they are told to.
pub(crate) fn failing_at(inner: &Stores, is_it: fn(&Call) -> bool) -> (Failures, Stores) {
    let failures = Failures::default();
    let fails = failures.clone();
    let stores = watched(inner, move |call| {
        std::future::ready(if is_it(&call) { fails.next() } else { Ok(()) })
    });
    (failures, stores)
}

struct Watched {
    inner: Stores,
    at: Box<dyn Fn(Call) -> BoxFuture<'static, Result<(), StoreError>> + Send + Sync>,
}

#[async_trait]
impl SessionStore for Watched {
    fn identify(&self, user_id: &str, identity: &IdentityKeyPair) {
        self.inner.sessions.identify(user_id, identity);
    }

    fn was_kept(&self, user_id: &str, peer_id: &str) -> bool {
        self.inner.sessions.was_kept(user_id, peer_id)
    }

    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<PeerRecord>, StoreError> {
        (self.at)(Call::Load { peer: peer_id.to_owned() }).await?;
        self.inner.sessions.load(user_id, peer_id).await
    }

    async fn load_user(&self, user_id: &str) -> Result<Option<UserRecord>, StoreError> {
        (self.at)(Call::LoadUser).await?;
        self.inner.sessions.load_user(user_id).await
    }

    async fn save(&self, user_id: &str, changes: &Changes) -> Result<(), StoreError> {
        (self.at)(Call::Save).await?;
        self.inner.sessions.save(user_id, changes).await?;
        let own = changes.user.as_ref();
        let replaced = own.map(|own| own.prekeys().older_local_keys().count());
        (self.at)(Call::Saved { replaced }).await
    }
}

#[async_trait]
impl ReplayCache for Watched {
    async fn check_and_mark(
        &self,
        user_id: &str,
        peer_id: &str,
        nonce: [u8; 12],
    ) -> Result<bool, StoreError> {
        (self.at)(Call::Mark { nonces: 1 }).await?;
        self.inner.replay.check_and_mark(user_id, peer_id, nonce).await
    }

    async fn check_and_mark_all(
        &self,
        user_id: &str,
        nonces: &[(String, [u8; 12])],
    ) -> Result<Vec<bool>, StoreError> {
        (self.at)(Call::Mark { nonces: nonces.len() }).await?;
        self.inner.replay.check_and_mark_all(user_id, nonces).await
    }
}

#[async_trait]
impl TofuStore for Watched {
    async fn store_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        (self.at)(Call::Pin).await?;
        self.inner.tofu.store_fingerprint(user_id, peer_id, fingerprint).await
    }

    async fn replace_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        (self.at)(Call::Replace).await?;
        self.inner.tofu.replace_fingerprint(user_id, peer_id, fingerprint).await
    }

    async fn verify_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<Option<bool>, StoreError> {
        (self.at)(Call::Verify).await?;
        self.inner.tofu.verify_fingerprint(user_id, peer_id, fingerprint).await
    }
}
