//! One WebSocket connection as the hub sees it: what waits to be written to it, and what was
//! written but not yet acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::mailbox::Sequence;
use super::prekeys::Allowance;
use super::users::UserKey;
use crate::token::Namespace;
use crate::websocket::Frame;

/// Number of a connection, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SocketKey(pub(crate) u64);

/// Something to be written, in order.
#[derive(Debug)]
pub(super) enum Pending {
    Frame(Frame),
    /// A message that waits in a mailbox.
    Message {
        user: UserKey,
        /// The hold on the user under which it was queued.
        claim: u64,
        sequence: Sequence,
    },
    /// What waited in a mailbox when its user came online: from `next` on, up to `end`.
    Mailbox {
        user: UserKey,
        claim: u64,
        next: Sequence,
        end: Sequence,
    },
    /// Announcements of the users first announced at `next` or later, up to `end`.
    Replay {
        next: u64,
        end: u64,
    },
}

/// What a queue entry costs besides the bytes of its frame.
const OVERHEAD: usize = 32;

/// Void entries that are not worth sweeping out.
const KEPT_STALE: usize = 1024;

/// An emptied queue longer than this gives its memory back: an idle socket holds none of its
/// busy times.
const KEPT_CAPACITY: usize = 16;

/// A message written but not acknowledged.
#[derive(Debug, Clone, Copy)]
struct InFlight {
    delivery: u64,
    user: UserKey,
    claim: u64,
    sequence: Sequence,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) namespace: Namespace,
    /// The client answers deliveries with `received`.
    pub(super) acknowledges: bool,
    /// The client uploads one-time prekeys and looks users up.
    pub(super) hands_out_prekeys: bool,
    /// How many prekeys it may still be given.
    pub(super) lookups: Allowance,
    /// It named features of ours: tell it of every user, and of frames that make no sense.
    pub(super) speaks_ours: bool,
    /// Those it announced and no other socket has announced since. As long as it has one, it hears
    /// of other users' announcements.
    pub(super) users: Vec<UserKey>,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    in_flight: VecDeque<InFlight>,
    /// How many of both are void, because their users have left.
    stale: usize,
    deliveries: u64,
    /// Something was read from it or written to it since the last look.
    pub(super) active: bool,
    pub(super) pinged: bool,
    /// It is to be dropped without ceremony.
    pub(super) doomed: bool,
    pub(super) wake: Arc<Notify>,
}

impl Socket {
    pub(super) fn new(namespace: Namespace, acknowledges: bool, speaks_ours: bool) -> Self {
        Self {
            namespace,
            acknowledges,
            hands_out_prekeys: false,
            lookups: Allowance::default(),
            speaks_ours,
            users: Vec::new(),
            pending: VecDeque::new(),
            pending_bytes: 0,
            in_flight: VecDeque::new(),
            stale: 0,
            deliveries: 0,
            active: true,
            pinged: false,
            doomed: false,
            wake: Arc::new(Notify::new()),
        }
    }

    /// Queues a frame behind what is queued already.
    pub(super) fn send(&mut self, frame: Frame, max_queue_bytes: usize) {
        self.push_limited(Pending::Frame(frame), max_queue_bytes);
    }

    /// Queues something that counts; if it is too much, the connection is to be dropped.
    pub(super) fn push_limited(&mut self, pending: Pending, max_queue_bytes: usize) {
        let bytes = self.pending_bytes.saturating_add(cost(&pending));
        self.doomed |= bytes > max_queue_bytes;
        self.push(pending);
    }

    /// Queues a text frame.
    pub(super) fn send_text(&mut self, text: Bytes, max_queue_bytes: usize) {
        self.send(Frame::Text(text), max_queue_bytes);
    }

    /// Queues something, whatever it costs.
    pub(super) fn push(&mut self, pending: Pending) {
        if self.pending.is_empty() || self.doomed {
            self.wake.notify_one();
        }
        self.pending_bytes += cost(&pending);
        self.pending.push_back(pending);
    }

    /// Puts something back to where it was taken from.
    pub(super) fn push_front(&mut self, pending: Pending) {
        self.pending_bytes += cost(&pending);
        self.pending.push_front(pending);
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        let pending = self.pending.pop_front();
        self.pending_bytes -= pending.as_ref().map_or(0, cost);
        if self.pending.is_empty() && self.pending.capacity() > KEPT_CAPACITY {
            self.pending = VecDeque::new();
        }
        pending
    }

    /// What it remembers of messages and answers.
    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.pending.len() + self.in_flight.len()
    }

    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Notes that `more` entries are void. They are passed over when their turn comes, and swept
    /// out once they are half of all: so a user who moves to and fro costs no more than was queued.
    pub(super) fn stale(&mut self, more: usize, is_claim: impl Fn(UserKey, u64) -> bool) {
        self.stale += more;
        if self.stale <= KEPT_STALE || 2 * self.stale <= self.pending.len() + self.in_flight.len() {
            return;
        }
        self.stale = 0;
        self.in_flight.retain(|delivery| is_claim(delivery.user, delivery.claim));
        self.pending.retain(|pending| match *pending {
            Pending::Message { user, claim, .. } => is_claim(user, claim),
            Pending::Mailbox { user, claim, .. } => {
                let valid = is_claim(user, claim);
                self.pending_bytes -= if valid { 0 } else { OVERHEAD };
                valid
            }
            Pending::Frame(_) | Pending::Replay { .. } => true,
        });
    }

    /// A void entry has left of itself.
    pub(super) fn passed_over(&mut self) {
        self.stale = self.stale.saturating_sub(1);
    }

    /// Numbers a delivery and remembers it until it is received.
    pub(super) fn deliver(&mut self, user: UserKey, claim: u64, sequence: Sequence) -> u64 {
        self.deliveries += 1;
        self.in_flight.push_back(InFlight { delivery: self.deliveries, user, claim, sequence });
        self.deliveries
    }

    /// The message that was delivered under that number, once.
    pub(super) fn received(&mut self, delivery: u64) -> Option<(UserKey, u64, Sequence)> {
        let index = match self.in_flight.front()?.delivery == delivery {
            true => 0,
            false => self.in_flight.binary_search_by_key(&delivery, |d| d.delivery).ok()?,
        };
        let InFlight { user, claim, sequence, .. } = self.in_flight.remove(index)?;
        Some((user, claim, sequence))
    }
}

/// Bytes that a queue entry is counted as. Messages count in their mailboxes.
fn cost(pending: &Pending) -> usize {
    match pending {
        Pending::Frame(frame) => OVERHEAD + frame.len(),
        Pending::Mailbox { .. } => OVERHEAD,
        Pending::Message { .. } | Pending::Replay { .. } => 0,
    }
}
