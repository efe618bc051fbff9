//! Steps that are not taken: a store failed, another process was faster, or a message turned out
//! to be a replay. Every record and belief is what it was, and what the step was made of waits to
//! be done again.

use std::collections::BTreeSet;

use rand_core::Rng;
use stvor_protocol::PeerRecord;
use tokio::time::{Duration, Instant};

use super::User;
use super::in_flight::Flight;
use super::incoming::is_wire4;
use super::peer::{Unsent, WaitingSend};
use super::step::{Opened, RETRY, Receipted, Step};
use crate::Error;
use crate::link::Outgoing;

/// Conflicts in a row that are taken for other processes at work. After as many, sends are told.
const MAX_CONFLICTS: u32 = 8;

/// The first pause after a conflict lasts up to this long, each further one up to twice as long:
/// whoever was in each other's way comes back at different times.
const CONFLICT_PAUSE_MS: u64 = 4;

/// How long another process of the user may take to handle a message before it is handled here
/// as well: it has probably died.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages of a peer that another process of the user has, and has not handled.
pub(super) struct Others {
    tickets: BTreeSet<u64>,
    /// Since when the first of them is waited for.
    since: Instant,
    /// Whether something that was handled here came after them.
    in_the_way: bool,
}

/// Why a step is not taken.
pub(super) enum Setback {
    /// A store failed: sends are told, and the rest is tried again after a while.
    Failed(Error),
    /// The replay cache could not be asked: nothing is received meanwhile, sends go on.
    Unchecked(Error),
    /// Among the opened messages are replays, noted in `replayed`. The rest is done again at once.
    Replay,
    /// Another process has written the same records. They are read again, and all is done again.
    Conflict(Error),
}

impl User {
    /// Marks the nonces of what was opened.
    pub(super) async fn check_nonces(
        &mut self,
        nonces: &[(String, [u8; 12])],
    ) -> Result<(), Setback> {
        if nonces.is_empty() {
            return Ok(());
        }
        let seen = self.stores.replay.check_and_mark_all(&self.id, nonces).await;
        let seen = seen.map_err(|error| Setback::Unchecked(self.counters.storage(&error)))?;
        // Seen, but by a step of ours that was not taken: new once more.
        let again =
            nonces.iter().zip(seen).filter(|(nonce, seen)| *seen && !self.marked.contains(nonce));
        let replayed: Vec<_> = again.map(|(nonce, _)| nonce.clone()).collect();
        if replayed.is_empty() {
            return Ok(());
        }
        self.replayed.extend(replayed);
        Err(Setback::Replay)
    }

    /// Takes a step back. Nothing is acknowledged, not even what was refused: it was judged by
    /// records that do not stand.
    pub(super) fn undo(&mut self, mut step: Step, setback: Setback) {
        let error = match &setback {
            Setback::Failed(error) => Some(error.clone()),
            Setback::Conflict(error) => {
                self.conflicts += 1;
                (self.conflicts > MAX_CONFLICTS).then(|| error.clone())
            }
            Setback::Unchecked(_) | Setback::Replay => None,
        };
        for (message, flight) in std::mem::take(&mut step.outgoing) {
            self.not_sealed(&message, flight);
        }
        for Receipted { seq, receipt, waiting } in std::mem::take(&mut step.receipts) {
            let peer = self.peers.get_mut(&receipt.recipient_id);
            if let (Some(peer), Some(waiting)) = (peer, waiting) {
                peer.receipts.insert(seq, waiting); // the receipt is opened again
            }
        }
        for id in &step.changed {
            match &error {
                Some(error) => self.never_pushed(id, error),
                None => self.push_again(id),
            }
            if let Some(peer) = self.peers.get_mut(id) {
                peer.working = None;
            }
        }
        for (id, before) in std::mem::take(&mut step.before).into_iter().rev() {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.restore(before);
                self.attention.insert(id); // their keys are asked for again
            }
        }
        match &setback {
            Setback::Conflict(_) => self.read_again(step.changed.iter()),
            Setback::Failed(_) => self.unsure.extend(step.changed.iter().cloned()),
            Setback::Unchecked(_) | Setback::Replay => {}
        }
        let refusal = match &setback {
            Setback::Failed(error) | Setback::Conflict(error) | Setback::Unchecked(error) => {
                error.clone()
            }
            Setback::Replay => Error::storage_busy(),
        };
        for done in std::mem::take(&mut step.trusted) {
            let _nobody_waits = done.send(Err(refusal.clone()));
        }
        for asked in std::mem::take(&mut step.asked) {
            asked.answer(Err(refusal.clone()));
        }
        self.handled_again.append(&mut step.handled);
        for Opened { from, nonce, envelope } in std::mem::take(&mut step.opened).into_iter().rev() {
            // Where the cache could not be asked, nobody knows whether it is a replay. In wire 4 a
            // message that is refused for nothing is sent again; in wire 3 it would be lost.
            let is_known = !matches!(setback, Setback::Unchecked(_)) || !is_wire4(&envelope);
            if is_known && !self.replayed.contains(&(from.clone(), nonce)) {
                self.marked.insert((from.clone(), nonce));
            }
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.hold_again(envelope, &mut self.held);
                self.attention.insert(from);
            }
        }
        self.withdraw_again.append(&mut step.withdrawn);
        self.redoing |= matches!(setback, Setback::Replay);
        if let Setback::Unchecked(_) = setback {
            self.receive_at = Some(Instant::now() + RETRY);
        }
        self.retry_at = Some(Instant::now() + self.pause_after(&setback));
        match setback {
            Setback::Failed(error) | Setback::Unchecked(error) => self.events.error(error),
            Setback::Conflict(_) => error.into_iter().for_each(|error| self.events.error(error)),
            Setback::Replay => {}
        }
        self.set_timers(step.touched);
    }

    fn pause_after(&mut self, setback: &Setback) -> Duration {
        match setback {
            Setback::Failed(_) => RETRY,
            Setback::Unchecked(_) | Setback::Replay => Duration::ZERO,
            Setback::Conflict(_) if self.conflicts > MAX_CONFLICTS => RETRY,
            Setback::Conflict(_) => {
                let most = CONFLICT_PAUSE_MS << self.conflicts;
                Duration::from_millis(self.random.next_u64() % most)
            }
        }
    }

    /// A step is not taken in which this was sealed: it never left.
    fn not_sealed(&mut self, message: &Outgoing, flight: Flight) {
        let Some(peer) = self.peers.get_mut(&message.to) else { return };
        peer.in_flight = peer.in_flight.saturating_sub(1);
        match flight {
            // It is sealed by the next step, unless this one had put it into the outbox.
            Flight::Content { seq, done, .. } => {
                peer.unsent.insert(seq, Unsent { deadline: message.deadline, done });
            }
            Flight::Legacy { content, done } => {
                peer.legacy_undone.push((message.deadline, content, done));
            }
            Flight::Again | Flight::Control => {}
        }
    }

    /// The step in which these were put into the outbox was not taken, and is taken again: they
    /// wait as they did before, ahead of those that came later.
    fn push_again(&mut self, peer_id: &str) {
        let timeout = self.timeout;
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let mut sends = Vec::new();
        let committed = peer.committed.as_ref();
        let lost = |seq: u64| !committed.is_some_and(|record| record.holds(seq));
        let waiting: BTreeSet<u64> =
            peer.unsent.keys().chain(peer.receipts.keys()).copied().collect();
        for seq in waiting.into_iter().filter(|seq| lost(*seq)) {
            let content = peer.working.as_ref().and_then(|record| record.outbox_content(seq));
            let Some(content) = content.cloned() else { continue };
            let unsent = peer.unsent.remove(&seq);
            let receipt = peer.receipts.remove(&seq);
            let is_receipt = receipt.is_some();
            let told = unsent.and_then(|unsent| Some((unsent.deadline, unsent.done?)));
            let Some((deadline, done)) = receipt.or(told) else { continue };
            sends.push((deadline, content, is_receipt, done));
        }
        let legacy = std::mem::take(&mut peer.legacy_undone).into_iter();
        sends.extend(legacy.map(|(deadline, content, done)| (deadline, content, false, done)));
        for (deadline, content, receipt, done) in sends.into_iter().rev() {
            peer.send_bytes += content.len();
            let send =
                WaitingSend { content, timeout, deadline, wait_for_recipient: true, receipt, done };
            peer.sends.push_front(send);
            self.attention.insert(peer_id.to_owned());
        }
    }

    /// Writes once more what a failed store may have replaced: what was told to have failed must
    /// not come to light with the next start.
    pub(super) fn write_again(&mut self, step: &mut Step) {
        for id in std::mem::take(&mut self.unsure) {
            let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.loaded) else { continue };
            if peer.working.is_none() {
                let none = || PeerRecord::new(self.clock.now_ms());
                peer.working = Some(peer.committed.clone().unwrap_or_else(none));
            }
            step.change(&id);
        }
        if self.own_is_unsure && step.user.is_none() {
            step.user = Some(self.own.clone());
        }
    }

    /// What was read of these peers is out of date.
    fn read_again<'a>(&mut self, peers: impl Iterator<Item = &'a String>) {
        for id in peers {
            if let Some(peer) = self.peers.get_mut(id) {
                (peer.committed, peer.loaded, peer.pinned) = (None, false, false);
                (peer.announced, peer.blocked) = (None, None); // judged anew by what is read
                self.reloading.insert(id.clone());
                self.attention.insert(id.clone());
            }
        }
    }

    /// Makes good what a step of ours has kept that seemed to have failed, when the record is read
    /// again: its messages are given, and what its senders were told was not sent is withdrawn.
    /// Messages that another process of the user has are that one's.
    pub(super) fn read_once_more(&mut self, peer_id: &str, record: &PeerRecord) {
        let given = self.peers.get(peer_id).map(|peer| peer.given.clone()).unwrap_or_default();
        if !self.stores.sessions.was_kept(&self.id, peer_id) {
            let tickets = record.inbox().map(|item| item.seq);
            let theirs = tickets.filter(|ticket| !given.contains(ticket)).collect();
            return self.note_others(peer_id, theirs);
        }
        let theirs = self.others.get(peer_id).map(|others| others.tickets.clone());
        let theirs = theirs.unwrap_or_default();
        let is_new = |ticket| !given.contains(&ticket) && !theirs.contains(&ticket);
        self.give_again(peer_id, record, is_new);
        let peer = self.peers.get_mut(peer_id);
        let disowned = peer.map(|peer| std::mem::take(&mut peer.disowned)).unwrap_or_default();
        let held = disowned.into_iter().filter(|seq| record.holds(*seq));
        self.withdraw_again.extend(held.map(|seq| (peer_id.to_owned(), seq)));
        if !self.withdraw_again.is_empty() {
            self.retry_at.get_or_insert_with(Instant::now);
        }
    }

    fn note_others(&mut self, peer_id: &str, tickets: BTreeSet<u64>) {
        if tickets.is_empty() {
            self.others.remove(peer_id);
            return;
        }
        let fresh =
            || Others { tickets: tickets.clone(), since: Instant::now(), in_the_way: false };
        let others = self.others.entry(peer_id.to_owned()).or_insert_with(fresh);
        if others.tickets.first() != tickets.first() {
            others.since = Instant::now();
        }
        others.tickets = tickets;
    }

    /// How far a handled message may be said to be handled: not past one that another process of
    /// the user has. What is left is said later; `None` if nothing can be said now.
    pub(super) fn handled_here(&mut self, from: &str, ticket: u64) -> Option<u64> {
        let Some(others) = self.others.get_mut(from) else { return Some(ticket) };
        let first = others.tickets.first().copied();
        let Some(first) = first.filter(|first| PeerRecord::is_handled_with(*first, ticket)) else {
            return Some(ticket);
        };
        others.in_the_way = true;
        self.handled_again.push((from.to_owned(), ticket));
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
        let given = &self.peers.get(from)?.given;
        given.iter().rev().find(|given| PeerRecord::is_handled_with(**given, first)).copied()
    }

    /// Looks whether other processes have handled what keeps ours from being said to be handled.
    /// What they have not handled for long is handled here.
    pub(super) fn read_others_again(&mut self) {
        let in_the_way = self.others.iter().filter(|(_, others)| others.in_the_way);
        let peers: Vec<String> = in_the_way.map(|(id, _)| id.clone()).collect();
        for id in peers {
            let Some(peer) = self.peers.get(&id) else { continue };
            if peer.working.is_some() {
                continue; // it is looked at again with the next retry
            }
            let record = peer.record().cloned();
            let has_waited = self.others.get(&id).is_some_and(|o| o.since.elapsed() > PATIENCE);
            match record.filter(|_| has_waited) {
                Some(record) => {
                    let theirs = self.others.remove(&id).map(|others| others.tickets);
                    let theirs = theirs.unwrap_or_default();
                    self.give_again(&id, &record, |ticket| theirs.contains(&ticket));
                }
                None => self.read_again(std::iter::once(&id)),
            }
        }
    }

    /// Reads the user's own record, if another process has written it.
    pub(super) async fn read_own_again(&mut self) {
        if !self.own_is_stale {
            return;
        }
        match self.stores.sessions.load_user(&self.id).await {
            Ok(Some(own)) => (self.own, self.own_is_stale) = (own, false),
            Ok(None) => self.own_is_stale = false, // it is written whole by the next step
            Err(error) => {
                self.events.error(self.counters.storage(&error));
                self.retry_soon();
            }
        }
    }

    /// The step in which these waited for the first time was not taken: whoever waits is told.
    fn never_pushed(&mut self, peer_id: &str, error: &Error) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let committed = peer.committed.as_ref();
        let lost = |seq: &u64| !committed.is_some_and(|record| record.holds(*seq));
        let unsent: Vec<_> = peer.unsent.extract_if(|seq, _| lost(seq)).collect();
        let receipts: Vec<_> = peer.receipts.extract_if(|seq, _| lost(seq)).collect();
        peer.disowned.extend(unsent.iter().map(|(seq, _)| *seq));
        peer.disowned.extend(receipts.iter().map(|(seq, _)| *seq));
        let legacy = std::mem::take(&mut peer.legacy_undone).into_iter().map(|(_, _, done)| done);
        for done in unsent.into_iter().filter_map(|(_, unsent)| unsent.done).chain(legacy) {
            done(Err(error.clone()));
        }
        for (_, (_, done)) in receipts {
            done(Err(error.clone()));
        }
    }
}
