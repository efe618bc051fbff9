//! Sessions of wire 4 between two users: how they begin, go on, and come together again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use stvor_protocol::Decrypt4Error;
use support::wire4::World;

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
}

#[test]
fn both_first_converges() {
    let mut world = World::new(2);
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
