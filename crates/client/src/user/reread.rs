//! Records that are read once more: another process of the user has written them, or the answer of
//! a save was lost and nobody knows what the store has kept.

use std::collections::BTreeSet;

use stvor_protocol::PeerRecord;
use tokio::time::{Duration, Instant};

use super::User;
use super::peer::Waits;
use super::step::{RETRY, Receipted, Step};
use crate::events::{Receipt, Sent, SentStatus};

/// How long another process of the user may take to handle a message before it is handled here
/// as well: it has probably died.
const PATIENCE: Duration = Duration::from_secs(60);

/// At most one reading of a peer's record in this time because of messages that do not open.
const REREAD_INTERVAL: Duration = Duration::from_secs(10);

/// Messages of a peer that another process of the user has, and has not handled.
pub(super) struct Others {
    tickets: BTreeSet<u64>,
    /// Since when the first of them is waited for.
    since: Instant,
    /// Whether something that was handled here came after them.
    in_the_way: bool,
}

impl User {
    /// Writes once more what a failed store may have replaced: what was told to have failed must
    /// not come to light with the next start.
    pub(super) fn write_again(&mut self, step: &mut Step) {
        // They are unsure until they are committed.
        for id in self.unsure.clone() {
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
    pub(super) fn read_again<'a>(&mut self, peers: impl Iterator<Item = &'a String>) {
        for id in peers {
            if let Some(peer) = self.peers.get_mut(id) {
                (peer.committed, peer.loaded, peer.pinned) = (None, false, false);
                self.unsure.remove(id);
                self.reloading.insert(id.clone());
                self.attention.insert(id.clone());
            }
        }
    }

    /// Whether the record of a peer whose message did not open is read again before the message is
    /// refused: another process of the user may have gone on with it. In wire 4 nothing is lost
    /// without that: the peer seals again what was refused.
    pub(super) fn reads_again_for(&mut self, from: &str) -> bool {
        let Some(peer) = self.peers.get_mut(from) else { return false };
        let lately = peer.reread_at.is_some_and(|at| at.elapsed() < REREAD_INTERVAL);
        if lately || peer.working.is_some() || self.unsure.contains(from) {
            return false;
        }
        peer.reread_at = Some(Instant::now());
        self.read_again(std::iter::once(&from.to_owned()));
        self.retry_at.get_or_insert_with(Instant::now);
        true
    }

    /// Makes good what a step of ours has kept that seemed to have failed, when the record is read
    /// again: its messages are given, and what its senders were told was not sent is withdrawn.
    /// Messages that another process of the user has are that one's.
    pub(super) fn read_once_more(&mut self, peer_id: &str, record: &PeerRecord) {
        self.receipts_read(peer_id, record);
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

    /// Messages that have left the outbox without our seeing it were handled by their recipient.
    fn receipts_read(&mut self, peer_id: &str, record: &PeerRecord) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let Waits { unsent, receipts } = peer.take_waiting(|seq, _| !record.holds(seq));
        for (seq, done) in unsent.into_iter().filter_map(|(seq, unsent)| Some((seq, unsent.done?)))
        {
            let id = stvor_protocol::message_id(&self.id, peer_id, seq);
            done(Ok(Sent { id, status: SentStatus::Delivered }));
        }
        // Whatever becomes of this step: the store has it.
        let receipted = receipts.into_iter().map(|(seq, waiting)| {
            let id = stvor_protocol::message_id(&self.id, peer_id, seq);
            let receipt = Receipt { id, recipient_id: peer_id.to_owned() };
            Receipted { seq, receipt, waiting: Some(waiting) }
        });
        let receipted = receipted.collect();
        self.receipted(receipted);
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
}
