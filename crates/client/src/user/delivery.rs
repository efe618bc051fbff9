//! Delivery to a peer in wire 4: sealing what waits, saying what is due.
//!
//! What is to be sealed when is worked out by the protocol ([`PeerRecord`]); this asks it, and
//! hands the sealed message to the step.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use stvor_protocol::{Parties, PeerRecord, SealedMessage};
use tokio::time::Instant;

use super::User;
use super::in_flight::Flight;
use super::peer::{Peer, Unsent};
use super::step::Step;
use crate::link::Outgoing;

/// How long a receipt, or a message sealed again, may lie with the link. When it is over the
/// protocol's own timers send another.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a peer of whom something is overdue that cannot be sealed.
const PAUSE: Duration = Duration::from_millis(1);

/// A receipt that would go by itself within this time goes before the user leaves.
const LAST_CALL_MS: u64 = 500;

impl User {
    fn may_seal(&self, to: &str) -> bool {
        let peer = self.peers.get(to);
        self.link.is_connected() && peer.is_some_and(|peer| peer.can_seal() && peer.speaks_wire4())
    }

    /// Seals what the outbox has, new or again, as far as there is room on the way to the relay.
    pub(super) fn pump(&mut self, to: &str, step: &mut Step) {
        self.pump_with(None, to, step);
    }

    /// The same; `pushed` has just come into the outbox, with that number.
    pub(super) fn pump_with(
        &mut self,
        mut pushed: Option<(u64, Unsent)>,
        to: &str,
        step: &mut Step,
    ) {
        let is_connected = self.link.is_connected();
        let Some(peer) = self.peers.get_mut(to) else { return };
        let may_seal = is_connected && peer.can_seal() && peer.speaks_wire4();
        let parties = Parties { sender: &self.id, recipient: to };
        while may_seal && peer.has_room() {
            let now_ms = self.clock.now_ms();
            let sealed = peer.change(|record| record.seal(parties, now_ms, &mut self.random));
            let Some(sealed) = sealed else { break };
            let unsent = sealed.seq.and_then(|seq| {
                let pushed = pushed.take_if(|(pushed, _)| *pushed == seq).map(|(_, unsent)| unsent);
                Some((seq, pushed.or_else(|| peer.unsent.remove(&seq))?))
            });
            let (deadline, flight) = match unsent {
                Some((seq, Unsent { deadline, done })) => {
                    let id = stvor_protocol::message_id(&self.id, to, seq);
                    (deadline, Flight::Content { seq, id, done })
                }
                None => (Instant::now() + PATIENCE, Flight::Again),
            };
            let message = outgoing(&self.id, to, self.in_flight.next_id(), sealed, deadline);
            leaves(peer, message, flight, step);
        }
        peer.unsent.extend(pushed);
    }

    /// Seals what is due by `until_ms` without a content: receipts and questions.
    fn say(&mut self, to: &str, until_ms: u64, step: &mut Step) {
        if !self.may_seal(to) {
            return;
        }
        let Some(peer) = self.peers.get_mut(to) else { return };
        let (now_ms, deadline) = (self.clock.now_ms(), Instant::now() + PATIENCE);
        let parties = Parties { sender: &self.id, recipient: to };
        while let Some(sealed) =
            peer.change(|record| record.seal_control(parties, until_ms, now_ms, &mut self.random))
        {
            let message = outgoing(&self.id, to, self.in_flight.next_id(), sealed, deadline);
            leaves(peer, message, Flight::Control, step);
        }
    }

    /// Does whatever is due with a peer.
    pub(super) fn deliver(&mut self, peer_id: &str, step: &mut Step) {
        step.touch(peer_id);
        let now_ms = self.clock.now_ms();
        let peer = self.peers.get(peer_id);
        if peer.is_none_or(|peer| peer.is_at_rest(now_ms)) || !self.may_seal(peer_id) {
            return;
        }
        self.confirm(peer_id);
        self.pump(peer_id, step);
        self.say(peer_id, self.clock.now_ms(), step);
    }

    /// A session of ours of which the peer may not know is mentioned until it answers.
    fn confirm(&mut self, peer_id: &str) {
        let (now, now_ms) = (Instant::now(), self.clock.now_ms());
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let unanswered = peer.record().is_some_and(PeerRecord::is_unanswered);
        peer.confirming = match peer.confirming {
            _ if !unanswered => None,
            Some(confirming) if confirming.at <= now => Some(confirming.again(now)),
            Some(confirming) => return peer.confirming = Some(confirming),
            None => return peer.confirming = Some(super::peer::Confirming::first(now)),
        };
        // Content in the outbox does the same by itself.
        let idle = peer.record().is_some_and(|record| record.outbox_size().0 == 0);
        if peer.confirming.is_some() && idle {
            peer.update(|record| record.ask_for_all(now_ms));
        }
    }

    /// The relay keeps a message for a peer who is away.
    pub(super) fn queued(&mut self, to: &str, step: &mut Step) {
        let now_ms = self.clock.now_ms();
        if let Some(peer) = self.peers.get_mut(to) {
            peer.update(|record| record.queued(now_ms));
            step.touch(to);
        }
    }

    /// The peer or the relay was away: what is not received may have been dropped.
    pub(super) fn probe_soon(&mut self, peer_id: &str, step: &mut Step) {
        let now_ms = self.clock.now_ms();
        if let Some(peer) = self.peers.get_mut(peer_id) {
            peer.update(|record| record.reconnected(now_ms));
        }
        self.deliver(peer_id, step);
    }

    pub(super) fn probe_all(&mut self, step: &mut Step) {
        for id in self.active_peers() {
            self.probe_soon(&id, step);
        }
    }

    /// Those with whom something is under way, sorted: the order of a map must decide nothing.
    fn active_peers(&self) -> Vec<String> {
        let waiting = |peer: &&Peer| peer.record().is_some_and(PeerRecord::is_active);
        let peers = self.peers.iter().filter(|(_, peer)| waiting(peer));
        let mut ids: Vec<String> = peers.map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        ids
    }

    /// What the handlers have completed is told before the user leaves.
    pub(super) fn last_receipts(&mut self, step: &mut Step) {
        let until_ms = self.clock.now_ms() + LAST_CALL_MS;
        for id in self.active_peers() {
            self.say(&id, until_ms, step);
        }
    }

    /// A message whose sender was told that it failed is not delivered by our doing.
    pub(super) fn withdraw(&mut self, to: &str, seq: u64, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        if !peer.loaded {
            self.withdraw_again.push((to.to_owned(), seq));
            self.attention.insert(to.to_owned());
            return self.retry_soon();
        }
        if let Some(record) = peer.record().map(|record| record.withdraw(seq)) {
            peer.working = Some(record);
            step.change(to);
            step.withdrawn.push((to.to_owned(), seq));
        }
    }

    /// The handlers of these messages have completed.
    pub(super) async fn handled(&mut self, messages: Vec<(String, u64)>, step: &mut Step) {
        let mut messages = messages.into_iter().peekable();
        while let Some((from, ticket)) = messages.next() {
            // In wire 4 the last of several says it of all.
            let follows = |(other, next): &(String, u64)| {
                *other == from && PeerRecord::is_handled_with(ticket, *next)
            };
            if messages.peek().is_some_and(follows) {
                continue;
            }
            if self.load(&from, step).await.is_err() {
                self.handled_again.push((from, ticket));
                self.retry_soon();
                continue;
            }
            let Some(ticket) = self.handled_here(&from, ticket) else { continue };
            let now_ms = self.clock.now_ms();
            let Some(peer) = self.peers.get_mut(&from) else { continue };
            let Some(record) = peer.record().map(|record| record.handled(ticket, now_ms)) else {
                continue;
            };
            peer.working = Some(record);
            step.change(&from);
            step.said_handled(&from, ticket);
        }
    }

    /// Sets the alarms of these peers anew.
    pub(super) fn set_timers(&mut self, touched: impl IntoIterator<Item = String>) {
        let (connected, now) = (self.link.is_connected(), Instant::now());
        for id in touched {
            if let Some(peer) = self.peers.get_mut(&id) {
                self.pending.count(peer); // a step that failed, another identity, a record just read
            }
            let at = self.peers.get(&id).and_then(|peer| {
                // Without a relay nothing can be sent; when it is back, everything is looked at.
                let delivers = connected && peer.can_seal() && peer.speaks_wire4();
                let due = peer.record().filter(|_| delivers).and_then(PeerRecord::next_deadline);
                let due = due.map(|at_ms| self.clock.instant(at_ms).max(now + PAUSE));
                let confirming = peer.confirming.filter(|_| delivers).map(|c| c.at);
                [peer.next_deadline(), due, confirming].into_iter().flatten().min()
            });
            self.timers.set(&id, at);
        }
    }

    /// Attends to the peers whose alarms have gone off.
    pub(super) fn alarms(&mut self, now: Instant, step: &mut Step) {
        for id in self.timers.take_due(now) {
            self.expire_peer(&id, now, step);
            self.deliver(&id, step);
            self.tidy(&id);
        }
    }
}

/// A sealed message as it is given to the link, under the relay's id for it.
fn outgoing(
    from: &Arc<str>,
    to: &str,
    id: String,
    sealed: SealedMessage,
    deadline: Instant,
) -> Outgoing {
    let SealedMessage { seq: _, header, ciphertext, timestamp_ms } = sealed;
    Outgoing {
        id,
        from: from.clone(),
        to: to.to_owned(),
        header,
        ciphertext: BASE64_URL_SAFE_NO_PAD.encode(ciphertext),
        timestamp_ms,
        deadline,
    }
}

/// Adds a sealed message to the step.
fn leaves(peer: &mut Peer, message: Outgoing, flight: Flight, step: &mut Step) {
    if !peer.pinned
        && let Some(identity) = peer.record().and_then(PeerRecord::their_identity)
    {
        step.pin(&message.to, identity.fingerprint());
    }
    peer.in_flight += 1;
    step.change(&message.to);
    step.outgoing.push((message, flight));
}
