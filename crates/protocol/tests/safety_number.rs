//! The safety number of docs/PROTOCOL.md, and what it is tied to.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sha2::{Digest, Sha256};
use stvor_protocol::{IdentityKey, IdentityKeyPair, SAFETY_NUMBER_LENGTH, SafetyNumber};

const DOCUMENT: &str = include_str!("../../../docs/PROTOCOL.md");

/// The identity key of a user of the worked examples.
fn identity(user: &str) -> IdentityKey {
    let private = Sha256::digest(format!("stvor example: {user} identity"));
    IdentityKeyPair::from_bytes(&private).unwrap().public().clone()
}

/// What stands behind a label in the document's section.
fn stated(label: &str) -> &'static str {
    let (_, section) = DOCUMENT.split_once("\n## 33. Safety number\n").unwrap();
    let (_, rest) = section.split_once(&format!("\n{label}  ")).unwrap();
    rest.lines().next().unwrap().trim()
}

#[test]
fn the_number_is_the_one_that_the_document_states() {
    let (alice, bob) = (identity("alice"), identity("bob"));
    let number = SafetyNumber::new(("alice", &alice), ("bob", &bob));
    assert_eq!(number.to_string(), stated("digits"));
    assert_eq!(number.digits(), stated("digits").replace(' ', ""));
    let bytes = format!("01{}{}", stated("bob digest"), stated("alice digest"));
    assert_eq!(hex::encode(number.to_bytes()), bytes);
    assert_eq!(format!("{number:?}"), format!("SafetyNumber({})", stated("digits")));
}

#[test]
fn both_sides_have_the_same_number() {
    let (alice, bob) = (identity("alice"), identity("bob"));
    let here = SafetyNumber::new(("alice", &alice), ("bob", &bob));
    let there = SafetyNumber::new(("bob", &bob), ("alice", &alice));
    assert_eq!(here, there);
    assert!(here.matches(&there.to_bytes()));
}

#[test]
fn another_key_or_another_name_on_either_side_gives_another_number() {
    let (alice, bob, eve) = (identity("alice"), identity("bob"), identity("eve"));
    let genuine = SafetyNumber::new(("alice", &alice), ("bob", &bob));
    let others = [
        SafetyNumber::new(("alice", &eve), ("bob", &bob)),
        SafetyNumber::new(("alice", &alice), ("bob", &eve)),
        SafetyNumber::new(("alicf", &alice), ("bob", &bob)),
        SafetyNumber::new(("alice", &alice), ("boc", &bob)),
        SafetyNumber::new(("bob", &alice), ("alice", &bob)),
    ];
    for other in others {
        assert_ne!(other.digits(), genuine.digits());
        assert!(!genuine.matches(&other.to_bytes()));
    }
}

#[test]
fn no_altered_shorter_or_longer_code_matches() {
    let number = SafetyNumber::new(("alice", &identity("alice")), ("bob", &identity("bob")));
    let bytes = number.to_bytes();
    for at in 0..SAFETY_NUMBER_LENGTH {
        for bit in 0..8 {
            let mut altered = bytes;
            altered[at] ^= 1 << bit;
            assert!(!number.matches(&altered), "bit {bit} of byte {at}");
        }
        assert!(!number.matches(&bytes[..at]), "{at} bytes");
    }
    assert!(!number.matches(&[bytes.as_slice(), &[0]].concat()));
}
