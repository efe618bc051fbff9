//! The binary against the recorded exchanges of the original's HTTP relay: status, headers and
//! JSON of every answer. Where ours differs, it is listed here and in docs/RELAY.md.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;

use serde_json::{Value, json};
use support::Relay;
use support::http::{Request, Response};

fn recording() -> Value {
    serde_json::from_str(include_str!("recordings/relay-http.json")).expect("JSON")
}

#[tokio::test]
async fn every_recorded_exchange_is_answered_as_the_original_does_or_as_listed() {
    let recording = recording();
    let mut exchanges = 0;
    let mut deviations = 0;
    for group in recording["groups"].as_array().expect("groups") {
        let relay = Relay::start(&flags(&group["environment"]));
        let mut ids = HashMap::new();
        for exchange in group["exchanges"].as_array().expect("exchanges") {
            deviations += usize::from(check(&relay, exchange, &mut ids).await);
            exchanges += 1;
        }
    }
    assert_eq!(exchanges, 81);
    assert_eq!(deviations, 26);
}

/// The settings of the original's relay as our flags.
fn flags(environment: &Value) -> Vec<&str> {
    let names =
        [("MAX_MSG_PER_USER", "--max-mailbox-messages"), ("MAX_USERS_TOTAL", "--max-users")];
    let environment = environment.as_object().expect("an environment");
    environment
        .iter()
        .flat_map(|(name, value)| {
            let flag = names.iter().find(|(theirs, _)| theirs == name).expect("a known setting").1;
            [flag, value.as_str().expect("text")]
        })
        .collect()
}

/// Message ids: the recorded one and ours.
type Ids = HashMap<String, String>;

/// Returns whether the answer deviates from the recording, as listed.
async fn check(relay: &Relay, exchange: &Value, ids: &mut Ids) -> bool {
    let note = exchange["note"].as_str().expect("a note");
    let response = send(relay, &exchange["request"], ids).await;
    let recorded = &exchange["response"];
    check_headers(&response, &recorded["headers"], note);
    let answer = (u64::from(response.status), response.json());
    let original = (recorded["status"].as_u64().expect("a status"), recorded["body"].clone());
    let original = (original.0, with_ours(&original.1, &answer.1, ids, note));
    let expected = expected(note, original.clone(), &answer.1);
    assert_eq!(answer, expected, "{note}");
    original != expected
}

async fn send(relay: &Relay, request: &Value, ids: &Ids) -> Response {
    let path = request["path"].as_str().expect("a path");
    let path = match path.strip_prefix("/message/").and_then(|id| ids.get(id)) {
        Some(id) => format!("/message/{id}"),
        None => path.to_owned(),
    };
    let headers = request["headers"].as_object().expect("headers");
    let headers = headers.iter().map(|(k, v)| (k.clone(), v.as_str().expect("text").to_owned()));
    let method = request["method"].as_str().expect("a method");
    let body = body(request);
    Request { method, path: &path, headers: headers.collect(), body }.send(relay.port).await
}

fn body(request: &Value) -> Vec<u8> {
    match (request.get("rawBody"), request.get("body")) {
        (Some(raw), _) => raw.as_str().expect("text").into(),
        (None, Some(body)) if body.get("note").is_some() => {
            let length = body["length"].as_u64().and_then(|n| usize::try_from(n).ok());
            json!("x".repeat(length.expect("a length") - 2)).to_string().into()
        }
        (None, Some(body)) => body.to_string().into(),
        (None, None) => Vec::new(),
    }
}

fn check_headers(response: &Response, recorded: &Value, note: &str) {
    for (name, value) in recorded.as_object().expect("headers") {
        assert_eq!(response.headers.get(name).map(String::as_str), value.as_str(), "{note}");
    }
}

/// The recorded body with our values where values differ between runs, each checked for form.
fn with_ours(recorded: &Value, ours: &Value, ids: &mut Ids, note: &str) -> Value {
    let mut expected = recorded.clone();
    if let Some(id) = recorded["messageId"].as_str() {
        let our_id = ours["messageId"].as_str().expect("an id");
        assert!(our_id.len() == 24 && our_id.bytes().all(|b| b.is_ascii_hexdigit()), "{note}");
        ids.insert(id.to_owned(), our_id.to_owned());
        expected["messageId"] = our_id.into();
    }
    let messages = expected.get_mut("messages").and_then(Value::as_array_mut);
    for message in messages.into_iter().flatten() {
        // Group messages get ids that no answer has told.
        let id = ids.get(message["id"].as_str().expect("an id")).cloned();
        let listed = ours["messages"].as_array().expect("messages");
        let same = |m: &&Value| id.as_ref().map_or(m["groupId"].is_string(), |id| m["id"] == **id);
        let our_message = listed.iter().find(same).expect("the message");
        message["id"] = our_message["id"].clone();
        message["timestamp"] = timestamp(&our_message["timestamp"], note);
    }
    for pointer in ["/exportedAt", "/deletedAt", "/data/registeredAt", "/data/lastActivity"] {
        if let (Some(value), Some(ours)) = (expected.pointer_mut(pointer), ours.pointer(pointer)) {
            *value = timestamp(ours, note);
        }
    }
    if recorded["uptime"].is_number() {
        expected["uptime"] = ours["uptime"].clone();
    }
    expected
}

/// A time as JavaScript writes it: `2026-11-22T23:33:13.921Z`.
fn timestamp(value: &Value, note: &str) -> Value {
    let text = value.as_str().expect("a time");
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{note}");
    value.clone()
}

/// Deviations: what we answer where the original answers otherwise. Each with its reason in
/// docs/RELAY.md, "Where it differs from the originals".
fn expected(note: &str, (status, mut body): (u64, Value), ours: &Value) -> (u64, Value) {
    let coded = |mut body: Value, code: &str| {
        body["code"] = code.into();
        body
    };
    match note {
        _ if status == 401 => (401, coded(body, "AUTH_FAILED")),
        _ if status == 429 => (429, coded(body, "MAILBOX_FULL")),
        _ if status == 503 => (503, coded(body, "TOO_MANY_USERS")),
        "health needs no token" | "health at the end" => {
            body["server"] = "stvor-mock-relay".into();
            body["version"] = env!("CARGO_PKG_VERSION").into();
            body["connectedUsers"] = 0.into();
            body["totalConnections"] = 0.into();
            body["totalMessages"] = body["messages"].clone();
            body["features"] = json!(["websocket", "ack", "leave", "prekeys"]);
            (200, body)
        }
        "register: body larger than a million characters" => {
            // The limit is 1 MiB; the body is a JSON string, and so has no user_id.
            (400, json!({"error": "Invalid user_id", "code": "INVALID_USER_ID"}))
        }
        _ if body["error"] == "Invalid user_id" => (400, coded(body, "INVALID_USER_ID")),
        "register: body is the JSON value null" => (400, json!({"error": "Invalid JSON"})),
        "public key, malformed percent escape" => (400, json!({"error": "Malformed path"})),
        "export of bob's data" => {
            body["relay"] = "stvor-mock-relay".into();
            (200, body)
        }
        "inbox after that" => {
            // Registering again has not emptied it: the message queued before is there.
            assert_eq!(ours["messages"][0]["from"], "alice@example.com");
            (200, json!({"count": 1, "messages": [ours["messages"][0]]}))
        }
        _ => (status, body),
    }
}

#[tokio::test]
async fn the_recorded_requests_of_an_original_client_are_answered() {
    let recording = recording();
    let relay = Relay::start(&[]);
    let requests = recording["clientTrace"]["requests"].as_array().expect("requests");
    assert_eq!(requests.len(), 11);
    let mut ids = HashMap::new();
    for request in requests {
        let note = request["path"].as_str().expect("a path");
        let response = send(&relay, request, &ids).await;
        let recorded = &request["response"];
        let expected = with_ours(&recorded["body"], &response.json(), &mut ids, note);
        assert_eq!(json!(response.status), recorded["status"], "{note}");
        if note != "/health" {
            assert_eq!(response.json(), expected, "{note}");
        }
    }
}
