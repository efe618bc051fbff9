//! What was received: in order until the application has handled it, out of order until what is
//! missing has come.
//!
//! A message names the one before it, and the oldest that its sender still holds; both let the
//! order go on past what will never come. Every number is taken once, whatever is sent twice.

use super::content::Content;
use super::outbox::{MAX_OUTBOX_BYTES, MAX_OUTBOX_MESSAGES};
use super::payload::{Place, Sent};
use super::queue::{Numbered, Queue};
use super::receipt::{MAX_RANGES, Receipt};

/// How many messages wait for an earlier one. A sender may have this many on their way when one is
/// lost, and it is as far as a ratchet chain skips.
pub const MAX_PENDING_MESSAGES: usize = 2_000;

/// How many bytes of content wait for an earlier message.
pub const MAX_PENDING_BYTES: usize = 16 * 1024 * 1024;

/// How many messages wait for the application: what a peer of ours keeps in its outbox, so only
/// one that does not, or has lost it, can reach this.
pub const MAX_INBOX_MESSAGES: usize = MAX_OUTBOX_MESSAGES;

/// How many bytes of content wait for the application.
pub const MAX_INBOX_BYTES: usize = MAX_OUTBOX_BYTES;

/// A message that is the application's turn to handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxItem {
    /// The sender's number for it. Ascending, with gaps.
    pub seq: u64,
    /// When it was sealed, by the sender's clock, in milliseconds since the Unix epoch.
    pub timestamp_ms: u64,
    /// What was sent.
    pub content: Content,
    /// Whether a receipt goes at once when it is handled.
    pub prompt: bool,
}

impl Numbered for InboxItem {
    fn seq(&self) -> u64 {
        self.seq
    }
}

/// A message that came before another one.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub(super) item: InboxItem,
    /// It is next when everything up to this number has come.
    pub(super) prev: u64,
}

impl Numbered for Pending {
    fn seq(&self) -> u64 {
        self.item.seq
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inbox {
    /// Everything up to this number was received, or will never come.
    last: u64,
    /// In order, not handled.
    items: Queue<InboxItem>,
    items_bytes: usize,
    /// All beyond `last`.
    pending: Queue<Pending>,
    pending_bytes: usize,
}

impl Inbox {
    /// As it is read from a store.
    pub(super) fn restored(last: u64, items: Queue<InboxItem>, pending: Queue<Pending>) -> Self {
        let items_bytes = items.iter().map(|item| item.content.len()).sum();
        let pending_bytes = pending.iter().map(|pending| pending.item.content.len()).sum();
        Self { last, items, items_bytes, pending, pending_bytes }
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn items(&self) -> &Queue<InboxItem> {
        &self.items
    }

    pub(super) fn pending(&self) -> &Queue<Pending> {
        &self.pending
    }

    /// How many messages wait for an earlier one, and their bytes.
    pub(super) fn pending_size(&self) -> (usize, usize) {
        (self.pending.len(), self.pending_bytes)
    }

    /// Whether messages wait for an earlier one.
    pub(super) fn has_gap(&self) -> bool {
        !self.pending.is_empty()
    }

    /// What to tell the sender.
    pub(super) fn receipt(&self) -> Receipt {
        let handled = self.items.front().map_or(self.last, |front| front.seq - 1);
        let mut have: Vec<(u64, u64)> = Vec::new();
        for Pending { item, prev } in self.pending.iter() {
            let is_full = have.len() == MAX_RANGES;
            match have.last_mut() {
                Some((_, last)) if prev <= last => *last = item.seq,
                _ if is_full => break,
                _ => have.push((item.seq, item.seq)),
            }
        }
        Receipt { received: self.last, handled, have }
    }

    /// What was delivered and not handled, and an inbox that has received nothing.
    pub(super) fn begun_anew(&self) -> (Self, Vec<InboxItem>) {
        (Self::default(), self.items.iter().cloned().collect())
    }

    /// Learns what the sender says about its order: what lies between `prev` and `seq`, and below
    /// `oldest`, will never come unless it is here. Returns what is in order now.
    pub(super) fn learn(&mut self, place: &Place) -> Vec<InboxItem> {
        let mut delivered = Vec::new();
        self.advance_to(place.oldest - 1, &mut delivered);
        self.settle(&mut delivered);
        if place.prev <= self.last {
            self.advance_to(place.seq - 1, &mut delivered);
        } else if let Some(pending) = self.pending.get_mut(place.seq) {
            pending.prev = pending.prev.min(place.prev);
        }
        self.settle(&mut delivered);
        delivered
    }

    /// Takes up a content whose place was [learnt](Self::learn). Returns what is in order now, or
    /// `None` if there is no room for it; a duplicate changes nothing.
    pub(super) fn take(
        &mut self,
        place: &Place,
        sent: &Sent<'_>,
        timestamp_ms: u64,
    ) -> Option<Vec<InboxItem>> {
        let mut delivered = Vec::new();
        if place.seq <= self.last || self.pending.get(place.seq).is_some() {
            return Some(delivered);
        }
        let is_next = place.prev <= self.last;
        let length = sent.bytes.len();
        if !if is_next { self.has_room(length) } else { self.has_pending_room(length) } {
            return None;
        }
        let Place { seq, prev, oldest: _ } = *place;
        let item = InboxItem { seq, timestamp_ms, content: sent.to_content(), prompt: sent.prompt };
        if is_next {
            self.last = seq;
            self.deliver(item, &mut delivered);
            self.settle(&mut delivered);
        } else {
            self.pending_bytes += length;
            self.pending.insert(Pending { item, prev });
        }
        Some(delivered)
    }

    /// Takes out what the application has handled, up to number `seq`. Says whether anything was,
    /// and whether its sender waits for a receipt.
    pub(super) fn handled(&mut self, seq: u64) -> (bool, bool) {
        let (mut any, mut prompt) = (false, false);
        self.items.drop_through(seq, |item| {
            any = true;
            prompt |= item.prompt;
            self.items_bytes -= item.content.len();
        });
        (any, prompt)
    }

    /// Whether there is room for one more content of this length wherever it belongs.
    pub(super) fn has_ample_room(&self, length: usize) -> bool {
        self.items.len() + self.pending.len() < MAX_PENDING_MESSAGES
            && self.items_bytes + self.pending_bytes + length <= MAX_PENDING_BYTES
    }

    fn has_room(&self, length: usize) -> bool {
        self.items.len() < MAX_INBOX_MESSAGES && self.items_bytes + length <= MAX_INBOX_BYTES
    }

    /// What is pending may come to be in order all at once, so it counts for the inbox too.
    fn has_pending_room(&self, length: usize) -> bool {
        let bytes = self.pending_bytes + length;
        self.pending.len() < MAX_PENDING_MESSAGES
            && bytes <= MAX_PENDING_BYTES
            && self.items.len() + self.pending.len() < MAX_INBOX_MESSAGES + MAX_PENDING_MESSAGES
            && self.items_bytes + bytes <= MAX_INBOX_BYTES + MAX_PENDING_BYTES
    }

    /// Nothing more comes up to number `seq`.
    fn advance_to(&mut self, seq: u64, delivered: &mut Vec<InboxItem>) {
        while self.pending.front().is_some_and(|first| first.item.seq <= seq) {
            self.deliver_first_pending(delivered);
        }
        self.last = self.last.max(seq);
    }

    /// Delivers what nothing is missing before.
    fn settle(&mut self, delivered: &mut Vec<InboxItem>) {
        while self.pending.front().is_some_and(|first| first.prev <= self.last) {
            self.deliver_first_pending(delivered);
        }
    }

    fn deliver_first_pending(&mut self, delivered: &mut Vec<InboxItem>) {
        let Some(Pending { item, prev: _ }) = self.pending.pop_front() else { return };
        self.pending_bytes -= item.content.len();
        self.last = item.seq;
        self.deliver(item, delivered);
    }

    fn deliver(&mut self, item: InboxItem, delivered: &mut Vec<InboxItem>) {
        self.items_bytes += item.content.len();
        self.items.insert(item.clone());
        delivered.push(item);
    }
}
