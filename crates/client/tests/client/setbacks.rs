//! What must not hurt: stores that fail at the worst step, peers who lose much, relays that give
//! old things back, users who leave and come at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use stvor_client::{Code, ReplayCache, SendOptions, SentStatus, StoreError, Stores};

use crate::adapters::{Call, failing_at};
use crate::people::{Person, open};
use crate::relays::{FakeRelay, Kind, OurRelay};

/// A cache whose five minutes are always over.
struct Forgetful;

#[async_trait]
impl ReplayCache for Forgetful {
    async fn check_and_mark(&self, _: &str, _: &str, _: [u8; 12]) -> Result<bool, StoreError> {
        Ok(false)
    }
}

#[tokio::test]
async fn a_trust_that_could_not_be_saved_leaves_the_old_identity_blocked() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let (failures, stores) = failing_at(&Stores::memory(), |call| *call == Call::Save);
    let bobs = open(&relay.url).await;
    let mut bob = Person::join_with(&bobs, "bob", stores).await;
    let first = open(&relay.url).await;
    let alice = Person::join(&first, "alice").await;
    alice.send("bob", "one").await.unwrap();
    assert_eq!(bob.next().await.1, "one");
    first.close().await;
    let second = open(&relay.url).await;
    let mut alice = Person::join(&second, "alice").await;
    assert_eq!(bob.error().await.code, Code::IdentityChanged);
    alice.send("bob", "two").await.unwrap();

    failures.set(1);
    let error = bobs.trust("alice", alice.client.fingerprint()).await.unwrap_err();
    assert_eq!(error.code, Code::StorageFailed);
    assert_eq!(bob.send("alice", "secret").await.unwrap_err().code, Code::IdentityChanged);

    bobs.trust("alice", alice.client.fingerprint()).await.unwrap();
    assert_eq!(bob.next().await.1, "two");
    bob.send("alice", "three").await.unwrap();
    assert_eq!(alice.next().await.1, "three");
}

/// The own record names the peers who are looked at when the user comes back.
#[tokio::test]
async fn a_peer_of_whose_record_nobody_knows_what_the_store_has_kept_is_not_forgotten() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let inner = Stores::memory();
    let (failures, stores) = failing_at(&inner, |call| matches!(call, Call::Saved { .. }));
    let bob = Person::join_with(&open(&relay.url).await, "bob", stores).await;
    let _alice = Person::join(&open(&relay.url).await, "alice").await;
    let _carol = Person::join(&open(&relay.url).await, "carol").await;
    failures.set(1);
    let error = bob.send("alice", "perhaps").await.unwrap_err();
    assert_eq!(error.code, Code::StorageFailed);
    bob.send("carol", "surely").await.unwrap();
    let held = inner.sessions.load("bob", "alice").await.unwrap().unwrap();
    assert_eq!(held.outbox_size().0, 1, "the store has kept it");
    let own = inner.sessions.load_user("bob").await.unwrap().unwrap();
    assert_eq!(own.active().collect::<Vec<_>>(), ["alice", "carol"]);
}

#[tokio::test]
async fn who_connects_while_their_earlier_stay_still_ends_is_connected_for_good() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let mut alice = Person::join(&open(&relay.url).await, "alice").await;
    let (app, stores) = (open(&relay.url).await, Stores::memory());
    let bob = Person::join_with(&app, "bob", stores.clone()).await;
    bob.send("alice", "zero").await.unwrap();
    assert_eq!(alice.next().await.1, "zero");
    relay.swallow(Some("bob"));
    let lost = bob.send("alice", "swallowed"); // keeps the farewell waiting
    let leaving = {
        let client = bob.client.clone();
        tokio::spawn(async move { client.disconnect().await })
    };
    while bob.client.wait_for_user("nobody", Duration::from_millis(1)).await.is_ok() {} // closing
    let again = Person::join_with(&app, "bob", stores).await;
    leaving.await.unwrap();
    assert!(lost.await.is_err());
    relay.swallow(None);
    again.send("alice", "one").await.unwrap();
    assert_eq!(alice.next().await.1, "one");
    assert!(app.is_ready());
}

#[tokio::test]
async fn an_identity_trusted_back_does_not_bring_its_old_messages_back() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let bobs = open(&relay.url).await;
    let stores = Stores { replay: Arc::new(Forgetful), ..Stores::memory() };
    let mut bob = Person::join_with(&bobs, "bob", stores).await;
    let one = open(&relay.url).await;
    let first = Person::join(&one, "alice").await;
    first.send("bob", "pay 100").await.unwrap();
    assert_eq!(bob.next().await.1, "pay 100");
    let recorded = relay.seen()[0].clone();
    let keys = relay.keys_of("alice");
    one.close().await;
    let two = open(&relay.url).await;
    let second = Person::join(&two, "alice").await;
    assert_eq!(bob.error().await.code, Code::IdentityChanged);
    bobs.trust("alice", second.client.fingerprint()).await.unwrap();
    second.send("bob", "from two").await.unwrap();
    assert_eq!(bob.next().await.1, "from two");
    two.close().await;
    relay.inject("bob", &json!({"type": "announce", "user": "alice", "pub": keys}));
    assert_eq!(bob.error().await.code, Code::IdentityChanged);
    bobs.trust("alice", first.client.fingerprint()).await.unwrap();
    relay.inject("bob", &recorded);
    // Neither the cache nor a session knows it any more; the record of identities that were
    // replaced does.
    assert_eq!(bob.error().await.code, Code::DecryptionFailed);
    assert!(bob.messages.try_recv().is_err());
}

#[tokio::test]
async fn more_lost_than_a_chain_can_skip_does_not_end_the_conversation() {
    let relay = FakeRelay::start(Kind::Documentation).await;
    let mut alice = Person::join(&open(&relay.url).await, "alice").await;
    let (app, stores) = (open(&relay.url).await, Stores::memory());
    let mut bob = Person::join_with(&app, "bob", stores.clone()).await;
    alice.send("bob", "a").await.unwrap();
    assert_eq!(bob.next().await.1, "a");
    bob.send("alice", "b").await.unwrap();
    assert_eq!(alice.next().await.1, "b");
    bob.client.disconnect().await;
    let lost: Vec<_> = (0..300).map(|n| alice.send("bob", &n.to_string())).collect();
    for send in lost {
        assert_eq!(send.await.unwrap().status, SentStatus::Sent);
    }
    let mut bob = Person::join_with(&app, "bob", stores).await;
    // Alice may not have heard yet that bob is back; once this one is through, she has.
    alice.send("bob", "perhaps lost as well").await.unwrap();
    alice.send("bob", "back").await.unwrap();
    while bob.next().await.1 != "back" {}
    bob.send("alice", "still here").await.unwrap();
    assert_eq!(alice.next().await.1, "still here");
}

#[tokio::test]
async fn sends_that_fail_in_numbers_do_not_end_the_conversation() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    alice.send("bob", "a").await.unwrap();
    assert_eq!(bob.next().await.1, "a");
    relay.swallow(Some("alice"));
    let hasty = SendOptions { timeout: Some(Duration::from_millis(50)), ..SendOptions::default() };
    for _ in 0..35 {
        let lost: Vec<_> = (0..100).map(|_| alice.send_with("bob", "lost", hasty)).collect();
        for send in lost {
            assert_eq!(send.await.unwrap_err().code, Code::DeliveryFailed);
        }
    }
    relay.swallow(None);
    alice.send("bob", "back").await.unwrap();
    assert_eq!(bob.next().await.1, "back");
    assert!(bob.errors.try_recv().is_err(), "more than a chain skips, and no trouble");
}

#[tokio::test]
async fn nothing_is_sealed_while_the_relay_is_away() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    alice.send("bob", "before").await.unwrap();
    assert_eq!(bob.next().await.1, "before");
    relay.refuse(true);
    relay.kick();
    // The first to time out proves that the connection is gone; the 300 after it find none.
    let hasty = SendOptions { timeout: Some(Duration::from_millis(50)), ..SendOptions::default() };
    while alice.send_with("bob", "away?", hasty).await.is_ok() {}
    let away: Vec<_> = (0..300).map(|_| alice.send_with("bob", "away", hasty)).collect();
    for send in away {
        assert_eq!(send.await.unwrap_err().code, Code::RelayUnavailable);
    }
    relay.refuse(false);
    alice.send("bob", "after").await.unwrap();
    while bob.next().await.1 != "after" {}
}

#[tokio::test]
async fn an_echo_of_an_announcement_is_nobody_else_and_another_identity_is_once() {
    for kind in [Kind::Mock, Kind::Documentation] {
        let relay = FakeRelay::start(kind).await;
        let mut alice = Person::join(&open(&relay.url).await, "alice").await;
        let mut bob = Person::join(&open(&relay.url).await, "bob").await;
        let echo = json!({"type": "announce", "user": "alice", "pub": relay.keys_of("alice")});
        let another = json!({"type": "announce", "user": "alice", "pub": relay.keys_of("bob")});
        for frame in [&echo, &another, &another, &another] {
            relay.inject("alice", frame);
        }
        bob.send("alice", "still here").await.unwrap();
        assert_eq!(alice.next().await.1, "still here");
        assert_eq!(alice.error().await.code, Code::ConnectedElsewhere);
        assert!(alice.errors.try_recv().is_err());
        assert!(bob.errors.try_recv().is_err());
    }
}

#[tokio::test]
async fn users_announced_before_the_first_of_ours_are_found() {
    for kind in [Kind::Mock, Kind::Documentation] {
        let relay = FakeRelay::start(kind).await;
        let bobs = open(&relay.url).await;
        let mut alice = Person::join(&open(&relay.url).await, "alice").await;
        let bob = Person::join(&bobs, "bob").await;
        bob.send("alice", "found you").await.unwrap();
        assert_eq!(alice.next().await.1, "found you");
    }
}

#[tokio::test]
async fn a_mailbox_that_fills_in_the_middle_of_a_burst_loses_nothing_that_was_accepted() {
    let relay = OurRelay::start(0).await;
    let mut alice = Person::join(&open(&relay.url()).await, "alice").await;
    let carol = Person::join(&open(&relay.url()).await, "carol").await;
    let (app, stores) = (open(&relay.url()).await, Stores::memory());
    let bob = Person::join_with(&app, "bob", stores.clone()).await;
    bob.client.disconnect().await;
    let half: Vec<_> = (0..5_000).map(|_| carol.send("bob", "half")).collect();
    for send in half {
        send.await.unwrap();
    }
    let burst: Vec<_> = (0..11_000).map(|n| alice.send("bob", &n.to_string())).collect();
    let (mut accepted, mut refused) = (Vec::new(), 0);
    for (n, send) in burst.into_iter().enumerate() {
        match send.await {
            Ok(_) => accepted.push(n.to_string()),
            Err(error) if error.code == Code::DeliveryFailed => refused += 1,
            Err(error) => assert_eq!(error.code, Code::OutboxFull),
        }
    }
    // Of the 10,000 that an outbox takes, the relay takes what its mailbox has room for.
    assert_eq!((accepted.len(), refused), (5_000, 5_000));
    let mut bob = Person::join_with(&app, "bob", stores).await;
    let (mut halves, mut expected) = (0, accepted.into_iter());
    while halves < 5_000 || expected.len() > 0 {
        match bob.next().await {
            (from, _) if from == "carol" => halves += 1,
            (_, text) => assert_eq!(Some(text), expected.next()),
        }
    }
    // The refused ones are a hole in the chain, longer than bob would skip.
    alice.receipt().await;
    alice.send("bob", "after").await.unwrap();
    assert_eq!(bob.next().await.1, "after");
    assert!(bob.errors.try_recv().is_err());
}

#[tokio::test]
async fn a_send_after_a_long_outage_does_not_wait_for_the_longest_pause() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let alice = Person::join(&app, "alice").await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    alice.send("bob", "before").await.unwrap();
    assert_eq!(bob.next().await.1, "before");
    relay.refuse(true);
    relay.kick();
    // Until the pauses have grown past what the next send allows for.
    while relay.refused() < 12 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!app.is_ready());
    relay.refuse(false);
    let hasty = SendOptions { timeout: Some(Duration::from_secs(3)), ..SendOptions::default() };
    alice.send_with("bob", "after", hasty).await.unwrap();
}
