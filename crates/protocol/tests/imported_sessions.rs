//! Sessions that the original has saved go on in records of ours.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    DecryptError, Encrypted, ImportError, LocalKeys, Parties, PeerKeys, PeerRecord, Record,
    SavedRecordError, SavedSessionError, Session, StorageKey, StoredError,
};
use support::conversation::{File, Step};

const NOW: u64 = 1_767_225_600_000;
const PARTIES: Parties<'static> = Parties { sender: "bob", recipient: "alice" };

/// The record of an imported session after a stay in a store, once the peer's keys are shown.
fn imported(
    ours: &LocalKeys,
    theirs: &LocalKeys,
    json: &[u8],
    rng: &mut ChaCha20Rng,
) -> PeerRecord {
    let record = PeerRecord::import(ours.identity(), json, NOW).unwrap();
    assert_eq!(record.their_identity(), Some(theirs.identity_key()));
    assert!(record.legacy().is_none(), "nothing is opened before the peer's keys are shown");
    let key = StorageKey::derive(ours.identity());
    let sealed = record.to_sealed(&key, "alice", "bob", rng);
    let record = PeerRecord::from_sealed(&key, ours.identity(), "alice", "bob", &sealed).unwrap();
    let shown = PeerKeys { bundle: theirs.bundle().verify().unwrap(), v4: None };
    let record = record.resumed(NOW).following(ours, &shown, PARTIES, NOW, rng).unwrap();
    assert!(record.following(ours, &shown, PARTIES, NOW, rng).is_none(), "adopted once");
    record
}

/// Alice's and bob's keys, and their sessions as the original has them.
struct Originals {
    alice: LocalKeys,
    bob: LocalKeys,
    of_alice: Session,
    of_bob: Session,
    first: Encrypted,
    rng: ChaCha20Rng,
}

/// Bob has written, and alice has answered if `answered`.
fn originals(answered: bool) -> Originals {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let (alice, bob) = (LocalKeys::generate(&mut rng), LocalKeys::generate(&mut rng));
    let of_alice = Session::establish(&alice, &bob.bundle().verify().unwrap(), &mut rng).unwrap();
    let of_bob = Session::establish(&bob, &alice.bundle().verify().unwrap(), &mut rng).unwrap();
    let first = of_bob.encrypt(b"first", &mut rng).unwrap();
    let mut of_bob = first.session.clone();
    let mut of_alice =
        of_alice.decrypt(&first.header, &first.ciphertext, &mut rng).unwrap().session;
    if answered {
        let answer = of_alice.encrypt(b"answer", &mut rng).unwrap();
        of_bob = of_bob.decrypt(&answer.header, &answer.ciphertext, &mut rng).unwrap().session;
        of_alice = answer.session;
    }
    Originals { alice, bob, of_alice, of_bob, first, rng }
}

fn legacy(record: &PeerRecord) -> &Record {
    record.legacy().unwrap()
}

#[test]
fn a_conversation_goes_on_in_both_directions_under_a_new_signed_prekey() {
    for answered in [false, true] {
        let Originals { alice, bob, of_alice, mut of_bob, mut rng, .. } = originals(answered);
        let alice = alice.rotated(&mut rng);
        let record = imported(&alice, &bob, &of_alice.serialize(), &mut rng);
        let mut ours = legacy(&record).clone();
        for turn in 0..3 {
            let text = format!("to bob {turn}");
            let sealed = ours.encrypt(text.as_bytes(), &mut rng).unwrap();
            let opened = of_bob.decrypt(&sealed.header, &sealed.ciphertext, &mut rng).unwrap();
            assert_eq!(*opened.plaintext, text.as_bytes());
            let text = format!("to alice {turn}");
            let answer = opened.session.encrypt(text.as_bytes(), &mut rng).unwrap();
            let opened =
                sealed.record.decrypt(&alice, &answer.header, &answer.ciphertext, &mut rng);
            let opened = opened.unwrap();
            assert_eq!(*opened.plaintext, text.as_bytes());
            (ours, of_bob) = (opened.record, answer.session);
        }
    }
}

#[test]
fn a_session_that_the_peer_has_not_answered_goes_on() {
    let Originals { alice, bob, of_alice, of_bob, mut rng, .. } = originals(false);
    let bob_next = bob.rotated(&mut rng);
    let record = imported(&bob_next, &alice, &of_bob.serialize(), &mut rng);
    let answer = of_alice.encrypt(b"answer", &mut rng).unwrap();
    let opened =
        legacy(&record).decrypt(&bob_next, &answer.header, &answer.ciphertext, &mut rng).unwrap();
    assert_eq!(*opened.plaintext, b"answer");
    // Also when the other side shows another signed prekey than it was begun with.
    let record = imported(&bob_next, &alice.rotated(&mut rng), &of_bob.serialize(), &mut rng);
    assert_eq!(legacy(&record).session_count(), 2);
    let opened = legacy(&record).decrypt(&bob_next, &answer.header, &answer.ciphertext, &mut rng);
    assert_eq!(*opened.unwrap().plaintext, b"answer");
}

#[test]
fn a_relay_cannot_have_the_message_that_began_the_session_opened_again() {
    let Originals { alice, bob, of_alice, of_bob, first, mut rng } = originals(true);
    // Bob's first chain ends, so that nothing of it is known any more.
    let second = of_bob.encrypt(b"second", &mut rng).unwrap();
    let json =
        of_alice.decrypt(&second.header, &second.ciphertext, &mut rng).unwrap().session.serialize();
    let mut replayed = |keys: &LocalKeys| {
        let record = imported(keys, &bob, &json, &mut rng);
        let opened = legacy(&record).decrypt(keys, &first.header, &first.ciphertext, &mut rng);
        opened.err()
    };
    assert_eq!(replayed(&alice), None, "which is why an import is given another signed prekey");
    let rotated = alice.rotated(&mut ChaCha20Rng::seed_from_u64(13));
    assert_eq!(replayed(&rotated), Some(DecryptError::Authentication));
}

#[test]
fn sessions_recorded_from_the_original_open_what_comes_next() {
    let file = include_str!("vectors/v3.0.0/ratchet-serialized.json");
    let File { conversations } = serde_json::from_str(file).unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(12);
    let mut opened = 0;
    for conversation in &conversations {
        for (at, step) in conversation.steps.iter().enumerate() {
            let Step::Serialize { party: owner, session, .. } = step else { continue };
            let next = conversation.steps[at..].iter().find_map(|step| match step {
                Step::Decrypt { party, message, original_outcome: None, .. } if party == owner => {
                    Some(conversation.message(*message))
                }
                _ => None,
            });
            let loaded = Session::deserialize(session.as_bytes()).unwrap();
            let Some(next) = next.filter(|_| loaded.receive_count() > 0 || loaded.send_count() > 0)
            else {
                continue;
            };
            let (ours, theirs) = conversation.keys(owner);
            let ours = ours.rotated(&mut rng);
            let record = imported(&ours, &theirs, session.as_bytes(), &mut rng);
            let outcome =
                legacy(&record).decrypt(&ours, &next.header.0, &next.ciphertext.0, &mut rng);
            assert_eq!(*outcome.unwrap().plaintext, next.plaintext.0, "{}", conversation.note);
            opened += 1;
        }
    }
    assert!(opened >= 5, "only {opened} recorded sessions had a message to open");
}

#[test]
fn another_identity_of_the_peer_that_is_accepted_does_not_go_on_with_the_session() {
    let Originals { alice, bob, of_alice, mut rng, .. } = originals(true);
    let record = PeerRecord::import(alice.identity(), &of_alice.serialize(), NOW).unwrap();
    let other = LocalKeys::generate(&mut rng);
    let shown = PeerKeys { bundle: other.bundle().verify().unwrap(), v4: None };
    let next = record.following(&alice, &shown, PARTIES, NOW, &mut rng).unwrap();
    assert!(next.legacy().is_none());
    assert_eq!(next.their_identity(), None);
    assert_ne!(bob.identity_key(), other.identity_key());
}

#[test]
fn what_is_no_session_of_ours_is_refused() {
    let Originals { alice, bob, of_alice, .. } = originals(true);
    let json = of_alice.serialize();
    let import =
        |keys: &LocalKeys, json: &[u8]| PeerRecord::import(keys.identity(), json, NOW).err();
    assert_eq!(import(&alice, &json), None);
    assert_eq!(import(&bob, &json), Some(ImportError::OtherIdentity));
    let malformed = Some(ImportError::Session(SavedSessionError::Malformed));
    assert_eq!(import(&alice, b"{\"rootKey\":\"AAAA\",\"sendingChainKey\":\"AAAA\"}"), malformed);
    assert_eq!(import(&alice, &json[..json.len() - 1]), malformed);
    assert_eq!(import(&alice, b""), malformed);
}

#[test]
fn a_sealed_import_of_somebody_else_is_not_read() {
    let Originals { alice, bob, of_alice, mut rng, .. } = originals(true);
    let record = PeerRecord::import(alice.identity(), &of_alice.serialize(), NOW).unwrap();
    let bytes = record.to_bytes();
    assert!(PeerRecord::from_bytes(alice.identity(), &bytes).is_ok());
    let other = PeerRecord::from_bytes(bob.identity(), &bytes);
    assert_eq!(other.err(), Some(SavedRecordError::Identity));
    let key = StorageKey::derive(alice.identity());
    let sealed = record.to_sealed(&key, "alice", "bob", &mut rng);
    let moved = PeerRecord::from_sealed(&key, alice.identity(), "alice", "carol", &sealed);
    assert!(matches!(moved.err(), Some(StoredError::Sealed(_))));
}
