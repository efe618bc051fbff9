//! Sending: sealing, waiting for a recipient's keys, waiting for the relay to take a message.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use stvor_protocol::delivery::{MAX_OUTBOX_BYTES, MAX_OUTBOX_MESSAGES};
use stvor_protocol::{PeerRecord, Record};
use tokio::time::Instant;
use tracing::trace;

use super::in_flight::{Flight, Landed};
use super::peer::{Peer, Unsent, WaitingSend};
use super::step::{Begun, Step};
use super::{Done, User, Waiter};
use crate::Error;
use crate::config::LegacyPeers;
use crate::events::{Content, ContentKind, SendOptions, SentStatus};
use crate::link::{Outgoing, Request};

/// No send waits longer: about a month.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl User {
    pub(super) async fn send(
        &mut self,
        to: String,
        content: Content,
        options: SendOptions,
        done: Done,
        step: &mut Step,
    ) {
        let timeout = options.timeout.unwrap_or(self.timeout);
        let deadline = Instant::now() + timeout.min(LONGEST);
        if let Err(error) = self.load(&to, step).await {
            return done(Err(error));
        }
        let Some(peer) = self.peers.get_mut(&to) else {
            return done(Err(Error::client_not_ready()));
        };
        if let Some(fingerprint) = &peer.blocked {
            return done(Err(Error::identity_changed(&to, fingerprint)));
        }
        if is_full(peer, content.len()) {
            return done(Err(Error::outbox_full(&to)));
        }
        let (receipt, wait_for_recipient) = (options.receipt, options.wait_for_recipient);
        let send = WaitingSend { content, timeout, deadline, wait_for_recipient, receipt, done };
        // Not sealed before it can leave: what is sealed and then expires is a hole in the chain.
        let leaves = peer.can_seal() && peer.has_room() && self.link.is_connected();
        if leaves && peer.sends.is_empty() {
            return self.seal(&to, send, step);
        }
        peer.send_bytes += send.content.len();
        peer.sends.push_back(send);
        step.touch(&to);
        if !peer.can_seal() {
            self.ask_for(&to);
        }
        self.attention.insert(to);
        if !self.link.is_connected() {
            self.link.request(Request::Wake);
        }
    }

    /// Waits for a peer's keys.
    pub(super) fn ask_for(&mut self, peer_id: &str) {
        let (user, peer) = (self.id.clone(), peer_id.to_owned());
        self.link.request(Request::Watch { user, peer });
        self.attention.insert(peer_id.to_owned());
        if self.peers.get(peer_id).is_some_and(|peer| peer.announced.is_some()) {
            self.seek_first(peer_id); // they are known, and speak wire 4
        }
    }

    /// Seals a send that waited no longer than it had to, and adds it to the step.
    fn seal(&mut self, to: &str, send: WaitingSend, step: &mut Step) {
        let wire4 = self.peers.get(to).is_some_and(Peer::speaks_wire4);
        match wire4 {
            true => self.seal_wire4(to, send, step),
            false => self.seal_legacy(to, send, step),
        }
    }

    fn seal_wire4(&mut self, to: &str, send: WaitingSend, step: &mut Step) {
        let WaitingSend { content, deadline, receipt, done, .. } = send;
        let Some(peer) = self.peers.get_mut(to) else {
            return done(Err(Error::client_not_ready()));
        };
        if peer.record().is_none() {
            return done(Err(Error::recipient_not_found(to)));
        }
        let Some(seq) = peer.change(|record| record.push(content, receipt).ok()) else {
            return done(Err(Error::outbox_full(to)));
        };
        let done = match receipt {
            true => {
                peer.receipts.insert(seq, (deadline, done));
                self.attention.insert(to.to_owned());
                None
            }
            false => Some(done),
        };
        step.change(to);
        self.pump_with(Some((seq, Unsent { deadline, done })), to, step);
    }

    fn seal_legacy(&mut self, to: &str, send: WaitingSend, step: &mut Step) {
        let WaitingSend { content, deadline, done, .. } = send;
        if self.legacy_peers == LegacyPeers::Refuse || content.kind() == ContentKind::Cbor {
            let refused = self.legacy_peers == LegacyPeers::Refuse;
            return done(Err(match refused {
                true => Error::legacy_refused(to),
                false => Error::legacy_carries_no_values(to),
            }));
        }
        let Some(peer) = self.peers.get_mut(to) else {
            return done(Err(Error::client_not_ready()));
        };
        let first = match (peer.record().and_then(PeerRecord::legacy), &peer.announced) {
            (None, Some(announced)) => {
                let theirs = announced.verified.bundle.clone();
                Record::new(self.own.prekeys().local_keys(), theirs, &mut self.random).ok()
            }
            _ => None,
        };
        let Some(record) = first.as_ref().or(peer.record().and_then(PeerRecord::legacy)) else {
            return done(Err(Error::recipient_not_found(to)));
        };
        let anew = peer.lost_too_much(false).then(|| record.begin_anew(&mut self.random));
        if first.is_some() || anew.is_some() {
            step.begin(to, if anew.is_some() { Begun::Anew } else { Begun::First });
        }
        let record = anew.as_ref().unwrap_or(record);
        let Ok(sealed) = record.encrypt(content.as_bytes(), &mut self.random) else {
            return done(Err(Error::delivery_failed(to)));
        };
        if !peer.pinned {
            step.pin(to, record.their_identity().fingerprint());
        }
        let now_ms = self.clock.now_ms();
        let record = peer.record().cloned().unwrap_or_else(|| PeerRecord::new(now_ms));
        peer.working = Some(record.with_legacy(sealed.record));
        if anew.is_some() {
            peer.heard();
        }
        let message = Outgoing {
            id: self.in_flight.next_id(),
            from: self.id.clone(),
            to: to.to_owned(),
            header: BASE64_URL_SAFE_NO_PAD.encode(sealed.header),
            ciphertext: BASE64_URL_SAFE_NO_PAD.encode(sealed.ciphertext),
            timestamp_ms: now_ms,
            deadline,
        };
        peer.in_flight += 1;
        step.change(to);
        step.outgoing.push((message, Flight::Legacy { content, done }));
    }

    /// Seals what waited for the peer's keys, the relay, or room: first what the peer lacks.
    pub(super) fn seal_waiting(&mut self, peer_id: &str, step: &mut Step) {
        step.touch(peer_id);
        self.pump(peer_id, step);
        while let Some(peer) =
            self.peers.get_mut(peer_id).filter(|peer| peer.has_room() && peer.can_seal())
            && let Some(send) = peer.sends.pop_front()
        {
            peer.send_bytes -= send.content.len();
            self.seal(peer_id, send, step);
        }
    }

    /// The relay has taken a message.
    pub(super) fn taken(&mut self, relay_id: &str, status: SentStatus, step: &mut Step) {
        let Some(Landed { to, flight }) = self.in_flight.take(relay_id) else { return };
        trace!(peer = to, status = status.as_str(), "message taken");
        if let Some(peer) = self.peers.get_mut(&to) {
            // Perhaps dropped without a word.
            peer.unconfirmed += u32::from(status == SentStatus::Sent);
        }
        if status == SentStatus::Queued && !matches!(flight, Flight::Legacy { .. }) {
            self.queued(&to, step);
        }
        flight.answer(relay_id, Ok(status));
        self.made_room(&to, step);
    }

    /// The relay has refused a message.
    pub(super) fn refused(&mut self, relay_id: &str, error: Error, step: &mut Step) {
        if let Some(landed) = self.in_flight.take(relay_id) {
            self.failed(relay_id, landed, error, step);
        }
    }

    /// Ends the sends that the relay has not answered in time.
    pub(super) fn expire_in_flight(&mut self, now: Instant, step: &mut Step) {
        while let Some((relay_id, landed)) = self.in_flight.take_overdue(now) {
            let error = match self.link.is_connected() {
                true => Error::delivery_failed(&landed.to),
                false => self.link.unavailable(),
            };
            self.failed(&relay_id, landed, error, step);
        }
    }

    /// A message did not reach the relay, or did so nobody knows when.
    fn failed(&mut self, relay_id: &str, landed: Landed, error: Error, step: &mut Step) {
        let to = landed.to.clone();
        self.unsent(relay_id, landed, error, step);
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.failed += 1;
            if peer.speaks_wire4() && peer.lost_too_much(false) {
                self.begin_anew(&to, step);
            }
        }
        self.made_room(&to, step);
    }

    /// Tells the sender, if one waits for the relay, that the message was not sent.
    pub(super) fn unsent(&mut self, relay_id: &str, landed: Landed, error: Error, step: &mut Step) {
        let Landed { to, flight } = landed;
        match &flight {
            // Its sender is told that it failed, so it must not arrive later by our doing.
            Flight::Content { seq, done: Some(_), .. } => self.withdraw(&to, *seq, step),
            // Waits for the receipt: it is tried again until then.
            Flight::Content { done: None, .. }
            | Flight::Again
            | Flight::Control
            | Flight::Legacy { .. } => {}
        }
        flight.answer(relay_id, Err(error));
    }

    /// One message fewer is on its way to a peer: the next may go.
    fn made_room(&mut self, to: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        peer.in_flight = peer.in_flight.saturating_sub(1);
        let waits = peer.record().is_some_and(PeerRecord::wants_sealing);
        if (waits || !peer.sends.is_empty()) && peer.can_seal() && self.link.is_connected() {
            self.seal_waiting(to, step);
            self.tidy(to);
        }
    }

    /// The relay is there again: what waited for it goes, and what it may have lost is asked for.
    pub(super) fn connected(&mut self, step: &mut Step) {
        let waiting: Vec<String> = self.attention.iter().cloned().collect();
        for id in waiting {
            if self.peers.get(&id).is_some_and(Peer::can_seal) {
                self.seal_waiting(&id, step);
            }
            self.resume_sends(&id, step);
            self.tidy(&id);
        }
        self.probe_all(step);
    }

    /// The relay knows no such peer: sends that do not wait end here.
    pub(super) fn refuse_impatient(&mut self, peer_id: &str) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let (waiting, impatient) =
            std::mem::take(&mut peer.sends).into_iter().partition(|send| send.wait_for_recipient);
        peer.sends = waiting;
        for send in impatient {
            peer.send_bytes -= send.content.len();
            (send.done)(Err(Error::recipient_not_found(peer_id)));
        }
    }

    pub(super) async fn wait_for(
        &mut self,
        peer_id: String,
        timeout: Duration,
        waiter: Waiter,
        step: &mut Step,
    ) {
        let known = self.load(&peer_id, step).await.is_ok()
            && self.peers.get(&peer_id).is_some_and(Peer::is_known);
        if known {
            self.known(&peer_id, waiter, step);
            return self.tidy(&peer_id);
        }
        let peer = self.peers.entry(peer_id.clone()).or_default();
        peer.waiters.push((Instant::now() + timeout.min(LONGEST), waiter));
        step.touch(&peer_id);
        self.ask_for(&peer_id);
    }
}

/// Whether another message would be more than may wait for one peer.
fn is_full(peer: &Peer, bytes: usize) -> bool {
    let (messages, sealed) = peer.record().map_or((0, 0), PeerRecord::outbox_size);
    messages + peer.sends.len() >= MAX_OUTBOX_MESSAGES
        || sealed + peer.send_bytes + bytes > MAX_OUTBOX_BYTES
}
