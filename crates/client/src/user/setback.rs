//! Steps that are not taken: a store failed, another process was faster, or a message turned out
//! to be a replay. Every record and belief is what it was, and what the step was made of waits to
//! be done again.

use std::collections::BTreeSet;

use rand_core::Rng;
use tokio::time::{Duration, Instant};

use super::User;
use super::in_flight::Flight;
use super::incoming::is_wire4;
use super::peer::{Unsent, WaitingSend, Waits};
use super::step::{Opened, RETRY, Receipted, Step};
use crate::Error;
use crate::link::{Outgoing, Request};

/// Conflicts in a row that are taken for other processes at work. After as many, sends are told.
const MAX_CONFLICTS: u32 = 8;

/// The first pause after a conflict lasts up to this long, each further one up to twice as long:
/// whoever was in each other's way comes back at different times.
const CONFLICT_PAUSE_MS: u64 = 4;

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
        self.paused |= matches!(setback, Setback::Failed(_) | Setback::Conflict(_));
        match &setback {
            Setback::Conflict(_) => {
                self.read_again(step.changed.iter());
                for id in &step.changed {
                    if let Some(peer) = self.peers.get_mut(id) {
                        (peer.announced, peer.blocked) = (None, None); // judged anew by what is read
                    }
                }
            }
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
        for request in std::mem::take(&mut step.requests) {
            if let Request::Publish { prekeys, .. } = request {
                self.allowance.not_published(prekeys.len());
            }
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
            let content = content.cloned();
            let unsent = peer.unsent.remove(&seq);
            let receipt = peer.receipts.remove(&seq);
            let is_receipt = receipt.is_some();
            let told = unsent.and_then(|unsent| Some((unsent.deadline, unsent.done?)));
            let Some((deadline, done)) = receipt.or(told) else { continue };
            match content {
                Some(content) => sends.push((deadline, content, is_receipt, done)),
                // A peer that knows the number beforehand has said that it had handled it.
                None => done(Err(Error::storage_busy())),
            }
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

    /// The step in which these waited for the first time was not taken: whoever waits is told.
    fn never_pushed(&mut self, peer_id: &str, error: &Error) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let committed = peer.committed.clone();
        let lost = |seq, _| !committed.as_ref().is_some_and(|record| record.holds(seq));
        let Waits { unsent, receipts } = peer.take_waiting(lost);
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
