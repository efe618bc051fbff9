//! A step: what is to be committed, and what happens once it is.

use std::collections::BTreeSet;

use stvor_protocol::{PeerRecord, UserRecord};
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};
use tracing::{debug, info, trace};

use super::User;
use super::identity::Asked;
use super::in_flight::Flight;
use super::peer::{Peer, Trust, Unreceipted};
use super::setback::Setback;
use crate::events::{Receipt, Received, Sent, SentStatus};
use crate::link::{Delivery, Envelope, Outgoing, Request};
use crate::store::{Changes, StoreErrorKind};
use crate::{Error, StoreError, Stores};

/// Pause before a step that the store refused is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// A list of active peers that is shorter is not worth pruning.
pub(super) const PRUNE_AT: usize = 64;

#[derive(Default)]
pub(super) struct Step {
    /// Peers whose working record is to be committed, in order of change.
    pub(super) changed: Vec<String>,
    /// Peers whose deadlines may have changed.
    pub(super) touched: BTreeSet<String>,
    /// The user's own record, if it changes.
    pub(super) user: Option<UserRecord>,
    /// What was believed of peers before the step, oldest first.
    pub(super) before: Vec<(String, Trust)>,
    /// Fingerprints to pin.
    pins: Vec<Pin>,
    /// Nonces of opened messages that the replay cache is to be asked about.
    pub(super) unchecked: BTreeSet<(String, [u8; 12])>,
    /// Messages that are taken out of an outbox because their senders were told that they failed.
    pub(super) withdrawn: Vec<(String, u64)>,
    pub(super) outgoing: Vec<(Outgoing, Flight)>,
    pub(super) opened: Vec<Opened>,
    /// For the application, in order.
    pub(super) received: Vec<Received>,
    /// Sessions that were begun.
    begun: Vec<(String, Begun)>,
    /// How many messages of ours their recipients' handlers have completed.
    pub(super) receipted: u64,
    /// Those of them that somebody is told of.
    pub(super) receipts: Vec<Receipted>,
    /// What the application's handlers have completed.
    pub(super) handled: Vec<(String, u64)>,
    /// Messages that were refused for good: the relay need not keep them.
    pub(super) settled: Vec<Delivery>,
    pub(super) trusted: Vec<oneshot::Sender<Result<(), Error>>>,
    /// Who is told of an identity once it is pinned.
    pub(super) asked: Vec<Asked>,
    /// What the link is to do once all this is committed.
    pub(super) requests: Vec<Request>,
}

/// A fingerprint to pin.
struct Pin {
    peer_id: String,
    fingerprint: String,
    /// Whether it goes in place of another: the application has accepted it.
    replaces: bool,
}

/// Why we have begun a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// There was none.
    First,
    /// Too much was lost on its way for the one there was.
    Anew,
    /// The peer seems to have lost the one there was.
    Healed,
}

/// A message that was opened, and where it came from in case it has to be opened again.
pub(super) struct Opened {
    pub(super) from: String,
    pub(super) nonce: [u8; 12],
    pub(super) envelope: Envelope,
}

/// A receipt, and the send that waits for it, if one does.
pub(super) struct Receipted {
    pub(super) seq: u64,
    pub(super) receipt: Receipt,
    pub(super) waiting: Option<Unreceipted>,
}

impl Step {
    pub(super) fn change(&mut self, peer_id: &str) {
        if !self.changed.iter().any(|changed| changed == peer_id) {
            self.changed.push(peer_id.to_owned());
        }
        self.touch(peer_id);
    }

    /// The fingerprint that this step pins: what the application has accepted, if it has, else that
    /// of the one who was met first.
    pub(super) fn pinned(&self, peer_id: &str) -> Option<&str> {
        let of_peer = || self.pins.iter().filter(|pin| pin.peer_id == peer_id);
        let pin = of_peer().rfind(|pin| pin.replaces).or_else(|| of_peer().next());
        pin.map(|pin| &*pin.fingerprint)
    }

    /// Pins the fingerprint of a peer who is met for the first time.
    pub(super) fn pin(&mut self, peer_id: &str, fingerprint: String) {
        if self.pinned(peer_id).is_none() {
            self.pins.push(Pin { peer_id: peer_id.to_owned(), fingerprint, replaces: false });
        }
    }

    /// Pins a fingerprint that the application has accepted.
    pub(super) fn repin(&mut self, peer_id: &str, fingerprint: String) {
        self.pins.push(Pin { peer_id: peer_id.to_owned(), fingerprint, replaces: true });
    }

    /// Notes that a session was begun.
    pub(super) fn begin(&mut self, peer_id: &str, why: Begun) {
        self.begun.push((peer_id.to_owned(), why));
    }

    pub(super) fn said_handled(&mut self, from: &str, ticket: u64) {
        self.handled.push((from.to_owned(), ticket));
    }

    pub(super) fn touch(&mut self, peer_id: &str) {
        if !self.touched.contains(peer_id) {
            self.touched.insert(peer_id.to_owned());
        }
    }

    /// What concerns the peers `saved`, and the rest. What concerns no peer goes with the user's
    /// own record.
    fn split(self, saved: &[String], own: &str) -> (Self, Self) {
        let is_saved = |id: &str| saved.iter().any(|saved| saved == id);
        let Self { changed, touched, user, before, pins, unchecked, withdrawn, .. } = self;
        let Self { outgoing, opened, received, begun, receipted, receipts, handled, .. } = self;
        let Self { settled, trusted, asked, requests, .. } = self;
        let (mut stands, mut rest) = (Self::default(), Self::default());
        (stands.changed, rest.changed) = changed.into_iter().partition(|id| is_saved(id));
        (stands.touched, rest.touched) = touched.into_iter().partition(|id| is_saved(id));
        (stands.before, rest.before) = before.into_iter().partition(|(id, _)| is_saved(id));
        (stands.pins, rest.pins) = pins.into_iter().partition(|pin| is_saved(&pin.peer_id));
        (stands.withdrawn, rest.withdrawn) =
            withdrawn.into_iter().partition(|(id, _)| is_saved(id));
        (stands.outgoing, rest.outgoing) =
            outgoing.into_iter().partition(|(message, _)| is_saved(&message.to));
        (stands.opened, rest.opened) =
            opened.into_iter().partition(|opened| is_saved(&opened.from));
        (stands.received, rest.received) =
            received.into_iter().partition(|message| is_saved(&message.sender_id));
        (stands.begun, rest.begun) = begun.into_iter().partition(|(id, _)| is_saved(id));
        (stands.receipts, rest.receipts) =
            receipts.into_iter().partition(|one| is_saved(&one.receipt.recipient_id));
        (stands.handled, rest.handled) = handled.into_iter().partition(|(id, _)| is_saved(id));
        (rest.user, rest.unchecked) = (user, unchecked);
        // Refused again, asked again, told that it did not work: nothing of it is lost.
        (rest.settled, rest.trusted, rest.asked) = (settled, trusted, asked);
        stands.receipted = receipted;
        let place = if is_saved(own) { &mut stands } else { &mut rest };
        place.requests = requests;
        (stands, rest)
    }

    /// Notes what is believed of a peer, before it changes.
    pub(super) fn note(&mut self, peer_id: &str, peer: &Peer) {
        self.before.push((peer_id.to_owned(), peer.trust()));
        self.touch(peer_id);
    }
}

impl User {
    /// Writes once, then lets things happen; or lets nothing happen.
    pub(super) async fn commit(&mut self, mut step: Step) {
        let began = Instant::now();
        let unchecked: Vec<_> = std::mem::take(&mut step.unchecked).into_iter().collect();
        if let Err(setback) = self.check_nonces(&unchecked).await {
            return self.undo(step, setback);
        }
        let active = step.changed.iter().filter(|id| {
            let record = self.peers.get(*id).and_then(|peer| peer.working.as_ref());
            record.is_some_and(|record| record.is_active())
        });
        // Of those whose records a failed store may have replaced nobody knows. The own record that
        // it may have replaced as well names them, and this one takes its place.
        let writes = step.user.is_some() || !step.changed.is_empty();
        let active = active.chain(self.unsure.iter().filter(|_| writes));
        let own = step.user.as_ref().unwrap_or(&self.own);
        if let Some(own) = own.with_active(active.map(String::as_str)) {
            step.user = Some(self.pruned(own));
        }
        let peers = step.changed.iter();
        let peers = peers.filter_map(|id| Some((id.clone(), self.peers.get(id)?.working.clone()?)));
        let changes = Changes { peers: peers.collect(), user: step.user.take() };
        match write(&self.stores, &self.id, &step.pins, &changes).await {
            Ok(()) => {
                if !changes.is_empty() || !unchecked.is_empty() || !step.pins.is_empty() {
                    self.counters.commit.observe(began.elapsed());
                }
                self.conflicts = 0;
                self.committed(step, changes);
            }
            Err(error) => {
                let (step, changes) = self.commit_partly(step, changes, &error.saved);
                let is_conflict = error.kind == StoreErrorKind::Conflict;
                self.own_is_stale |= is_conflict && changes.user.is_some();
                let error = self.counters.storage(&error);
                let setback = match is_conflict {
                    true => Setback::Conflict(error),
                    false => Setback::Failed(error),
                };
                self.own_is_unsure |= !is_conflict && changes.user.is_some();
                self.undo(step, setback);
            }
        }
    }

    /// What a store that saves record by record has kept stands. Returns what does not.
    fn commit_partly(&mut self, step: Step, changes: Changes, saved: &[String]) -> (Step, Changes) {
        if saved.is_empty() {
            return (step, changes);
        }
        let (stands, step) = step.split(saved, &self.id);
        let (mut kept, mut changes) = changes.split(saved);
        if saved.iter().any(|id| **id == *self.id) {
            kept.user = changes.user.take();
        }
        self.committed(stands, kept);
        if changes.user.is_some() {
            // It did not note these as active: it does with the next step that writes them.
            let peers = saved.iter().filter(|id| ***id != *self.id).cloned();
            self.unsure.extend(peers);
        }
        (step, changes)
    }

    /// Without peers who are not active any more, each time the list has doubled.
    fn pruned(&mut self, own: UserRecord) -> UserRecord {
        if own.active_len() < self.prune_at {
            return own;
        }
        let is_active = |id: &str| match self
            .peers
            .get(id)
            .filter(|_| !self.unsure.contains(id))
            .filter(|peer| peer.loaded)
        {
            Some(peer) => peer.record().is_some_and(|record| record.is_active()),
            None => true,
        };
        let own = own.retain_active(is_active).unwrap_or(own);
        self.prune_at = (own.active_len() * 2).max(PRUNE_AT);
        own
    }

    fn committed(&mut self, step: Step, changes: Changes) {
        log_committed(&step, &changes);
        self.counters.sessions_begun.add(step.begun.len() as u64);
        self.counters.receipts.add(step.receipted);
        let Changes { peers, user } = changes;
        for (id, record) in peers {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.committed = Some(record);
                peer.working = None;
                peer.disowned.clear();
            }
            if !self.unsure.is_empty() {
                self.unsure.remove(&id);
            }
        }
        if let Some(own) = user {
            self.own = own;
            self.own_is_unsure = false;
        }
        for pin in step.pins {
            if let Some(peer) = self.peers.get_mut(&pin.peer_id) {
                peer.pinned = true;
            }
        }
        self.leave(step.outgoing);
        let mut settled = step.settled;
        for Opened { from, nonce, envelope } in step.opened {
            if !self.marked.is_empty() {
                self.marked.remove(&(from, nonce));
            }
            settled.extend(envelope.delivery);
        }
        if !settled.is_empty() {
            self.link.request(Request::Committed(settled));
        }
        for request in step.requests {
            self.link.request(request);
        }
        for (from, ticket) in &step.handled {
            if let Some(peer) = self.peers.get_mut(from) {
                peer.given.remove(ticket);
                while let Some(first) = peer.given.first()
                    && PeerRecord::is_handled_with(*first, *ticket)
                {
                    peer.given.pop_first();
                }
            }
        }
        for message in &step.received {
            if let Some(peer) = self.peers.get_mut(&message.sender_id) {
                peer.given.insert(message.ticket);
            }
        }
        if self.redoing {
            self.redoing = false;
            self.replayed.clear();
            self.retry_at.get_or_insert_with(Instant::now); // what was held meanwhile
        }
        if !step.received.is_empty() {
            self.counters.decrypted.add(step.received.len() as u64);
            self.events.messages(step.received);
        }
        self.receipted(step.receipts);
        for done in step.trusted {
            let _nobody_waits = done.send(Ok(()));
        }
        step.asked.into_iter().for_each(|asked| asked.answer(Ok(())));
        self.set_timers(step.touched);
    }

    /// What was sealed goes to the link.
    fn leave(&mut self, outgoing: Vec<(Outgoing, Flight)>) {
        if outgoing.is_empty() {
            return;
        }
        let mut messages = Vec::with_capacity(outgoing.len());
        for (message, flight) in outgoing {
            match flight {
                Flight::Legacy { .. } | Flight::Content { .. } => self.counters.encrypted.one(),
                Flight::Again => self.counters.retransmitted.one(),
                Flight::Control => {}
            }
            trace!(peer = message.to, kind = flight.kind(), "message sealed");
            self.in_flight.insert(&message, flight);
            messages.push(message);
        }
        self.link.request(Request::Send(messages));
    }

    pub(super) fn receipted(&mut self, receipts: Vec<Receipted>) {
        if receipts.is_empty() {
            return;
        }
        let mut batch = Vec::with_capacity(receipts.len());
        for Receipted { seq: _, receipt, waiting } in receipts {
            if let Some((_, done)) = waiting {
                done(Ok(Sent { id: receipt.id.clone(), status: SentStatus::Received }));
            }
            batch.push(receipt);
        }
        self.events.receipts(batch);
    }

    /// A store could not be read: what needed it is tried again soon.
    pub(super) fn retry_soon(&mut self) {
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
    }
}

/// What a step has come to.
fn log_committed(step: &Step, changes: &Changes) {
    if !changes.is_empty() {
        trace!(records = changes.peers.len(), own = changes.user.is_some(), "step committed");
    }
    for (peer, why) in &step.begun {
        if *why == Begun::Healed {
            info!("session healed");
        }
        debug!(peer, why = ?why, "session begun");
    }
    for opened in &step.opened {
        trace!(peer = opened.from, "message opened");
    }
    for request in &step.requests {
        match request {
            Request::Announce { .. } => info!("prekeys rotated"),
            Request::Publish { prekeys, .. } => debug!(count = prekeys.len(), "prekeys published"),
            _ => {}
        }
    }
}

/// Pins, then records: a pin without its record is harmless, a record without its pin is not.
async fn write(
    stores: &Stores,
    user_id: &str,
    pins: &[Pin],
    changes: &Changes,
) -> Result<(), StoreError> {
    for Pin { peer_id, fingerprint, replaces } in pins {
        match replaces {
            true => stores.tofu.replace_fingerprint(user_id, peer_id, fingerprint).await?,
            false => stores.tofu.store_fingerprint(user_id, peer_id, fingerprint).await?,
        }
    }
    if !changes.is_empty() {
        stores.sessions.save(user_id, changes).await?;
    }
    Ok(())
}
