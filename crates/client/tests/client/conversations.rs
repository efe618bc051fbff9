//! Clients of ours through relays of every WebSocket kind: what the issue calls the main job.

use std::time::Duration;

use crate::people::{Person, config, open};
use crate::relays::{FakeRelay, Kind};
use stvor_client::{Code, SendOptions, SentStatus, Stores};

const BOTH: [Kind; 2] = [Kind::Mock, Kind::Documentation];

#[tokio::test]
async fn two_users_of_one_app_talk_both_ways() {
    for kind in BOTH {
        let relay = FakeRelay::start(kind).await;
        let app = open(&relay.url).await;
        let mut bob = Person::join(&app, "bob").await;
        let mut alice = Person::join(&app, "alice").await;
        let sent = alice.send("bob", "hello").await.unwrap();
        assert_ne!(sent.status, SentStatus::Queued);
        bob.send("alice", "hi").await.unwrap();
        assert_eq!(bob.next().await, ("alice".into(), "hello".into()));
        assert_eq!(alice.next().await, ("bob".into(), "hi".into()));
        let metrics = app.metrics();
        assert_eq!((metrics.messages_encrypted, metrics.messages_decrypted), (2, 2));
        app.close().await;
    }
}

#[tokio::test]
async fn users_of_two_apps_who_both_write_first_understand_each_other() {
    for kind in BOTH {
        let relay = FakeRelay::start(kind).await;
        let mut alice = Person::join(&open(&relay.url).await, "alice").await;
        let mut bob = Person::join(&open(&relay.url).await, "bob").await;
        for round in 0..5 {
            let (to_bob, to_alice) = (format!("to bob {round}"), format!("to alice {round}"));
            let both = tokio::join!(alice.send("bob", &to_bob), bob.send("alice", &to_alice));
            both.0.unwrap();
            both.1.unwrap();
            assert_eq!(bob.next().await, ("alice".into(), to_bob));
            assert_eq!(alice.next().await, ("bob".into(), to_alice));
        }
        assert!(alice.errors.try_recv().is_err() && bob.errors.try_recv().is_err());
    }
}

#[tokio::test]
async fn fifty_sends_without_awaiting_arrive_in_order_over_one_session() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    let sends: Vec<_> = (0..50).map(|n| alice.send("bob", &format!("{n}"))).collect();
    for send in sends {
        send.await.unwrap();
    }
    for n in 0..50 {
        assert_eq!(bob.next().await, ("alice".into(), n.to_string()));
    }
    let ratchet_keys: std::collections::HashSet<String> = relay
        .seen_from("alice")
        .iter()
        .take(50)
        .map(|frame| frame["payload"]["header"].as_str().unwrap()[..86].to_owned())
        .collect();
    assert_eq!(ratchet_keys.len(), 1, "one session, one sending chain");
}

#[tokio::test]
async fn a_send_waits_for_a_recipient_who_comes_later() {
    for kind in BOTH {
        let relay = FakeRelay::start(kind).await;
        let alice = Person::join(&open(&relay.url).await, "alice").await;
        let first = alice.send("bob", "one");
        let second = alice.send("bob", "two");
        let mut bob = Person::join(&open(&relay.url).await, "bob").await;
        first.await.unwrap();
        second.await.unwrap();
        assert_eq!(bob.next().await.1, "one");
        assert_eq!(bob.next().await.1, "two");
    }
}

#[tokio::test]
async fn a_recipient_who_never_comes_is_an_error_of_its_own() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    let options = SendOptions { wait_for_recipient: false, ..SendOptions::default() };
    let error = alice.send_with("nobody", "x", options).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::RecipientNotFound, false));
    let timeout = Some(Duration::from_millis(50));
    let options = SendOptions { timeout, ..SendOptions::default() };
    let error = alice.send_with("nobody", "x", options).await.unwrap_err();
    assert_eq!((error.code, error.retryable), (Code::RecipientTimeout, true));
    assert!(error.message.contains("\"nobody\" after 50ms"), "{}", error.message);
    assert!(!alice.client.wait_for_user("nobody", Duration::from_millis(20)).await.unwrap());
    let error = alice.send("alice", "x").await.unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
}

#[tokio::test]
async fn messages_for_the_absent_wait_in_the_mailbox() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    let (app, stores) = (open(&relay.url).await, Stores::memory());
    let bob = Person::join_with(&app, "bob", stores.clone()).await;
    bob.client.disconnect().await;
    assert!(!app.is_ready());
    assert_eq!(alice.send("bob", "later").await.unwrap().status, SentStatus::Queued);
    let mut bob = Person::join_with(&app, "bob", stores).await;
    assert_eq!(bob.next().await, ("alice".into(), "later".into()));
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_after_a_reconnect() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    alice.send("bob", "before").await.unwrap();
    assert_eq!(bob.next().await.1, "before");
    relay.swallow(Some("alice"));
    let seen = relay.seen_from("alice").len();
    let lost = [alice.send("bob", "lost"), alice.send("bob", "lost too")];
    while relay.seen_from("alice").len() < seen + 2 {
        tokio::task::yield_now().await;
    }
    relay.kick();
    relay.swallow(None);
    for send in lost {
        send.await.unwrap();
    }
    assert_eq!(bob.next().await.1, "lost");
    assert_eq!(bob.next().await.1, "lost too");
    alice.send("bob", "after").await.unwrap();
    assert_eq!(bob.next().await.1, "after");
}

#[tokio::test]
async fn altered_replayed_and_foreign_frames_are_reported_and_change_nothing() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let alice = Person::join(&open(&relay.url).await, "alice").await;
    let mut bob = Person::join(&open(&relay.url).await, "bob").await;
    alice.send("bob", "one").await.unwrap();
    assert_eq!(bob.next().await.1, "one");
    let genuine = relay.seen()[0].clone();
    relay.inject("bob", &genuine);
    assert_eq!(bob.error().await.code, Code::ReplayDetected);
    // The key of its counter is gone, so what it was sealed with cannot be told any more; and it
    // is no newer than what has come since, so its sender has lost nothing: a replay to us.
    let mut altered = genuine.clone();
    altered["payload"]["ciphertext"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".into();
    relay.inject("bob", &altered);
    let mut foreign = genuine.clone();
    foreign["payload"] = serde_json::json!({"version": 1, "nonce": "x"});
    relay.inject("bob", &foreign);
    let mut without_trailer = genuine.clone();
    let header = genuine["payload"]["header"].as_str().unwrap().split_once('.').unwrap().0;
    without_trailer["payload"]["header"] = header.into();
    let mut own = genuine;
    own["from"] = "bob".into();
    relay.inject("bob", &own);
    assert_eq!(bob.error().await.code, Code::ReplayDetected, "its counter was used");
    for _ in 0..2 {
        assert_eq!(bob.error().await.code, Code::DecryptionFailed);
    }
    relay.inject("bob", &without_trailer);
    let error = bob.error().await;
    assert_eq!(error.code, Code::ProtocolMismatch, "who has wire 4 does not fall back to wire 3");
    alice.send("bob", "two").await.unwrap();
    assert_eq!(bob.next().await.1, "two");
}

#[tokio::test]
async fn a_changed_identity_stops_everything_until_it_is_trusted() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let mut alice = Person::join(&open(&relay.url).await, "alice").await;
    let app = open(&relay.url).await;
    let mut bob = Person::join(&app, "bob").await;
    alice.send("bob", "one").await.unwrap();
    assert_eq!(bob.next().await.1, "one");
    bob.client.disconnect().await;
    let mut bob = Person::join(&app, "bob").await; // new stores: a new identity
    let error = alice.error().await;
    assert_eq!((error.code, error.peer_id.as_deref()), (Code::IdentityChanged, Some("bob")));
    let error = alice.send("bob", "two").await.unwrap_err();
    assert_eq!(error.code, Code::IdentityChanged);
    assert!(error.action.contains(bob.client.fingerprint()), "{}", error.action);
    bob.send("alice", "it is me").await.unwrap();
    let wrong = "0".repeat(64);
    alice.client.trust("bob", &wrong).await.unwrap();
    assert_eq!(alice.send("bob", "two").await.unwrap_err().code, Code::IdentityChanged);
    assert!(alice.messages.try_recv().is_err(), "nothing was delivered");
    alice.client.trust("bob", bob.client.fingerprint()).await.unwrap();
    assert_eq!(alice.next().await, ("bob".into(), "it is me".into()));
    alice.send("bob", "three").await.unwrap();
    assert_eq!(bob.next().await.1, "three");
    let error = alice.client.trust("bob", "not hex").await.unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
}

#[tokio::test]
async fn keys_not_signed_by_their_owner_are_refused() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let mut alice = Person::join(&open(&relay.url).await, "alice").await;
    let _bob = Person::join(&open(&relay.url).await, "bob").await;
    let carol = alice.send("carol", "x");
    let keys = serde_json::json!({
        "identityKey": "AA", "signedPreKey": "AA", "signedPreKeySignature": "", "oneTimePreKey": ""
    });
    let announce = serde_json::json!({"type": "announce", "user": "carol", "pub": keys});
    relay.inject("alice", &announce);
    assert_eq!(alice.error().await.code, Code::InvalidBundle);
    let _carol = Person::join(&open(&relay.url).await, "carol").await;
    carol.await.unwrap();
}

#[tokio::test]
async fn a_relay_that_refuses_is_told_apart_from_one_that_is_absent() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let mut refused = config(&relay.url);
    refused.app_token = "sk_live_xxx".into();
    let error = stvor_client::App::open(refused).await.unwrap_err();
    assert_eq!(error.code, Code::AuthFailed);

    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    let mut silent = config(&format!("ws://{address}"));
    silent.timeout = Duration::from_millis(100);
    let error = stvor_client::App::open(silent.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "Relay handshake timeout [RELAY_UNAVAILABLE]");
    drop(free);
    silent.timeout = Duration::from_secs(3600);
    for scheme in ["ws", "http"] {
        silent.relay_url = format!("{scheme}://{address}");
        let error = stvor_client::App::open(silent.clone()).await.unwrap_err();
        assert_eq!((error.code, error.retryable), (Code::RelayUnavailable, true));
    }
}

#[tokio::test]
async fn unusable_configurations_are_named() {
    let cases = [
        ("", "ws://localhost", Code::InvalidAppToken),
        ("with space", "ws://localhost", Code::InvalidAppToken),
        ("line\nbreak", "ws://localhost", Code::InvalidAppToken),
        ("stvor_x", "", Code::InvalidArgument),
        ("stvor_x", "localhost:4444", Code::InvalidArgument),
        ("stvor_x", "ftp://localhost", Code::InvalidArgument),
    ];
    for (token, url, code) in cases {
        let mut config = config(url);
        config.app_token = token.into();
        let error = stvor_client::App::open(config).await.unwrap_err();
        assert_eq!(error.code, code, "{token:?} {url:?}");
    }
}
