//! Altered, truncated, forged and replayed messages: each is refused, changes nothing, and leaves
//! the genuine message readable. The original fails most of these.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde::Deserialize;
use stvor_protocol::{DecryptError, Session};
use support::{Hex, Recorded};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    states: HashMap<String, State>,
    cases: Vec<Case>,
    sequences: Vec<Sequence>,
    zero_chain_key: ZeroChainKey,
}

#[derive(Deserialize)]
struct State {
    session: String,
    genuine: Genuine,
}

#[derive(Deserialize)]
struct Genuine {
    header: Hex,
    ciphertext: Hex,
    plaintext: Hex,
}

#[derive(Deserialize)]
struct Case {
    id: u32,
    state: String,
    mutation: String,
    header: Hex,
    ciphertext: Hex,
    expected: String,
    original: Original,
}

#[derive(Deserialize)]
struct Original {
    result: String,
}

#[derive(Deserialize)]
struct Sequence {
    id: u32,
    state: String,
    messages: Vec<Forged>,
}

#[derive(Deserialize)]
struct Forged {
    what: String,
    header: Hex,
    ciphertext: Hex,
    expected: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ZeroChainKey {
    receiver_state: String,
    forged_header: Hex,
    forged_ciphertext: Hex,
    next_plaintext: Hex,
    original_next_header: Hex,
    original_next_ciphertext: Hex,
}

fn file() -> File {
    serde_json::from_str(include_str!("vectors/v3.0.0/negative.json")).unwrap()
}

impl State {
    fn session(&self) -> Session {
        Session::deserialize(self.session.as_bytes()).unwrap()
    }

    fn assert_unchanged(&self, session: &Session, what: &str) {
        assert_eq!(*session.serialize(), self.session.as_bytes(), "{what}: state");
    }

    fn assert_reads_the_genuine_message(&self, session: &Session, what: &str) {
        let Genuine { header, ciphertext, plaintext } = &self.genuine;
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let opened = session.decrypt(header, ciphertext, &mut rng).unwrap();
        assert_eq!(*opened.plaintext, **plaintext, "{what}: genuine message");
    }
}

/// A refused message draws no randomness either.
fn refuse(session: &Session, header: &[u8], ciphertext: &[u8], what: &str) -> DecryptError {
    let outcome = session.decrypt(header, ciphertext, &mut Recorded::nothing());
    assert!(outcome.is_err(), "{what}: accepted");
    outcome.unwrap_err()
}

#[test]
fn every_case_is_refused_and_changes_nothing() {
    let file = file();
    let mut accepted_by_the_original = 0;
    for case in &file.cases {
        let what = format!("case {} ({}, {})", case.id, case.state, case.mutation);
        assert_eq!(case.expected, "reject", "{what}");
        let state = &file.states[&case.state];
        let session = state.session();
        refuse(&session, &case.header, &case.ciphertext, &what);
        state.assert_unchanged(&session, &what);
        // This one is genuine but 257 messages ahead: one too many for us as for the original.
        if case.state == "beforeGap" {
            let error = refuse(&session, &case.header, &case.ciphertext, &what);
            assert_eq!(error, DecryptError::TooManySkipped, "{what}");
        }
        state.assert_reads_the_genuine_message(&session, &what);
        accepted_by_the_original += usize::from(case.original.result == "accepted");
    }
    assert_eq!((file.cases.len(), accepted_by_the_original), (272, 11));
}

#[test]
fn every_sequence_is_refused_and_changes_nothing() {
    let file = file();
    let mut refused = 0;
    for sequence in &file.sequences {
        let state = &file.states[&sequence.state];
        let session = state.session();
        for message in &sequence.messages {
            let what = format!("sequence {} ({})", sequence.id, message.what);
            assert_eq!(message.expected, "reject", "{what}");
            refuse(&session, &message.header, &message.ciphertext, &what);
            state.assert_unchanged(&session, &what);
            refused += 1;
        }
        state.assert_reads_the_genuine_message(&session, &format!("sequence {}", sequence.id));
    }
    assert_eq!((file.sequences.len(), refused), (5, 12));
}

/// After this forgery the original seals what it sends next under a key that anybody can compute.
#[test]
fn a_forged_first_message_leaves_no_zero_chain_behind() {
    let vector = file().zero_chain_key;
    let session = Session::deserialize(vector.receiver_state.as_bytes()).unwrap();
    let error =
        refuse(&session, &vector.forged_header, &vector.forged_ciphertext, "zero chain key");
    assert_eq!(error, DecryptError::InvalidRatchetKey);
    assert_eq!(*session.serialize(), vector.receiver_state.as_bytes());

    let nonce = &vector.original_next_header[73..];
    let next = session.encrypt(&vector.next_plaintext, &mut Recorded::new(nonce)).unwrap();
    assert_eq!(next.header[73..], *nonce);
    // Same nonce, same plaintext: under the same key the bytes before the tag would be the same.
    let text = ..vector.next_plaintext.len();
    assert_ne!(next.ciphertext[text], vector.original_next_ciphertext[text], "zero chain");
}

/// Short tags are named as what they are, forgeries under the public prekey too.
#[test]
fn refusals_say_whose_fault_it_was() {
    let file = file();
    let error_of = |mutation: &str, state: &str| {
        let case = file
            .cases
            .iter()
            .find(|case| case.mutation.contains(mutation) && case.state == state)
            .unwrap();
        refuse(&file.states[state].session(), &case.header, &case.ciphertext, mutation)
    };
    for (state, mutation, expected) in [
        ("pending", "only the first 15 bytes", DecryptError::CiphertextTooShort { length: 15 }),
        ("pending", "not on the curve", DecryptError::InvalidRatchetKey),
        ("pending", "message number 0xffffffff", DecryptError::TooManySkipped),
        ("initiatorAwaitingReply", "signed pre-key, number 0", DecryptError::SignedPrekey),
        ("responderMidChain", "replay", DecryptError::MissingMessageKey { counter: 1 }),
        ("responderMidChain", "tag: all zero", DecryptError::Authentication),
    ] {
        assert_eq!(error_of(mutation, state), expected, "{state}: {mutation}");
    }
}
