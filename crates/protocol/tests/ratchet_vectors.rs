//! Conversations recorded from the original, replayed in both roles with its keys and nonces.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;

use stvor_protocol::{Session, x3dh_symmetric};
use support::conversation::{Conversation, File, Step};
use support::{Pair, Recorded};

fn establish(conversation: &Conversation, party: &str, ratchet_key: &Pair) -> Session {
    let (ours, theirs) = conversation.keys(party);
    let secret = x3dh_symmetric(
        ours.identity(),
        ours.signed_prekey(),
        theirs.identity_key(),
        theirs.signed_prekey().public(),
    );
    assert_eq!(secret.as_bytes()[..], *conversation.shared_secret, "{}: X3DH", conversation.note);
    let mut rng = Recorded::key(ratchet_key);
    let session = Session::establish(&ours, &theirs.bundle().verify().unwrap(), &mut rng).unwrap();
    rng.assert_used_up();
    session
}

/// The steps of a conversation that the original can hold, on sessions.
fn replay_conversation(conversation: &Conversation, counts: &mut Counts) {
    let what = format!("conversation {} ({})", conversation.id, conversation.note);
    let mut sessions: HashMap<&str, Session> = conversation
        .parties
        .iter()
        .map(|(name, party)| {
            (name.as_str(), establish(conversation, name, &party.initial_ratchet_key))
        })
        .collect();
    for step in &conversation.steps {
        match step {
            Step::Encrypt { party, message } => {
                let message = conversation.message(*message);
                let mut rng = Recorded::new(&message.nonce);
                let sealed = sessions[party.as_str()].encrypt(&message.plaintext, &mut rng);
                let sealed = sealed.unwrap();
                rng.assert_used_up();
                assert_eq!(sealed.header[..], *message.header, "{what}: header {}", message.id);
                assert_eq!(sealed.ciphertext, *message.ciphertext, "{what}: {}", message.id);
                sessions.insert(party, sealed.session);
                counts.encrypted += 1;
            }
            Step::Decrypt { party, message, generated_ratchet_key, .. } => {
                let message = conversation.message(*message);
                let mut rng =
                    generated_ratchet_key.as_ref().map_or(Recorded::nothing(), Recorded::key);
                let opened = sessions[party.as_str()].decrypt(
                    &message.header,
                    &message.ciphertext,
                    &mut rng,
                );
                let opened = opened.unwrap_or_else(|e| panic!("{what}: {}: {e}", message.id));
                rng.assert_used_up();
                assert_eq!(*opened.plaintext, *message.plaintext, "{what}: {}", message.id);
                sessions.insert(party, opened.session);
                counts.decrypted += 1;
            }
            Step::Serialize { party, session, reload } => {
                assert_saved(&sessions[party.as_str()], session, &what);
                counts.serialized += 1;
                if *reload {
                    let loaded = Session::deserialize(session.as_bytes()).unwrap();
                    assert_saved(&loaded, session, &what);
                    sessions.insert(party, loaded);
                }
            }
            Step::Establish { party, ratchet_key } => {
                sessions.insert(party, establish(conversation, party, ratchet_key));
            }
            Step::Note => {}
        }
    }
    for (party, session) in conversation.final_state.iter().flatten() {
        assert_saved(&sessions[party.as_str()], session, &what);
        let loaded = Session::deserialize(session.as_bytes()).unwrap();
        assert_saved(&loaded, session, &what);
        counts.serialized += 1;
    }
}

fn assert_saved(session: &Session, expected: &str, what: &str) {
    assert_eq!(std::str::from_utf8(&session.serialize()).unwrap(), expected, "{what}");
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    encrypted: usize,
    decrypted: usize,
    serialized: usize,
}

fn replay(json: &str) -> Counts {
    let file: File = serde_json::from_str(json).unwrap();
    let mut counts = Counts::default();
    for conversation in &file.conversations {
        replay_conversation(conversation, &mut counts);
    }
    counts
}

#[test]
fn one_way_conversations_are_reproduced() {
    let counts = replay(include_str!("vectors/v3.0.0/ratchet-one-way.json"));
    assert_eq!(counts, Counts { encrypted: 120, decrypted: 120, serialized: 2 });
}

#[test]
fn ping_pong_conversations_are_reproduced() {
    let counts = replay(include_str!("vectors/v3.0.0/ratchet-ping-pong.json"));
    assert_eq!(counts, Counts { encrypted: 90, decrypted: 90, serialized: 6 });
}

#[test]
fn bursts_are_reproduced() {
    let counts = replay(include_str!("vectors/v3.0.0/ratchet-bursts.json"));
    assert_eq!(counts, Counts { encrypted: 77, decrypted: 77, serialized: 4 });
}

/// Conversation 5 lists delivered messages only: its reader alone is replayed.
#[test]
fn messages_out_of_order_are_reproduced() {
    let counts = replay(include_str!("vectors/v3.0.0/ratchet-out-of-order.json"));
    assert_eq!(counts, Counts { encrypted: 76, decrypted: 67, serialized: 10 });
}

#[test]
fn saved_sessions_are_reproduced_and_go_on() {
    let counts = replay(include_str!("vectors/v3.0.0/ratchet-serialized.json"));
    assert_eq!(counts, Counts { encrypted: 26, decrypted: 26, serialized: 37 });
}

#[test]
fn plaintexts_of_any_bytes_are_reproduced() {
    let counts = replay(include_str!("vectors/v3.0.0/ratchet-plaintexts.json"));
    assert_eq!(counts, Counts { encrypted: 22, decrypted: 22, serialized: 2 });
}
