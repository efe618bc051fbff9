//! Conversations recorded from the original, replayed in both roles with its keys and nonces.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;

use serde::Deserialize;
use stvor_protocol::{LocalKeys, Session, x3dh_symmetric};
use support::{Hex, Pair, Recorded, local_keys};

#[derive(Deserialize)]
struct File {
    conversations: Vec<Conversation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conversation {
    id: u32,
    note: String,
    parties: HashMap<String, Party>,
    shared_secret: Hex,
    messages: Vec<Message>,
    steps: Vec<Step>,
    final_state: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Party {
    identity_key: Pair,
    signed_pre_key: Pair,
    signed_pre_key_signature: Hex,
    initial_ratchet_key: Pair,
}

#[derive(Deserialize)]
struct Message {
    id: usize,
    plaintext: Hex,
    header: Hex,
    ciphertext: Hex,
    nonce: Hex,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Step {
    Encrypt {
        party: String,
        message: usize,
    },
    Decrypt {
        party: String,
        message: usize,
        generated_ratchet_key: Option<Pair>,
    },
    Serialize {
        party: String,
        session: String,
        #[serde(default)]
        reload: bool,
    },
    Establish {
        party: String,
        ratchet_key: Pair,
    },
    Note,
}

impl Party {
    fn keys(&self) -> LocalKeys {
        local_keys(&self.identity_key, &self.signed_pre_key, &self.signed_pre_key_signature)
    }
}

impl Conversation {
    fn keys(&self, party: &str) -> (LocalKeys, LocalKeys) {
        let other = if party == "alice" { "bob" } else { "alice" };
        (self.parties[party].keys(), self.parties[other].keys())
    }

    fn message(&self, id: usize) -> &Message {
        self.messages.iter().find(|message| message.id == id).unwrap()
    }

    fn establish(&self, party: &str, ratchet_key: &Pair) -> Session {
        let (ours, theirs) = self.keys(party);
        let secret = x3dh_symmetric(
            ours.identity(),
            ours.signed_prekey(),
            theirs.identity_key(),
            theirs.signed_prekey().public(),
        );
        assert_eq!(secret.as_bytes()[..], *self.shared_secret, "{}: X3DH", self.note);
        let mut rng = Recorded::key(ratchet_key);
        let session =
            Session::establish(&ours, &theirs.bundle().verify().unwrap(), &mut rng).unwrap();
        rng.assert_used_up();
        session
    }

    /// The steps of a conversation that the original can hold, on sessions.
    fn replay(&self, counts: &mut Counts) {
        let what = format!("conversation {} ({})", self.id, self.note);
        let mut sessions: HashMap<&str, Session> = self
            .parties
            .iter()
            .map(|(name, party)| (name.as_str(), self.establish(name, &party.initial_ratchet_key)))
            .collect();
        for step in &self.steps {
            match step {
                Step::Encrypt { party, message } => {
                    let message = self.message(*message);
                    let mut rng = Recorded::new(&message.nonce);
                    let sealed = sessions[party.as_str()].encrypt(&message.plaintext, &mut rng);
                    let sealed = sealed.unwrap();
                    rng.assert_used_up();
                    assert_eq!(sealed.header[..], *message.header, "{what}: header {}", message.id);
                    assert_eq!(sealed.ciphertext, *message.ciphertext, "{what}: {}", message.id);
                    sessions.insert(party, sealed.session);
                    counts.encrypted += 1;
                }
                Step::Decrypt { party, message, generated_ratchet_key } => {
                    let message = self.message(*message);
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
                    sessions.insert(party, self.establish(party, ratchet_key));
                }
                Step::Note => {}
            }
        }
        for (party, session) in self.final_state.iter().flatten() {
            assert_saved(&sessions[party.as_str()], session, &what);
            let loaded = Session::deserialize(session.as_bytes()).unwrap();
            assert_saved(&loaded, session, &what);
            counts.serialized += 1;
        }
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
        conversation.replay(&mut counts);
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
