//! Reliable delivery to one peer: every message is handed over once, and in order.
//!
//! A [`Delivery`] is all that one side keeps about it: an outbox of what the peer's application
//! has not handled, an inbox of what ours has not, and when to say something. It knows no keys: what
//! it makes are payloads to be sealed, what it takes are payloads that were opened. It withstands
//! loss, repetition and reordering; a side that starts again from a stored state, old or new; and
//! one that has lost its state.
//!
//! - *Sending*: [`push`](Delivery::push) puts a content into the outbox, [`seal`](Delivery::seal)
//!   makes the payload of whatever is to be sealed next, new or again, while
//!   [`wants_sealing`](Delivery::wants_sealing).
//! - *Receiving*: [`accept`](Delivery::accept), then [`handled`](Delivery::handled) when the
//!   application is done.
//! - *Time*: when [`next_deadline`](Delivery::next_deadline) has come, [`control`](Delivery::control)
//!   makes the payload that is due by then. With nothing on its way there is no deadline.
//!
//! Each step returns the state to commit, or for records changes it in place; what it made leaves
//! after the commit. A state that is read from a store numbers its messages from the clock on, ahead
//! of whatever it may have forgotten.
//! Spec: docs/PROTOCOL.md, "Delivery".

mod content;
mod inbox;
mod outbox;
mod padding;
mod payload;
pub(crate) mod queue;
mod receipt;
mod receiving;
mod saved;
mod timer;

#[cfg(test)]
mod tests;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use self::inbox::Inbox;
use self::outbox::{Entry, Outbox};
use self::payload::{Asks, Payload, Sent};
use self::timer::Timer;
use crate::codec::Write as _;
use crate::fingerprint::hex;

pub use self::content::{Content, ContentKind, MAX_CONTENT_LENGTH};
pub use self::inbox::{
    InboxItem, MAX_INBOX_BYTES, MAX_INBOX_MESSAGES, MAX_PENDING_BYTES, MAX_PENDING_MESSAGES,
};
pub use self::outbox::{MAX_OUTBOX_BYTES, MAX_OUTBOX_MESSAGES, PushError};
pub use self::payload::PayloadError;
pub use self::receiving::Accepted;
pub(crate) use self::receiving::Brought;

/// The highest number of a message. From the clock they reach it in the year 37,000.
const MAX_SEQ: u64 = (1 << 62) - 1;

/// Numbers that one millisecond has room for before they run ahead of the clock.
const SEQ_BITS: u32 = 12;

/// The lowest number that a state made or read at this time may give.
fn first_seq(now_ms: u64) -> u64 {
    (now_ms.min(MAX_SEQ >> (SEQ_BITS + 1)) << SEQ_BITS).max(1)
}

/// The id of a message for applications, the same on both sides: 32 hexadecimal digits.
pub fn message_id(sender: &str, recipient: &str, seq: u64) -> String {
    let mut named = Vec::with_capacity(64);
    named.put(b"stvor-v4-id");
    named.put_field(sender.as_bytes());
    named.put_field(recipient.as_bytes());
    named.put_u64(seq);
    hex(&Sha256::digest(&named)[..16])
}

/// Delivery to and from one peer. A clone costs some pointers.
#[derive(Debug, Clone)]
pub struct Delivery {
    outbox: Outbox,
    inbox: Inbox,
    owed: Owed,
    /// When to ask for what is missing in the inbox.
    gap: Option<Timer>,
    probing: Probing,
    passes: Passes,
    /// When the peer was last asked for something.
    asked_ms: Option<u64>,
}

/// The receipt that the peer is waiting for.
#[derive(Debug, Clone, Default)]
struct Owed {
    timer: Option<Timer>,
    /// Contents that arrived since the last receipt.
    unreported: u32,
    /// The probe to answer.
    answer: Option<u64>,
    resend_all: bool,
    /// Tell the peer what follows this number: it misses something there that we do not have.
    follows: Option<u64>,
}

impl Owed {
    /// A receipt is to go within `wait_ms`.
    fn within(&mut self, now_ms: u64, wait_ms: u64) {
        let timer = Timer::after(now_ms, wait_ms);
        if self.timer.is_none_or(|owed| owed.at_ms > timer.at_ms) {
            self.timer = Some(timer);
        }
    }
}

/// Sealing again at the peer's request.
#[derive(Debug, Clone, Default)]
struct Passes {
    last_ms: Option<u64>,
    /// How many there were since the peer last got further.
    in_vain: u32,
}

impl Passes {
    /// Whether the peer may have another, which is then counted.
    fn admit(&mut self, now_ms: u64) -> bool {
        let doubled = timer::PASS_INTERVAL_MS << self.in_vain.saturating_sub(1).min(16);
        let wait_ms = doubled.min(timer::MAX_PASS_INTERVAL_MS);
        if self.last_ms.is_some_and(|last_ms| now_ms.abs_diff(last_ms) < wait_ms) {
            return false;
        }
        (self.last_ms, self.in_vain) = (Some(now_ms), self.in_vain.saturating_add(1));
        true
    }

    fn got_further(&mut self) {
        self.in_vain = 0;
    }
}

/// Asking whether the peer is there and what it has received.
#[derive(Debug, Clone, Default)]
struct Probing {
    timer: Option<Timer>,
    /// Of the last probe; they count up.
    number: u64,
    /// If the last probe is not answered: the highest number sealed before it.
    unanswered: Option<u64>,
}

/// A payload to seal and to send, made by [`Delivery::seal`].
pub struct Sealable {
    /// The state to commit before it leaves.
    pub delivery: Delivery,
    /// The number that [`Delivery::push`] has returned for the content in it.
    pub seq: u64,
    /// The payload, padded.
    pub payload: Zeroizing<Vec<u8>>,
}

impl Delivery {
    /// Nothing sent, nothing received.
    pub fn new(now_ms: u64) -> Self {
        Self {
            outbox: Outbox::new(now_ms),
            inbox: Inbox::default(),
            owed: Owed::default(),
            gap: None,
            probing: Probing::default(),
            passes: Passes::default(),
            asked_ms: None,
        }
    }

    /// The state to go on with when this one comes from a store: its timers run from now on, and
    /// its numbers are ahead of those that were given after it was stored.
    #[must_use = "the state itself is unchanged"]
    pub fn resume(&self, now_ms: u64) -> Self {
        let mut next = self.clone();
        next.outbox.resume(now_ms);
        next.passes = Passes::default();
        next.asked_ms = None;
        next.probing.unanswered = None;
        next.probing.timer =
            self.outbox.is_awaiting().then(|| Timer::after(now_ms, timer::PROBE_DELAY_MS));
        next.gap = self.inbox.has_gap().then(|| Timer::after(now_ms, timer::GAP_DELAY_MS));
        next.owed.timer = self.owed.timer.map(|_| Timer::after(now_ms, timer::RECEIPT_DELAY_MS));
        next
    }
}

/// Sending.
impl Delivery {
    /// Puts a content into the outbox and returns its number, by which we know it from then on.
    /// With `prompt` the peer sends a receipt as soon as its application has handled it.
    ///
    /// # Errors
    ///
    /// Any [`PushError`].
    pub fn push(&self, content: Content, prompt: bool) -> Result<(Self, u64), PushError> {
        let mut next = self.clone();
        let seq = next.push_in_place(content, prompt)?;
        Ok((next, seq))
    }

    /// [`push`](Self::push) for whoever keeps the state so far elsewhere; unchanged after an error.
    pub(crate) fn push_in_place(
        &mut self,
        content: Content,
        prompt: bool,
    ) -> Result<u64, PushError> {
        self.outbox.push(content, prompt)
    }

    /// Takes a content out of the outbox: whoever sent it has been told that it was not sent. It
    /// may yet arrive, if it was sealed; it then arrives once and in order, as any other.
    #[must_use = "the state itself is unchanged"]
    pub fn withdraw(&self, seq: u64) -> Self {
        let mut next = self.clone();
        next.outbox.remove(seq);
        next.probing.rest_if_idle(&next.outbox);
        next
    }

    /// Whether there is a content to [`seal`](Self::seal), for the first time or again.
    pub fn wants_sealing(&self) -> bool {
        self.outbox.next_to_seal().is_some()
    }

    /// Makes the payload of the next content to seal; whatever receipt or probe is owed rides on
    /// it. `None` if there is no content to seal.
    pub fn seal(&self, now_ms: u64) -> Option<Sealable> {
        let mut delivery = self.clone();
        let (seq, payload) = delivery.seal_in_place(now_ms)?;
        Some(Sealable { delivery, seq, payload })
    }

    /// [`seal`](Self::seal) for whoever keeps the state so far elsewhere: the content's number and
    /// the payload.
    pub(crate) fn seal_in_place(&mut self, now_ms: u64) -> Option<(u64, Zeroizing<Vec<u8>>)> {
        let entry = self.outbox.next_to_seal()?.clone();
        let is_again = self.outbox.is_resending();
        self.outbox.mark_sealed(entry.seq);
        let payload = self.compose(entry.seq, Some(&entry), now_ms);
        self.probing.sealed(is_again, now_ms);
        Some((entry.name, payload))
    }

    /// The relay keeps the last message for a peer that is away: there is no hurry to probe.
    #[must_use = "the state itself is unchanged"]
    pub fn queued(&self, now_ms: u64) -> Self {
        let mut next = self.clone();
        if let Some(timer) = &mut next.probing.timer {
            let later = Timer::after(now_ms, timer::QUEUED_PROBE_DELAY_MS);
            *timer = if timer.at_ms < later.at_ms { later } else { *timer };
        }
        next
    }

    /// The peer may be there again, or the relay: what waited for them to come back is due now, or
    /// a second after we asked last. Whoever pretends to come back all the time is asked no more.
    #[must_use = "the state itself is unchanged"]
    pub fn reconnected(&self, now_ms: u64) -> Self {
        let mut next = self.clone();
        let recently =
            self.asked_ms.filter(|asked_ms| now_ms.abs_diff(*asked_ms) < timer::ASK_INTERVAL_MS);
        let at_ms = recently.map_or(now_ms, |asked_ms| asked_ms + timer::ASK_INTERVAL_MS);
        let due = |wait_ms| Timer { at_ms, wait_ms };
        next.probing.timer = next.outbox.is_awaiting().then(|| due(timer::PROBE_DELAY_MS));
        next.gap = next.gap.map(|_| due(timer::GAP_DELAY_MS));
        next
    }

    /// We could not open what the peer sent, and have begun a new session: a receipt is due that
    /// asks for whatever we have not received.
    #[must_use = "the state itself is unchanged"]
    pub fn ask_for_all(&self, now_ms: u64) -> Self {
        let mut next = self.clone();
        next.owed.resend_all = true;
        next.owed.within(now_ms, 0);
        next
    }

    /// Contents in the outbox: pushed, neither handled by the peer's application nor withdrawn.
    pub fn outbox_len(&self) -> usize {
        self.outbox.entries().len()
    }

    /// Bytes of content in the outbox.
    pub fn outbox_bytes(&self) -> usize {
        self.outbox.bytes()
    }

    /// A content in the outbox, by what [`push`](Self::push) has returned.
    pub fn outbox_content(&self, name: u64) -> Option<&Content> {
        let entry = self.outbox.entries().iter().rev().find(|entry| entry.name == name);
        entry.map(|entry| &entry.content)
    }

    /// The numbers of the contents in the outbox, ascending, as [`push`](Self::push) has returned
    /// them.
    pub fn outbox(&self) -> impl Iterator<Item = u64> {
        self.outbox.entries().iter().map(|entry| entry.name)
    }
}

/// Time.
impl Delivery {
    /// When to call [`control`](Self::control), in milliseconds since the Unix epoch: 0 is now.
    /// `None` if nothing is owed or awaited.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.owed.follows.is_some() {
            return Some(0);
        }
        let timers = [self.owed.timer, self.gap, self.probe_timer()];
        timers.into_iter().flatten().map(|timer| timer.at_ms).min()
    }

    /// Makes the payload that is due, without content: a receipt, a question, or both. `None` if
    /// nothing is due. Contents that are to be sealed are better sealed before, for what is due
    /// rides on them.
    pub fn control(&self, now_ms: u64) -> Option<(Self, Zeroizing<Vec<u8>>)> {
        if !self.is_due(now_ms) {
            return None;
        }
        let mut next = self.clone();
        let seq = match next.owed.follows.take() {
            Some(received) => next.outbox.first_after(received),
            None => next.outbox.next(),
        };
        let payload = next.compose(seq, None, now_ms);
        Some((next, payload))
    }

    /// Whether [`control`](Self::control) makes a payload.
    pub fn is_due(&self, now_ms: u64) -> bool {
        let mut timers = [self.owed.timer, self.gap, self.probe_timer()].into_iter().flatten();
        self.owed.follows.is_some() || timers.any(|timer| timer.is_due(now_ms))
    }

    /// While messages are being sealed again there is nothing to ask.
    fn probe_timer(&self) -> Option<Timer> {
        self.probing.timer.filter(|_| !self.outbox.is_resending())
    }

    /// Makes a payload and notes what goes with it.
    fn compose(&mut self, seq: u64, entry: Option<&Entry>, now_ms: u64) -> Zeroizing<Vec<u8>> {
        let resend = self.gap.is_some_and(|timer| timer.is_due(now_ms));
        let receipt = (self.owed.timer.is_some() || resend).then(|| {
            let Owed { answer, resend_all, .. } = self.owed;
            (self.inbox.receipt(), Asks { answer, resend, resend_all })
        });
        if resend {
            self.gap = self.gap.map(|gap| gap.backed_off(now_ms, timer::MAX_GAP_DELAY_MS));
        }
        if receipt.is_some() {
            self.owed = Owed { follows: self.owed.follows, ..Owed::default() };
        }
        let probe = self.probe_timer().filter(|timer| timer.is_due(now_ms)).map(|timer| {
            self.probing.number += 1;
            self.probing.unanswered = Some(self.outbox.sealed());
            self.probing.timer = Some(timer.backed_off(now_ms, timer::MAX_PROBE_DELAY_MS));
            self.probing.number
        });
        let content = entry.map(|Entry { seq: _, name: _, content, prompt }| Sent {
            kind: content.kind(),
            bytes: content.as_bytes(),
            prompt: *prompt,
        });
        if resend || probe.is_some() {
            self.asked_ms = Some(now_ms);
        }
        Payload { receipt, probe, place: self.outbox.place(seq), content }.to_bytes()
    }
}

impl Probing {
    /// A content was sealed. One that was asked for puts the next probe off; one that is new does
    /// not, or a peer that has gone would never be asked for.
    fn sealed(&mut self, is_again: bool, now_ms: u64) {
        self.timer = match self.timer {
            Some(timer) if is_again => Some(Timer::after(now_ms, timer.wait_ms)),
            Some(timer) => Some(timer),
            None => Some(Timer::after(now_ms, timer::PROBE_DELAY_MS)),
        };
    }

    fn rest_if_idle(&mut self, outbox: &Outbox) {
        if !outbox.is_awaiting() {
            self.timer = None;
            self.unanswered = None;
        }
    }
}
