//! Clients of ours over the original's HTTP relay.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::people::{Deaf, Person, config, open};
use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use stvor_client::{App, Code, SendOptions, SentStatus, Stores};

/// What the original's relay answers, and what it was asked.
#[derive(Default)]
struct Relay {
    users: HashMap<String, (Value, Vec<Value>)>,
    used: i64,
    /// Headers of the messages taken.
    posted: Vec<String>,
    limit: i64,
    full: bool,
    fail_next: usize,
}

type Shared = Arc<Mutex<Relay>>;
type Answer = (StatusCode, Json<Value>);

const fn ok(body: Value) -> Answer {
    (StatusCode::OK, Json(body))
}

async fn start() -> (String, Shared) {
    let shared: Shared = Arc::new(Mutex::new(Relay { limit: -1, ..Relay::default() }));
    let app = Router::new()
        .route("/health", get(async || Json(json!({"status": "ok", "server": "stvor-relay"}))))
        .route("/register", post(register))
        .route("/public-key/{id}", get(public_key))
        .route("/message", post(message))
        .route("/messages/{id}", get(messages))
        .route("/usage", get(usage))
        .with_state(shared.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, shared)
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

fn refusal(headers: &HeaderMap) -> Option<Answer> {
    let token = headers.get("authorization").and_then(|v| v.to_str().ok()).unwrap_or_default();
    let invalid = (StatusCode::UNAUTHORIZED, Json(json!({"error": "Invalid token"})));
    (!token.starts_with("Bearer stvor_")).then_some(invalid)
}

async fn register(State(relay): State<Shared>, headers: HeaderMap, body: Json<Value>) -> Answer {
    if let Some(refusal) = refusal(&headers) {
        return refusal;
    }
    let id = body["user_id"].as_str().unwrap().to_owned();
    relay.lock().unwrap().users.insert(id, (body["publicKeys"].clone(), Vec::new()));
    ok(json!({"status": "registered"}))
}

async fn public_key(State(relay): State<Shared>, Path(id): Path<String>) -> Answer {
    match relay.lock().unwrap().users.get(&id) {
        Some((keys, _)) => ok(json!({"publicKeys": keys})),
        None => (StatusCode::NOT_FOUND, Json(json!({"error": "User not found"}))),
    }
}

async fn message(State(relay): State<Shared>, Json(body): Json<Value>) -> Answer {
    let mut relay = relay.lock().unwrap();
    if relay.fail_next > 0 {
        relay.fail_next -= 1;
        return (StatusCode::BAD_GATEWAY, Json(json!({"error": "try again"})));
    }
    if relay.full {
        return (StatusCode::TOO_MANY_REQUESTS, Json(json!({"error": "Recipient inbox full"})));
    }
    relay.used += 1;
    relay.posted.push(body["header"].as_str().unwrap().to_owned());
    let id = relay.used.to_string();
    let Some((_, inbox)) = relay.users.get_mut(body["to"].as_str().unwrap()) else {
        return (StatusCode::NOT_FOUND, Json(json!({"error": "Recipient not found"})));
    };
    inbox.push(json!({
        "id": id, "from": body["from"], "ciphertext": body["ciphertext"],
        "header": body["header"], "timestamp": "2026-01-02T03:04:05.678Z"
    }));
    ok(json!({"status": "delivered", "messageId": id}))
}

async fn messages(State(relay): State<Shared>, Path(id): Path<String>) -> Answer {
    match relay.lock().unwrap().users.get_mut(&id) {
        Some((_, inbox)) => {
            let messages = std::mem::take(inbox);
            ok(json!({"count": messages.len(), "messages": messages}))
        }
        None => (StatusCode::NOT_FOUND, Json(json!({"error": "User not found"}))),
    }
}

async fn usage(State(relay): State<Shared>) -> Json<Value> {
    let relay = relay.lock().unwrap();
    Json(json!({"used": relay.used, "limit": relay.limit, "users": relay.users.len()}))
}

#[tokio::test]
async fn users_talk_over_http_and_the_whole_batch_is_processed() {
    let (url, relay) = start().await;
    let app = open(&format!("{url}/")).await; // a trailing slash is fine
    let alice = Person::join(&app, "alice/with ünusual?#%..").await;
    let mut bob = Person::join(&app, "bob").await;
    let sent_after = now_ms();
    let sends: Vec<_> = (0..20).map(|n| alice.send("bob", &n.to_string())).collect();
    for send in sends {
        assert_eq!(send.await.unwrap().status, SentStatus::Delivered);
    }
    let first = bob.messages.recv().await.unwrap();
    assert_eq!(first.content.as_bytes(), b"0");
    let sent_within = sent_after..=now_ms();
    assert!(sent_within.contains(&first.timestamp_ms), "the sender's time, not the relay's");
    for n in 1..20 {
        assert_eq!(bob.next().await.1, n.to_string());
    }
    bob.send("alice/with ünusual?#%..", "and back").await.unwrap();
    let mut alice = alice;
    assert_eq!(alice.next().await, ("bob".into(), "and back".into()));
    let metrics = app.metrics();
    assert_eq!((metrics.messages_encrypted, metrics.messages_decrypted), (21, 21));
    let posted = relay.lock().unwrap().posted.clone();
    assert!(posted.len() >= 21, "and receipts");
    assert_eq!(posted.iter().collect::<HashSet<_>>().len(), posted.len(), "nothing goes twice");
}

#[tokio::test]
async fn a_bad_message_does_not_cost_its_batch() {
    let (url, relay) = start().await;
    let app = open(&url).await;
    let alice = Person::join(&app, "alice").await;
    let mut bob = Person::join(&app, "bob").await;
    {
        let mut relay = relay.lock().unwrap();
        let inbox = &mut relay.users.get_mut("bob").unwrap().1;
        inbox.push(json!("not a message"));
        inbox.push(json!({"id": "x", "from": "alice", "ciphertext": "AA", "header": "AA"}));
    }
    alice.send("bob", "good").await.unwrap();
    assert_eq!(bob.next().await.1, "good");
    assert_eq!(bob.error().await.code, Code::DecryptionFailed);
}

#[tokio::test]
async fn refusals_of_the_relay_reach_the_sender_by_their_codes() {
    let (url, relay) = start().await;
    let app = open(&url).await;
    let alice = Person::join(&app, "alice").await;
    let _bob = Person::join(&app, "bob").await;
    let impatient = SendOptions { wait_for_recipient: false, ..SendOptions::default() };
    let error = alice.send_with("nobody", "x", impatient).await.unwrap_err();
    assert_eq!(error.code, Code::RecipientNotFound);
    alice.send("bob", "first").await.unwrap();
    relay.lock().unwrap().full = true;
    assert_eq!(alice.send("bob", "x").await.unwrap_err().code, Code::DeliveryFailed);
    relay.lock().unwrap().full = false;
    relay.lock().unwrap().limit = 1;
    assert_eq!(alice.send("bob", "x").await.unwrap_err().code, Code::QuotaExceeded);
    relay.lock().unwrap().limit = -1;
    relay.lock().unwrap().fail_next = 1;
    alice.send("bob", "tried again").await.unwrap();

    let mut refused = config(&url);
    refused.app_token = "sk_live_xxx".into();
    let app = App::open(refused).await.unwrap(); // /health asks for no token
    let events = Arc::new(Deaf);
    let error = app.connect("carol", Stores::memory(), events).await.unwrap_err();
    assert_eq!(error.code, Code::AuthFailed);
    assert!(!app.is_ready());
}

#[tokio::test]
async fn a_relay_that_lost_its_memory_is_registered_with_again() {
    let (url, relay) = start().await;
    let app = open(&url).await;
    let alice = Person::join(&app, "alice").await;
    let mut bob = Person::join(&app, "bob").await;
    alice.send("bob", "before").await.unwrap();
    assert_eq!(bob.next().await.1, "before");
    relay.lock().unwrap().users.clear();
    while relay.lock().unwrap().users.len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    alice.send("bob", "after").await.unwrap();
    assert_eq!(bob.next().await.1, "after");
}

#[tokio::test]
async fn a_peer_with_new_keys_is_noticed_when_their_message_does_not_open() {
    let (url, _relay) = start().await;
    let (ours, theirs) = (open(&url).await, open(&url).await);
    let mut alice = Person::join(&ours, "alice").await;
    let mut bob = Person::join(&theirs, "bob").await;
    alice.send("bob", "one").await.unwrap();
    assert_eq!(bob.next().await.1, "one");
    bob.client.disconnect().await;
    let bob = Person::join(&theirs, "bob").await; // a new identity
    bob.send("alice", "it is me").await.unwrap();
    assert_eq!(alice.error().await.code, Code::IdentityChanged);
    alice.client.trust("bob", bob.client.fingerprint()).await.unwrap();
    assert_eq!(alice.next().await, ("bob".into(), "it is me".into()));
}
