//! Safety numbers: the same on both sides, of the accepted identity, and given only once it is
//! pinned.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use stvor_client::{Code, StoreError, Stores, TofuStore};

use crate::people::{Person, open};
use crate::relays::{FakeRelay, Kind};

/// Pins nothing as often as it is told to.
struct Flaky {
    inner: Stores,
    failures: Arc<AtomicUsize>,
}

#[async_trait]
impl TofuStore for Flaky {
    async fn store_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        let left =
            self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_ok() {
            return Err(StoreError::failed("disk full"));
        }
        self.inner.tofu.store_fingerprint(user_id, peer_id, fingerprint).await
    }

    async fn replace_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        self.inner.tofu.replace_fingerprint(user_id, peer_id, fingerprint).await
    }

    async fn verify_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<Option<bool>, StoreError> {
        self.inner.tofu.verify_fingerprint(user_id, peer_id, fingerprint).await
    }
}

#[tokio::test]
async fn a_number_is_not_given_before_the_identity_that_it_is_of_is_pinned() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let (failures, inner) = (Arc::new(AtomicUsize::new(1)), Stores::memory());
    let tofu = Arc::new(Flaky { inner: inner.clone(), failures });
    let app = open(&relay.url).await;
    let alice = Person::join_with(&app, "alice", Stores { tofu, ..inner.clone() }).await;
    let bob = Person::join(&open(&relay.url).await, "bob").await;
    let error = alice.client.safety_number("bob").await.unwrap_err();
    assert_eq!(error.code, Code::StorageFailed);
    let pinned = inner.tofu.verify_fingerprint("alice", "bob", bob.client.fingerprint()).await;
    assert_eq!(pinned, Ok(None));

    let (here, theirs) = alice.client.safety_number("bob").await.unwrap();
    assert_eq!(theirs.fingerprint(), bob.client.fingerprint());
    let pinned = inner.tofu.verify_fingerprint("alice", "bob", bob.client.fingerprint()).await;
    assert_eq!(pinned, Ok(Some(true)));
    let (there, _) = bob.client.safety_number("alice").await.unwrap();
    assert_eq!(here.to_bytes(), there.to_bytes());
}

#[tokio::test]
async fn a_peer_who_is_away_and_known_by_a_record_alone_has_a_number() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let stores = Stores::memory();
    let alice = Person::join_with(&app, "alice", stores.clone()).await;
    let bobs = open(&relay.url).await;
    let bob = Person::join(&bobs, "bob").await;
    alice.send("bob", "hello").await.unwrap();
    bobs.close().await;
    app.close().await;

    // Alice connects anew, and knows nothing of bob but her record and her pin.
    let app = open(&relay.url).await;
    let alice = Person::join_with(&app, "alice", stores).await;
    let (_, theirs) = alice.client.safety_number("bob").await.unwrap();
    assert_eq!(theirs.fingerprint(), bob.client.fingerprint());
}
