//! Saved sessions of wire 4: they go on as they were, and nothing else is read.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use stvor_protocol::{SavedRecordError, Sessions};
use support::wire4::{Side, World};

/// Saves and loads, as after a restart.
fn restarted(side: &mut Side) {
    let saved = side.sessions.to_bytes();
    let read = Sessions::from_bytes(&saved).unwrap();
    assert_eq!(*read.to_bytes(), *saved, "a record has one encoding");
    side.sessions = read;
}

/// Alice with sessions in every state, a retired one, and skipped keys.
fn varied(world: &mut World) -> (Side, Side) {
    let (mut alice, mut bob) = world.sides();
    for _ in 0..3 {
        world.now += 1;
        world.begin(&mut bob, &alice, None);
        let first = world.seal(&mut bob, b"first");
        world.open(&mut alice, &first).unwrap();
        world.seal(&mut bob, b"late");
        let third = world.seal(&mut bob, b"third");
        world.open(&mut alice, &third).unwrap();
        for _ in 0..2 {
            world.now += 1;
            world.begin(&mut alice, &bob, None);
        }
    }
    assert_eq!(alice.sessions.count(), 5);
    (alice, bob)
}

#[test]
fn sessions_go_on_after_every_step_as_if_they_had_not_been_saved() {
    let mut world = World::new(1);
    let (mut alice, mut bob) = world.sides();
    restarted(&mut alice);
    assert_eq!(alice.sessions.sending(), None);
    world.begin(&mut alice, &bob, None);
    restarted(&mut alice);
    let early = world.seal(&mut alice, b"early");
    restarted(&mut alice);
    let first = world.seal(&mut alice, b"first");
    assert!(first.has_handshake());
    for n in 0..6 {
        let (from, to) = if n % 2 == 0 { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let message = world.seal(from, b"hello");
        restarted(from);
        assert_eq!(world.open(to, &message).unwrap(), b"hello");
        restarted(to);
    }
    assert_eq!(world.open(&mut bob, &first).unwrap(), b"first");
    restarted(&mut bob);
    assert_eq!(world.open(&mut bob, &early).unwrap(), b"early");
    restarted(&mut bob);
    assert!(world.open(&mut bob, &early).is_err());
}

#[test]
fn several_sessions_are_read_back() {
    let mut world = World::new(2);
    let (mut alice, mut bob) = varied(&mut world);
    restarted(&mut alice);
    assert_eq!(alice.sessions.count(), 5);
    assert!(!alice.sessions.is_answered());
    let message = world.seal(&mut alice, b"on the newest");
    assert_eq!(world.open(&mut bob, &message).unwrap(), b"on the newest");
    world.converse(&mut alice, &mut bob);
}

#[test]
fn an_idle_session_is_small() {
    let mut world = World::new(3);
    let (mut alice, mut bob) = world.settled();
    world.converse(&mut alice, &mut bob);
    for side in [alice, bob] {
        assert!(side.sessions.to_bytes().len() <= 332, "{}", side.sessions.to_bytes().len());
    }
}

#[test]
fn what_are_not_saved_sessions_is_refused() {
    let mut world = World::new(4);
    let (alice, _) = varied(&mut world);
    let saved = alice.sessions.to_bytes();
    let read = |bytes: &[u8]| Sessions::from_bytes(bytes).map(|sessions| sessions.count());
    assert_eq!(read(&saved), Ok(5));
    for length in 0..saved.len() {
        assert_eq!(read(&saved[..length]), Err(SavedRecordError::Malformed), "{length} bytes");
    }
    assert_eq!(read(&[&saved[..], &[0]].concat()), Err(SavedRecordError::Malformed));
    let version = [&[9], &saved[1..]].concat();
    assert_eq!(read(&version), Err(SavedRecordError::Version { version: 9 }));
    let mut not_a_point = saved.to_vec();
    not_a_point[60] ^= 1;
    assert_eq!(read(&not_a_point), Err(SavedRecordError::Key { field: "IK" }));

    let (alice, _) = world.settled();
    let saved = alice.sessions.to_bytes();
    // IK, no retired rank, one session: begun, id, flags.
    assert_eq!(saved[66..68], [0, 1]);
    let (count, flags) = (67, 68 + 16);
    assert_eq!(saved[flags], 3, "ours, established");
    for (at, value) in [(66, 2), (count, 6), (flags, 7), (flags, 8 + 3), (flags, 4), (flags, 0)] {
        let mut altered = saved.to_vec();
        altered[at] = value;
        assert_eq!(read(&altered), Err(SavedRecordError::Malformed), "{value} at {at}");
    }
    // The same session twice; and a session without the handshake that it needs.
    let twice = [&saved[..count], &[2], &saved[count + 1..], &saved[count + 1..]].concat();
    assert_eq!(read(&twice), Err(SavedRecordError::State));
    let (mut alice, bob) = world.sides();
    world.begin(&mut alice, &bob, None);
    let saved = alice.sessions.to_bytes();
    assert_eq!(saved[flags], 5, "ours, with a handshake");
    let state = flags + 9 + 1 + 32 + 32 + 65 + 36;
    let mut without = saved[..state].to_vec();
    without[flags] = 1;
    assert_eq!(read(&without), Err(SavedRecordError::State));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is read is written as the same bytes, whatever was altered in them.
    #[test]
    fn altered_bytes_are_refused_or_mean_something_else(
        seed in 0..4_u64,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut world = World::new(seed);
        let (alice, _) = varied(&mut world);
        let mut bytes = alice.sessions.to_bytes().to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(sessions) = Sessions::from_bytes(&bytes) {
            prop_assert_eq!(sessions.to_bytes().to_vec(), bytes);
        }
    }
}
