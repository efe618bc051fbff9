//! Bundles of wire 4 and one-time prekeys, over the relay's sockets.

mod support;

use serde_json::{Value, json};
use support::Relay;
use support::http::Request;
use support::websocket::Client;

const TOKEN: &str = "stvor_test";

async fn ours(relay: &Relay) -> Client {
    let headers = [("Authorization", "Bearer stvor_test"), ("stvor-features", "prekeys,ack")];
    let mut client = Client::connect(relay.port, "/", &headers).await;
    let welcome = json!({"type": "handshake", "status": "ok", "features": ["ack", "prekeys"]});
    assert_eq!(client.receive().await, welcome);
    client
}

/// As large as it may be: keys of 88 characters, a signature of 96, and 2,800 for wire 4.
fn bundle(of: &str) -> Value {
    json!({
        "signedPreKey": "s".repeat(88), "identityKey": format!("ik of {of}"),
        "signedPreKeySignature": "g".repeat(96), "oneTimePreKey": "", "v4": "4".repeat(2800),
    })
}

fn prekeys(ids: std::ops::Range<u32>) -> Vec<Value> {
    ids.map(|id| json!({"id": id, "key": format!("{id:087}")})).collect()
}

async fn upload(client: &mut Client, user: &str, ids: std::ops::Range<u32>) {
    client.send(json!({"type": "prekeys", "user": user, "prekeys": prekeys(ids)})).await;
}

async fn look_up(client: &mut Client, user: &str) -> Value {
    client.send(json!({"type": "lookup", "user": user})).await;
    client.receive().await
}

fn left(user: &str, left: u32) -> Value {
    json!({"type": "prekeys", "user": user, "left": left})
}

async fn http(relay: &Relay, method: &str, path: &str, body: Value) -> (u16, Value) {
    let response = Request::new(method, path, TOKEN, &body).send(relay.port).await;
    (response.status, response.json())
}

#[tokio::test]
async fn a_bundle_with_the_keys_of_wire_4_reaches_everybody_as_it_was() {
    let relay = Relay::start(&[]);
    let mut alice = ours(&relay).await;
    alice.announce("alice", bundle("alice")).await;
    assert_eq!(alice.receive().await, left("alice", 0));
    let register = json!({"user_id": "bob", "publicKeys": bundle("bob")});
    assert_eq!(http(&relay, "POST", "/register", register).await.0, 200);
    let announced = json!({"type": "announce", "user": "bob", "pub": bundle("bob")});
    assert_eq!(alice.receive().await, announced);
    for user in ["alice", "bob"] {
        let fetched = http(&relay, "GET", &format!("/public-key/{user}"), json!(null)).await;
        assert_eq!(fetched, (200, json!({"publicKeys": bundle(user)})));
        let found = json!({"type": "found", "user": user, "pub": bundle(user)});
        assert_eq!(look_up(&mut alice, user).await, found);
    }
    let mut late = Client::open(relay.port, TOKEN, false).await;
    for user in ["alice", "bob"] {
        let replayed = json!({"type": "announce", "user": user, "pub": bundle(user)});
        assert_eq!(late.receive().await, replayed, "clients of the original get them too");
    }
}

#[tokio::test]
async fn peers_get_a_prekey_each_and_the_owner_learns_how_many_are_left() {
    let relay = Relay::start(&[]);
    let (mut bob, mut alice) = (ours(&relay).await, ours(&relay).await);
    bob.announce("bob", bundle("bob")).await;
    assert_eq!(bob.receive().await, left("bob", 0));
    upload(&mut bob, "bob", 1..27).await;
    assert_eq!(bob.receive().await, left("bob", 26));
    assert_eq!(alice.receive().await["type"], "announce");
    let mut carol = ours(&relay).await;
    assert_eq!(carol.receive().await["type"], "announce");
    for (client, id) in [(&mut alice, 1), (&mut carol, 2)] {
        let found = look_up(client, "bob").await;
        assert_eq!(found["prekey"], prekeys(id..id + 1)[0]);
        assert_eq!(found["pub"], bundle("bob"));
    }
    assert_eq!(bob.receive().await, left("bob", 24), "few");
    let unknown = json!({"type": "unknown", "user": "dave"});
    assert_eq!(look_up(&mut alice, "dave").await, unknown);
    let (_, export) = http(&relay, "GET", "/user/bob/export", json!(null)).await;
    assert_eq!(export["data"]["oneTimePrekeys"], 24);

    bob.vanish().await;
    let mut bob = ours(&relay).await;
    assert_eq!(bob.receive().await["type"], "announce");
    bob.announce("bob", bundle("bob")).await;
    assert_eq!(bob.receive().await, left("bob", 24));
    bob.announce("bob", bundle("somebody else")).await;
    assert_eq!(bob.receive().await, left("bob", 0), "they were of the old identity");
}

#[tokio::test]
async fn a_flood_of_look_ups_takes_a_burst_and_is_answered_without_prekeys_then() {
    let relay = Relay::start(&[]);
    let (mut bob, mut flood) = (ours(&relay).await, ours(&relay).await);
    bob.announce("bob", bundle("bob")).await;
    upload(&mut bob, "bob", 0..100).await;
    bob.sync().await;
    assert_eq!(flood.receive().await["type"], "announce");
    let mut taken = 0;
    for _ in 0..50 {
        let found = look_up(&mut flood, "bob").await;
        assert_eq!(found["pub"], bundle("bob"));
        taken += u32::from(found["prekey"].is_object());
    }
    assert_eq!(taken, 20);
}

#[tokio::test]
async fn prekeys_of_others_are_refused_and_clients_without_the_feature_hear_nothing() {
    let relay = Relay::start(&[]);
    let (mut bob, mut mallory) = (ours(&relay).await, ours(&relay).await);
    bob.announce("bob", bundle("bob")).await;
    assert_eq!(mallory.receive().await["type"], "announce");
    upload(&mut mallory, "bob", 0..1).await;
    assert_eq!(mallory.receive().await["code"], "INVALID_FRAME");
    let mut the_originals = Client::open(relay.port, TOKEN, false).await;
    the_originals.announce("carol", bundle("carol")).await;
    assert_eq!(the_originals.receive().await["user"], "bob");
    upload(&mut the_originals, "carol", 0..1).await;
    the_originals.send(json!({"type": "lookup", "user": "bob"})).await;
    the_originals.expect_nothing().await;
}
