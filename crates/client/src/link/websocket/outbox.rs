//! Messages that the relay has not acknowledged, in order of sending.

use std::collections::{BTreeMap, HashMap};

use stvor_wire::{OutgoingMessage, Payload};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::link::Outgoing;

/// The messages, by number of sending and by id.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) messages: BTreeMap<u64, Outgoing>,
    numbers: HashMap<String, u64>,
    next: u64,
    /// Written since the last barrier.
    pub(super) unconfirmed: Vec<String>,
}

impl Outbox {
    pub(super) fn push(&mut self, message: Outgoing) {
        self.numbers.insert(message.id.clone(), self.next);
        self.messages.insert(self.next, message);
        self.next += 1;
    }

    pub(super) fn take(&mut self, id: &str) -> Option<Outgoing> {
        self.messages.remove(&self.numbers.remove(id)?)
    }

    pub(super) fn forget_overdue(&mut self, now: Instant) {
        self.retain(|message| message.deadline > now);
    }

    pub(super) fn forget_from(&mut self, user: &str) {
        self.retain(|message| &*message.from != user);
    }

    fn retain(&mut self, keep: impl Fn(&Outgoing) -> bool) {
        let Self { messages, numbers, .. } = self;
        messages.retain(|_, message| {
            let kept = keep(message);
            if !kept {
                numbers.remove(&message.id);
            }
            kept
        });
    }
}

/// A `message` frame.
pub(super) fn frame(message: &Outgoing) -> Message {
    let frame = OutgoingMessage {
        id: &message.id,
        to: &message.to,
        from: &message.from,
        payload: Payload {
            ciphertext: message.ciphertext.as_str().into(),
            header: message.header.as_str().into(),
        },
        timestamp: message.timestamp_ms,
    };
    // Strings and a number: there is nothing in it that JSON could refuse.
    Message::text(serde_json::to_string(&frame).unwrap_or_default())
}
