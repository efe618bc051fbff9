//! Sending: sealing, waiting for a recipient's keys, waiting for the relay to take a message.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand_core::Rng;
use stvor_protocol::Record;
use tokio::sync::oneshot;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::peer::{Peer, WaitingSend};
use super::step::Step;
use super::{Done, User};
use crate::Error;
use crate::events::{SendOptions, Sent, SentStatus};
use crate::link::{Outgoing, Request};
use crate::random::OsRandom;

/// No send waits longer: about a month.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl User {
    pub(super) async fn send(
        &mut self,
        to: String,
        content: Zeroizing<Vec<u8>>,
        options: SendOptions,
        done: Done,
        step: &mut Step,
    ) {
        let timeout = options.timeout.unwrap_or(self.timeout);
        let deadline = Instant::now() + timeout.min(LONGEST);
        if let Err(error) = self.load(&to).await {
            return done(Err(error));
        }
        let Some(peer) = self.peers.get_mut(&to) else {
            return done(Err(Error::client_not_ready()));
        };
        if let Some(fingerprint) = &peer.blocked {
            return done(Err(Error::identity_changed(&to, fingerprint)));
        }
        // Not sealed before it can leave: what is sealed and then expires is a hole in the chain.
        let leaves = peer.is_usable() && peer.has_room() && self.link.is_connected();
        if leaves && peer.sends.is_empty() {
            return self.seal(&to, &content, deadline, done, step);
        }
        let wait_for_recipient = options.wait_for_recipient;
        peer.sends.push_back(WaitingSend { content, timeout, deadline, wait_for_recipient, done });
        if peer.is_usable() {
            self.attention.insert(to);
        } else {
            self.ask_for(to);
        }
        if !self.link.is_connected() {
            self.link.request(Request::Wake);
        }
    }

    /// Waits for a peer's keys.
    fn ask_for(&mut self, peer: String) {
        self.link.request(Request::Watch { user: self.id.clone(), peer: peer.clone() });
        self.attention.insert(peer);
    }

    /// Messages to these peers did not reach the relay, or did so nobody knows when.
    pub(super) fn failed(&mut self, to: impl IntoIterator<Item = String>, step: &mut Step) {
        for to in to {
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.failed += 1;
            }
            self.made_room(&to, step);
        }
    }

    /// The relay has a message, and perhaps drops it without a word.
    pub(super) fn landed(&mut self, to: Option<String>, unconfirmed: bool, step: &mut Step) {
        let Some(to) = to else { return };
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.unconfirmed += u32::from(unconfirmed);
        }
        self.made_room(&to, step);
    }

    /// One message fewer is on its way to a peer: the next may go.
    fn made_room(&mut self, to: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(to) else { return };
        peer.in_flight = peer.in_flight.saturating_sub(1);
        if !peer.sends.is_empty() && peer.is_usable() && self.link.is_connected() {
            self.seal_waiting(to, step);
            self.tidy(to);
        }
    }

    /// The relay is there again: what waited for it goes.
    pub(super) fn seal_all_waiting(&mut self, step: &mut Step) {
        let waiting: Vec<String> = self.attention.iter().cloned().collect();
        for id in waiting {
            if self.peers.get(&id).is_some_and(Peer::is_usable) {
                self.seal_waiting(&id, step);
                self.tidy(&id);
            }
        }
    }

    /// Seals `content` and adds it to the step. The peer is usable.
    pub(super) fn seal(
        &mut self,
        to: &str,
        content: &[u8],
        deadline: Instant,
        done: Done,
        step: &mut Step,
    ) {
        let Some(peer) = self.peers.get_mut(to) else {
            return done(Err(Error::client_not_ready()));
        };
        let first = match (peer.record(), &peer.announced) {
            (None, Some(announced)) => {
                Record::new(&self.keys, announced.verified.clone(), &mut self.random).ok()
            }
            _ => None,
        };
        let Some(record) = first.as_ref().or(peer.record()) else {
            return done(Err(Error::recipient_not_found(to)));
        };
        let anew = peer.lost_too_much(false).then(|| record.begin_anew(&mut self.random));
        let record = anew.as_ref().unwrap_or(record);
        let sealed = match record.encrypt(content, &mut self.random) {
            Ok(sealed) => sealed,
            Err(_) => return done(Err(Error::delivery_failed(to))),
        };
        if !peer.pinned {
            step.pins.push((to.to_owned(), record.their_identity().fingerprint()));
        }
        if anew.is_some() {
            peer.heard();
        }
        peer.in_flight += 1;
        peer.working = Some(sealed.record);
        step.change(to);
        let message = Outgoing {
            id: self.in_flight.next_id(),
            from: self.id.clone(),
            to: to.to_owned(),
            header: BASE64_URL_SAFE_NO_PAD.encode(sealed.header),
            ciphertext: BASE64_URL_SAFE_NO_PAD.encode(sealed.ciphertext),
            timestamp_ms: now_ms(),
            deadline,
        };
        step.outgoing.push((message, done));
    }

    /// Sends what waited for the peer's keys, the relay, or room.
    pub(super) fn seal_waiting(&mut self, peer_id: &str, step: &mut Step) {
        while let Some(peer) = self.peers.get_mut(peer_id).filter(|peer| peer.has_room())
            && let Some(send) = peer.sends.pop_front()
        {
            self.seal(peer_id, &send.content, send.deadline, send.done, step);
        }
    }

    /// The relay knows no such peer: sends that do not wait end here.
    pub(super) fn refuse_impatient(&mut self, peer_id: &str) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let (waiting, impatient) =
            std::mem::take(&mut peer.sends).into_iter().partition(|send| send.wait_for_recipient);
        peer.sends = waiting;
        for send in impatient {
            (send.done)(Err(Error::recipient_not_found(peer_id)));
        }
    }

    pub(super) async fn wait_for(
        &mut self,
        peer_id: String,
        timeout: Duration,
        done: oneshot::Sender<bool>,
    ) {
        let known = self.load(&peer_id).await.is_ok()
            && self
                .peers
                .get(&peer_id)
                .is_some_and(|p| p.record().is_some() || p.announced.is_some());
        if known {
            let _nobody_waits = done.send(true);
            return;
        }
        let peer = self.peers.entry(peer_id.clone()).or_default();
        peer.waiters.push((Instant::now() + timeout.min(LONGEST), done));
        self.ask_for(peer_id);
    }
}

/// Now, in milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Messages that the relay has not taken yet.
pub(super) struct InFlight {
    prefix: u64,
    next: u64,
    waiting: HashMap<String, Waiting>,
    deadlines: BTreeSet<(Instant, String)>,
}

struct Waiting {
    to: String,
    deadline: Instant,
    done: Done,
}

impl InFlight {
    pub(super) fn new(random: &mut OsRandom) -> Self {
        let prefix = random.next_u64();
        Self { prefix, next: 0, waiting: HashMap::new(), deadlines: BTreeSet::new() }
    }

    /// An id that no other message of ours has, in this process or before it.
    fn next_id(&mut self) -> String {
        self.next += 1;
        format!("{:016x}-{:x}", self.prefix, self.next)
    }

    pub(super) fn insert(&mut self, message: &Outgoing, done: Done) {
        let Outgoing { id, to, deadline, .. } = message;
        self.deadlines.insert((*deadline, id.clone()));
        let waiting = Waiting { to: to.clone(), deadline: *deadline, done };
        self.waiting.insert(id.clone(), waiting);
    }

    fn remove(&mut self, id: &str) -> Option<Waiting> {
        let waiting = self.waiting.remove(id)?;
        self.deadlines.remove(&(waiting.deadline, id.to_owned()));
        Some(waiting)
    }

    /// Returns the recipient.
    pub(super) fn taken(&mut self, id: String, status: SentStatus) -> Option<String> {
        let waiting = self.remove(&id)?;
        (waiting.done)(Ok(Sent { id, status }));
        Some(waiting.to)
    }

    /// Returns the recipient.
    pub(super) fn refused(&mut self, id: &str, error: Error) -> Option<String> {
        let waiting = self.remove(id)?;
        (waiting.done)(Err(error));
        Some(waiting.to)
    }

    /// Ends the waits whose time is over; returns the recipients.
    pub(super) fn expire(&mut self, now: Instant, connected: bool) -> Vec<String> {
        let mut expired = Vec::new();
        while let Some((_, id)) = self.deadlines.first().filter(|(at, _)| *at <= now).cloned() {
            let Some(waiting) = self.remove(&id) else { break };
            let error = match connected {
                true => Error::delivery_failed(&waiting.to),
                false => Error::relay_unavailable(),
            };
            (waiting.done)(Err(error));
            expired.push(waiting.to);
        }
        expired
    }

    /// The client closes: nobody will tell what became of these.
    pub(super) fn abandon(&mut self) {
        self.deadlines.clear();
        for (_, waiting) in self.waiting.drain() {
            (waiting.done)(Err(Error::delivery_failed(&waiting.to)));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
