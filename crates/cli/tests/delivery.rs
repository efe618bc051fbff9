//! What becomes of messages when connections come, break and go.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::Relay;
use support::websocket::Client;

const TOKEN: &str = "stvor_test";

fn message(to: &str, id: &str) -> Value {
    json!({
        "type": "message", "id": id, "to": to, "from": "alice",
        "payload": {"ciphertext": "c", "header": "h"}, "timestamp": 1,
    })
}

async fn online(relay: &Relay, user: &str, acknowledges: bool) -> Client {
    let mut client = Client::open(relay.port, TOKEN, acknowledges).await;
    client.announce(user, json!(format!("keys of {user}"))).await;
    client
}

/// The next deliveries: their numbers and the ids of their messages.
async fn deliveries(client: &mut Client, count: usize) -> Vec<(u64, String)> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        let frame = client.receive_type("deliver").await;
        assert_eq!(frame["message"]["type"], "message");
        let id = frame["message"]["id"].as_str().expect("an id").to_owned();
        deliveries.push((frame["delivery"].as_u64().expect("a number"), id));
    }
    deliveries
}

async fn received(client: &mut Client, deliveries: &[u64]) {
    client.send(json!({"type": "received", "deliveries": deliveries})).await;
    client.sync().await;
}

fn numbered(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
    expected.iter().map(|(number, id)| (*number, (*id).to_owned())).collect()
}

#[tokio::test]
async fn what_was_not_received_comes_again_on_the_next_socket_before_anything_newer() {
    let relay = Relay::start(&[]);
    let mut alice = online(&relay, "alice", true).await;
    let mut bob = online(&relay, "bob", true).await;
    for id in ["1", "2", "3"] {
        alice.send(message("bob", id)).await;
        assert_eq!(alice.receive_type("ack").await["id"], id);
    }
    assert_eq!(deliveries(&mut bob, 3).await, numbered(&[(1, "1"), (2, "2"), (3, "3")]));
    received(&mut bob, &[2]).await;
    bob.vanish().await;
    // The relay may not have noticed: both answers are right, and the message is safe either way.
    alice.send(message("bob", "4")).await;
    alice.sync().await;

    let mut bob = online(&relay, "bob", true).await;
    alice.send(message("bob", "5")).await;
    let expected = numbered(&[(1, "1"), (2, "3"), (3, "4"), (4, "5")]);
    assert_eq!(deliveries(&mut bob, 4).await, expected);
    received(&mut bob, &[1, 2, 3, 4]).await;
    assert_eq!(bob.close().await.0, 1005);

    let mut bob = online(&relay, "bob", true).await;
    bob.receive_type("announce").await;
    bob.receive_type("announce").await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn a_second_socket_takes_over_with_all_that_was_not_received() {
    let relay = Relay::start(&[]);
    let mut alice = online(&relay, "alice", true).await;
    let mut old = online(&relay, "bob", true).await;
    alice.send(message("bob", "1")).await;
    deliveries(&mut old, 1).await;
    let mut new = online(&relay, "bob", true).await;
    assert_eq!(deliveries(&mut new, 1).await, numbered(&[(1, "1")]));
    received(&mut new, &[1]).await;
    // Announcing again on the same socket brings nothing twice.
    new.announce("bob", json!("other keys")).await;
    new.expect_nothing().await;
    for keys in ["keys of bob", "other keys"] {
        assert_eq!(old.receive().await["pub"], keys);
    }
    old.expect_nothing().await;
}

#[tokio::test]
async fn a_client_that_cannot_acknowledge_gets_each_message_once() {
    let relay = Relay::start(&[]);
    let mut alice = online(&relay, "alice", true).await;
    alice.send(message("bob", "1")).await;
    let mut bob = online(&relay, "bob", false).await;
    assert_eq!(bob.receive_type("message").await, message("bob", "1"));
    bob.close().await;
    let mut bob = online(&relay, "bob", true).await;
    for _ in 0..2 {
        bob.receive_type("announce").await;
    }
    bob.expect_nothing().await;
}

#[tokio::test]
async fn a_message_sent_again_is_answered_again_and_stored_once() {
    let relay = Relay::start(&[]);
    let mut alice = online(&relay, "alice", true).await;
    for _ in 0..2 {
        alice.send(message("bob", "1")).await;
        assert_eq!(alice.receive_type("queued").await["id"], "1");
    }
    let mut bob = online(&relay, "bob", true).await;
    assert_eq!(deliveries(&mut bob, 1).await, numbered(&[(1, "1")]));
    received(&mut bob, &[1]).await;
    alice.send(message("bob", "1")).await;
    assert_eq!(alice.receive_type("ack").await["id"], "1", "long since received");
    bob.sync().await;
    bob.expect_nothing().await;

    // The original's clients do not send again, but may use an id twice.
    let mut legacy = Client::open(relay.port, TOKEN, false).await;
    for _ in 0..2 {
        legacy.send(message("bob", "1")).await;
        legacy.receive_type("ack").await;
    }
    assert_eq!(deliveries(&mut bob, 2).await, numbered(&[(2, "1"), (3, "1")]));
}

#[tokio::test]
async fn many_users_of_one_socket_get_their_own_mail() {
    let relay = Relay::start(&[]);
    let mut alice = online(&relay, "alice", true).await;
    let mut both = online(&relay, "bob", true).await;
    both.announce("carol", json!("keys")).await;
    alice.send(message("bob", "1")).await;
    alice.send(message("carol", "2")).await;
    deliveries(&mut both, 2).await;
    received(&mut both, &[1]).await;
    // Carol moves away; only what is hers goes with her.
    let mut carol = online(&relay, "carol", true).await;
    assert_eq!(deliveries(&mut carol, 1).await, numbered(&[(1, "2")]));
    let mut bob = online(&relay, "bob", true).await;
    bob.sync().await;
    for _ in 0..3 {
        bob.receive_type("announce").await;
    }
    bob.expect_nothing().await;
}

#[tokio::test]
async fn a_user_who_leaves_a_shared_socket_keeps_its_mail_for_later() {
    let relay = Relay::start(&[]);
    let headers =
        [("Authorization", "Bearer stvor_test"), ("stvor-features", "ack, leave, from-the-future")];
    let mut both = Client::connect(relay.port, "/", &headers).await;
    assert_eq!(both.receive().await["features"], json!(["ack", "leave"]));
    both.announce("bob", json!("keys")).await;
    both.announce("carol", json!("keys")).await;
    let mut alice = online(&relay, "alice", true).await;
    alice.send(message("bob", "1")).await;
    assert_eq!(both.receive_type("deliver").await["message"]["id"], "1");
    both.send(json!({"type": "leave", "user": "bob"})).await;
    both.send(json!({"type": "leave", "user": "alice"})).await; // not one of this socket's
    both.sync().await;
    alice.send(message("bob", "2")).await;
    assert_eq!(alice.receive_type("queued").await["id"], "2");
    alice.send(message("carol", "3")).await;
    assert_eq!(alice.receive_type("ack").await["id"], "3");
    assert_eq!(both.receive_type("deliver").await["message"]["id"], "3");
    both.announce("bob", json!("keys")).await;
    for id in ["1", "2"] {
        assert_eq!(both.receive_type("deliver").await["message"]["id"], id);
    }
    alice.send(message("alice", "4")).await;
    assert_eq!(alice.receive_type("deliver").await["message"]["id"], "4", "alice has not left");
}

#[tokio::test]
async fn a_burst_to_an_absent_user_arrives_whole_and_in_order() {
    const COUNT: usize = 3000;
    let relay = Relay::start(&[]);
    let mut alice = online(&relay, "alice", true).await;
    let payload = "x".repeat(2000);
    for n in 0..COUNT {
        let mut message = message("bob", &n.to_string());
        message["payload"] = json!(payload);
        alice.send(message).await;
    }
    for n in 0..COUNT {
        assert_eq!(alice.receive_type("queued").await["id"], n.to_string());
    }
    let mut bob = online(&relay, "bob", true).await;
    for (n, (delivery, id)) in deliveries(&mut bob, COUNT).await.into_iter().enumerate() {
        assert_eq!((delivery, id), (n as u64 + 1, n.to_string()));
    }
}

#[tokio::test]
async fn what_a_slow_reader_does_not_take_waits_and_arrives_whole() {
    const COUNT: usize = 40; // more than the system buffers
    let relay = Relay::start(&[]);
    let mut alice = online(&relay, "alice", true).await;
    for acknowledges in [true, false] {
        let mut bob = online(&relay, "bob", acknowledges).await;
        let numbered = |n: usize| {
            let mut message = message("bob", &format!("{acknowledges} {n}"));
            message["payload"] = json!(n.to_string().repeat(400_000));
            message
        };
        for n in 0..COUNT {
            alice.send(numbered(n)).await;
            alice.receive_type("ack").await;
        }
        for n in 0..COUNT {
            let frame = match acknowledges {
                true => bob.receive_type("deliver").await["message"].take(),
                false => bob.receive_type("message").await,
            };
            assert!(frame == numbered(n), "message {n} as it was sent");
        }
        if acknowledges {
            received(&mut bob, &(1..=COUNT as u64).collect::<Vec<_>>()).await;
        }
        bob.close().await;
    }
}

#[tokio::test]
async fn clients_of_ours_hear_of_users_before_they_have_any() {
    let relay = Relay::start(&[]);
    let mut ours = Client::open(relay.port, TOKEN, true).await;
    let mut the_originals = Client::open(relay.port, TOKEN, false).await;
    online(&relay, "bob", true).await;
    assert_eq!(ours.receive().await["user"], "bob");
    the_originals.expect_nothing().await;
}

#[tokio::test]
async fn frames_that_make_no_sense_are_named_to_clients_of_ours() {
    let relay = Relay::start(&[]);
    let mut client = Client::open(relay.port, TOKEN, true).await;
    client.send(json!({"type": "nonsense"})).await;
    let error = client.receive().await;
    assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("INVALID_FRAME")));
    client.expect_nothing().await;
}
