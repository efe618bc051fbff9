//! Everything that a relay can alter in a message of wire 4, and that none of it opens.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use proptest::prelude::*;
use stvor_protocol::{
    Decrypt4Error, HeaderField, Message4, Parties, V4Error, VerifiedV4, header_field,
    parse_header_field,
};
use support::wire4::{Envelope, START, Side, World};

/// Where the parts of header, trailer and handshake begin.
const FIELDS: &[(&str, Part, usize)] = &[
    ("ratchet key", Part::Header, 1),
    ("PN", Part::Header, 68),
    ("N", Part::Header, 72),
    ("nonce", Part::Header, 73),
    ("timestamp", Part::Trailer, 9),
    ("begun", Part::Trailer, 17),
    ("session id", Part::Trailer, 18),
    ("ciphertext", Part::Ciphertext, 0),
];

const HANDSHAKE: &[(&str, Part, usize)] = &[
    ("identity key", Part::Trailer, 26 + 32),
    ("signed prekey", Part::Trailer, 59 + 32),
    ("signed prekey id", Part::Trailer, 92),
    ("KEM key id", Part::Trailer, 96),
    ("one-time prekey id", Part::Trailer, 100),
    ("signature length", Part::Trailer, 104),
    ("signature", Part::Trailer, 105 + 20),
    ("KEM ciphertext", Part::Trailer, 200),
];

#[derive(Clone, Copy)]
enum Part {
    Header,
    Trailer,
    Ciphertext,
}

fn altered(message: &Envelope, part: Part, at: usize, mask: u8) -> Envelope {
    let mut message = message.clone();
    let bytes: &mut [u8] = match part {
        Part::Header => &mut message.header,
        Part::Trailer => &mut message.trailer,
        Part::Ciphertext => &mut message.ciphertext,
    };
    bytes[at] ^= mask;
    message
}

/// A first message with a one-time prekey, and whom it is for.
fn first_message(world: &mut World) -> (Side, Side, Envelope) {
    let (mut alice, mut bob) = world.sides();
    let (prekeys, published) = bob.prekeys.with_one_time(3, &mut world.rng);
    bob.prekeys = prekeys;
    world.begin(&mut alice, &bob, Some(&published[1]));
    let message = world.seal(&mut alice, b"hello");
    (alice, bob, message)
}

fn refused(world: &mut World, to: &mut Side, message: &Envelope) -> Decrypt4Error {
    let before = to.sessions.to_bytes();
    let error = world.open(to, message).unwrap_err();
    assert_eq!(to.sessions.to_bytes(), before);
    error
}

#[test]
fn every_altered_field_of_a_first_message_is_refused() {
    let mut world = World::new(1);
    let (_, mut bob, message) = first_message(&mut world);
    for &(field, part, at) in FIELDS.iter().chain(HANDSHAKE) {
        let error = refused(&mut world, &mut bob, &altered(&message, part, at, 1));
        let expected: &[Decrypt4Error] = match field {
            // Half of all x coordinates have no point.
            "ratchet key" | "signed prekey" => {
                &[Decrypt4Error::Authentication, Decrypt4Error::Malformed]
            }
            "identity key" => &[Decrypt4Error::IdentityMismatch],
            "signature length" => &[Decrypt4Error::Malformed],
            _ => &[Decrypt4Error::Authentication],
        };
        assert!(expected.contains(&error), "{field}: {error:?}");
    }
    assert_eq!(world.open(&mut bob, &message).unwrap(), b"hello");
}

#[test]
fn every_altered_field_of_a_later_message_is_refused() {
    let mut world = World::new(2);
    let (mut alice, mut bob) = world.settled();
    world.now += 1000;
    let message = world.seal(&mut alice, b"hello");
    for &(field, part, at) in FIELDS {
        let error = refused(&mut world, &mut bob, &altered(&message, part, at, 1));
        let expected: &[Decrypt4Error] = match field {
            "ratchet key" => &[Decrypt4Error::Authentication, Decrypt4Error::Malformed],
            "session id" => &[Decrypt4Error::UnknownSession],
            _ => &[Decrypt4Error::Authentication],
        };
        assert!(expected.contains(&error), "{field}: {error:?}");
    }
    for (sender, recipient) in [("bob", "alice"), ("alice", "carol"), ("carol", "bob")] {
        let other = Envelope {
            sender: sender.to_owned(),
            recipient: recipient.to_owned(),
            ..message.clone()
        };
        assert_eq!(refused(&mut world, &mut bob, &other), Decrypt4Error::Authentication);
    }
    assert_eq!(world.open(&mut bob, &message).unwrap(), b"hello");
}

/// A handshake taken from one message and put on another changes both.
#[test]
fn a_handshake_taken_off_or_put_on_is_refused() {
    let mut world = World::new(3);
    let (mut alice, mut bob, first) = first_message(&mut world);
    let with_handshake = world.seal(&mut alice, b"second");

    let mut without = first.clone();
    without.trailer.truncate(26);
    without.trailer[1] = 0;
    assert_eq!(refused(&mut world, &mut bob, &without), Decrypt4Error::UnknownSession);

    world.open(&mut bob, &first).unwrap();
    let mut without = with_handshake.clone();
    without.trailer.truncate(26);
    without.trailer[1] = 0;
    assert_eq!(refused(&mut world, &mut bob, &without), Decrypt4Error::Authentication);
    world.open(&mut bob, &with_handshake).unwrap();

    let answer = world.seal(&mut bob, b"answer");
    let mut with = answer.clone();
    with.trailer.truncate(26);
    with.trailer[1] = 1;
    with.trailer.extend_from_slice(&first.trailer[26..]);
    assert_eq!(refused(&mut world, &mut alice, &with), Decrypt4Error::Authentication);
    assert_eq!(world.open(&mut alice, &answer).unwrap(), b"answer");
}

#[test]
fn what_is_not_a_message_of_wire_4_is_malformed() {
    let mut world = World::new(4);
    let (_, _, message) = first_message(&mut world);
    let Envelope { header, trailer, ciphertext, .. } = &message;
    let parse = |header: &[u8], trailer: &[u8], ciphertext: &[u8]| {
        Message4::parse(header, trailer, ciphertext).map(|message| message.timestamp_ms())
    };
    assert_eq!(parse(header, trailer, ciphertext), Ok(START));
    let malformed = Err(Decrypt4Error::Malformed);
    assert_eq!(parse(&header[1..], trailer, ciphertext), malformed);
    assert_eq!(parse(&[&header[..], &[0]].concat(), trailer, ciphertext), malformed);
    assert_eq!(parse(header, trailer, &ciphertext[..15]), malformed);
    for length in 0..trailer.len() {
        assert_eq!(parse(header, &trailer[..length], ciphertext), malformed, "{length} bytes");
    }
    assert_eq!(parse(header, &[&trailer[..], &[0]].concat(), ciphertext), malformed);
    // Without its handshake a trailer has 26 bytes, and it says so.
    assert_eq!(parse(header, &[&[4, 0], &trailer[2..26]].concat(), ciphertext), Ok(START));
    for (version, flags) in [(3, 0), (5, 0), (4, 1), (4, 2), (4, 128)] {
        let other = [&[version, flags], &trailer[2..26]].concat();
        assert_eq!(parse(header, &other, ciphertext), malformed, "{version} {flags}");
    }
}

#[test]
fn a_header_field_is_taken_apart_as_it_was_put_together() {
    let mut world = World::new(5);
    let (_, _, Envelope { header, trailer, .. }) = first_message(&mut world);
    let field = header_field(&header, &trailer);
    let parsed = parse_header_field(&field).unwrap();
    assert_eq!(parsed, Some(HeaderField { header, trailer: trailer.clone() }));
    let (wire_3, rest) = field.split_once('.').unwrap();
    assert_eq!(parse_header_field(wire_3), Ok(None));
    for malformed in [
        format!(".{rest}"),
        format!("{wire_3}.{rest}="),
        format!("{wire_3}.{rest}.{rest}"),
        format!("{wire_3}=.{rest}"),
        format!("A{wire_3}.{rest}"),
        format!("{wire_3}.+/"),
    ] {
        assert_eq!(parse_header_field(&malformed), Err(Decrypt4Error::Malformed), "{malformed}");
    }
}

#[test]
fn a_v4_blob_that_is_altered_expired_or_anothers_is_refused() {
    let mut world = World::new(6);
    let (alice, bob) = world.sides();
    let bundle = |side: &Side| side.prekeys.local_keys().bundle().verify().unwrap();
    let blob = bob.prekeys.v4("bob");
    assert!(blob.len() <= 2048);
    assert_eq!(blob, bob.prekeys.v4("bob"), "it is signed once");
    let verify = |blob: &[u8], bundle: &_, user: &str, now: u64| {
        VerifiedV4::verify(blob, bundle, user, now).map(|verified| verified.capabilities())
    };
    let (bobs, skew) = (bundle(&bob), stvor_protocol::MAX_CLOCK_SKEW_MS);
    assert_eq!(verify(&blob, &bobs, "bob", START), Ok(0));

    // Another's identity; another's name; the same identity with another signed prekey.
    assert_eq!(verify(&blob, &bundle(&alice), "bob", START), Err(V4Error::Signature));
    assert_eq!(verify(&blob, &bobs, "carol", START), Err(V4Error::OtherUser));
    let week = 7 * support::wire4::DAY;
    let rotated = bob.prekeys.rotated(START + week, &mut world.rng).unwrap();
    let (newer, newer_blob) = (rotated.local_keys().bundle().verify().unwrap(), rotated.v4("bob"));
    assert_eq!(verify(&newer_blob, &newer, "bob", START + week), Ok(0));
    assert_eq!(verify(&blob, &newer, "bob", START + week), Err(V4Error::OtherSignedPrekey));
    assert_eq!(verify(&newer_blob, &bobs, "bob", START + week), Err(V4Error::OtherSignedPrekey));

    // Too early, too late.
    assert_eq!(verify(&newer_blob, &newer, "bob", START + week - skew), Ok(0));
    let early = verify(&newer_blob, &newer, "bob", START + week - skew - 1);
    assert_eq!(early, Err(V4Error::NotYetValid));
    let until = VerifiedV4::verify(&blob, &bobs, "bob", START).unwrap().valid_until_ms();
    assert_eq!(until, START + 90 * support::wire4::DAY);
    assert_eq!(verify(&blob, &bobs, "bob", until + skew), Ok(0));
    assert_eq!(verify(&blob, &bobs, "bob", until + skew + 1), Err(V4Error::Expired));

    for length in 0..blob.len() {
        assert!(verify(&blob[..length], &bobs, "bob", START).is_err(), "{length} bytes");
    }
    assert_eq!(verify(&[&blob[..], &[0]].concat(), &bobs, "bob", START), Err(V4Error::Signature));
    let other_version = [&[5], &blob[1..]].concat();
    assert_eq!(verify(&other_version, &bobs, "bob", START), Err(V4Error::Malformed));
    for at in 1..blob.len() {
        let mut altered = blob.clone();
        altered[at] ^= 1;
        let error = verify(&altered, &bobs, "bob", START).unwrap_err();
        assert!([V4Error::Signature, V4Error::Malformed].contains(&error), "byte {at}: {error:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any flipped bit anywhere is refused, and the genuine message opens afterwards.
    #[test]
    fn any_flipped_bit_is_refused(seed: u64, is_first: bool, part in 0..3, at: prop::sample::Index, bit in 0..8) {
        let mut world = World::new(seed);
        let (message, mut bob) = if is_first {
            let (_, bob, message) = first_message(&mut world);
            (message, bob)
        } else {
            let (mut alice, bob) = world.settled();
            (world.seal(&mut alice, b"hello"), bob)
        };
        let (part, length) = match part {
            0 => (Part::Header, message.header.len()),
            1 => (Part::Trailer, message.trailer.len()),
            _ => (Part::Ciphertext, message.ciphertext.len()),
        };
        let forged = altered(&message, part, at.index(length), 1_u8 << bit);
        refused(&mut world, &mut bob, &forged);
        prop_assert_eq!(world.open(&mut bob, &message).unwrap(), b"hello");
    }

    /// Bytes that nobody sealed are refused, whatever they are.
    #[test]
    fn garbage_is_refused(
        seed: u64,
        header in prop::collection::vec(any::<u8>(), 85),
        trailer in prop::collection::vec(any::<u8>(), 0..40),
        flags in 0..2_u8,
        ciphertext in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut world = World::new(seed);
        let (_, bob) = world.sides();
        let trailer = [&[4, flags], &trailer[..]].concat();
        let parties = Parties { sender: "alice", recipient: "bob" };
        if let Ok(message) = Message4::parse(&header, &trailer, &ciphertext) {
            let opened =
                bob.sessions.decrypt(&bob.prekeys, parties, &message, START, &mut world.rng);
            prop_assert!(opened.is_err());
        }
    }
}
