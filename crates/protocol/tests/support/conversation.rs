//! Conversations recorded from the original: `ratchet-*.json`.

use std::collections::HashMap;

use serde::Deserialize;
use stvor_protocol::LocalKeys;

use super::{Hex, Pair, local_keys};

#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) conversations: Vec<Conversation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Conversation {
    pub(crate) id: u32,
    pub(crate) note: String,
    pub(crate) parties: HashMap<String, Party>,
    pub(crate) shared_secret: Hex,
    pub(crate) messages: Vec<Message>,
    pub(crate) steps: Vec<Step>,
    pub(crate) final_state: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Party {
    pub(crate) identity_key: Pair,
    pub(crate) signed_pre_key: Pair,
    pub(crate) signed_pre_key_signature: Hex,
    pub(crate) initial_ratchet_key: Pair,
}

#[derive(Deserialize)]
pub(crate) struct Message {
    pub(crate) id: usize,
    pub(crate) plaintext: Hex,
    pub(crate) header: Hex,
    pub(crate) ciphertext: Hex,
    pub(crate) nonce: Hex,
}

#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", rename_all_fields = "camelCase")]
pub(crate) enum Step {
    Encrypt {
        party: String,
        message: usize,
    },
    Decrypt {
        party: String,
        message: usize,
        generated_ratchet_key: Option<Pair>,
        /// Present where the original rejected the message.
        original_outcome: Option<String>,
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
    pub(crate) fn keys(&self) -> LocalKeys {
        local_keys(&self.identity_key, &self.signed_pre_key, &self.signed_pre_key_signature)
    }
}

impl Conversation {
    /// Our keys and theirs.
    pub(crate) fn keys(&self, party: &str) -> (LocalKeys, LocalKeys) {
        let other = if party == "alice" { "bob" } else { "alice" };
        (self.parties[party].keys(), self.parties[other].keys())
    }

    pub(crate) fn message(&self, id: usize) -> &Message {
        self.messages.iter().find(|message| message.id == id).unwrap()
    }
}
