//! The power goes at every sync, and what was not synced is gone, or half there.

use std::collections::HashMap;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::sim::{Left, Op, SimDisk};
use super::{made, nonce, open, record, version_of};
use crate::store::Store;

const USER: &str = "alice";

/// What a run has asked for and what it has been told.
#[derive(Clone, Default)]
struct Model {
    attempted: HashMap<usize, u64>,
    acknowledged: HashMap<usize, u64>,
    marked: Vec<u64>,
    identity: bool,
    pinned: bool,
}

/// The model at positions of the log, in order.
type History = Vec<(usize, Model)>;

async fn save(
    disk: &SimDisk,
    store: &Store,
    peers: &[usize],
    length: usize,
    history: &mut History,
) {
    let mut model = history.last().unwrap().1.clone();
    let mut records = Vec::new();
    for &peer in peers {
        let version = model.attempted.entry(peer).or_default();
        *version += 1;
        // The nonce of a step is its version: a record must never be there without it.
        assert!(!store.mark_later(USER, &peer.to_string(), &nonce(*version)));
        records.push((peer.to_string(), record(peer, *version, length)));
    }
    history.push((disk.logged(), model.clone()));
    store.save(USER, records).await.unwrap();
    for peer in peers {
        model.acknowledged.insert(*peer, model.attempted[peer]);
    }
    history.push((disk.logged(), model));
}

async fn other_stores(disk: &SimDisk, store: &Store, number: u64, history: &mut History) {
    let mut model = history.last().unwrap().1.clone();
    store.identity(USER, b"identity").await.unwrap();
    assert!(store.store_fingerprint(USER, "bob", b"fingerprint").await.unwrap());
    assert!(!store.check_and_mark(USER, "carol", &nonce(number)).await.unwrap());
    model.marked.push(number);
    (model.identity, model.pinned) = (true, true);
    history.push((disk.logged(), model));
}

/// A run with everything in it that writes: small and large records, growth, closing, opening.
/// Returns the file before it was closed for the last time, too.
async fn run(disk: &Arc<SimDisk>, start: Model, random: &mut ChaCha20Rng) -> (History, Vec<u8>) {
    let number = start.marked.last().map_or(0, |number| number + 1);
    let (mut history, mut left_open) = (vec![(0, start)], Vec::new());
    for session in 0..3 {
        let store = open(disk).await.unwrap();
        for step in 0..16 {
            let peers = [0, 1, 2].map(|_| (random.next_u32() % 12) as usize);
            let peers = if peers[0] == peers[1] { &peers[..1] } else { &peers[..2] };
            let length = if step % 8 == 7 { 150_000 } else { random.next_u32() as usize % 3000 };
            save(disk, &store, peers, length, &mut history).await;
            if step % 6 == 5 {
                other_stores(disk, &store, number + session * 100 + step, &mut history).await;
            }
        }
        store.close().await;
        // Sessions that write little: some of them have to make room before their first write.
        for _ in 0..4 {
            let store = open(disk).await.unwrap();
            save(disk, &store, &[session as usize + 20], 150_000, &mut history).await;
            left_open = disk.bytes();
            store.close().await;
        }
    }
    (history, left_open)
}

async fn check(disk: &Arc<SimDisk>, model: &Model) {
    let store = open(disk).await.expect("a power cut is no damage");
    for (&peer, &attempted) in &model.attempted {
        let acknowledged = model.acknowledged.get(&peer).copied().unwrap_or(0);
        let found = store.load(USER, &peer.to_string()).await.unwrap();
        let version = found.map_or(0, |found| version_of(peer, &found));
        assert!((acknowledged..=attempted).contains(&version), "{version} of {acknowledged}");
        for marked in 1..=version {
            assert!(store.mark_later(USER, &peer.to_string(), &nonce(marked)), "record, no mark");
        }
    }
    for &number in &model.marked {
        assert!(store.check_and_mark(USER, "carol", &nonce(number)).await.unwrap());
    }
    let identity = if model.identity { b"identity".as_slice() } else { b"another" };
    if model.identity {
        assert_eq!(store.identity(USER, b"another").await.unwrap().as_slice(), identity);
    }
    if model.pinned {
        let matches = store.verify_fingerprint(USER, "bob", b"fingerprint").await.unwrap();
        assert_eq!(matches, Some(true));
    }
    // And it goes on from there.
    store.save(USER, [("new", b"value")]).await.unwrap();
    store.close().await;
    let store = open(disk).await.unwrap();
    assert_eq!(store.load(USER, "new").await.unwrap().unwrap().as_slice(), b"value");
}

async fn cut_everywhere(left: Left) {
    let mut random = ChaCha20Rng::seed_from_u64(4);
    let (model, left_open) = cut_a_run(made(), Model::default(), left, &mut random).await;
    // And again, in what comes after a crash.
    let disk = Arc::new(SimDisk::from_bytes(left_open));
    cut_a_run(disk, model, left, &mut random).await;
}

async fn cut_a_run(
    disk: Arc<SimDisk>,
    start: Model,
    left: Left,
    random: &mut ChaCha20Rng,
) -> (Model, Vec<u8>) {
    let mut durable = disk.bytes();
    disk.start_log();
    let (mut history, left_open) = run(&disk, start, random).await;
    let (log, mut pending, mut cuts) = (disk.take_log(), Vec::<Op>::new(), 0);
    for (position, op) in log.into_iter().enumerate() {
        let is_sync = matches!(op, Op::Sync);
        // Headers and marks are what opening goes by: each is a moment of its own.
        let is_header = matches!(&op, Op::Write(_, bytes) if bytes.len() < 4096);
        if is_sync || matches!((left, is_header), (Left::All, true)) {
            let mut bytes = durable.clone();
            for op in &pending {
                op.apply_left(&mut bytes, left, random);
            }
            let (_, model) = history.iter().rev().find(|(at, _)| *at <= position).unwrap();
            check(&Arc::new(SimDisk::from_bytes(bytes)), model).await;
            cuts += 1;
        }
        pending.push(op);
        if is_sync {
            pending.drain(..).for_each(|op| op.apply(&mut durable));
        }
    }
    assert!(cuts > 60, "{cuts} cuts are no test");
    (history.pop().unwrap().1, left_open)
}

#[tokio::test]
async fn a_power_cut_that_leaves_nothing_unsynced_loses_nothing_acknowledged() {
    cut_everywhere(Left::Nothing).await;
}

#[tokio::test]
async fn a_power_cut_that_leaves_all_writes_loses_nothing_acknowledged() {
    cut_everywhere(Left::All).await;
}

#[tokio::test]
async fn a_power_cut_that_leaves_some_writes_loses_nothing_acknowledged() {
    cut_everywhere(Left::Some).await;
}

#[tokio::test]
async fn a_power_cut_that_tears_writes_loses_nothing_acknowledged() {
    cut_everywhere(Left::Torn).await;
}
