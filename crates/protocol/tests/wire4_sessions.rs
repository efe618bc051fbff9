//! Sessions of wire 4 between two users: how they begin, go on, and come together again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use stvor_protocol::{
    Decrypt4Error, EncryptError, EstablishError, LocalKeys, MAX_CLOCK_SKEW_MS, MAX_SESSIONS,
    MAX_SKIP_4, Parties, Prekeys, Sessions, header_field,
};
use support::wire4::{DAY, START, Side, World};

#[test]
fn a_session_begins_with_one_message_and_goes_both_ways() {
    let mut world = World::new(1);
    let (mut alice, mut bob) = world.sides();
    assert_eq!(alice.sessions.sending(), None);
    world.begin(&mut alice, &bob, None);
    assert!(!alice.sessions.is_answered());
    let messages: Vec<_> = (0..3_u8).map(|n| world.seal(&mut alice, &[n])).collect();
    assert!(messages.iter().all(|message| message.has_handshake()));
    for n in [2, 0, 1] {
        assert_eq!(world.open(&mut bob, &messages[n]).unwrap(), [n as u8]);
    }
    assert_eq!(bob.sessions.sending(), alice.sessions.sending());
    assert!(bob.sessions.is_answered());
    let answer = world.seal(&mut bob, b"answer");
    assert!(!answer.has_handshake());
    assert_eq!(world.open(&mut alice, &answer).unwrap(), b"answer");
    assert!(alice.sessions.is_answered());
    assert!(!world.seal(&mut alice, b"later").has_handshake());
    world.converse(&mut alice, &mut bob);
    assert_eq!((alice.sessions.count(), bob.sessions.count()), (1, 1));
}

#[test]
fn without_a_session_nothing_is_sealed() {
    let mut world = World::new(1);
    let (alice, _) = world.sides();
    let parties = Parties { sender: "alice", recipient: "bob" };
    let refused = alice.sessions.encrypt(parties, START, b"", &mut world.rng).err();
    assert_eq!(refused, Some(EncryptError::NoSession));
}

#[test]
fn a_one_time_prekey_is_reported_when_it_is_used_and_begins_nothing_else() {
    let mut world = World::new(2);
    let (mut alice, mut bob) = world.sides();
    let (prekeys, published) = bob.prekeys.with_one_time(2, &mut world.rng);
    bob.prekeys = prekeys;
    let mut other_alice = alice.clone();
    world.begin(&mut alice, &bob, Some(&published[1]));
    world.begin(&mut other_alice, &bob, Some(&published[1]));

    let first = world.seal(&mut alice, b"first");
    let second = world.seal(&mut alice, b"second");
    assert_eq!(world.try_open(&bob, &first).unwrap().used_one_time, Some(published[1].id()));
    world.open(&mut bob, &first).unwrap();
    assert_eq!(bob.prekeys.one_time_count(), 1);
    // The handshake comes again and is not needed again.
    assert_eq!(world.try_open(&bob, &second).unwrap().used_one_time, None);
    assert_eq!(world.open(&mut bob, &second).unwrap(), b"second");

    let reused = world.seal(&mut other_alice, b"reused");
    assert_eq!(world.open(&mut bob, &reused), Err(Decrypt4Error::UnknownPrekey));
    world.converse(&mut alice, &mut bob);
}

#[test]
fn another_key_under_a_one_time_prekeys_id_is_refused() {
    let mut world = World::new(3);
    let (mut alice, mut bob) = world.sides();
    let (prekeys, published) = bob.prekeys.with_one_time(2, &mut world.rng);
    bob.prekeys = prekeys;
    let mixed =
        stvor_protocol::OneTimePrekey::parse(published[0].id(), published[1].as_bytes()).unwrap();
    world.begin(&mut alice, &bob, Some(&mixed));
    let first = world.seal(&mut alice, b"first");
    assert_eq!(world.open(&mut bob, &first), Err(Decrypt4Error::Authentication));
    assert_eq!(bob.prekeys.one_time_count(), 2);
}

#[test]
fn replaced_prekeys_open_late_handshakes_for_thirty_days() {
    let mut world = World::new(4);
    let (mut alice, mut bob) = world.sides();
    world.begin(&mut alice, &bob, None);
    let first = world.seal(&mut alice, b"late");
    world.now += 8 * DAY;
    bob.prekeys = bob.prekeys.rotated(world.now, &mut world.rng).unwrap();

    world.now += 30 * DAY - 1;
    assert_eq!(world.try_open(&bob, &first).unwrap().payload.as_slice(), b"late");
    world.now += 1;
    assert_eq!(world.try_open(&bob, &first).err(), Some(Decrypt4Error::UnknownPrekey));
    bob.prekeys = bob.prekeys.rotated(world.now, &mut world.rng).unwrap();
    assert_eq!(world.try_open(&bob, &first).err(), Some(Decrypt4Error::UnknownPrekey));

    // Bob begins anew, and that outranks what Alice sent on.
    world.begin_after(&mut bob, &alice, None, Some(first.begun_ms()));
    let healing = world.seal(&mut bob, b"again");
    assert_eq!(world.open(&mut alice, &healing).unwrap(), b"again");
    world.converse(&mut alice, &mut bob);
}

#[test]
fn both_first_converges() {
    let mut world = World::new(5);
    for _ in 0..8 {
        let (mut alice, mut bob) = world.sides();
        world.begin(&mut alice, &bob, None);
        world.begin(&mut bob, &alice, None);
        let (a, b) = (world.seal(&mut alice, b"a"), world.seal(&mut bob, b"b"));
        assert_eq!(world.open(&mut bob, &a).unwrap(), b"a");
        assert_eq!(world.open(&mut alice, &b).unwrap(), b"b");
        assert_eq!(world.open(&mut bob, &a), Err(Decrypt4Error::Replay));
        assert_eq!(alice.sessions.sending(), bob.sessions.sending());
        world.converse(&mut alice, &mut bob);
    }
}

#[test]
fn a_peer_without_its_sessions_begins_anew() {
    let mut world = World::new(6);
    let (mut alice, mut bob) = world.settled();
    let before = world.converse(&mut alice, &mut bob);
    bob.sessions = Sessions::new(bob.sessions.their_identity().clone());
    world.now += 1000;
    let lost = world.seal(&mut alice, b"lost");
    assert_eq!(world.open(&mut bob, &lost), Err(Decrypt4Error::UnknownSession));
    assert!(Decrypt4Error::UnknownSession.calls_for_a_new_session());

    world.begin_after(&mut bob, &alice, None, Some(lost.begun_ms()));
    let healing = world.seal(&mut bob, b"what did you say?");
    assert_eq!(world.open(&mut alice, &healing).unwrap(), b"what did you say?");
    assert_ne!(world.converse(&mut alice, &mut bob), before);
}

/// The session of a peer whose clock is behind outranks ours all the same.
#[test]
fn a_peer_with_a_slow_clock_begins_anew() {
    let mut world = World::new(7);
    let (mut alice, mut bob) = world.settled();
    bob.sessions = Sessions::new(bob.sessions.their_identity().clone());
    let lost = world.seal(&mut alice, b"lost");
    world.now -= 200_000;
    assert_eq!(world.open(&mut bob, &lost), Err(Decrypt4Error::UnknownSession));
    world.begin_after(&mut bob, &alice, None, Some(lost.begun_ms()));
    let healing = world.seal(&mut bob, b"again");
    assert_eq!(world.open(&mut alice, &healing).unwrap(), b"again");
    world.converse(&mut alice, &mut bob);
}

#[test]
fn a_peer_restored_from_a_backup_is_noticed_and_comes_back() {
    let mut world = World::new(8);
    let (mut alice, mut bob) = world.settled();
    let backup = alice.clone();
    for n in 0..3 {
        world.now += 1;
        let message = world.seal(&mut alice, &[n]);
        world.open(&mut bob, &message).unwrap();
    }
    // The same keys again, for other messages.
    alice = backup;
    world.now += 1;
    let restored = world.seal(&mut alice, b"restored");
    assert_eq!(world.open(&mut bob, &restored), Err(Decrypt4Error::MissingMessageKey));
    world.begin_after(&mut bob, &alice, None, Some(restored.begun_ms()));
    let healing = world.seal(&mut bob, b"again");
    world.open(&mut alice, &healing).unwrap();
    world.converse(&mut alice, &mut bob);

    // Whole turns are missing: Alice does not know Bob's chain, nor Bob Alice's.
    let backup = alice.clone();
    world.converse(&mut alice, &mut bob);
    alice = backup;
    world.now += 1;
    let restored = world.seal(&mut alice, b"restored");
    assert!(world.open(&mut bob, &restored).unwrap_err().calls_for_a_new_session());
    let unknown = world.seal(&mut bob, b"unknown");
    assert!(world.open(&mut alice, &unknown).unwrap_err().calls_for_a_new_session());
    world.begin_after(&mut alice, &bob, None, Some(unknown.begun_ms()));
    let healing = world.seal(&mut alice, b"again");
    world.open(&mut bob, &healing).unwrap();
    world.converse(&mut alice, &mut bob);
}

/// Relays deliver twice when they are not sure. Nothing follows from it.
#[test]
fn a_message_that_comes_again_is_a_replay_however_late() {
    let mut world = World::new(9);
    let (mut alice, mut bob) = world.sides();
    world.begin(&mut alice, &bob, None);
    let mut sent = Vec::new();
    for n in 0..6_u8 {
        let (from, to) = if n % 2 == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let message = world.seal(from, &[n]);
        world.open(to, &message).unwrap();
        if n % 2 == 0 {
            sent.push(message);
        }
        for message in &sent {
            assert_eq!(world.open(&mut bob, message), Err(Decrypt4Error::Replay), "{n}");
        }
    }
    assert!(!Decrypt4Error::Replay.calls_for_a_new_session());
}

#[test]
fn the_handshake_of_a_session_that_was_dropped_is_a_replay() {
    let mut world = World::new(10);
    let (mut alice, mut bob) = world.sides();
    let mut first = Vec::new();
    for _ in 0..=MAX_SESSIONS {
        world.now += 1;
        world.begin(&mut alice, &bob, None);
        let message = world.seal(&mut alice, b"first");
        world.open(&mut bob, &message).unwrap();
        first.push((message, world.seal(&mut alice, b"never arrived")));
    }
    assert_eq!(bob.sessions.count(), MAX_SESSIONS);
    // The second message has not been seen, but it would begin a session a second time.
    let (replayed, unseen) = &first[0];
    assert_eq!(world.open(&mut bob, replayed), Err(Decrypt4Error::Replay));
    assert_eq!(world.open(&mut bob, unseen), Err(Decrypt4Error::Replay));
    // Those of sessions that are held still open.
    assert_eq!(world.open(&mut bob, &first[1].1).unwrap(), b"never arrived");
    world.converse(&mut alice, &mut bob);
}

/// Garbage in the peer's name makes us begin; what works is not pushed out by it.
#[test]
fn sessions_begun_in_vain_do_not_push_out_the_one_that_works() {
    let mut world = World::new(11);
    let (mut alice, mut bob) = world.settled();
    let on_its_way = world.seal(&mut bob, b"on its way");
    for _ in 0..2 * MAX_SESSIONS {
        world.now += 10_000;
        world.begin(&mut alice, &bob, None);
    }
    assert_eq!(alice.sessions.count(), MAX_SESSIONS);
    assert_eq!(world.open(&mut alice, &on_its_way).unwrap(), b"on its way");
    let message = world.seal(&mut alice, b"hello");
    assert_eq!(world.open(&mut bob, &message).unwrap(), b"hello");
    world.converse(&mut alice, &mut bob);
}

#[test]
fn a_message_may_be_2000_ahead_and_no_more() {
    let mut world = World::new(12);
    let (mut alice, mut bob) = world.settled();
    let opened = world.seal(&mut alice, b"opened");
    world.open(&mut bob, &opened).unwrap();
    let mut last = world.seal(&mut alice, b"early");
    let early = last.clone();
    for _ in 0..MAX_SKIP_4 {
        last = world.seal(&mut alice, b"n");
    }
    let beyond = world.seal(&mut alice, b"beyond");
    assert_eq!(MAX_SKIP_4, 2000);
    assert_eq!(world.open(&mut bob, &beyond), Err(Decrypt4Error::TooManySkipped));
    assert_eq!(world.open(&mut bob, &last).unwrap(), b"n", "2,000 are missing");
    assert_eq!(world.open(&mut bob, &beyond).unwrap(), b"beyond");
    // A thousand keys are kept, and the first was not among the latest.
    assert_eq!(world.open(&mut bob, &early), Err(Decrypt4Error::Replay));
}

#[test]
fn a_message_from_the_future_is_refused_and_one_from_the_past_is_not() {
    let mut world = World::new(13);
    let (mut alice, mut bob) = world.sides();
    world.begin(&mut alice, &bob, None);
    world.now = START + MAX_CLOCK_SKEW_MS + 1;
    let ahead = world.seal(&mut alice, b"ahead");
    world.now = START;
    assert_eq!(world.open(&mut bob, &ahead), Err(Decrypt4Error::FutureTimestamp));
    world.now = START + 1;
    assert_eq!(world.open(&mut bob, &ahead).unwrap(), b"ahead");
    let waiting = world.seal(&mut alice, b"waiting");
    world.now += 29 * DAY;
    let opened = world.try_open(&bob, &waiting).unwrap();
    assert_eq!(opened.timestamp_ms, START + 1);
}

/// Its rank would be the highest for as long as the clock was ahead.
#[test]
fn a_session_begun_by_a_clock_that_was_far_ahead_is_refused_and_begun_anew() {
    let mut world = World::new(13);
    let (mut alice, mut bob) = world.settled();
    let right = world.now;
    world.now += 3 * MAX_CLOCK_SKEW_MS;
    world.begin(&mut alice, &bob, None);
    world.now = right + 1_000;
    let stamped_right = world.seal(&mut alice, b"stamped by a clock that is right again");
    assert!(stamped_right.begun_ms() > world.now + MAX_CLOCK_SKEW_MS);
    assert_eq!(world.open(&mut bob, &stamped_right), Err(Decrypt4Error::FutureTimestamp));

    world.begin(&mut alice, &bob, None);
    let again = world.seal(&mut alice, b"again");
    assert!(again.begun_ms() <= world.now + MAX_CLOCK_SKEW_MS, "not above the impossible one");
    assert_eq!(world.open(&mut bob, &again).unwrap(), b"again");
    world.converse(&mut alice, &mut bob);
}

/// Whoever claims that a session of theirs began in the future cannot make us begin one that no
/// peer accepts.
#[test]
fn no_session_is_begun_further_ahead_than_a_peer_accepts() {
    let mut world = World::new(14);
    let (mut alice, mut bob) = world.settled();
    world.begin_after(&mut alice, &bob, None, Some(u64::MAX));
    let healing = world.seal(&mut alice, b"healing");
    assert_eq!(healing.begun_ms(), world.now + MAX_CLOCK_SKEW_MS);
    assert_eq!(world.open(&mut bob, &healing).unwrap(), b"healing");
    world.converse(&mut alice, &mut bob);
}

#[test]
fn a_handshake_of_another_identity_is_refused_and_names_it() {
    let mut world = World::new(14);
    let (alice, mut bob) = world.sides();
    let mut mallory = Side { prekeys: world.prekeys(), ..alice };
    world.begin(&mut mallory, &bob, None);
    let message = world.seal(&mut mallory, b"I am Alice");
    assert_eq!(world.open(&mut bob, &message), Err(Decrypt4Error::IdentityMismatch));
    let parsed =
        stvor_protocol::Message4::parse(&message.header, &message.trailer, &message.ciphertext)
            .unwrap();
    let named = parsed.sender_identity().unwrap().unwrap();
    assert_eq!(named, *mallory.prekeys.local_keys().identity_key());
    // With the identity accepted, the message opens.
    bob.sessions = Sessions::new(named);
    assert_eq!(world.open(&mut bob, &message).unwrap(), b"I am Alice");
}

#[test]
fn our_own_messages_do_not_open_when_they_are_given_back() {
    let mut world = World::new(15);
    let (mut alice, mut bob) = world.sides();
    world.begin(&mut alice, &bob, None);
    for _ in 0..3 {
        for (sender, recipient) in [("alice", "bob"), ("bob", "alice")] {
            let mut own = world.seal(&mut alice, b"own");
            (own.sender, own.recipient) = (sender.to_owned(), recipient.to_owned());
            assert!(world.open(&mut alice, &own).is_err());
        }
        world.converse(&mut alice, &mut bob);
    }
}

#[test]
fn no_session_begins_with_our_own_or_another_identity_or_an_old_bundle() {
    let mut world = World::new(16);
    let (alice, bob) = world.sides();
    let parties = Parties { sender: "alice", recipient: "bob" };
    let theirs = bob.published(world.now);
    let mut begin = |sessions: &Sessions, ours: &Prekeys, theirs: &_, now| {
        sessions.begin(ours, parties, theirs, None, now, None, &mut world.rng).err()
    };
    let not_bobs = Sessions::new(alice.prekeys.local_keys().identity_key().clone());
    assert_eq!(
        begin(&not_bobs, &alice.prekeys, &theirs, START),
        Some(EstablishError::IdentityChanged)
    );
    assert_eq!(
        begin(&not_bobs, &alice.prekeys, &alice.published(START), START),
        Some(EstablishError::OwnKeys)
    );
    let late = theirs.valid_until_ms() + MAX_CLOCK_SKEW_MS;
    assert_eq!(begin(&alice.sessions, &alice.prekeys, &theirs, late), None);
    assert_eq!(
        begin(&alice.sessions, &alice.prekeys, &theirs, late + 1),
        Some(EstablishError::BundleExpired)
    );
}

/// A bundle given out for another user, or a message delivered to one, binds nobody else.
#[test]
fn user_ids_are_bound() {
    let mut world = World::new(17);
    let (mut alice, mut bob) = world.sides();
    world.begin(&mut alice, &bob, None);
    let first = world.seal(&mut alice, b"first");
    for (sender, recipient) in [("alice", "carol"), ("carol", "bob"), ("alic", "ebob")] {
        let mut other = first.clone();
        (other.sender, other.recipient) = (sender.to_owned(), recipient.to_owned());
        assert_eq!(world.open(&mut bob, &other), Err(Decrypt4Error::Authentication));
    }
    world.open(&mut bob, &first).unwrap();
    let mut second = world.seal(&mut alice, b"second");
    second.sender = "carol".to_owned();
    assert_eq!(world.open(&mut bob, &second), Err(Decrypt4Error::Authentication));
}

#[test]
fn a_first_message_is_at_most_1700_characters_longer_than_a_later_one() {
    let mut world = World::new(18);
    for _ in 0..20 {
        let (mut alice, mut bob) = world.sides();
        let (prekeys, published) = bob.prekeys.with_one_time(1, &mut world.rng);
        bob.prekeys = prekeys;
        world.begin(&mut alice, &bob, Some(&published[0]));
        let first = world.seal(&mut alice, &[7; 64]);
        world.open(&mut bob, &first).unwrap();
        let later = world.seal(&mut bob, &[7; 64]);
        let length = |message: &support::wire4::Envelope| {
            header_field(&message.header, &message.trailer).len() + message.ciphertext.len()
        };
        assert!(length(&first) - length(&later) <= 1700, "{}", length(&first));
        // Wire 3 has the header alone.
        assert_eq!(header_field(&later.header, &later.trailer).len(), 114 + 36);
        assert_eq!(later.ciphertext.len(), 64 + 16);
    }
}

/// The signed prekey that wire 3 uses is the current one, and older ones are there for it.
#[test]
fn both_wires_share_the_signed_prekey() {
    let mut world = World::new(19);
    let keys = LocalKeys::generate(&mut world.rng);
    let prekeys = Prekeys::new(&keys, START, &mut world.rng);
    assert_eq!(prekeys.local_keys().signed_prekey().public(), keys.signed_prekey().public());
    let rotated = prekeys.rotated(START + 7 * DAY, &mut world.rng).unwrap();
    assert_eq!(rotated.local_keys().identity_key(), keys.identity_key());
    assert_ne!(rotated.local_keys().signed_prekey().public(), keys.signed_prekey().public());
    let older: Vec<_> = rotated.older_local_keys().collect();
    assert_eq!(older.len(), 1);
    assert_eq!(older[0].signed_prekey().public(), keys.signed_prekey().public());
    rotated.local_keys().bundle().verify().unwrap();
}
