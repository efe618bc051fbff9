//! Conversations that the original cannot go on with, recorded from it: a record reads them all.

mod support;

use std::collections::HashMap;

use stvor_protocol::Record;
use support::conversation::{File, Step};
use support::{Pair, Recorded};

#[test]
fn what_the_original_cannot_read_after_a_collision_is_read() {
    let file: File =
        serde_json::from_str(include_str!("vectors/v3.0.0/ratchet-collisions.json")).unwrap();
    let (mut read, mut unreadable_for_the_original) = (0, 0);
    for conversation in &file.conversations {
        let begin = |name: &str, ratchet_key: &Pair| {
            let (ours, theirs) = conversation.keys(name);
            let mut rng = Recorded::key(ratchet_key);
            Record::new(&ours, theirs.bundle().verify().unwrap(), &mut rng).unwrap()
        };
        let mut records: HashMap<&str, Record> = conversation
            .parties
            .iter()
            .map(|(name, party)| (name.as_str(), begin(name, &party.initial_ratchet_key)))
            .collect();
        for step in &conversation.steps {
            match step {
                Step::Encrypt { party, message } => {
                    let message = conversation.message(*message);
                    let sealed = records[&**party]
                        .encrypt(&message.plaintext, &mut Recorded::new(&message.nonce))
                        .unwrap();
                    assert_eq!(sealed.header[..], *message.header, "{}", conversation.note);
                    assert_eq!(sealed.ciphertext, *message.ciphertext, "{}", conversation.note);
                    records.insert(party, sealed.record);
                }
                Step::Decrypt { party, message, generated_ratchet_key, original_outcome } => {
                    let message = conversation.message(*message);
                    // Where it fails, the original may have drawn a key for nothing.
                    let key = generated_ratchet_key.as_ref();
                    let mut rng = key.map_or(Recorded::nothing(), Recorded::key);
                    let opened = records[&**party]
                        .decrypt(
                            &conversation.keys(party).0,
                            &message.header,
                            &message.ciphertext,
                            &mut rng,
                        )
                        .unwrap();
                    assert_eq!(*opened.plaintext, *message.plaintext, "{}", conversation.note);
                    records.insert(party, opened.record);
                    read += 1;
                    unreadable_for_the_original += usize::from(original_outcome.is_some());
                }
                Step::Establish { party, ratchet_key } => {
                    records.insert(party, begin(party, ratchet_key));
                }
                Step::Serialize { .. } | Step::Note => {}
            }
        }
    }
    assert_eq!((file.conversations.len(), read, unreadable_for_the_original), (3, 11, 9));
}
