//! Receiving: what a payload brings, and what is owed for it.

use super::inbox::InboxItem;
use super::payload::{Asks, Payload, PayloadError};
use super::receipt::Receipt;
use super::timer::{self, Timer};
use super::{Delivery, Owed};

/// What a payload has brought, made by [`Delivery::accept`].
#[derive(Debug)]
pub struct Accepted {
    /// The state to commit.
    pub delivery: Delivery,
    /// What is the application's turn to handle now, in order. Also in the
    /// [inbox](Delivery::inbox) until it is [handled](Delivery::handled).
    pub delivered: Vec<InboxItem>,
    /// The numbers of contents of ours that the peer's application has handled.
    pub handled: Vec<u64>,
    /// There was no room for the content. It counts as lost on the way: the peer sends it again.
    pub refused: bool,
}

/// What [`Delivery::take`] has taken.
pub(crate) struct Brought {
    pub(crate) delivered: Vec<InboxItem>,
    pub(crate) handled: Vec<u64>,
    refused: bool,
}

impl Delivery {
    /// Takes a payload that was opened and authenticated as the peer's; `timestamp_ms` is what
    /// the message says of the time of its sealing.
    ///
    /// # Errors
    ///
    /// Any [`PayloadError`]: the peer is not a client of ours, or of a later version.
    pub fn accept(
        &self,
        payload: &[u8],
        timestamp_ms: u64,
        now_ms: u64,
    ) -> Result<Accepted, PayloadError> {
        let payload = Payload::parse(payload)?;
        let mut delivery = self.clone();
        let Brought { delivered, handled, refused } = delivery.take(&payload, timestamp_ms, now_ms);
        Ok(Accepted { delivery, delivered, handled, refused })
    }

    /// [`accept`](Self::accept) for whoever keeps the state so far elsewhere. `None` if there was
    /// no room; unchanged then as after an error.
    pub(crate) fn accept_in_place(
        &mut self,
        payload: &[u8],
        timestamp_ms: u64,
        now_ms: u64,
    ) -> Result<Option<Brought>, PayloadError> {
        let payload = Payload::parse(payload)?;
        let length = payload.content.as_ref().map_or(0, |sent| sent.bytes.len());
        if self.inbox.has_ample_room(length) {
            let brought = self.take(&payload, timestamp_ms, now_ms);
            debug_assert!(!brought.refused, "there was room");
            return Ok(Some(brought));
        }
        let mut next = self.clone();
        let brought = next.take(&payload, timestamp_ms, now_ms);
        if brought.refused {
            return Ok(None);
        }
        *self = next;
        Ok(Some(brought))
    }

    fn take(&mut self, payload: &Payload<'_>, timestamp_ms: u64, now_ms: u64) -> Brought {
        let Payload { receipt, probe, place, content } = payload;
        let handled = match receipt {
            Some((receipt, asks)) => self.take_receipt(receipt, asks, now_ms),
            None => Vec::new(),
        };
        if let Some(number) = *probe {
            self.owed.answer = Some(number);
            self.owed.within(now_ms, 0);
        }

        let last = self.inbox.last();
        let mut delivered = self.inbox.learn(place);
        let mut refused = false;
        if let Some(sent) = content {
            match self.inbox.take(place, sent, timestamp_ms) {
                Some(more) => delivered.extend(more),
                None => refused = true,
            }
            self.owe_receipt(now_ms);
        }
        self.watch_gap(last, now_ms);
        Brought { delivered, handled, refused }
    }

    /// The state towards another sender, who takes the place of the one so far: that one's numbers
    /// say nothing of this one's. Returns what was delivered and not handled; what waited for an
    /// earlier message is gone.
    pub fn succeeded(&self, now_ms: u64) -> (Self, Vec<InboxItem>) {
        let mut next = self.clone();
        let (inbox, items) = self.inbox.begun_anew();
        (next.inbox, next.gap) = (inbox, None);
        next.owed = Owed::default();
        next.outbox.forget_received();
        (next.ask_for_all(now_ms), items)
    }

    /// Whether anything was ever received.
    pub fn has_received(&self) -> bool {
        self.inbox.last() > 0
    }

    /// The peer waits for a sign of us: a receipt is due, with something new in it or not.
    pub(crate) fn owe_answer(&mut self, now_ms: u64) {
        self.owed.within(now_ms, timer::RECEIPT_DELAY_MS);
    }

    /// The application has handled everything up to number `seq`, in the order of delivery.
    #[must_use = "the state itself is unchanged"]
    pub fn handled(&self, seq: u64, now_ms: u64) -> Self {
        let mut next = self.clone();
        let (any, prompt) = next.inbox.handled(seq);
        if any {
            next.owed.within(now_ms, if prompt { 0 } else { timer::RECEIPT_DELAY_MS });
        }
        next
    }

    /// What is the application's turn to handle, in order: after a restart, all of it again.
    pub fn inbox(&self) -> impl Iterator<Item = &InboxItem> {
        self.inbox.items().iter()
    }

    /// Contents that wait for an earlier one, and their bytes.
    pub fn pending_size(&self) -> (usize, usize) {
        self.inbox.pending_size()
    }

    fn take_receipt(&mut self, receipt: &Receipt, asks: &Asks, now_ms: u64) -> Vec<u64> {
        let answered = match (asks.answer, self.probing.unanswered) {
            (Some(number), Some(sealed)) if number == self.probing.number => Some(sealed),
            _ => None,
        };
        // It is told all of it again under other numbers, which is no less than it may ask for.
        let is_renumbered = self.outbox.has_dropped(receipt);
        if is_renumbered && !self.passes.admit(now_ms) {
            return Vec::new();
        }
        let is_current = answered.is_some() || asks.resend || asks.resend_all;
        let acknowledged = self.outbox.acknowledge(receipt, is_current);

        if acknowledged.further {
            self.passes.got_further();
        }
        if let Some(sealed) = answered {
            self.probing.unanswered = None;
            self.outbox.begin_pass(sealed);
        }
        if (asks.resend || asks.resend_all) && (is_renumbered || self.passes.admit(now_ms)) {
            let to = if asks.resend_all { self.outbox.sealed() } else { receipt.highest() };
            self.outbox.begin_pass(to);
        }
        if asks.resend_all && !self.outbox.is_in_doubt() {
            self.outbox.tick(now_ms); // somebody has lost something, and it may be us
        }
        if asks.resend {
            // What comes next says what was before it; unless that is sealed now, it is told alone.
            let next = self.outbox.first_after(receipt.received);
            let is_sealed_now = self.outbox.next_to_seal().is_some_and(|entry| entry.seq == next);
            self.owed.follows = (!is_sealed_now).then_some(receipt.received);
        }
        if acknowledged.progress {
            self.probing.timer = Some(Timer::after(now_ms, timer::PROBE_DELAY_MS));
        }
        self.probing.rest_if_idle(&self.outbox);
        acknowledged.handled
    }

    /// A content has come, for the first time or again.
    fn owe_receipt(&mut self, now_ms: u64) {
        self.owed.unreported = self.owed.unreported.saturating_add(1);
        let is_many = self.owed.unreported >= timer::RECEIPT_EVERY;
        self.owed.within(now_ms, if is_many { 0 } else { timer::RECEIPT_DELAY_MS });
    }

    /// `last` is what had been received in order before the step.
    fn watch_gap(&mut self, last: u64, now_ms: u64) {
        if !self.inbox.has_gap() {
            self.gap = None;
        } else if self.gap.is_none() || self.inbox.last() > last {
            self.gap = Some(Timer::after(now_ms, timer::GAP_DELAY_MS));
        }
    }
}
