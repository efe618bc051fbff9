//! What was sent and is not yet handled, in the order of sending.
//!
//! An entry stays until the peer's application has handled it, so nothing that either side loses
//! on the way is lost. What the peer has merely received is known, but only as a hint: it saves
//! sealing again, and a peer that was restored from an old state takes it back.

use super::content::{Content, MAX_CONTENT_LENGTH};
use super::payload::Place;
use super::queue::{Numbered, Queue};
use super::receipt::Receipt;
use super::{MAX_SEQ, SEQ_BITS, first_seq};

/// How many messages to one peer wait to be handled. With the limit on bytes it is what a peer
/// that never handles anything may cost.
pub const MAX_OUTBOX_MESSAGES: usize = 10_000;

/// How many bytes of content to one peer wait to be handled.
pub const MAX_OUTBOX_BYTES: usize = 64 * 1024 * 1024;

/// Receipts may raise our numbers up to here, so that no peer can use them all up.
const MAX_RAISED_SEQ: u64 = MAX_SEQ / 2;

/// How far above what the peer has numbers go on when ours were lost: a second's worth. What was on
/// its way at that time has numbers too, of which neither side tells; there were fewer.
pub(super) const RAISED_BY: u64 = 1_000 << SEQ_BITS;

/// Why a content does not enter the outbox. Nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// [`MAX_OUTBOX_MESSAGES`] or [`MAX_OUTBOX_BYTES`] wait for the peer. Try again when it has
    /// handled some of them.
    #[error("too much waits for the peer to handle it")]
    OutboxFull,
    /// Longer than [`MAX_CONTENT_LENGTH`].
    #[error("a content of {length} bytes is too long")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

/// A content on its way.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) seq: u64,
    /// The number that it was given first: by this the application knows it.
    pub(super) name: u64,
    pub(super) content: Content,
    pub(super) prompt: bool,
}

impl Numbered for Entry {
    fn seq(&self) -> u64 {
        self.seq
    }
}

#[derive(Debug, Clone)]
pub(super) struct Outbox {
    entries: Queue<Entry>,
    bytes: usize,
    /// The number of the next entry.
    next: u64,
    /// The highest number that was ever sealed: entries are sealed for the first time in order.
    sealed: u64,
    /// The lowest number given since the state was made or read. Whoever has lost a state, and
    /// whose clock is behind, gives numbers from here on that the peer knows already.
    doubtful: u64,
    /// Whether any receipt was ever taken. Until then all numbers are doubtful.
    heard: bool,
    /// What the peer is known to have received, never beyond `sealed`. Not kept in a store.
    received: Receipt,
    /// The most that it has said to have received in order. Not kept in a store.
    furthest: u64,
    /// What is to be sealed again. Not kept in a store.
    pass: Option<Pass>,
}

/// Entries to seal again, in order, as far as they are not received meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What a receipt has changed.
pub(super) struct Acknowledged {
    /// The numbers of entries that have left, handled.
    pub(super) handled: Vec<u64>,
    /// Whether the peer has received or handled anything that we did not know of.
    pub(super) progress: bool,
    /// Whether it has received in order, or handled, more than it ever said before.
    pub(super) further: bool,
}

impl Outbox {
    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            entries: Queue::default(),
            bytes: 0,
            next: first_seq(now_ms),
            sealed: 0,
            doubtful: 0,
            heard: false,
            received: Receipt::default(),
            furthest: 0,
            pass: None,
        }
    }

    /// As it is read from a store, to be [resumed](Self::resume); `entries` are below `next`.
    pub(super) fn restored(entries: Queue<Entry>, next: u64, sealed: u64, heard: bool) -> Self {
        let bytes = entries.iter().map(|entry| entry.content.len()).sum();
        let received = Receipt::default();
        Self { entries, bytes, next, sealed, doubtful: 0, heard, received, furthest: 0, pass: None }
    }

    /// Goes on after it was read from a store.
    pub(super) fn resume(&mut self, now_ms: u64) {
        self.tick(now_ms);
        self.doubtful = if self.heard { self.next } else { 0 };
    }

    pub(super) fn is_heard(&self) -> bool {
        self.heard
    }

    pub(super) fn entries(&self) -> &Queue<Entry> {
        &self.entries
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn sealed(&self) -> u64 {
        self.sealed
    }

    #[cfg(test)]
    pub(super) fn hints(&self) -> (&Receipt, Option<Pass>) {
        (&self.received, self.pass)
    }

    #[cfg(test)]
    pub(super) fn doubtful(&self) -> u64 {
        self.doubtful
    }

    /// Whom it is for has received nothing of it.
    pub(super) fn forget_received(&mut self) {
        (self.received, self.furthest, self.pass) = (Receipt::default(), 0, None);
        self.begin_pass(self.sealed);
    }

    /// Numbers go on from the clock, if that is ahead of them.
    pub(super) fn tick(&mut self, now_ms: u64) {
        self.next = self.next.max(first_seq(now_ms));
    }

    pub(super) fn push(&mut self, content: Content, prompt: bool) -> Result<u64, PushError> {
        let length = content.len();
        if length > MAX_CONTENT_LENGTH {
            return Err(PushError::TooLong { length });
        }
        let is_full = self.entries.len() >= MAX_OUTBOX_MESSAGES
            || self.bytes + length > MAX_OUTBOX_BYTES
            || self.next > MAX_SEQ;
        if is_full {
            return Err(PushError::OutboxFull);
        }
        let seq = self.next;
        self.next += 1;
        self.bytes += length;
        self.entries.insert(Entry { seq, name: seq, content, prompt });
        Ok(seq)
    }

    /// Takes an entry out, handled or not. Those after it say so when they are sealed again.
    pub(super) fn remove(&mut self, name: u64) {
        let Some(seq) = self.seq_of(name) else { return };
        let Some(entry) = self.entries.remove(seq) else { return };
        self.bytes -= entry.content.len();
        self.trim_pass();
    }

    /// Names are numbers given before, so none is another entry's number.
    fn seq_of(&self, name: u64) -> Option<u64> {
        let renamed = || self.entries.iter().find(|entry| entry.name == name);
        let entry = self.entries.get(name).or_else(renamed)?;
        Some(entry.seq)
    }

    /// Whether anything was sealed whose handling is not known.
    pub(super) fn is_awaiting(&self) -> bool {
        self.entries.front().is_some_and(|front| front.seq <= self.sealed)
    }

    /// Whether entries wait to be sealed again.
    pub(super) fn is_resending(&self) -> bool {
        self.pass.is_some()
    }

    /// The entry to seal next: those of a pass first, since they are older.
    pub(super) fn next_to_seal(&self) -> Option<&Entry> {
        match self.pass {
            Some(pass) => self.unreceived(pass),
            None => self.unsealed(),
        }
    }

    fn unsealed(&self) -> Option<&Entry> {
        if self.entries.back()?.seq <= self.sealed {
            return None;
        }
        self.entries.iter_from(self.sealed + 1).next()
    }

    fn unreceived(&self, pass: Pass) -> Option<&Entry> {
        self.entries
            .iter_from(pass.from.max(self.received.received + 1))
            .take_while(|entry| entry.seq <= pass.to)
            .find(|entry| !self.received.names(entry.seq))
    }

    /// Notes that the entry was sealed.
    pub(super) fn mark_sealed(&mut self, seq: u64) {
        self.sealed = self.sealed.max(seq);
        if let Some(pass) = &mut self.pass {
            pass.from = pass.from.max(seq + 1);
        }
        self.trim_pass();
    }

    /// Seals again whatever has been sealed up to number `to` and is not received. A pass that has
    /// begun goes on, to there.
    pub(super) fn begin_pass(&mut self, to: u64) {
        let to = to.min(self.sealed);
        match &mut self.pass {
            Some(pass) => pass.to = pass.to.max(to),
            None => self.pass = Some(Pass { from: 0, to }),
        }
        self.trim_pass();
    }

    /// A pass with nothing left in it is over.
    fn trim_pass(&mut self) {
        self.pass = self.pass.filter(|pass| self.unreceived(*pass).is_some());
    }

    /// What there is to say about entry `seq`, or about `next` if there is none.
    pub(super) fn place(&self, seq: u64) -> Place {
        let oldest = self.entries.front().map_or(seq, |front| front.seq.min(seq));
        let prev = self.entries.before(seq).map_or(oldest - 1, |entry| entry.seq);
        Place { seq, prev, oldest }
    }

    /// The first entry after number `seq`; `next` if there is none.
    pub(super) fn first_after(&self, seq: u64) -> u64 {
        let entry = self.entries.iter_from(seq.saturating_add(1)).next();
        entry.map_or(self.next, |entry| entry.seq)
    }

    /// Takes out what was handled and notes what was received.
    ///
    /// Receipts overtake each other, so one that knows less than we do is taken for a late one,
    /// unless it `is_current`: the peer asks for something on the strength of it, or answers what
    /// we asked just now. Then it may have lost what it had received, and what it says counts.
    pub(super) fn acknowledge(&mut self, receipt: &Receipt, is_current: bool) -> Acknowledged {
        self.heard = true;
        self.raise(receipt);
        let mut handled = Vec::new();
        let settled = receipt.handled.min(self.sealed);
        self.entries.drop_through(settled, |entry| {
            handled.push(entry.name);
            self.bytes -= entry.content.len();
        });

        let known = (self.received.received, self.received.count_beyond());
        if is_current || receipt.received >= self.received.received {
            self.received = receipt.up_to(self.sealed);
        }
        let progress =
            !handled.is_empty() || (self.received.received, self.received.count_beyond()) > known;
        let further = !handled.is_empty() || self.received.received > self.furthest;
        self.furthest = self.furthest.max(self.received.received);
        self.trim_pass();
        Acknowledged { handled, progress, further }
    }

    /// Numbers used once must not be used again. If the peer has received what we do not remember
    /// sending, our state was lost or is an old one, and the clock was not ahead of it.
    fn raise(&mut self, receipt: &Receipt) {
        let highest = receipt.highest();
        if highest < self.next || highest >= MAX_RAISED_SEQ {
            return;
        }
        let dropped = self.dropped_by(receipt);
        self.next = highest + RAISED_BY;
        self.renumber(dropped);
    }

    /// Whether the peer was past all our numbers when contents came to it that are in the outbox.
    pub(super) fn has_dropped(&self, receipt: &Receipt) -> bool {
        !self.dropped_by(receipt).is_empty()
    }

    /// What was given a number lately that the peer has long left behind was dropped there as a
    /// repetition.
    fn dropped_by(&self, receipt: &Receipt) -> Vec<Entry> {
        if receipt.received < self.next || receipt.highest() >= MAX_RAISED_SEQ {
            return Vec::new();
        }
        self.in_doubt().cloned().collect()
    }

    /// What may have a number that the peer has left behind.
    fn in_doubt(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter_from(self.doubtful.max(self.received.received + 1))
    }

    /// Whether a receipt may yet tell that contents were dropped. As long as one may, numbers go on
    /// from these, not from the clock: the peer is past all of them or past none.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt().next().is_some()
    }

    /// Gives these other numbers, so that they are sealed as if they had never been.
    fn renumber(&mut self, dropped: Vec<Entry>) {
        for entry in dropped {
            self.furthest = self.next; // to take all of it is not to get further
            self.entries.remove(entry.seq);
            self.entries.insert(Entry { seq: self.next, ..entry });
            self.next += 1;
        }
    }
}
