//! Who a peer is, and which wire it speaks: what was said of it once is not forgotten.

use std::sync::Arc;

use stvor_client::{App, Code, Config, LegacyPeers, SendOptions, Stores};
use stvor_protocol::Content;
use tokio::sync::{Notify, Semaphore};

use crate::adapters::{Call, watched};
use crate::people::{Person, config, open};
use crate::relays::{FakeRelay, Kind};
use crate::strangers::Stranger;

#[tokio::test]
async fn a_pin_set_before_any_key_was_seen_is_what_the_first_identity_is_checked_against() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let bobs = open(&relay.url).await;
    let mut bob = Person::join(&bobs, "bob").await;
    bobs.trust("alice", &"ab".repeat(32)).await.unwrap();
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    alice.send("bob", "who am I?").await.unwrap();
    assert_eq!(bob.error().await.code, Code::IdentityChanged);
    assert!(bob.messages.try_recv().is_err());
    bobs.trust("alice", alice.client.fingerprint()).await.unwrap();
    assert_eq!(bob.next().await.1, "who am I?");
}

/// Nobody has shown carol's keys, and bob waits for them: all he has of her is the pin.
#[tokio::test]
async fn a_pin_set_before_any_key_was_seen_is_not_taken_for_a_check_of_who_writes_first() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let bobs = open(&relay.url).await;
    let mut bob = Person::join(&bobs, "bob").await;
    let patient = SendOptions { wait_for_recipient: true, ..SendOptions::default() };
    let _waiting = bob.send_with("carol", "to the right one", patient);
    bobs.trust("carol", &"ab".repeat(32)).await.unwrap();
    let mut other = Stranger::new("carol", "bob", &relay.keys_of("bob"));
    relay.inject("bob", &other.write(Content::text("from another".into())));
    assert_eq!(bob.error().await.code, Code::DecryptionFailed);
    assert!(bob.messages.try_recv().is_err());
    assert!(relay.seen_from("bob").is_empty(), "nothing was sealed for another");
}

/// The store does not know the pin yet when the message is looked at.
#[tokio::test]
async fn a_pin_holds_already_in_the_step_in_which_it_is_set() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let gate = Arc::new((Notify::new(), Semaphore::new(0)));
    let at_gate = gate.clone();
    let stores = watched(&Stores::memory(), move |call| {
        let gate = at_gate.clone();
        async move {
            if call == Call::Replace {
                gate.0.notify_one();
                gate.1.acquire().await.unwrap().forget();
            }
            Ok(())
        }
    });
    let mut bob = Person::join_with(&app, "bob", stores).await;
    let mut dave = Person::join(&app, "dave").await;
    let mut other = Stranger::new("carol", "bob", &relay.keys_of("bob"));
    let mut eve = Stranger::new("eve", "dave", &relay.keys_of("dave"));
    let pin = "ab".repeat(32);
    let busy = bob.client.trust("somebody", &pin);
    let meanwhile = async {
        gate.0.notified().await;
        let trust = bob.client.trust("carol", &pin);
        tokio::pin!(trust);
        tokio::select! {
            biased;
            _ = &mut trust => unreachable!("bob's step waits for the store"),
            () = std::future::ready(()) => {} // it waits for the next one
        }
        relay.inject("bob", &other.write(Content::text("from another".into())));
        // What came over the same connection after it is there, so it is.
        relay.inject("dave", &eve.write(Content::text("to dave".into())));
        assert_eq!(dave.next().await.1, "to dave");
        gate.1.add_permits(2);
        trust.await
    };
    let (first, second) = tokio::join!(busy, meanwhile);
    first.unwrap();
    second.unwrap();
    assert_eq!(bob.error().await.code, Code::DecryptionFailed);
    assert!(bob.messages.try_recv().is_err());
}

#[tokio::test]
async fn a_pin_set_before_any_key_was_seen_lets_the_right_identity_in() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let bobs = open(&relay.url).await;
    let mut bob = Person::join(&bobs, "bob").await;
    let mut carol = Stranger::new("carol", "bob", &relay.keys_of("bob"));
    bobs.trust("carol", &carol.fingerprint()).await.unwrap();
    relay.inject("bob", &carol.write(Content::text("it is me".into())));
    assert_eq!(bob.next().await.1, "it is me");
    assert!(bob.errors.try_recv().is_err());
}

#[tokio::test]
async fn who_has_written_in_wire_4_is_not_read_in_wire_3_again() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    let mut carol = Stranger::new("carol", "bob", &relay.keys_of("bob"));
    relay.inject("bob", &carol.announcement_of_wire3());
    relay.inject("bob", &carol.write_in_wire3("in wire 3"));
    assert_eq!(bob.next().await.1, "in wire 3");
    relay.inject("bob", &carol.write(Content::text("in wire 4".into())));
    assert_eq!(bob.next().await.1, "in wire 4");
    relay.inject("bob", &carol.write_in_wire3("back in wire 3"));
    assert_eq!(bob.error().await.code, Code::ProtocolMismatch);
    relay.inject("bob", &carol.write(Content::text("still in wire 4".into())));
    assert_eq!(bob.next().await.1, "still in wire 4", "and nothing before it");
}

#[tokio::test]
async fn sessions_of_wire_3_from_before_are_not_read_by_a_user_who_refuses_it() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let (lenient, stores) = (open(&relay.url).await, Stores::memory());
    let mut bob = Person::join_with(&lenient, "bob", stores.clone()).await;
    let mut carol = Stranger::new("carol", "bob", &relay.keys_of("bob"));
    relay.inject("bob", &carol.announcement_of_wire3());
    relay.inject("bob", &carol.write_in_wire3("one"));
    assert_eq!(bob.next().await.1, "one");
    bob.client.disconnect().await;

    let refusing = Config { legacy_peers: LegacyPeers::Refuse, ..config(&relay.url) };
    let refusing = App::open(refusing).await.unwrap();
    let mut bob = Person::join_with(&refusing, "bob", stores).await;
    relay.inject("bob", &carol.write_in_wire3("two"));
    assert_eq!(bob.error().await.code, Code::ProtocolMismatch);
    let error = bob.send("carol", "three").await.unwrap_err();
    assert_eq!(error.code, Code::ProtocolMismatch);
    assert!(bob.messages.try_recv().is_err());
}
