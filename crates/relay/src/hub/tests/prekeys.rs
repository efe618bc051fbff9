//! One-time prekeys: each goes out once, in order, within the limits, to those who asked for it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn ours(hub: &Hub) -> SocketKey {
    let socket = hub.connect(namespace(), Some("prekeys")).key;
    assert_eq!(types(&read(hub, socket))[0], "handshake");
    socket
}

fn show(hub: &Hub, socket: SocketKey, user: &str, identity: &str) {
    let keys = json!({"identityKey": identity, "signedPreKey": "s"});
    hub.frame(socket, &json!({"type": "announce", "user": user, "pub": keys}).to_string());
}

/// Bob, online with keys and these prekeys; what was said about it is read.
fn bob(hub: &Hub, prekeys: std::ops::Range<u32>) -> SocketKey {
    let bob = ours(hub);
    show(hub, bob, "bob", "bob's");
    upload(hub, bob, prekeys);
    read(hub, bob);
    bob
}

fn upload(hub: &Hub, socket: SocketKey, ids: std::ops::Range<u32>) {
    let prekeys: Vec<_> = ids.map(|id| json!({"id": id, "key": format!("key {id}")})).collect();
    hub.frame(socket, &json!({"type": "prekeys", "user": "bob", "prekeys": prekeys}).to_string());
}

/// Looks bob up at the rate that is allowed for ever; the ids that were handed out.
fn look_up(hub: &Hub, socket: SocketKey, times: u32) -> Vec<Option<u64>> {
    static MINUTES: AtomicU32 = AtomicU32::new(0);
    (0..times)
        .map(|_| {
            let minutes = MINUTES.fetch_add(1, Ordering::Relaxed);
            let now = hub.started + Duration::from_secs(60) * minutes;
            hub.state().look_up(socket, "bob", now);
            prekey_of(read(hub, socket).last().unwrap())
        })
        .collect()
}

fn prekey_of(frame: &Value) -> Option<u64> {
    assert_eq!(frame["type"], "found");
    frame["prekey"]["id"].as_u64()
}

fn left(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|frame| frame["left"].as_u64()).collect()
}

fn codes(frames: &[Value]) -> Vec<&Value> {
    frames.iter().map(|frame| &frame["code"]).collect()
}

#[test]
fn each_prekey_goes_out_once_in_order_and_then_there_are_none() {
    let hub = hub(Limits::default());
    let bob = bob(&hub, 1..4);
    let alice = ours(&hub);
    hub.frame(alice, r#"{"type":"lookup","user":"bob"}"#);
    let found = read(&hub, alice).pop().unwrap();
    let keys = json!({"identityKey": "bob's", "signedPreKey": "s"});
    let prekey = json!({"id": 1, "key": "key 1"});
    assert_eq!(found, json!({"type": "found", "user": "bob", "pub": keys, "prekey": prekey}));
    assert_eq!(look_up(&hub, alice, 3), [Some(2), Some(3), None]);
    hub.disconnect(bob);
    hub.frame(alice, r#"{"type":"lookup","user":"bob"}"#);
    let absent = json!({"type": "found", "user": "bob", "pub": keys});
    assert_eq!(read(&hub, alice), [absent], "absent users are found too");
    hub.frame(alice, r#"{"type":"lookup","user":"carol"}"#);
    assert_eq!(read(&hub, alice), [json!({"type": "unknown", "user": "carol"})]);
}

#[test]
fn an_upload_replaces_nothing_and_brings_nothing_back() {
    let hub = hub(Limits::default());
    let bob = bob(&hub, 1..4);
    let alice = ours(&hub);
    read(&hub, alice);
    assert_eq!(look_up(&hub, alice, 1), [Some(1)]);
    upload(&hub, bob, 1..6); // the first is out, two are there
    let other = json!([{"id": 2, "key": "of the same id"}]);
    hub.frame(bob, &json!({"type": "prekeys", "user": "bob", "prekeys": other}).to_string());
    assert_eq!(left(&read(&hub, bob)), [4, 4]);
    assert_eq!(look_up(&hub, alice, 5), [Some(2), Some(3), Some(4), Some(5), None]);
    upload(&hub, bob, 1..6);
    assert_eq!(left(&read(&hub, bob)).last(), Some(&0), "all of them were handed out");
}

#[test]
fn two_hundred_are_kept_and_what_comes_beyond_is_not_taken() {
    let hub = hub(Limits::default());
    let bob = bob(&hub, 0..150);
    upload(&hub, bob, 150..300);
    upload(&hub, bob, 300..501);
    let frames = read(&hub, bob);
    assert_eq!(left(&frames), [200]);
    assert_eq!(codes(&frames)[1], "INVALID_FRAME", "more than could ever be kept");
    let alice = ours(&hub);
    read(&hub, alice);
    assert_eq!(look_up(&hub, alice, 201).last(), Some(&None));
    assert_eq!(keys_only(&hub), hub.state().stored_bytes);
}

fn keys_only(hub: &Hub) -> usize {
    hub.state().users.iter().filter_map(|(_, u)| u.keys.as_ref()).map(|k| k.frame.len()).sum()
}

#[test]
fn the_owner_is_told_when_they_run_low_once_and_whenever_it_comes() {
    let hub = hub(Limits::default());
    let bob = bob(&hub, 0..27);
    let alice = ours(&hub);
    read(&hub, alice);
    look_up(&hub, alice, 2);
    assert_eq!(left(&read(&hub, bob)), [] as [u64; 0]);
    look_up(&hub, alice, 3);
    assert_eq!(left(&read(&hub, bob)), [24], "once");
    upload(&hub, bob, 100..103);
    assert_eq!(left(&read(&hub, bob)), [25]);
    look_up(&hub, alice, 2);
    assert_eq!(left(&read(&hub, bob)), [24], "and once more");
    hub.disconnect(bob);
    look_up(&hub, alice, 3);
    let again = ours(&hub);
    show(&hub, again, "bob", "bob's");
    assert_eq!(left(&read(&hub, again)), [20]);
    look_up(&hub, alice, 1);
    assert_eq!(left(&read(&hub, again)), [] as [u64; 0], "it knows");
}

#[test]
fn prekeys_go_with_their_identity_and_stay_with_a_new_signed_prekey() {
    let hub = hub(Limits::default());
    let bob = bob(&hub, 0..5);
    let keys = json!({"identityKey": "bob's", "signedPreKey": "new", "v4": "new"});
    hub.frame(bob, &json!({"type": "announce", "user": "bob", "pub": keys}).to_string());
    hub.frame(bob, r#"{"type":"announce","user":"bob"}"#);
    assert_eq!(left(&read(&hub, bob)), [5, 5]);
    show(&hub, bob, "bob", "another's");
    assert_eq!(left(&read(&hub, bob)), [0]);
    assert_eq!(keys_only(&hub), hub.state().stored_bytes);

    upload(&hub, bob, 0..5);
    hub.register(&namespace(), "bob", Some(r#"{"identityKey":"a third's"}"#)).unwrap();
    let alice = ours(&hub);
    read(&hub, alice);
    assert_eq!(look_up(&hub, alice, 1), [None]);
    assert_eq!(keys_only(&hub), hub.state().stored_bytes);
}

#[test]
fn erasing_a_user_gives_the_memory_back() {
    let hub = hub(Limits::default());
    bob(&hub, 0..5);
    assert!(keys_only(&hub) < hub.state().stored_bytes);
    hub.erase(&namespace(), "bob").unwrap();
    assert_eq!(hub.state().stored_bytes, 0);
}

#[test]
fn prekeys_are_taken_for_users_of_the_connection_who_have_keys() {
    let hub = hub(Limits::default());
    let (bob, mallory) = (bob(&hub, 0..1), ours(&hub));
    read(&hub, mallory);
    upload(&hub, mallory, 1..2);
    assert_eq!(codes(&read(&hub, mallory)), ["INVALID_FRAME"], "not hers");
    let keyless = r#"{"type":"prekeys","user":"keyless","prekeys":[{"id":1,"key":"k"}]}"#;
    hub.frame(bob, r#"{"type":"announce","user":"keyless"}"#);
    hub.frame(bob, keyless);
    let long = json!([{"id": 1, "key": "k".repeat(129)}]);
    hub.frame(bob, &json!({"type": "prekeys", "user": "bob", "prekeys": long}).to_string());
    let frames = read(&hub, bob);
    assert_eq!(left(&frames), [0], "of the announcement");
    assert_eq!(codes(&frames)[1..], ["INVALID_FRAME", "INVALID_FRAME"]);
}

#[test]
fn who_did_not_name_the_feature_is_told_nothing_of_it() {
    let hub = hub(Limits::default());
    bob(&hub, 0..1);
    let (others, without) = (connect(&hub, false), connect(&hub, true));
    for socket in [others, without] {
        read(&hub, socket);
        announce(&hub, socket, "carol");
        upload(&hub, socket, 0..1);
        hub.frame(socket, r#"{"type":"lookup","user":"bob"}"#);
    }
    assert_eq!(types(&read(&hub, others)), [] as [&str; 0]);
    let frames = read(&hub, without);
    assert_eq!(types(&frames), ["error", "error"], "as any frame that it did not name");
}

#[test]
fn a_flood_takes_no_more_than_a_burst_of_one_users_prekeys() {
    let hub = hub(Limits::default());
    bob(&hub, 0..100);
    let taken = |socket| {
        read(&hub, socket);
        (0..50).for_each(|_| hub.frame(socket, r#"{"type":"lookup","user":"bob"}"#));
        read(&hub, socket).iter().filter(|frame| prekey_of(frame).is_some()).count()
    };
    let (one, two) = (ours(&hub), ours(&hub));
    assert_eq!((taken(one), taken(two)), (20, 0), "over all connections");
}

#[test]
fn a_flood_from_one_connection_takes_no_more_than_a_burst_of_everybodys() {
    let hub = hub(Limits::default());
    let owner = ours(&hub);
    for n in 0..30 {
        let user = format!("user {n}");
        show(&hub, owner, &user, "owner's");
        let prekeys: Vec<_> = (0..10).map(|id| json!({"id": id, "key": "k"})).collect();
        let upload = json!({"type": "prekeys", "user": user, "prekeys": prekeys});
        hub.frame(owner, &upload.to_string());
    }
    let (flood, now) = (ours(&hub), Instant::now());
    read(&hub, flood);
    for n in 0..300 {
        hub.state().look_up(flood, &format!("user {}", n % 30), now);
    }
    let frames = read(&hub, flood);
    assert_eq!(frames.len(), 300, "every look-up is answered");
    assert_eq!(frames.iter().filter(|frame| prekey_of(frame).is_some()).count(), 100);
}

#[test]
fn a_relay_that_is_full_refuses_an_upload_whole() {
    let hub = hub(Limits { max_stored_bytes: 500, ..Limits::default() });
    let bob = bob(&hub, 0..0);
    upload(&hub, bob, 0..20);
    upload(&hub, bob, 0..2);
    let frames = read(&hub, bob);
    assert_eq!(codes(&frames)[0], "STORAGE_FULL");
    assert_eq!(left(&frames), [2]);
}
