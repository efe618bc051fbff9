//! The messages waiting for one user, in the order in which the relay accepted them.
//!
//! A message stays until it is removed by its number: the mailbox does not know who reads it.

use std::collections::VecDeque;

use bytes::Bytes;

/// Number of a message: unique in the relay, growing in order of acceptance.
pub(crate) type Sequence = u64;

/// The id that the relay gives a message that comes over HTTP.
pub(crate) type MessageId = [u8; 12];

/// What a stored message costs besides its bytes, counted so that empty messages cost too: its
/// places in the mailbox, in a socket's queue and among the ids.
const OVERHEAD: usize = 192;

/// An emptied mailbox larger than this gives its memory back.
const KEPT_CAPACITY: usize = 16;

/// A message that the relay has accepted and not yet given away.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) sequence: Sequence,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub(crate) at: u64,
    /// The id that the relay gave it, if it came over HTTP.
    pub(crate) id: Option<MessageId>,
    /// HTTP clients cannot read it: it is not offered to them again.
    pub(crate) unlisted: bool,
    /// The `message` frame.
    pub(crate) frame: Bytes,
}

impl Stored {
    /// Bytes it is counted as.
    pub(crate) fn cost(&self) -> usize {
        cost(self.frame.len())
    }
}

/// Bytes that a message with a frame of `len` bytes is counted as.
pub(crate) fn cost(len: usize) -> usize {
    len + OVERHEAD
}

/// Messages in order of acceptance.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    messages: VecDeque<Stored>,
    bytes: usize,
}

impl Mailbox {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The cost of all messages together.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a message of that cost may be added.
    pub(crate) fn has_room(&self, cost: usize, max_messages: usize, max_bytes: usize) -> bool {
        self.len() < max_messages && self.bytes + cost <= max_bytes
    }

    /// Adds a message; its number is greater than that of any before.
    pub(crate) fn push(&mut self, message: Stored) {
        debug_assert!(self.messages.back().is_none_or(|last| last.sequence < message.sequence));
        self.bytes += message.cost();
        self.messages.push_back(message);
    }

    /// The message of that number, if it is still here.
    pub(crate) fn get(&self, sequence: Sequence) -> Option<&Stored> {
        self.messages.get(self.find(sequence)?)
    }

    /// Notes that HTTP clients cannot read the message.
    pub(crate) fn unlist(&mut self, sequence: Sequence) {
        if let Some(message) = self.find(sequence).and_then(|at| self.messages.get_mut(at)) {
            message.unlisted = true;
        }
    }

    /// Takes the message of that number out. Cheap at either end.
    pub(crate) fn remove(&mut self, sequence: Sequence) -> Option<Stored> {
        let message = self.messages.remove(self.find(sequence)?)?;
        self.bytes -= message.cost();
        if self.messages.is_empty() && self.messages.capacity() > KEPT_CAPACITY {
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.messages.iter()
    }

    /// The oldest message of that number or a later one.
    pub(crate) fn get_from(&self, sequence: Sequence) -> Option<&Stored> {
        let first = self.messages.front()?;
        if first.sequence >= sequence {
            return Some(first);
        }
        self.messages.get(self.messages.partition_point(|message| message.sequence < sequence))
    }

    fn find(&self, sequence: Sequence) -> Option<usize> {
        if self.messages.front()?.sequence == sequence {
            return Some(0);
        }
        self.messages.binary_search_by_key(&sequence, |message| message.sequence).ok()
    }
}

#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
