//! What a user's task keeps in memory about one peer, besides the record itself.

use std::collections::VecDeque;
use std::time::Duration;

use stvor_protocol::{Record, VerifiedBundle};
use stvor_wire::PublicKeyBundle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Done;
use crate::Error;
use crate::link::Envelope;

/// How long a message waits for the keys of a sender whom the relay has not introduced.
const INTRODUCTION: Duration = Duration::from_secs(30);

/// Messages held for one peer at most, and for all peers of a user, with their bytes: a relay that
/// floods in names without keys, or in the name of somebody blocked, must neither fill the memory
/// nor take the room of the others.
const MAX_HELD_FOR_PEER: usize = 1024;
const MAX_HELD: usize = 8192;
const MAX_HELD_BYTES: usize = 32 << 20;

/// Messages lost on one sending chain before a fresh session is begun, and messages to one peer
/// that the relay has not taken yet. Were all of them lost as well, the peer could still skip.
const MAX_LOST: u32 = 128;
const WINDOW: u32 = 100;
const _: () = assert!(MAX_LOST + WINDOW < stvor_protocol::MAX_SKIP);

/// One peer.
#[derive(Default)]
pub(super) struct Peer {
    /// As last committed.
    pub(super) committed: Option<Record>,
    /// As the step in progress has it, if it changed.
    pub(super) working: Option<Record>,
    /// Whether the store was asked.
    pub(super) loaded: bool,
    /// The keys last shown by the relay that their owner signed.
    pub(super) announced: Option<Announced>,
    /// The fingerprint of an identity key that is not the pinned one: nothing goes in or out.
    pub(super) blocked: Option<String>,
    /// Whether the fingerprint is known to be pinned.
    pub(super) pinned: bool,
    /// Sends that wait for the peer's keys.
    pub(super) sends: VecDeque<WaitingSend>,
    /// Messages that cannot be opened yet, in order of arrival.
    pub(super) held: VecDeque<Held>,
    /// Who waits for the peer to become known.
    pub(super) waiters: Vec<(Instant, oneshot::Sender<bool>)>,
    /// Messages sealed for the peer that the relay has not taken yet.
    pub(super) in_flight: u32,
    /// Messages that failed to reach the relay since the peer was last heard.
    pub(super) failed: u32,
    /// Messages since then that the relay has read and may have dropped.
    pub(super) unconfirmed: u32,
    /// When the relay was last asked for the keys again.
    pub(super) refreshed_at: Option<Instant>,
}

/// What a step may change about a peer besides its record.
#[derive(Clone)]
pub(super) struct Trust {
    announced: Option<Announced>,
    blocked: Option<String>,
    pinned: bool,
}

/// Keys as shown and as verified.
#[derive(Clone)]
pub(super) struct Announced {
    pub(super) raw: PublicKeyBundle,
    pub(super) verified: VerifiedBundle,
}

pub(super) struct WaitingSend {
    pub(super) content: zeroize::Zeroizing<Vec<u8>>,
    pub(super) timeout: Duration,
    pub(super) deadline: Instant,
    pub(super) wait_for_recipient: bool,
    pub(super) done: Done,
}

pub(super) struct Held {
    pub(super) envelope: Envelope,
    since: Instant,
}

/// Messages held for all peers together.
#[derive(Debug, Default)]
pub(super) struct HeldTotal {
    messages: usize,
    bytes: usize,
}

fn size(envelope: &Envelope) -> usize {
    envelope.ciphertext.len() + envelope.header.len() + envelope.id.len() + envelope.from.len()
}

impl Peer {
    /// The record to go on from.
    pub(super) fn record(&self) -> Option<&Record> {
        self.working.as_ref().or(self.committed.as_ref())
    }

    /// Whether a message can be sealed or opened now.
    pub(super) fn is_usable(&self) -> bool {
        self.blocked.is_none()
            && self.loaded
            && (self.record().is_some() || self.announced.is_some())
    }

    /// Whether one more message may be on its way to the relay.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight < WINDOW
    }

    /// Holds a message behind those held already; gives it back if there is no room.
    pub(super) fn hold(&mut self, envelope: Envelope, total: &mut HeldTotal) -> Option<Envelope> {
        let bytes = size(&envelope);
        if self.held.len() >= MAX_HELD_FOR_PEER
            || total.messages >= MAX_HELD
            || total.bytes + bytes > MAX_HELD_BYTES
        {
            return Some(envelope);
        }
        total.messages += 1;
        total.bytes += bytes;
        self.held.push_back(Held { envelope, since: Instant::now() });
        None
    }

    /// Puts messages of a step that failed back before the others, in order; they were held or
    /// admitted before, so there is no limit to meet.
    pub(super) fn hold_again(&mut self, envelope: Envelope, total: &mut HeldTotal) {
        total.messages += 1;
        total.bytes += size(&envelope);
        self.held.push_front(Held { envelope, since: Instant::now() });
    }

    pub(super) fn take_held(&mut self, total: &mut HeldTotal) -> Option<Envelope> {
        let held = self.held.pop_front()?;
        total.messages = total.messages.saturating_sub(1);
        total.bytes = total.bytes.saturating_sub(size(&held.envelope));
        Some(held.envelope)
    }

    /// Takes the next held message whose sender was not introduced in time.
    pub(super) fn take_overdue(&mut self, now: Instant, total: &mut HeldTotal) -> Option<Envelope> {
        let overdue = self.held.front()?.since + INTRODUCTION <= now;
        if overdue && self.may_expire() { self.take_held(total) } else { None }
    }

    /// What is held waits without end for a decision on a changed identity, and for a store.
    fn may_expire(&self) -> bool {
        self.blocked.is_none() && self.loaded
    }

    /// What [`Peer::restore`] brings back.
    pub(super) fn trust(&self) -> Trust {
        let Self { announced, blocked, pinned, .. } = self;
        Trust { announced: announced.clone(), blocked: blocked.clone(), pinned: *pinned }
    }

    pub(super) fn restore(&mut self, before: Trust) {
        let Trust { announced, blocked, pinned } = before;
        (self.announced, self.blocked, self.pinned) = (announced, blocked, pinned);
    }

    /// The peer has answered, so it is not behind.
    pub(super) fn heard(&mut self) {
        (self.failed, self.unconfirmed) = (0, 0);
    }

    /// Whether so much was lost that the peer may be unable to skip it. What the relay may have
    /// dropped counts only once the peer has come back: while it stays, it reads.
    pub(super) fn lost_too_much(&self, came_back: bool) -> bool {
        let unconfirmed = if came_back { self.unconfirmed } else { 0 };
        self.failed + unconfirmed >= MAX_LOST
    }

    /// Whether nothing waits here.
    pub(super) fn is_quiet(&self) -> bool {
        self.sends.is_empty() && self.held.is_empty() && self.waiters.is_empty()
    }

    /// Whether the peer may be forgotten: nothing waits, nothing was agreed.
    pub(super) fn is_stranger(&self) -> bool {
        self.is_quiet() && self.record().is_none() && self.blocked.is_none()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let sends = self.sends.iter().map(|s| s.deadline).min();
        let waiters = self.waiters.iter().map(|w| w.0).min();
        let held = self.held.front().filter(|_| self.may_expire());
        [sends, waiters, held.map(|h| h.since + INTRODUCTION)].into_iter().flatten().min()
    }

    /// Ends every wait because the client is closing.
    pub(super) fn abandon(self) {
        self.sends.into_iter().for_each(|send| (send.done)(Err(Error::client_not_ready())));
        for (_, done) in self.waiters {
            let _nobody_waits = done.send(false);
        }
    }
}
