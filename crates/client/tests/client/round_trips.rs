//! What a step asks of the stores: each of them once, whatever the step does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::people::{Person, open};
use crate::relays::{FakeRelay, Kind};
use async_trait::async_trait;
use futures_util::future::join_all;
use stvor_client::{
    Changes, ReplayCache, SendOptions, SessionStore, StoreError, Stores, TofuStore,
};
use stvor_protocol::{PeerRecord, UserRecord};

/// Counts what is asked.
struct Counting {
    inner: Stores,
    loads: AtomicUsize,
    saves: AtomicUsize,
    nonces: AtomicUsize,
    pins: AtomicUsize,
}

/// How often something was asked since the last time.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    loads: usize,
    saves: usize,
    nonces: usize,
    pins: usize,
}

impl Counting {
    fn stores() -> (Stores, Arc<Self>) {
        let inner = Stores::memory();
        let [loads, saves, nonces, pins] = [(); 4].map(|()| AtomicUsize::new(0));
        let counting = Arc::new(Self { inner: inner.clone(), loads, saves, nonces, pins });
        let (sessions, replay, tofu) = (counting.clone(), counting.clone(), counting.clone());
        (Stores { sessions, replay, tofu, ..inner }, counting)
    }

    fn take(&self) -> Asked {
        let take = |count: &AtomicUsize| count.swap(0, Ordering::SeqCst);
        let Self { inner: _, loads, saves, nonces, pins } = self;
        Asked { loads: take(loads), saves: take(saves), nonces: take(nonces), pins: take(pins) }
    }
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::SeqCst);
}

#[async_trait]
impl SessionStore for Counting {
    async fn load(&self, user_id: &str, peer_id: &str) -> Result<Option<PeerRecord>, StoreError> {
        count(&self.loads);
        self.inner.sessions.load(user_id, peer_id).await
    }

    async fn load_user(&self, user_id: &str) -> Result<Option<UserRecord>, StoreError> {
        count(&self.loads);
        self.inner.sessions.load_user(user_id).await
    }

    async fn save(&self, user_id: &str, changes: &Changes) -> Result<(), StoreError> {
        count(&self.saves);
        self.inner.sessions.save(user_id, changes).await
    }
}

#[async_trait]
impl ReplayCache for Counting {
    async fn check_and_mark(
        &self,
        user_id: &str,
        peer_id: &str,
        nonce: [u8; 12],
    ) -> Result<bool, StoreError> {
        count(&self.nonces);
        self.inner.replay.check_and_mark(user_id, peer_id, nonce).await
    }

    async fn check_and_mark_all(
        &self,
        user_id: &str,
        nonces: &[(String, [u8; 12])],
    ) -> Result<Vec<bool>, StoreError> {
        count(&self.nonces);
        self.inner.replay.check_and_mark_all(user_id, nonces).await
    }
}

#[async_trait]
impl TofuStore for Counting {
    async fn store_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        count(&self.pins);
        self.inner.tofu.store_fingerprint(user_id, peer_id, fingerprint).await
    }

    async fn replace_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<(), StoreError> {
        count(&self.pins);
        self.inner.tofu.replace_fingerprint(user_id, peer_id, fingerprint).await
    }

    async fn verify_fingerprint(
        &self,
        user_id: &str,
        peer_id: &str,
        fingerprint: &str,
    ) -> Result<Option<bool>, StoreError> {
        count(&self.pins);
        self.inner.tofu.verify_fingerprint(user_id, peer_id, fingerprint).await
    }
}

#[tokio::test]
async fn with_peers_who_are_known_a_step_writes_once_and_marks_nonces_once_whoever_takes_part() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let (stores, counting) = Counting::stores();
    let mut alice = Person::join_with(&app, "alice", stores).await;
    let mut peers = Vec::new();
    for i in 0..10 {
        let mut peer = Person::join(&app, &format!("peer {i}")).await;
        let options = SendOptions { receipt: true, ..SendOptions::default() };
        let sent = tokio::spawn(alice.send_with(&format!("peer {i}"), "hello", options));
        peer.next().await;
        sent.await.unwrap().unwrap();
        peers.push(peer);
    }
    counting.take();

    // Nobody handles these, so no receipts come.
    let sends: Vec<_> = (0..50).map(|i| alice.send(&format!("peer {}", i % 10), "all")).collect();
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    assert_eq!(counting.take(), Asked { loads: 0, saves: 1, nonces: 0, pins: 0 });

    peers[0].send("alice", "one").await.unwrap();
    alice.messages.recv().await.unwrap();
    assert_eq!(counting.take(), Asked { loads: 0, saves: 1, nonces: 1, pins: 0 });
}
