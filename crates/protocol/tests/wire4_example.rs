//! The worked example of wire 4 in docs/PROTOCOL.md, opened by us: with the keys that stand there,
//! the bundle is verified, the message opens, its content arrives, and the answer is that very one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use sha2::{Digest, Sha256};
use stvor_protocol::delivery::Delivery;
use stvor_protocol::{
    Content, IdentityKeyPair, Message4, Parties, PrekeyBundle, Prekeys, Sessions, VerifiedV4,
    message_id, parse_header_field,
};
use support::Recorded;

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");

const MADE: u64 = 1_767_139_200_000;
const BEGUN: u64 = 1_767_225_600_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

/// What stands in a section's blocks.
fn blocks(heading: &str) -> String {
    let (_, rest) = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = rest.split("\n## ").next().unwrap();
    section.split("```").skip(1).step_by(2).collect()
}

fn example() -> String {
    blocks("32. Worked example of wire 4")
}

/// The hexadecimal that follows the `nth` occurrence of a label at the beginning of a line, also
/// where it goes on in the next lines.
fn hex_of(text: &str, label: &str, nth: usize) -> Vec<u8> {
    let mut found = text.match_indices(label).filter(|(at, _)| text[..*at].ends_with('\n'));
    let (at, _) = found.nth(nth).unwrap();
    let mut lines = text[at + label.len()..].lines();
    let first = lines.next().unwrap();
    let rest = lines.take_while(|line| line.starts_with("    "));
    let digits: String =
        std::iter::once(first).chain(rest).flat_map(str::split_whitespace).collect();
    hex::decode(digits).unwrap()
}

fn of(label: &str) -> Vec<u8> {
    hex_of(&example(), label, 0)
}

/// A private key of either example.
fn private(text: &str, label: &str) -> Vec<u8> {
    let line = text.lines().find(|line| line.starts_with(&format!("{label} "))).unwrap();
    hex::decode(line.split_whitespace().last().unwrap()).unwrap()
}

/// Saved prekeys, as section 29.5 has them: one set, and perhaps a one-time prekey with id 7.
fn prekeys(user: &str, kem_seed: &[u8], one_time: Option<&[u8]>) -> Prekeys {
    let wire3 = blocks("15. Worked example");
    let identity = private(&wire3, &format!("{user} identity"));
    let identity = IdentityKeyPair::from_bytes(&identity).unwrap();
    let signature = of(&format!("{user} SPK signature "));
    let mut saved = b"\x01\0\0\0\x01".to_vec();
    saved.extend(MADE.to_be_bytes());
    saved.extend(private(&wire3, &format!("{user} signed prekey")));
    saved.push(signature.len() as u8);
    saved.extend(signature);
    saved.extend(kem_seed);
    saved.push(0);
    match one_time {
        Some(key) => saved.extend([&b"\0\0\0\x08\x01\0\0\0\x07"[..], key].concat()),
        None => saved.extend(b"\0\0\0\x01\0"),
    }
    Prekeys::from_bytes(&identity, &saved).unwrap()
}

fn alice() -> Prekeys {
    prekeys("alice", &[7; 64], None) // her KEM key has no part in the example
}

fn bob() -> Prekeys {
    prekeys("bob", &of("bob KEM seed "), Some(&private(&example(), "bob one-time prekey")))
}

#[test]
fn the_bundle_of_the_example_verifies() {
    let prekeys = bob();
    let published = prekeys.v4("bob");
    let body = &published[..1282];
    assert_eq!(Sha256::digest(body).to_vec(), of("bob v4, SHA-256 "));
    let kem_key = &body[82..82 + 1184];
    assert_eq!(Sha256::digest(kem_key).to_vec(), of("bob KEM key, SHA-256 "));

    let keys = prekeys.local_keys().bundle();
    let bundle = PrekeyBundle::verify(keys).unwrap();
    let blob = [body, &of("bob v4 signature ")].concat();
    let v4 = VerifiedV4::verify(&blob, &bundle, "bob", BEGUN).unwrap();
    assert_eq!(v4.valid_until_ms(), MADE + 90 * DAY);
}

#[test]
fn the_conversation_of_the_example_opens_and_is_answered() {
    let (alice, bob) = (alice(), bob());
    let to_bob = Parties { sender: "alice", recipient: "bob" };
    let to_alice = Parties { sender: "bob", recipient: "alice" };
    let wire3 = blocks("15. Worked example");

    let keys = alice.local_keys();
    let (identity, signed_prekey) = (keys.identity_key(), keys.signed_prekey().public());
    let signature = of("alice SPK signature ");
    let handshake = [
        &compressed(identity.as_bytes())[..],
        &compressed(signed_prekey.as_bytes()),
        b"\0\0\0\x01\0\0\0\x01\0\0\0\x07",
        &[signature.len() as u8],
        &signature,
        &of("KEM ciphertext "),
    ]
    .concat();
    assert_eq!(Sha256::digest(&handshake).to_vec(), of("handshake, SHA-256 "));
    let (header, ciphertext) = (of("header "), of("ciphertext "));
    let trailer = [of("trailer, 26 bytes "), handshake].concat();

    let message = Message4::parse(&header, &trailer, &ciphertext).unwrap();
    assert_eq!(message.session().as_bytes()[..], of("session id "));
    let claimed = message.sender_identity().unwrap().unwrap();
    assert_eq!(claimed, *alice.local_keys().identity_key());
    let mut rng = Recorded::new(&private(&wire3, "bob ratchet"));
    let opened =
        Sessions::new(claimed).decrypt(&bob, to_bob, &message, BEGUN + 500, &mut rng).unwrap();
    rng.assert_used_up();
    assert_eq!(*opened.payload, of("payload "));
    assert_eq!((opened.timestamp_ms, opened.used_one_time), (BEGUN + 250, Some(7)));

    let delivery = Delivery::new(BEGUN + 300);
    let (delivery, _) = delivery.push(Content::text("hi".to_owned()), false).unwrap();
    let accepted = delivery.accept(&opened.payload, opened.timestamp_ms, BEGUN + 500).unwrap();
    let [item] = &accepted.delivered[..] else { panic!("one content") };
    assert_eq!(item.content, Content::text("hello".to_owned()));
    assert_eq!(item.seq, BEGUN << 12);
    assert_eq!(message_id("alice", "bob", item.seq), hex::encode(of("message id ")));

    let handled = accepted.delivery.handled(item.seq, BEGUN + 600);
    let answer = handled.seal(BEGUN + 700).unwrap();
    assert_eq!(*answer.payload, hex_of(&example(), "payload ", 1));
    assert_eq!(
        message_id("bob", "alice", answer.seq),
        hex::encode(hex_of(&example(), "message id ", 1))
    );
    let nonce: Vec<u8> = (12..24).collect();
    let mut rng = Recorded::new(&nonce);
    let sealed = opened.sessions.encrypt(to_alice, BEGUN + 700, &answer.payload, &mut rng).unwrap();
    assert_eq!(sealed.ciphertext, hex_of(&example(), "ciphertext ", 1));
    let example = example();
    let line = example.lines().find_map(|line| line.strip_prefix("payload.header ")).unwrap();
    let field = parse_header_field(line.trim()).unwrap().unwrap();
    assert_eq!((field.header, field.trailer), (sealed.header, sealed.trailer));
}

fn compressed(point: &[u8; 65]) -> Vec<u8> {
    [&[2 | point[64] & 1], &point[1..33]].concat()
}
