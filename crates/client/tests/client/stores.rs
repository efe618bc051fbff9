//! A store that fails costs a step, never a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::people::{Deaf, Person, open};
use crate::relays::{FakeRelay, Kind};
use async_trait::async_trait;
use stvor_client::{Changes, Code, ReplayCache, SessionStore, StoreError, Stores};
use stvor_protocol::{PeerRecord, UserRecord};

/// Works, until told how often to fail.
struct Failing {
    inner: Stores,
    saves: AtomicUsize,
    nonces: AtomicUsize,
}

impl Failing {
    fn stores() -> (Stores, Arc<Self>) {
        let inner = Stores::memory();
        let (saves, nonces) = (0.into(), 0.into());
        let failing = Arc::new(Self { inner: inner.clone(), saves, nonces });
        (Stores { sessions: failing.clone(), replay: failing.clone(), ..inner }, failing)
    }

    /// The next `saves` saves fail, and the next `nonces` checks of a nonce.
    fn fail(&self, saves: usize, nonces: usize) {
        self.saves.store(saves, Ordering::SeqCst);
        self.nonces.store(nonces, Ordering::SeqCst);
    }
}

fn fails(left: &AtomicUsize) -> Result<(), StoreError> {
    let failing = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    if failing.is_ok() { Err(StoreError::failed("the disk is on fire")) } else { Ok(()) }
}

#[async_trait]
impl SessionStore for Failing {
    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<PeerRecord>, StoreError> {
        self.inner.sessions.load(user_id, peer_id).await
    }

    async fn load_user(&self, user_id: &str) -> Result<Option<UserRecord>, StoreError> {
        self.inner.sessions.load_user(user_id).await
    }

    async fn save(&self, user_id: &str, changes: &Changes) -> Result<(), StoreError> {
        fails(&self.saves)?;
        self.inner.sessions.save(user_id, changes).await
    }
}

#[async_trait]
impl ReplayCache for Failing {
    async fn check_and_mark(
        &self,
        user_id: &str,
        peer_id: &str,
        nonce: [u8; 12],
    ) -> Result<bool, StoreError> {
        fails(&self.nonces)?;
        self.inner.replay.check_and_mark(user_id, peer_id, nonce).await
    }
}

#[tokio::test]
async fn a_user_whose_prekeys_are_not_saved_is_not_shown_and_can_connect_later() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let (stores, failing) = Failing::stores();
    failing.fail(1, 0);
    let error = app.connect("alice", stores.clone(), Arc::new(Deaf)).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::StorageFailed, true));
    assert!(!relay.knows("alice"), "nobody may use keys that we would not know again");
    let mut alice = Person::join_with(&app, "alice", stores).await;
    let bob = Person::join(&app, "bob").await;
    bob.send("alice", "hello").await.unwrap();
    assert_eq!(alice.next().await.1, "hello");
}

#[tokio::test]
async fn a_send_whose_step_is_not_saved_fails_and_the_next_one_arrives() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let (stores, failing) = Failing::stores();
    let alice = Person::join_with(&app, "alice", stores).await;
    let mut bob = Person::join(&app, "bob").await;
    failing.fail(1, 0);
    let error = alice.send("bob", "one").await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::StorageFailed, true));
    assert!(relay.seen().is_empty(), "nothing leaves before it is committed");
    alice.send("bob", "two").await.unwrap();
    assert_eq!(bob.next().await.1, "two");
}

#[tokio::test]
async fn a_received_message_whose_step_is_not_saved_is_opened_again() {
    for (saves, nonces) in [(2, 0), (0, 2), (1, 1)] {
        let relay = FakeRelay::start(Kind::Mock).await;
        let app = open(&relay.url).await;
        let alice = Person::join(&app, "alice").await;
        let (stores, failing) = Failing::stores();
        let mut bob = Person::join_with(&app, "bob", stores).await;
        failing.fail(saves, nonces);
        for n in 0..3 {
            alice.send("bob", &n.to_string()).await.unwrap();
        }
        for n in 0..3 {
            assert_eq!(bob.next().await.1, n.to_string());
        }
        assert_eq!(bob.error().await.code, Code::StorageFailed);
    }
}

#[tokio::test]
async fn a_store_that_goes_on_failing_is_tried_once_a_second_whatever_is_due() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let mut alice = Person::join(&app, "alice").await;
    let (stores, failing) = Failing::stores();
    let mut bob = Person::join_with(&app, "bob", stores).await;
    alice.send("bob", "one").await.unwrap();
    assert_eq!(bob.next().await.1, "one"); // a receipt will be due
    failing.fail(usize::MAX, 0);
    alice.send("bob", "two").await.unwrap(); // waits to be opened
    let _first = bob.error().await;
    let start = Instant::now();
    // What arrives, or is handled, is tried once when it does.
    for _ in 0..6 {
        assert_eq!(bob.error().await.code, Code::StorageFailed);
    }
    let (took, tries) = (start.elapsed(), usize::MAX - failing.saves.load(Ordering::SeqCst));
    assert!(took >= Duration::from_secs(2), "six more failures in {took:?}");
    assert!(tries < 20, "{tries} attempts to save");
    failing.fail(0, 0);
    assert_eq!(bob.next().await.1, "two");
    bob.send("alice", "three").await.unwrap();
    assert_eq!(alice.next().await.1, "three");
}
