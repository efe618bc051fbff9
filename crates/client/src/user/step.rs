//! A step: what is to be committed, and what happens once it is.

use stvor_protocol::Record;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::peer::{Peer, Trust};
use super::{Done, User};
use crate::events::Received;
use crate::link::{Delivery, Envelope, Outgoing, Request};
use crate::{Error, Stores};

/// Pause before a step that the store refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(super) struct Step {
    /// Peers whose working record is to be committed.
    changed: Vec<String>,
    /// What was believed of peers before the step, oldest first.
    before: Vec<(String, Trust)>,
    /// Fingerprints to pin.
    pub(super) pins: Vec<(String, String)>,
    pub(super) outgoing: Vec<(Outgoing, Done)>,
    pub(super) opened: Vec<Opened>,
    /// Messages that were refused for good: the relay need not keep them.
    pub(super) settled: Vec<Delivery>,
    pub(super) trusted: Vec<oneshot::Sender<Result<(), Error>>>,
}

/// A message that was opened, and where it came from in case it has to be opened again.
pub(super) struct Opened {
    pub(super) received: Received,
    pub(super) nonce: [u8; 12],
    pub(super) envelope: Envelope,
}

impl Step {
    pub(super) fn change(&mut self, peer_id: &str) {
        if !self.changed.iter().any(|changed| changed == peer_id) {
            self.changed.push(peer_id.to_owned());
        }
    }
}

impl Step {
    /// Notes what is believed of a peer, before it changes.
    pub(super) fn note(&mut self, peer_id: &str, peer: &Peer) {
        self.before.push((peer_id.to_owned(), peer.trust()));
    }
}

impl User {
    /// Writes once, then lets things happen; or lets nothing happen.
    pub(super) async fn commit(&mut self, step: Step) {
        let changes: Vec<(String, Record)> = step
            .changed
            .iter()
            .filter_map(|id| Some((id.clone(), self.peers.get(id)?.working.clone()?)))
            .collect();
        match write(&self.stores, &self.id, &step.pins, &changes).await {
            Ok(()) => self.committed(step, changes),
            Err(error) => self.rolled_back(step, &error),
        }
    }

    fn committed(&mut self, step: Step, changes: Vec<(String, Record)>) {
        let Step { changed: _, before: _, pins, outgoing, opened, mut settled, trusted } = step;
        for (id, record) in changes {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.committed = Some(record);
                peer.working = None;
            }
        }
        for (id, _) in pins {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.pinned = true;
            }
        }
        if !outgoing.is_empty() {
            let mut messages = Vec::with_capacity(outgoing.len());
            for (message, done) in outgoing {
                self.counters.encrypted();
                self.in_flight.insert(&message, done);
                messages.push(message);
            }
            self.link.request(Request::Send(messages));
        }
        let mut batch = Vec::with_capacity(opened.len());
        for Opened { received, nonce, envelope } in opened {
            self.counters.decrypted();
            if !self.marked.is_empty() {
                self.marked.remove(&(received.sender_id.clone(), nonce));
            }
            settled.extend(envelope.delivery);
            batch.push(received);
        }
        if !settled.is_empty() {
            self.link.request(Request::Committed(settled));
        }
        if !batch.is_empty() {
            self.events.messages(batch);
        }
        for done in trusted {
            let _nobody_waits = done.send(Ok(()));
        }
    }

    /// The store refused: sends fail, received messages wait to be opened again, and every record
    /// and belief is what it was. Nothing is acknowledged, not even what was refused: it was
    /// judged by records that do not stand.
    fn rolled_back(&mut self, step: Step, error: &Error) {
        for id in &step.changed {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.working = None;
            }
        }
        for (id, before) in step.before.into_iter().rev() {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.restore(before);
                self.attention.insert(id); // their keys are asked for again
            }
        }
        for (message, done) in step.outgoing {
            if let Some(peer) = self.peers.get_mut(&message.to) {
                peer.in_flight = peer.in_flight.saturating_sub(1);
            }
            done(Err(error.clone()));
        }
        for done in step.trusted {
            let _nobody_waits = done.send(Err(error.clone()));
        }
        for Opened { received, nonce, envelope } in step.opened.into_iter().rev() {
            let id = received.sender_id;
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.hold_again(envelope, &mut self.held);
                self.attention.insert(id.clone());
            }
            self.marked.insert((id, nonce));
        }
        self.retry_at = Some(Instant::now() + RETRY);
        self.events.error(error.clone());
    }

    /// A store could not be read: what needed it is tried again soon.
    pub(super) fn retry_soon(&mut self) {
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
    }
}

/// Pins, then records: a pin without its record is harmless, a record without its pin is not.
async fn write(
    stores: &Stores,
    user_id: &str,
    pins: &[(String, String)],
    changes: &[(String, Record)],
) -> Result<(), Error> {
    let failed = |error: crate::StoreError| Error::storage_failed(&error.0);
    for (peer_id, fingerprint) in pins {
        let pin = stores.tofu.store_fingerprint(user_id, peer_id, fingerprint);
        pin.await.map_err(failed)?;
    }
    if !changes.is_empty() {
        stores.sessions.save(user_id, changes).await.map_err(failed)?;
    }
    Ok(())
}
