//! HTTP clients of the original and WebSocket clients on one relay: each reads the other.

mod support;

use serde_json::{Value, json};
use support::Relay;
use support::http::Request;
use support::websocket::Client;

const TOKEN: &str = "stvor_test";

async fn http(relay: &Relay, method: &str, path: &str, body: Value) -> (u16, Value) {
    let response = Request::new(method, path, TOKEN, &body).send(relay.port).await;
    (response.status, response.json())
}

fn bundle(of: &str) -> Value {
    json!({
        "signedPreKey": format!("spk of {of}"), "identityKey": format!("ik of {of}"),
        "signedPreKeySignature": "s", "oneTimePreKey": "",
    })
}

#[tokio::test]
async fn a_websocket_user_and_an_http_user_exchange_keys_and_messages() {
    let relay = Relay::start(&[]);
    let mut alice = Client::open(relay.port, TOKEN, true).await;
    alice.announce("alice", bundle("alice")).await;

    let register = json!({"user_id": "bob", "publicKeys": bundle("bob")});
    assert_eq!(http(&relay, "POST", "/register", register).await.0, 200);
    let announced = alice.receive().await;
    assert_eq!(announced, json!({"type": "announce", "user": "bob", "pub": bundle("bob")}));
    let keys = http(&relay, "GET", "/public-key/alice", json!(null)).await;
    assert_eq!(keys, (200, json!({"publicKeys": bundle("alice")})));

    let post = json!({"to": "alice", "from": "bob", "ciphertext": "c1", "header": "h1"});
    let (status, posted) = http(&relay, "POST", "/message", post).await;
    assert_eq!((status, &posted["status"]), (200, &json!("delivered")));
    let mut delivered = alice.receive().await;
    assert!(delivered["message"]["timestamp"].take().is_u64());
    let expected = json!({
        "type": "deliver", "delivery": 1, "message": {
            "type": "message", "id": posted["messageId"], "to": "alice", "from": "bob",
            "payload": {"ciphertext": "c1", "header": "h1"}, "timestamp": null,
        }
    });
    assert_eq!(delivered, expected);

    let payload = json!({"ciphertext": "c2", "header": "h2"});
    alice
        .send(
            json!({"type": "message", "id": "m", "to": "bob", "from": "alice", "payload": payload}),
        )
        .await;
    assert_eq!(alice.receive().await["type"], "queued");
    let (_, mut inbox) = http(&relay, "GET", "/messages/bob", json!(null)).await;
    assert!(inbox["messages"][0]["timestamp"].take().is_string());
    let message =
        json!({"id": "m", "from": "alice", "ciphertext": "c2", "header": "h2", "timestamp": null});
    assert_eq!(inbox, json!({"messages": [message], "count": 1}));
    let (_, inbox) = http(&relay, "GET", "/messages/bob", json!(null)).await;
    assert_eq!(inbox, json!({"messages": [], "count": 0}));
}

#[tokio::test]
async fn what_an_http_client_could_not_read_waits_for_one_that_can() {
    let relay = Relay::start(&[]);
    let mut alice = Client::open(relay.port, TOKEN, true).await;
    http(&relay, "POST", "/register", json!({"user_id": "bob"})).await;
    // As large as an answer may be: it must not stand in the way of what comes after it.
    let opaque = json!("x".repeat((1 << 20) - 100));
    for (id, payload) in [("1", opaque), ("2", json!({"ciphertext": "c", "header": "h"}))] {
        let message =
            json!({"type": "message", "id": id, "to": "bob", "from": "alice", "payload": payload});
        alice.send(message).await;
        alice.receive_type("queued").await;
    }
    let (_, inbox) = http(&relay, "GET", "/messages/bob", json!(null)).await;
    assert_eq!((&inbox["count"], &inbox["messages"][0]["id"]), (&json!(1), &json!("2")));
    let post = json!({"to": "bob", "from": "a", "ciphertext": "c", "header": "h"});
    http(&relay, "POST", "/message", post).await;
    let (_, inbox) = http(&relay, "GET", "/messages/bob", json!(null)).await;
    assert_eq!(inbox["count"], 1, "also the second time");
    let mut bob = Client::open(relay.port, TOKEN, true).await;
    bob.announce("bob", bundle("bob")).await;
    assert_eq!(bob.receive_type("deliver").await["message"]["id"], "1");
    bob.expect_nothing().await;
}

#[tokio::test]
async fn an_online_users_mail_is_not_given_to_a_poll_as_well() {
    let relay = Relay::start(&[]);
    let mut bob = Client::open(relay.port, TOKEN, true).await;
    bob.announce("bob", bundle("bob")).await;
    let post = json!({"to": "bob", "from": "alice", "ciphertext": "c", "header": "h"});
    http(&relay, "POST", "/message", post).await;
    let (_, inbox) = http(&relay, "GET", "/messages/bob", json!(null)).await;
    assert_eq!(inbox["count"], 0);
    bob.receive_type("deliver").await;
    bob.close().await;
    let (_, inbox) = http(&relay, "GET", "/messages/bob", json!(null)).await;
    assert_eq!(inbox["count"], 1, "it was never received");
}

#[tokio::test]
async fn an_inbox_larger_than_a_body_may_be_is_fetched_in_parts() {
    let relay = Relay::start(&["--max-frame-bytes", "4000"]);
    http(&relay, "POST", "/register", json!({"user_id": "bob"})).await;
    for n in 0..10 {
        let ciphertext = format!("{n}{}", "c".repeat(999));
        let post = json!({"to": "bob", "from": "a", "ciphertext": ciphertext, "header": ""});
        assert_eq!(http(&relay, "POST", "/message", post).await.0, 200);
    }
    let (mut seen, mut fetches) = (String::new(), 0);
    while seen.len() < 10 {
        let (_, inbox) = http(&relay, "GET", "/messages/bob", json!(null)).await;
        fetches += 1;
        for message in inbox["messages"].as_array().expect("messages") {
            seen.push_str(&message["ciphertext"].as_str().expect("text")[..1]);
        }
    }
    assert_eq!((seen.as_str(), fetches), ("0123456789", 3));
}

#[tokio::test]
async fn registered_keys_come_back_as_they_were_written() {
    let relay = Relay::start(&[]);
    let body = r#"{"user_id":"bob","publicKeys":{"z":1.50,"a":123456789012345678901234567890}}"#;
    let mut request = Request::new("POST", "/register", TOKEN, &json!(null));
    request.body = body.into();
    assert_eq!(request.send(relay.port).await.status, 200);
    let answer = Request::new("GET", "/public-key/bob", TOKEN, &json!(null)).send(relay.port).await;
    let text = String::from_utf8(answer.body).expect("text");
    assert_eq!(text, r#"{"publicKeys":{"z":1.50,"a":123456789012345678901234567890}}"#);
}

#[tokio::test]
async fn status_tells_of_users_of_either_dialect() {
    let relay = Relay::start(&[]);
    http(&relay, "POST", "/register", json!({"user_id": "bob", "publicKeys": bundle("bob")})).await;
    let mut alice = Client::open(relay.port, TOKEN, true).await;
    alice.announce("alice", bundle("alice")).await;
    for (user, online) in [("bob", false), ("alice", true)] {
        let path = format!("/status/{user}");
        let status = Request { method: "GET", path: &path, ..Request::default() };
        let expected = json!({"userId": user, "online": online, "hasPublicKey": true});
        assert_eq!(status.send(relay.port).await.json(), expected);
    }
}
