//! Clients of ours over a relay of ours.

use stvor_client::{Code, SentStatus, Stores};

use crate::people::{Person, open};
use crate::relays::OurRelay;

#[tokio::test]
async fn users_talk_over_our_relay_whichever_scheme_names_it() {
    let relay = OurRelay::start(0).await;
    let http = format!("http://{}", relay.address);
    let mut alice = Person::join(&open(&relay.url()).await, "alice").await;
    let mut bob = Person::join(&open(&http).await, "bob").await;
    assert_eq!(alice.send("bob", "hello").await.unwrap().status, SentStatus::Delivered);
    assert_eq!(bob.next().await, ("alice".into(), "hello".into()));
    bob.send("alice", "hi").await.unwrap();
    assert_eq!(alice.next().await, ("bob".into(), "hi".into()));
}

#[tokio::test]
async fn one_user_of_a_shared_connection_leaves_and_their_mail_waits() {
    let relay = OurRelay::start(0).await;
    let (app, stores) = (open(&relay.url()).await, Stores::memory());
    let alice = Person::join(&app, "alice").await;
    let bob = Person::join_with(&app, "bob", stores.clone()).await;
    bob.client.disconnect().await;
    for n in 0..3 {
        assert_eq!(alice.send("bob", &n.to_string()).await.unwrap().status, SentStatus::Queued);
    }
    let mut bob = Person::join_with(&app, "bob", stores).await;
    for n in 0..3 {
        assert_eq!(bob.next().await.1, n.to_string());
    }
    assert!(bob.errors.try_recv().is_err());
}

#[tokio::test]
async fn who_is_connected_twice_learns_it_where_nothing_arrives_any_more() {
    let relay = OurRelay::start(0).await;
    let alice = Person::join(&open(&relay.url()).await, "alice").await;
    let mut first = Person::join(&open(&relay.url()).await, "bob").await;
    let second_app = open(&relay.url()).await;
    let mut second = Person::join(&second_app, "bob").await;
    let error = first.error().await;
    assert_eq!(error.code, Code::ConnectedElsewhere);
    assert!(error.message.contains("\"bob\""), "{error:?}");
    alice.send("bob", "hello").await.unwrap();
    assert_eq!(second.next().await.1, "hello");

    // Whoever connects last is heard, and the other is told: once each.
    first.client.disconnect().await;
    let mut third = Person::join(&open(&relay.url()).await, "bob").await;
    assert_eq!(second.error().await.code, Code::ConnectedElsewhere);
    assert!(first.errors.try_recv().is_err() && second.errors.try_recv().is_err());
    assert!(third.errors.try_recv().is_err());
}

#[tokio::test]
async fn a_conversation_survives_a_relay_that_restarts() {
    let relay = OurRelay::start(0).await;
    let (url, port) = (relay.url(), relay.address.port());
    let alice = Person::join(&open(&url).await, "alice").await;
    let mut bob = Person::join(&open(&url).await, "bob").await;
    alice.send("bob", "before").await.unwrap();
    assert_eq!(bob.next().await.1, "before");
    relay.stop().await;
    let during = alice.send("bob", "during");
    let relay = OurRelay::start(port).await;
    during.await.unwrap();
    assert_eq!(bob.next().await.1, "during");
    relay.stop().await;
}

#[tokio::test]
async fn a_thousand_messages_in_flight_arrive_in_order() {
    let relay = OurRelay::start(0).await;
    let alice = Person::join(&open(&relay.url()).await, "alice").await;
    let mut bob = Person::join(&open(&relay.url()).await, "bob").await;
    let sends: Vec<_> = (0..1000).map(|n| alice.send("bob", &n.to_string())).collect();
    for n in 0..1000 {
        assert_eq!(bob.next().await.1, n.to_string());
    }
    for send in sends {
        send.await.unwrap();
    }
}

#[tokio::test]
async fn what_an_earlier_identity_has_left_at_the_relay_pins_nobody() {
    let relay = OurRelay::start(0).await;
    let alice = Person::join(&open(&relay.url()).await, "alice").await;
    let mut bob = Person::join(&open(&relay.url()).await, "bob").await;
    alice.send("bob", "to bob").await.unwrap();
    assert_eq!(bob.next().await.1, "to bob");
    alice.client.disconnect().await;
    // A message of a session that was answered, and one that brings a handshake.
    bob.send("alice", "to the first alice").await.unwrap();
    let carol = Person::join(&open(&relay.url()).await, "carol").await;
    carol.send("alice", "to the first alice").await.unwrap();
    bob.client.disconnect().await;
    carol.client.disconnect().await;

    // All of them come again as somebody else.
    let mut alice = Person::join(&open(&relay.url()).await, "alice").await;
    let error = alice.error().await;
    let about = error.peer_id.as_deref();
    assert_eq!((error.code, about), (Code::DecryptionFailed, Some("carol")));
    for name in ["bob", "carol"] {
        let peer = Person::join(&open(&relay.url()).await, name).await;
        peer.send("alice", "to the second alice").await.unwrap();
        assert_eq!(alice.next().await, (name.into(), "to the second alice".into()));
    }
    assert!(alice.errors.try_recv().is_err());
}
