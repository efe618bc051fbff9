//! Any bytes as a message of wire 4: 85 of header, the trailer behind its length, the ciphertext.
//! And as a header field: what is taken apart is put together as the same text.
//!
//! Bob, before and after Alice's first message, opens her genuine messages and nothing else. The
//! users are those of the first case in `crates/protocol/tests/vectors/wire4`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    IdentityKeyPair, Message4, Parties, Prekeys, Sessions, header_field, parse_header_field,
};

const NOW: u64 = 1800000000100;

const FIRST: [&[u8]; 3] = [
    include_bytes!("../seeds/message4/first-0"),
    include_bytes!("../seeds/message4/first-1"),
    include_bytes!("../seeds/message4/first-2"),
];

struct Bob {
    prekeys: Prekeys,
    before: Sessions,
    after: Sessions,
}

static BOBS: LazyLock<Bob> = LazyLock::new(|| {
    let identity = IdentityKeyPair::from_bytes(include_bytes!("../keys/bob-identity"));
    let identity = identity.expect("a recorded key");
    let prekeys = Prekeys::from_bytes(&identity, include_bytes!("../seeds/sessions/prekeys"))
        .expect("recorded prekeys");
    let (header, trailer, ciphertext) = split(FIRST[0]).expect("a recorded message");
    let first = Message4::parse(header, trailer, ciphertext).expect("well-formed");
    let alice = first.sender_identity().expect("a point").expect("a handshake");
    let before = Sessions::new(alice);
    let after = open(&prekeys, &before, FIRST[0]).expect("genuine");
    Bob { prekeys, before, after }
});

fn split(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (header, rest) = message.split_at_checked(85)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (trailer, ciphertext) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((header, trailer, ciphertext))
}

fn open(prekeys: &Prekeys, sessions: &Sessions, message: &[u8]) -> Option<Sessions> {
    let (header, trailer, ciphertext) = split(message)?;
    let message = Message4::parse(header, trailer, ciphertext).ok()?;
    let parties = Parties { sender: "alice", recipient: "bob" };
    let rng = &mut ChaCha20Rng::seed_from_u64(3);
    let opened = sessions.decrypt(prekeys, parties, &message, NOW, rng).ok()?;
    assert_eq!(opened.session, message.session());
    Some(opened.sessions)
}

fuzz_target!(|bytes: &[u8]| {
    let Bob { prekeys, before, after } = &*BOBS;
    assert_eq!(open(prekeys, before, bytes).is_some(), FIRST.contains(&bytes));
    assert_eq!(open(prekeys, after, bytes).is_some(), FIRST[1..].contains(&bytes));
    if let Ok(field) = std::str::from_utf8(bytes) {
        if let Ok(Some(parsed)) = parse_header_field(field) {
            assert_eq!(header_field(&parsed.header, &parsed.trailer), field);
        }
    }
});
