//! The two symmetric-key chains of a session: a chain key and how far it has come.
//!
//! Spec: Double Ratchet, section 2.2 ("Symmetric-key ratchet"), 2.6 ("Out-of-order messages").

use crate::chain_key::ChainKey;
use crate::message_key::MessageKey;

/// `CKs` and `Ns`.
#[derive(Clone)]
pub(crate) struct SendingChain {
    pub(crate) key: ChainKey,
    /// How many messages have been sent on it.
    pub(crate) counter: u32,
}

impl SendingChain {
    pub(crate) fn new(key: ChainKey) -> Self {
        Self { key, counter: 0 }
    }

    /// The chain after one message, and that message's key. `None` after 2^32 - 1 messages.
    pub(crate) fn step(&self) -> Option<(Self, MessageKey)> {
        let counter = self.counter.checked_add(1)?;
        let (key, message_key) = self.key.step();
        Some((Self { key, counter }, message_key))
    }
}

/// `CKr` and `Nr`.
#[derive(Clone)]
pub(crate) struct ReceivingChain {
    pub(crate) key: ChainKey,
    /// The number of the next message.
    pub(crate) counter: u32,
}

impl ReceivingChain {
    pub(crate) fn new(key: ChainKey) -> Self {
        Self { key, counter: 0 }
    }

    /// The keys of all messages before number `until`, and the chain after them.
    pub(crate) fn skip(&self, until: u32) -> (Self, Vec<(u32, MessageKey)>) {
        let mut chain = self.clone();
        let skipped = (self.counter..until)
            .map(|counter| {
                let (key, message_key) = chain.key.step();
                chain = Self { key, counter: counter + 1 };
                (counter, message_key)
            })
            .collect();
        (chain, skipped)
    }

    /// The chain after the next message, and that message's key. `None` after 2^32 - 1 messages.
    pub(crate) fn step(&self) -> Option<(Self, MessageKey)> {
        let counter = self.counter.checked_add(1)?;
        let (key, message_key) = self.key.step();
        Some((Self { key, counter }, message_key))
    }
}
