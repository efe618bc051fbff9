//! Any bytes as a saved record of any kind: wire 3's sessions with a peer, a peer's, a user's own,
//! a delivery's. What is read is written as the same bytes, and can be used.
//!
//! The seeds are records of the keys that the generator below makes first.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::delivery::Delivery;
use stvor_protocol::{Content, LocalKeys, Parties, PeerRecord, Prekeys, Record, UserRecord};

macro_rules! seeds {
    ($($name:literal),*) => {
        [$(include_bytes!(concat!("../seeds/record/", $name)).as_slice()),*]
    };
}

const RECORDS: [&[u8]; 6] = seeds![
    "pending",
    "initiated",
    "collided",
    "skipped-keys",
    "settled",
    "after-a-new-signed-prekey"
];

const PEERS: [&[u8]; 4] = seeds!["peer-new", "peer-wire-3", "peer-wire-4", "peer-both-wires"];

const USERS: [&[u8]; 2] = seeds!["user-new", "user-active"];

const NOW: u64 = 1_800_000_000_000;
const PARTIES: Parties<'static> = Parties { sender: "alice", recipient: "bob" };

static OURS: LazyLock<LocalKeys> = LazyLock::new(|| {
    let ours = LocalKeys::generate(&mut ChaCha20Rng::seed_from_u64(5));
    for seed in RECORDS {
        Record::from_bytes(ours.identity_key(), seed).expect("a seed is a record");
    }
    for seed in PEERS {
        PeerRecord::from_bytes(ours.identity(), seed).expect("a seed is a peer's record");
    }
    for seed in USERS {
        UserRecord::from_bytes(ours.identity(), seed).expect("a seed is a user's record");
    }
    ours
});

fuzz_target!(|bytes: &[u8]| {
    record(bytes);
    peer(bytes);
    user(bytes);
    if let Ok(delivery) = Delivery::from_bytes(bytes, 0) {
        assert_eq!(*delivery.to_bytes(), *bytes);
    }
});

fn record(bytes: &[u8]) {
    let Ok(record) = Record::from_bytes(OURS.identity_key(), bytes) else { return };
    assert_eq!(*record.to_bytes(), *bytes);

    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for record in [record.force_ratchet(&mut rng), record.begin_anew(&mut rng)] {
        if let Ok(sealed) = record.encrypt(b"text", &mut rng) {
            let again = Record::from_bytes(OURS.identity_key(), &sealed.record.to_bytes());
            let again = again.expect("what a step leads to is a record");
            // Our own message is not the peer's.
            assert!(again.decrypt(&OURS, &sealed.header, &sealed.ciphertext, &mut rng).is_err());
        }
    }
}

fn peer(bytes: &[u8]) {
    let Ok(record) = PeerRecord::from_bytes(OURS.identity(), bytes) else { return };
    assert_eq!(*record.to_bytes(), *bytes);

    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let mut record = record.resumed(NOW).ask_for_all(NOW);
    let before = record.to_bytes();
    match record.push(Content::text("text".to_owned()), false) {
        Ok(seq) => assert!(record.holds(seq) && record.is_active()),
        Err(_) => assert_eq!(*record.to_bytes(), *before, "refused, and changed"),
    }
    let before = record.to_bytes();
    if record.seal(PARTIES, NOW, rng).is_none() {
        assert_eq!(*record.to_bytes(), *before, "nothing sealed, and changed");
    }
    let before = record.to_bytes();
    if record.seal_control(PARTIES, NOW, NOW, rng).is_none() {
        assert_eq!(*record.to_bytes(), *before, "nothing said, and changed");
    }
    let last = record.inbox().last().map(|item| item.seq);
    for ticket in last.into_iter().chain(record.legacy_inbox().map(|item| item.ticket()).max()) {
        record = record.handled(ticket, NOW);
    }
    assert_eq!(record.inbox().count(), 0);
    let saved = record.to_bytes();
    let read = PeerRecord::from_bytes(OURS.identity(), &saved).expect("a step leads to it");
    assert_eq!(*read.to_bytes(), *saved);
}

fn user(bytes: &[u8]) {
    let Ok(record) = UserRecord::from_bytes(OURS.identity(), bytes) else { return };
    assert_eq!(*record.to_bytes(), *bytes);

    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let prekeys: &Prekeys = record.prekeys();
    let prekeys = prekeys.rotated(NOW, rng).unwrap_or_else(|| prekeys.clone());
    let next = record.with_prekeys(prekeys.with_one_time(1, rng).0);
    let next = next.with_active(["bob"].into_iter()).unwrap_or(next);
    let saved = next.to_bytes();
    let read = UserRecord::from_bytes(OURS.identity(), &saved).expect("a step leads to it");
    assert_eq!(*read.to_bytes(), *saved);
    assert!(read.active().any(|peer| peer == "bob"));
}
