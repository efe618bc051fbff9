//! A peer's whole record: what a one-way stream costs in ratchet keys, what a thief of a record
//! gains, how large a record is, and that a saved one goes on.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    Content, LocalKeys, Message4, OneTimePrekey, OpenError, OpenedMessage, Parties, PeerKeys,
    PeerRecord, Prekeys, SavedRecordError, SealedMessage, StorageKey, UserRecord, VerifiedV4,
    parse_header_field,
};

const START: u64 = 1_800_000_000_000;

/// A user with one peer.
struct User {
    name: &'static str,
    prekeys: Prekeys,
    record: PeerRecord,
}

impl User {
    fn shown(&self, now: u64) -> PeerKeys {
        let bundle = self.prekeys.local_keys().bundle().verify().unwrap();
        let v4 = VerifiedV4::verify(&self.prekeys.v4(self.name), &bundle, self.name, now).unwrap();
        PeerKeys { bundle, v4: Some(v4) }
    }
}

struct World {
    now: u64,
    rng: ChaCha20Rng,
}

impl World {
    fn new() -> Self {
        Self { now: START, rng: ChaCha20Rng::seed_from_u64(3) }
    }

    fn user(&mut self, name: &'static str) -> User {
        let keys = LocalKeys::generate(&mut self.rng);
        let prekeys = Prekeys::new(&keys, self.now, &mut self.rng);
        User { name, prekeys, record: PeerRecord::new(self.now) }
    }

    /// Alice, who has begun a session with a one-time prekey, and Bob, who knows nothing of it.
    fn pair(&mut self) -> (User, User) {
        let (mut alice, mut bob) = (self.user("alice"), self.user("bob"));
        let (prekeys, one_time) = bob.prekeys.with_one_time(1, &mut self.rng);
        bob.prekeys = prekeys;
        self.begin(&mut alice, &bob, one_time.first());
        (alice, bob)
    }

    fn begin(&mut self, from: &mut User, to: &User, one_time: Option<&OneTimePrekey>) {
        let theirs = to.shown(self.now);
        let parties = Parties { sender: from.name, recipient: to.name };
        let (ours, now, rng) = (&from.prekeys, self.now, &mut self.rng);
        let begun = from.record.begin(ours, parties, &theirs, one_time, now, None, rng);
        from.record = begun.unwrap();
    }

    /// Seals one new content.
    fn send(&mut self, from: &mut User, to: &User, text: &str) -> SealedMessage {
        from.record.push(Content::text(text.to_owned()), false).unwrap();
        let parties = Parties { sender: from.name, recipient: to.name };
        from.record.seal(parties, self.now, &mut self.rng).unwrap()
    }

    /// Seals whatever is due without a content.
    fn say(&mut self, from: &mut User, to: &User) -> Option<SealedMessage> {
        let parties = Parties { sender: from.name, recipient: to.name };
        from.record.seal_control(parties, self.now, self.now, &mut self.rng)
    }

    fn try_open(
        &mut self,
        to: &User,
        from: &User,
        sealed: &SealedMessage,
    ) -> Result<(OpenedMessage, PeerRecord), OpenError> {
        let field = parse_header_field(&sealed.header).unwrap().unwrap();
        let message = Message4::parse(&field.header, &field.trailer, &sealed.ciphertext)?;
        let parties = Parties { sender: from.name, recipient: to.name };
        let mut record = to.record.clone();
        let opened = record.open(&to.prekeys, parties, &message, self.now, &mut self.rng);
        let before = [&record, &to.record].map(|record| record.to_bytes());
        assert!(
            opened.is_ok() || *before[0] == *before[1],
            "changed by a message that was refused"
        );
        Ok((opened?, record))
    }

    /// Opens, and handles what came.
    fn open(&mut self, to: &mut User, from: &User, sealed: &SealedMessage) -> Vec<String> {
        let (opened, record) = self.try_open(to, from, sealed).unwrap();
        to.record = record;
        if let Some(id) = opened.used_one_time {
            to.prekeys = to.prekeys.without_one_time(id);
        }
        for item in &opened.delivered {
            to.record = to.record.handled(item.seq, self.now);
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        opened.delivered.iter().map(|item| text(item.content.as_bytes())).collect()
    }

    /// `count` messages one way, of which `in_flight` are always on their way; receipts come back
    /// as they are due. Returns the messages by ratchet key.
    fn stream(
        &mut self,
        from: &mut User,
        to: &mut User,
        count: usize,
        in_flight: usize,
    ) -> BTreeMap<Vec<u8>, usize> {
        let (mut keys, mut on_the_way) = (BTreeMap::new(), std::collections::VecDeque::new());
        for n in 0..count + in_flight {
            if n < count {
                let sealed = self.send(from, to, &n.to_string());
                let field = parse_header_field(&sealed.header).unwrap().unwrap();
                *keys.entry(field.header[..65].to_vec()).or_insert(0) += 1;
                on_the_way.push_back(sealed);
            }
            if n >= in_flight {
                let sealed = on_the_way.pop_front().unwrap();
                assert_eq!(self.open(to, from, &sealed), [(n - in_flight).to_string()]);
                if let Some(receipt) = self.say(to, from) {
                    self.open(from, to, &receipt);
                }
            }
        }
        keys
    }
}

#[test]
fn no_ratchet_key_seals_more_of_a_one_way_stream_than_fifty_and_what_was_in_flight() {
    for in_flight in [0, 1, 10, 60] {
        let mut world = World::new();
        let (mut alice, mut bob) = world.pair();
        let keys = world.stream(&mut alice, &mut bob, 1_000, in_flight);
        let most = keys.values().copied().max().unwrap();
        assert_eq!(keys.values().sum::<usize>(), 1_000);
        assert!(most <= 50 + in_flight, "{most} with {in_flight} in flight");
        assert!(keys.len() >= 1_000 / (50 + in_flight), "{} keys", keys.len());
    }
}

#[test]
fn a_state_stolen_from_either_side_opens_nothing_after_two_more_receipts() {
    let mut world = World::new();
    let (mut alice, mut bob) = world.pair();
    world.stream(&mut alice, &mut bob, 120, 0);
    let thief = |user: &User| User {
        name: user.name,
        prekeys: user.prekeys.clone(),
        record: user.record.clone(),
    };
    let (of_alice, of_bob) = (thief(&alice), thief(&bob));

    // What is read at once shows that the thieves' copies are good ones.
    let next = world.send(&mut alice, &bob, "120");
    assert!(world.try_open(&of_bob, &alice, &next).is_ok());
    assert_eq!(world.open(&mut bob, &alice, &next), ["120"]);

    let mut receipts = 0;
    while receipts < 2 {
        let message = world.send(&mut alice, &bob, "more");
        world.open(&mut bob, &alice, &message);
        if let Some(receipt) = world.say(&mut bob, &alice) {
            world.open(&mut alice, &bob, &receipt);
            receipts += 1;
        }
    }
    for n in 0..100 {
        let message = world.send(&mut alice, &bob, &n.to_string());
        assert!(world.try_open(&of_bob, &alice, &message).is_err(), "message {n}");
        assert_eq!(world.open(&mut bob, &alice, &message), [n.to_string()]);
        if let Some(receipt) = world.say(&mut bob, &alice) {
            assert!(world.try_open(&of_alice, &bob, &receipt).is_err(), "receipt at {n}");
            world.open(&mut alice, &bob, &receipt);
        }
    }
}

#[test]
fn a_record_with_an_idle_session_is_small_when_sealed_and_goes_on_when_read_back() {
    let mut world = World::new();
    let (mut alice, mut bob) = world.pair();
    world.stream(&mut alice, &mut bob, 100, 0);
    world.now += 1_000;
    if let Some(receipt) = world.say(&mut bob, &alice) {
        world.open(&mut alice, &bob, &receipt);
    }
    for (user, peer) in [(&mut alice, "bob"), (&mut bob, "alice")] {
        let identity = user.prekeys.local_keys().identity();
        let key = StorageKey::derive(identity);
        let sealed = user.record.to_sealed(&key, user.name, peer, &mut world.rng);
        assert!(sealed.len() <= 1_228, "{} bytes", sealed.len()); // 1.2 KiB
        let read = PeerRecord::from_sealed(&key, identity, user.name, peer, &sealed).unwrap();
        assert_eq!(*read.to_bytes(), *user.record.to_bytes());
        assert!(PeerRecord::from_sealed(&key, identity, user.name, "carol", &sealed).is_err());
        assert!(PeerRecord::from_sealed(&key, identity, "carol", peer, &sealed).is_err());
        user.record = read.resumed(world.now);
    }
    world.stream(&mut alice, &mut bob, 100, 5);
    world.stream(&mut bob, &mut alice, 100, 5);
}

#[test]
fn a_bundle_that_was_replaced_and_one_without_wire_4_are_told_from_the_record() {
    let mut world = World::new();
    let (alice, bob) = world.pair();
    assert!(alice.record.speaks_wire4() && !bob.record.speaks_wire4());
    let bundle = bob.prekeys.local_keys().bundle().verify().unwrap();
    let of = |prekeys: &Prekeys, now| {
        let bundle = prekeys.local_keys().bundle().verify().unwrap();
        VerifiedV4::verify(&prekeys.v4("bob"), &bundle, "bob", now).unwrap()
    };
    let old = of(&bob.prekeys, world.now);
    assert_eq!(alice.record.newest_bundle_ms(), old.valid_until_ms(), "that of a first session");
    let later = world.now + 8 * 24 * 60 * 60 * 1000;
    let rotated = bob.prekeys.rotated(later, &mut world.rng).unwrap();
    let new = of(&rotated, later);
    let theirs = PeerKeys { bundle: bundle.clone(), v4: Some(new.clone()) };
    let ours = alice.prekeys.local_keys();
    let record = alice
        .record
        .following(
            ours,
            &theirs,
            Parties { sender: "bob", recipient: "alice" },
            later,
            &mut world.rng,
        )
        .unwrap();
    assert_eq!(record.newest_bundle_ms(), new.valid_until_ms());
    assert!(old.valid_until_ms() < record.newest_bundle_ms(), "the old one is told by its end");
}

#[test]
fn a_users_record_is_read_back_from_the_one_form_that_it_has() {
    let mut world = World::new();
    let prekeys = world.user("alice").prekeys;
    let ours = prekeys.local_keys().identity().clone();
    let record = UserRecord::new(prekeys);
    let empty = record.to_bytes();
    let record = record.with_active(["carol", "bob"].into_iter()).unwrap();
    let bytes = record.to_bytes();
    let read = UserRecord::from_bytes(&ours, &bytes).unwrap();
    assert!(read.active().eq(["bob", "carol"]));
    assert_eq!(*read.to_bytes(), *bytes);

    let prekeys = &empty[..empty.len() - 1];
    let with = |active: &[u8]| UserRecord::from_bytes(&ours, &[prekeys, active].concat()).err();
    assert_eq!(with(b"\x02\x03bob\x05carol"), None);
    assert_eq!(with(b"\x02\x05carol\x03bob"), Some(SavedRecordError::State), "not ascending");
    assert_eq!(with(b"\x02\x03bob\x03bob"), Some(SavedRecordError::State), "twice");
    assert_eq!(with(b"\x01\x02\xff\xff"), Some(SavedRecordError::Malformed), "not UTF-8");
    assert_eq!(with(b"\x01\x03bob\0"), Some(SavedRecordError::Malformed), "left over");
}

/// Her numbers begin far below those of the identity before hers.
#[test]
fn another_identity_is_read_whatever_numbers_the_one_before_it_has_used() {
    let mut world = World::new();
    let (mut first, mut bob) = world.pair();
    let sent = ["one", "two"].map(|text| world.send(&mut first, &bob, text));
    assert_eq!(world.open(&mut bob, &first, &sent[0]), ["one"]);
    let (unhandled, record) = world.try_open(&bob, &first, &sent[1]).unwrap();
    bob.record = record;
    let waiting = unhandled.delivered[0].seq;

    let mut second = world.user("alice");
    second.record = PeerRecord::new(world.now - 60 * 60 * 1000);
    let parties = Parties { sender: "alice", recipient: "bob" };
    let (ours, shown) = (bob.prekeys.local_keys(), second.shown(world.now));
    let next = bob.record.following(ours, &shown, parties, world.now, &mut world.rng);
    bob.record = next.unwrap();
    let (id, item) = {
        let item = bob.record.legacy_inbox().next().unwrap();
        (stvor_protocol::message_id("alice", "bob", waiting), item)
    };
    assert_eq!((item.id(), item.content().as_bytes()), (&*id, &b"two"[..]));

    world.begin(&mut second, &bob, None);
    let sent = world.send(&mut second, &bob, "from another");
    assert_eq!(world.open(&mut bob, &second, &sent), ["from another"]);
    // The application was given its number when it was the first identity's.
    bob.record = bob.record.handled(waiting, world.now);
    assert_eq!(bob.record.legacy_inbox().count(), 0);
}

#[test]
fn a_peer_without_its_record_whose_clock_is_behind_gets_through() {
    let mut world = World::new();
    let (mut alice, mut bob) = world.pair();
    world.stream(&mut alice, &mut bob, 10, 0);
    world.now += 60_000;
    // Three minutes behind what it was.
    let behind = world.now - 180_000;
    alice.record = PeerRecord::new(behind);
    world.begin(&mut alice, &bob, None);
    let dropped = world.send(&mut alice, &bob, "after the loss");
    assert!(world.open(&mut bob, &alice, &dropped).is_empty(), "bob has its number already");
    world.now += 1_000;
    let receipt = world.say(&mut bob, &alice).unwrap();
    assert!(world.open(&mut alice, &bob, &receipt).is_empty());
    let parties = Parties { sender: "alice", recipient: "bob" };
    let again = alice.record.seal(parties, world.now, &mut world.rng).unwrap();
    assert_eq!(again.seq, dropped.seq, "to its sender it is the same");
    assert_eq!(world.open(&mut bob, &alice, &again), ["after the loss"]);
    world.stream(&mut alice, &mut bob, 10, 0);
}

/// Whoever has only claimed a name is not reminded of it.
#[test]
fn only_who_has_written_something_is_reminded_of_a_session_that_it_has_not_answered() {
    let mut world = World::new();
    let (mut alice, mut bob) = world.pair();
    assert!(!alice.record.is_unanswered(), "bob may have no part in it");
    let first = world.send(&mut alice, &bob, "first");
    world.open(&mut bob, &alice, &first);
    assert!(!bob.record.is_unanswered());
    let answer = world.send(&mut bob, &alice, "answer");
    world.open(&mut alice, &bob, &answer);
    world.now += 1;
    world.begin(&mut alice, &bob, None);
    assert!(alice.record.is_unanswered(), "bob knows of us, and may not know of this");
}
