//! What a step asks of the stores: each of them once, whatever the step does.

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use stvor_client::{SendOptions, Stores};

use crate::adapters::{Call, watched};
use crate::people::{Person, open};
use crate::relays::{FakeRelay, Kind};

#[tokio::test]
async fn with_peers_who_are_known_a_step_writes_once_and_marks_nonces_once_whoever_takes_part() {
    let relay = FakeRelay::start(Kind::Mock).await;
    let app = open(&relay.url).await;
    let calls = Arc::new(Mutex::new(Vec::new()));
    let asked = calls.clone();
    let stores = watched(&Stores::memory(), move |call| {
        calls.lock().unwrap().push(call);
        std::future::ready(Ok(()))
    });
    let take = || std::mem::take(&mut *asked.lock().unwrap());
    let mut alice = Person::join_with(&app, "alice", stores).await;
    let mut peers = Vec::new();
    for i in 0..10 {
        let mut peer = Person::join(&app, &format!("peer {i}")).await;
        let options = SendOptions { receipt: true, ..SendOptions::default() };
        let sent = tokio::spawn(alice.send_with(&format!("peer {i}"), "hello", options));
        peer.next().await;
        sent.await.unwrap().unwrap();
        peers.push(peer);
    }
    take();

    // Nobody handles these, so no receipts come.
    let sends: Vec<_> = (0..50).map(|i| alice.send(&format!("peer {}", i % 10), "all")).collect();
    for sent in join_all(sends).await {
        sent.unwrap();
    }
    let saves_once = [Call::Save, Call::Saved { replaced: None }];
    assert_eq!(take(), saves_once);

    peers[0].send("alice", "one").await.unwrap();
    alice.messages.recv().await.unwrap();
    let calls = take();
    assert_eq!(calls[0], Call::Mark { nonces: 1 });
    assert_eq!(calls[1..], saves_once);
}
