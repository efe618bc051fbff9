//! What a user's task keeps in memory about one peer, besides the record itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use stvor_protocol::delivery::{MAX_PENDING_BYTES, MAX_PENDING_MESSAGES};
use stvor_protocol::{OneTimePrekey, PeerKeys, PeerRecord};
use stvor_wire::PublicKeyBundle;
use tokio::time::Instant;

use super::{Done, Waiter};
use crate::Error;
use crate::events::Content;
use crate::link::Envelope;

/// How long a message waits for the keys of a sender whom the relay has not introduced.
const INTRODUCTION: Duration = Duration::from_secs(30);

/// Messages held for one peer at most, and for all peers of a user, with their bytes: a relay that
/// floods in names without keys, or in the name of somebody blocked, must neither fill the memory
/// nor take the room of the others.
const MAX_HELD_FOR_PEER: usize = 1024;
const MAX_HELD: usize = 8192;
const MAX_HELD_BYTES: usize = 32 << 20;

/// Messages of all peers of a user that wait in records for an earlier one of the same peer, with
/// their bytes: as much as four peers may have by themselves. A relay that withholds a message of
/// each peer, or that writes in names of its own making, would otherwise have us keep 16 MiB for
/// each. Beyond this a message counts as lost on the way, as it does beyond what one peer may have:
/// what is in order is still received, and what is not comes again.
const MAX_PENDING_OF_ALL: usize = 4 * MAX_PENDING_MESSAGES;
const MAX_PENDING_BYTES_OF_ALL: usize = 4 * MAX_PENDING_BYTES;

/// Wire 3: messages lost on one sending chain before a fresh session is begun, and messages to one
/// peer that the relay has not taken yet. Were all of them lost as well, the peer could still skip.
const MAX_LOST: u32 = 128;
const WINDOW: u32 = 100;
const _: () = assert!(MAX_LOST + WINDOW < stvor_protocol::MAX_SKIP);

/// The same in wire 4, which skips further.
const MAX_LOST_4: u32 = 1024;
const _: () = assert!(MAX_LOST_4 + WINDOW < stvor_protocol::MAX_SKIP_4);

/// One peer.
#[derive(Default)]
pub(super) struct Peer {
    /// As last committed.
    pub(super) committed: Option<PeerRecord>,
    /// As the step in progress has it, if it changed.
    pub(super) working: Option<PeerRecord>,
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
    /// Bytes of `sends`.
    pub(super) send_bytes: usize,
    /// Sends whose messages are in the record's outbox and were not sealed yet.
    pub(super) unsent: BTreeMap<u64, Unsent>,
    /// Tickets of messages that the application was given and has not handled.
    pub(super) given: BTreeSet<u64>,
    /// Numbers of messages whose senders were told that they were not sent, in steps of which
    /// nobody knows whether the store has kept them.
    pub(super) disowned: Vec<u64>,
    /// Sends of wire 3 in the step that is being undone, in order.
    pub(super) legacy_undone: Vec<(Instant, Content, Done)>,
    /// Messages that cannot be opened yet, in order of arrival.
    pub(super) held: VecDeque<Held>,
    /// Who waits for the peer to become known.
    pub(super) waiters: Vec<(Instant, Waiter)>,
    /// Sends that wait until the peer's handlers have completed, by sequence number.
    pub(super) receipts: BTreeMap<u64, Unreceipted>,
    /// A session is to be begun as soon as the relay has answered with the peer's keys.
    pub(super) seeking: Option<Seeking>,
    /// How long a session is sought with somebody of whom nothing is known.
    pub(super) stranger_until: Option<Instant>,
    /// A one-time prekey that came with the answer.
    pub(super) one_time: Option<OneTimePrekey>,
    /// When a session of ours that the peer has not answered is mentioned again.
    pub(super) confirming: Option<Confirming>,
    /// When a session was last begun because the peer's messages could not be opened.
    pub(super) healed_at: Option<Instant>,
    /// Messages sealed for the peer that the relay has not taken yet.
    pub(super) in_flight: u32,
    /// Wire 3: messages that failed to reach the relay since the peer was last heard.
    pub(super) failed: u32,
    /// Wire 3: messages since then that the relay has read and may have dropped.
    pub(super) unconfirmed: u32,
    /// When the relay was last asked for the keys again.
    pub(super) refreshed_at: Option<Instant>,
    /// When the record was last read again because of a message that did not open.
    pub(super) reread_at: Option<Instant>,
    /// What the record has in the [`PendingTotal`].
    pending: (usize, usize),
}

/// Why the relay was asked for the keys of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seeking {
    /// To begin the first session, once the look-up is answered: with a one-time prekey, or
    /// without.
    First { answered: bool },
    /// To begin another, since more was lost on the way than the peer can skip.
    Anew,
    /// To begin another, since the peer seems to have lost the ones there are.
    Heal {
        /// When the session began of what could not be opened, as that says.
        after_ms: u64,
    },
}

/// A send that waits for its message to be sealed.
pub(super) struct Unsent {
    pub(super) deadline: Instant,
    /// Told when the relay has it; `None` when the recipient's receipt is waited for.
    pub(super) done: Option<Done>,
}

/// Until when a receipt is waited for, and who is told.
pub(super) type Unreceipted = (Instant, Done);

/// Sends that wait, by sequence number and in the order of sending.
pub(super) struct Waits {
    /// Those whose messages were not sealed yet.
    pub(super) unsent: Vec<(u64, Unsent)>,
    /// Those that wait until the peer's handlers have completed.
    pub(super) receipts: Vec<(u64, Unreceipted)>,
}

/// A pause between mentions of a session, and the time of the next.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirming {
    pub(super) at: Instant,
    pause: Duration,
}

impl Confirming {
    /// As long as a peer needs to answer, six times over.
    const FIRST: Duration = Duration::from_secs(3);
    /// A peer who is away for weeks finds a few hundred of them at most.
    const LONGEST: Duration = Duration::from_secs(60 * 60);

    pub(super) fn first(now: Instant) -> Self {
        Self { at: now + Self::FIRST, pause: Self::FIRST }
    }

    pub(super) fn again(self, now: Instant) -> Self {
        let pause = (self.pause * 2).min(Self::LONGEST);
        Self { at: now + pause, pause }
    }
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
    pub(super) verified: PeerKeys,
}

pub(super) struct WaitingSend {
    pub(super) content: Content,
    pub(super) timeout: Duration,
    pub(super) deadline: Instant,
    pub(super) wait_for_recipient: bool,
    pub(super) receipt: bool,
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

/// Messages, and bytes of them, that wait in all records for an earlier one.
#[derive(Debug, Default)]
pub(super) struct PendingTotal {
    messages: usize,
    bytes: usize,
}

impl PendingTotal {
    /// Whether the peer's record may take the place of the one so far.
    pub(super) fn has_room(&self, peer: &Peer, record: &PeerRecord) -> bool {
        let ((messages, bytes), (more, more_bytes)) = (peer.pending, record.pending_size());
        (more <= messages && more_bytes <= bytes)
            || (self.messages - messages + more <= MAX_PENDING_OF_ALL
                && self.bytes - bytes + more_bytes <= MAX_PENDING_BYTES_OF_ALL)
    }

    /// Whether the peer's record may have one more such message, wherever it belongs.
    pub(super) fn has_ample_room(&self, bytes: usize) -> bool {
        self.messages < MAX_PENDING_OF_ALL && self.bytes + bytes <= MAX_PENDING_BYTES_OF_ALL
    }

    /// Counts what the peer's record has now.
    pub(super) fn count(&mut self, peer: &mut Peer) {
        let pending = peer.record().map_or((0, 0), PeerRecord::pending_size);
        let before = std::mem::replace(&mut peer.pending, pending);
        self.messages = self.messages - before.0 + pending.0;
        self.bytes = self.bytes - before.1 + pending.1;
    }
}

/// Takes out the entries of which this is true, in order.
fn take_where<T>(map: &mut BTreeMap<u64, T>, is_it: impl Fn(u64, &T) -> bool) -> Vec<(u64, T)> {
    let keys: Vec<u64> =
        map.iter().filter(|(key, it)| is_it(**key, it)).map(|(key, _)| *key).collect();
    keys.into_iter().filter_map(|key| map.remove_entry(&key)).collect()
}

fn size(envelope: &Envelope) -> usize {
    envelope.ciphertext.len() + envelope.header.len() + envelope.id.len() + envelope.from.len()
}

impl Peer {
    /// The record to go on from.
    pub(super) fn record(&self) -> Option<&PeerRecord> {
        self.working.as_ref().or(self.committed.as_ref())
    }

    /// Changes the record of the step in progress, in place. Whatever `change` returns `None` for
    /// has changed nothing.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut PeerRecord) -> Option<T>,
    ) -> Option<T> {
        self.try_change(|record| change(record).ok_or(()))?.ok()
    }

    /// The same for what says why it has changed nothing. `None` if there is no record.
    pub(super) fn try_change<T, E>(
        &mut self,
        change: impl FnOnce(&mut PeerRecord) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        if let Some(working) = &mut self.working {
            return Some(change(working));
        }
        let mut record = self.committed.clone()?;
        let changed = change(&mut record);
        if changed.is_ok() {
            self.working = Some(record);
        }
        Some(changed)
    }

    /// Changes what is not kept in a store, such as timers: that needs no commit.
    pub(super) fn update(&mut self, change: impl Fn(&PeerRecord) -> PeerRecord) {
        for record in [&mut self.committed, &mut self.working].into_iter().flatten() {
            *record = change(record);
        }
    }

    /// Whether the peer is spoken to in wire 4: it was seen with it, or shows that it has it.
    pub(super) fn speaks_wire4(&self) -> bool {
        self.record().is_some_and(PeerRecord::speaks_wire4)
            || self.announced.as_ref().is_some_and(|shown| shown.verified.v4.is_some())
    }

    /// Whether there is nothing to seal for the peer by this time.
    pub(super) fn is_at_rest(&self, now_ms: u64) -> bool {
        self.confirming.is_none() && self.record().is_none_or(|record| record.is_at_rest(now_ms))
    }

    /// Whether a message can be sealed now.
    pub(super) fn can_seal(&self) -> bool {
        if self.blocked.is_some() || !self.loaded {
            return false;
        }
        match self.speaks_wire4() {
            true => self.record().is_some_and(|record| record.sending_session().is_some()),
            false => self.has_legacy() || self.announced.is_some(),
        }
    }

    /// Whether a message of wire 3 can be opened now.
    pub(super) fn can_open_legacy(&self) -> bool {
        self.blocked.is_none() && self.loaded && (self.has_legacy() || self.announced.is_some())
    }

    fn has_legacy(&self) -> bool {
        self.record().is_some_and(|record| record.legacy().is_some())
    }

    /// Whether the peer is one whom we know: by a record, or shown by the relay.
    pub(super) fn is_known(&self) -> bool {
        self.announced.is_some() || self.record().is_some_and(|r| r.their_identity().is_some())
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
        let most = if self.speaks_wire4() { MAX_LOST_4 } else { MAX_LOST };
        self.failed + unconfirmed >= most
    }

    /// Whether nobody waits for anything here.
    pub(super) fn is_quiet(&self) -> bool {
        self.sends.is_empty()
            && self.held.is_empty()
            && self.waiters.is_empty()
            && self.receipts.is_empty()
            && self.unsent.is_empty()
            && self.seeking.is_none()
    }

    /// Whether the peer may be forgotten: nothing waits, nothing was agreed.
    pub(super) fn is_stranger(&self) -> bool {
        self.is_quiet() && self.record().is_none() && self.blocked.is_none()
    }

    /// When something that waits here is over.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let sends = self.sends.iter().map(|s| s.deadline).min();
        let waiters = self.waiters.iter().map(|w| w.0).min();
        let receipts = self.receipts.values().map(|(at, _)| *at).min();
        let unsent = self.unsent.values().map(|unsent| unsent.deadline).min();
        let held = self.held.front().filter(|_| self.may_expire());
        let held = held.map(|held| held.since + INTRODUCTION);
        [sends, waiters, receipts, unsent, held, self.stranger_until].into_iter().flatten().min()
    }

    /// Takes out the sends that wait and of whose number and deadline this is true.
    pub(super) fn take_waiting(&mut self, is_over: impl Fn(u64, Instant) -> bool) -> Waits {
        let unsent = take_where(&mut self.unsent, |seq, unsent| is_over(seq, unsent.deadline));
        let receipts = take_where(&mut self.receipts, |seq, (at, _)| is_over(seq, *at));
        Waits { unsent, receipts }
    }

    /// Ends every wait because the client is closing. Returns the numbers of the messages in the
    /// outbox whose senders were told that they were not sent.
    pub(super) fn abandon(&mut self) -> Vec<u64> {
        let closing = || Err(Error::client_not_ready());
        self.sends.drain(..).for_each(|send| (send.done)(closing()));
        let Waits { unsent, receipts } = self.take_waiting(|_, _| true);
        receipts.into_iter().for_each(|(_, (_, done))| done(closing()));
        self.waiters.drain(..).for_each(|(_, waiter)| waiter.closed());
        let unsent = unsent.into_iter().filter_map(|(seq, unsent)| Some((seq, unsent.done?)));
        let tell = |(seq, done): (u64, Done)| {
            done(closing());
            seq
        };
        unsent.map(tell).collect()
    }
}
