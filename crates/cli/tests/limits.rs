//! Every limit is refused by name, and what was there before stays.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Relay;
use support::http::{Request, parse};
use support::websocket::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

const TOKEN: &str = "stvor_test";

async fn http(relay: &Relay, method: &str, path: &str, body: Value) -> (u16, Value) {
    let response = Request::new(method, path, TOKEN, &body).send(relay.port).await;
    (response.status, response.json()["code"].clone())
}

/// Sends one frame and returns the code and the id of the error that answers it.
async fn refused(client: &mut Client, frame: Value) -> (Value, Value) {
    client.send(frame).await;
    let error = client.receive_type("error").await;
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    (error["code"].clone(), error["id"].clone())
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_with_1009() {
    let relay = Relay::start(&[]);
    for acknowledges in [true, false] {
        let mut client = Client::open(relay.port, TOKEN, acknowledges).await;
        client.send_raw(Message::text(" ".repeat(1 << 20))).await; // as large as it may be
        if acknowledges {
            assert_eq!(client.receive().await["code"], "INVALID_FRAME");
        }
        client.send_raw(Message::text("x".repeat((1 << 20) + 1))).await;
        assert_eq!(client.receive().await["code"], "FRAME_TOO_LARGE");
        assert_eq!(client.closed().await.0, 1009);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered_with_413() {
    let relay = Relay::start(&[]);
    let body = json!({"user_id": "a", "publicKeys": "x".repeat(1 << 20)});
    let expected = (413, json!("PAYLOAD_TOO_LARGE"));
    assert_eq!(http(&relay, "POST", "/register", body).await, expected);
}

#[tokio::test]
async fn a_group_message_names_a_thousand_members_at_most() {
    let relay = Relay::start(&[]);
    http(&relay, "POST", "/register", json!({"user_id": "bob"})).await;
    let post = |count: usize| {
        let mut members = vec!["nobody"; count - 1];
        members.push("bob");
        let ciphertext = "c".repeat(900_000);
        json!({"from": "a", "members": members, "ciphertext": ciphertext, "groupHeader": "h"})
    };
    let refused = http(&relay, "POST", "/group/g/message", post(1001)).await;
    assert_eq!(refused, (400, json!("TOO_MANY_MEMBERS")));
    let request = Request::new("POST", "/group/g/message", TOKEN, &post(1000));
    let answer = request.send(relay.port).await.json();
    assert_eq!(answer["delivered"], json!(["bob"]));
    assert_eq!(answer["failed"].as_array().map(Vec::len), Some(999));
}

#[tokio::test]
async fn a_full_mailbox_refuses_over_both_dialects_until_it_is_read() {
    let relay = Relay::start(&["--max-mailbox-messages", "2"]);
    let mut alice = Client::open(relay.port, TOKEN, true).await;
    http(&relay, "POST", "/register", json!({"user_id": "bob"})).await;
    let message = |id| {
        let payload = json!({"ciphertext": "c", "header": "h"});
        json!({"type": "message", "id": id, "to": "bob", "from": "alice", "payload": payload})
    };
    for id in ["1", "2"] {
        alice.send(message(id)).await;
        alice.receive_type("queued").await;
    }
    let expected = (json!("MAILBOX_FULL"), json!("3"));
    assert_eq!(refused(&mut alice, message("3")).await, expected);
    let post = json!({"to": "bob", "from": "a", "ciphertext": "c", "header": ""});
    let full = (429, json!("MAILBOX_FULL"));
    assert_eq!(http(&relay, "POST", "/message", post.clone()).await, full);
    http(&relay, "GET", "/messages/bob", json!(null)).await;
    // A refusal is not remembered as taken: the same message is welcome now.
    alice.send(message("3")).await;
    alice.receive_type("queued").await;
    assert_eq!(http(&relay, "POST", "/message", post).await.0, 200);
}

#[tokio::test]
async fn the_bytes_of_a_mailbox_and_of_the_relay_are_bounded() {
    let mailbox = ["--max-mailbox-bytes", "2000"];
    let all = ["--max-stored-bytes", "2000"];
    for (flags, code) in [(mailbox, "MAILBOX_FULL"), (all, "STORAGE_FULL")] {
        let relay = Relay::start(&flags);
        let mut alice = Client::open(relay.port, TOKEN, true).await;
        let message =
            json!({"type": "message", "id": "m", "to": "bob", "payload": "x".repeat(1990)});
        assert_eq!(refused(&mut alice, message).await, (json!(code), json!("m")));
    }
}

#[tokio::test]
async fn user_ids_are_bounded_in_bytes() {
    let relay = Relay::start(&[]);
    let mut alice = Client::open(relay.port, TOKEN, false).await;
    let (fits, too_long) = ("é".repeat(128), "é".repeat(128) + "a");
    alice.announce(&fits, json!("keys")).await;
    let code = json!("INVALID_USER_ID");
    let announce = json!({"type": "announce", "user": too_long});
    assert_eq!(refused(&mut alice, announce).await, (code.clone(), json!(null)));
    let message = json!({"type": "message", "id": 7, "to": too_long, "from": "alice"});
    assert_eq!(refused(&mut alice, message).await, (code.clone(), json!(7)));
    let register = json!({"user_id": too_long});
    assert_eq!(http(&relay, "POST", "/register", register).await, (400, code));
    assert_eq!(http(&relay, "POST", "/register", json!({"user_id": fits})).await.0, 200);
}

#[tokio::test]
async fn users_are_bounded_and_absent_recipients_count() {
    let relay = Relay::start(&["--max-users", "2"]);
    let mut alice = Client::open(relay.port, TOKEN, true).await;
    alice.announce("alice", json!("keys")).await;
    alice.send(json!({"type": "message", "to": "bob", "payload": 1})).await;
    alice.receive_type("queued").await;
    let code = json!("TOO_MANY_USERS");
    let message = json!({"type": "message", "id": "m", "to": "carol", "payload": 1});
    assert_eq!(refused(&mut alice, message).await, (code.clone(), json!("m")));
    let announce = json!({"type": "announce", "user": "carol"});
    assert_eq!(refused(&mut alice, announce).await, (code.clone(), json!(null)));
    assert_eq!(http(&relay, "POST", "/register", json!({"user_id": "dave"})).await, (503, code));
    alice.announce("bob", json!("he is known already")).await;
}

#[tokio::test]
async fn keys_are_bounded() {
    let relay = Relay::start(&["--max-keys-bytes", "10"]);
    let mut alice = Client::open(relay.port, TOKEN, true).await;
    let announce = json!({"type": "announce", "user": "alice", "pub": "123456789"});
    assert_eq!(refused(&mut alice, announce).await.0, "INVALID_FRAME");
    let register = json!({"user_id": "alice", "publicKeys": "123456789"});
    let expected = (413, json!("KEYS_TOO_LARGE"));
    assert_eq!(http(&relay, "POST", "/register", register).await, expected);
    alice.announce("alice", json!("12345678")).await;
    alice.expect_nothing().await;
}

#[tokio::test]
async fn connections_are_bounded() {
    let relay = Relay::start(&["--max-connections", "1"]);
    let mut client = Client::open(relay.port, TOKEN, true).await;
    let health = Request { method: "GET", path: "/health", ..Request::default() };
    let refused = health.send(relay.port).await;
    assert_eq!(
        (refused.status, refused.json()["code"].clone()),
        (503, json!("TOO_MANY_CONNECTIONS"))
    );
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_request_that_does_not_arrive_is_not_waited_for() {
    let relay = Relay::start(&["--request-seconds", "1"]);
    // No head at all: closed without an answer.
    let mut slow = TcpStream::connect(("127.0.0.1", relay.port)).await.expect("a connection");
    slow.write_all(b"GET /health HTTP/1.1\r\nHo").await.expect("to send");
    let mut bytes = Vec::new();
    let _ = slow.read_to_end(&mut bytes).await;
    // Half a body: told.
    let mut slow = TcpStream::connect(("127.0.0.1", relay.port)).await.expect("a connection");
    let head = "POST /register HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer stvor_x\r\n";
    slow.write_all(format!("{head}Content-Length: 10\r\n\r\n{{").as_bytes())
        .await
        .expect("to send");
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).await.expect("an answer");
    assert_eq!(parse(&bytes).status, 408);
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_not_waited_for() {
    let relay = Relay::start(&["--request-seconds", "1", "--max-frame-bytes", "50000000"]);
    http(&relay, "POST", "/register", json!({"user_id": "bob"})).await;
    let ciphertext = "c".repeat(40_000_000); // more than the system buffers
    let post = json!({"to": "bob", "from": "a", "ciphertext": ciphertext, "header": "h"});
    assert_eq!(http(&relay, "POST", "/message", post).await.0, 200);
    let mut slow = TcpStream::connect(("127.0.0.1", relay.port)).await.expect("a connection");
    let request =
        "GET /messages/bob HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer stvor_test\r\n\r\n";
    slow.write_all(request.as_bytes()).await.expect("to send");
    let (mut total, mut buffer, started) = (0, vec![0; 64 << 10], Instant::now());
    // It does read, but too slowly.
    while let Ok(read @ 1..) = slow.read(&mut buffer).await {
        total += read;
        if started.elapsed() < Duration::from_secs(2) {
            sleep(Duration::from_millis(20)).await;
        }
    }
    assert!((1..ciphertext.len()).contains(&total), "{total} bytes came");
}

#[tokio::test]
async fn a_socket_that_answers_no_ping_is_closed_and_its_user_offline() {
    let relay = Relay::start(&["--ping-seconds", "1"]);
    let mut alice = Client::open(relay.port, TOKEN, true).await;
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port)).await.expect("a connection");
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Authorization: Bearer stvor_test\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("to send");
    let announce = br#"{"type":"announce","user":"bob","pub":1}"#;
    let length = 0x80 | u8::try_from(announce.len()).expect("a short frame");
    // An announcement masked with zeros, and then silence.
    stream
        .write_all(&[&[0x81, length, 0, 0, 0, 0], &announce[..]].concat())
        .await
        .expect("to send");
    let mut bytes = Vec::new();
    assert_eq!(alice.receive().await["user"], "bob");
    // Alice, who says nothing either, answers the pings while she waits.
    tokio::select! {
        _ = stream.read_to_end(&mut bytes) => {}
        frame = alice.receive() => assert_eq!(frame, json!(null), "alice hears no more"),
    }
    assert!(bytes.contains(&0x89), "it was pinged");
    alice.send(json!({"type": "message", "id": "m", "to": "bob", "from": "alice"})).await;
    assert_eq!(alice.receive_type("queued").await["id"], "m");
}
