//! A store that fails costs a step, never a message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stvor_client::{Code, Stores};

use crate::adapters::{Call, Failures, watched};
use crate::people::{Deaf, Person, open};
use crate::relays::{FakeRelay, Kind};

/// What fails of the next saves, and of the next checks of nonces.
#[derive(Clone, Default)]
struct Failing {
    saves: Failures,
    nonces: Failures,
}

impl Failing {
    fn stores() -> (Stores, Self) {
        let failing = Self::default();
        let Self { saves, nonces } = failing.clone();
        let stores = watched(&Stores::memory(), move |call| {
            std::future::ready(match call {
                Call::Save => saves.next(),
                Call::Mark { .. } => nonces.next(),
                _ => Ok(()),
            })
        });
        (stores, failing)
    }

    fn fail(&self, saves: usize, nonces: usize) {
        self.saves.set(saves);
        self.nonces.set(nonces);
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
    let (took, tries) = (start.elapsed(), usize::MAX - failing.saves.left());
    assert!(took >= Duration::from_secs(2), "six more failures in {took:?}");
    assert!(tries < 20, "{tries} attempts to save");
    failing.fail(0, 0);
    assert_eq!(bob.next().await.1, "two");
    bob.send("alice", "three").await.unwrap();
    assert_eq!(alice.next().await.1, "three");
}
