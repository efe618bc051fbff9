//! Whose identity a peer's is: for safety numbers, and for those who are told of a change.
//!
//! Whoever compares a safety number has to know that the key compared is the key used. So the
//! identity that a number is asked of is pinned before the number is given.

use std::time::Duration;

use stvor_protocol::{IdentityKey, PeerRecord};
use tokio::sync::oneshot;

use super::User;
use super::peer::{Announced, Peer};
use super::step::Step;
use crate::Error;
use crate::events::IdentityChange;

/// Who waits for a peer to become known.
pub(crate) enum Waiter {
    /// Wants to know whether it has.
    Known(oneshot::Sender<bool>),
    /// Wants the identity that is accepted, pinned.
    Identity(oneshot::Sender<Result<IdentityKey, Error>>, Duration),
}

impl Waiter {
    /// The peer did not become known in time.
    pub(super) fn late(self, peer_id: &str) {
        match self {
            Self::Known(done) => drop(done.send(false)),
            Self::Identity(done, timeout) => {
                let error = Error::recipient_timeout(peer_id, timeout.as_millis());
                drop(done.send(Err(error)));
            }
        }
    }

    /// The client is closed.
    pub(super) fn closed(self) {
        match self {
            Self::Known(done) => drop(done.send(false)),
            Self::Identity(done, _) => drop(done.send(Err(Error::client_not_ready()))),
        }
    }
}

/// An identity to be told of once its pin is committed.
pub(super) struct Asked {
    done: oneshot::Sender<Result<IdentityKey, Error>>,
    identity: IdentityKey,
}

impl Asked {
    pub(super) fn answer(self, outcome: Result<(), Error>) {
        let _nobody_waits = self.done.send(outcome.map(|()| self.identity));
    }
}

impl User {
    /// Answers who waited for a peer, who is known now.
    pub(super) fn known(&mut self, peer_id: &str, waiter: Waiter, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return waiter.closed() };
        match waiter {
            Waiter::Known(done) => drop(done.send(true)),
            Waiter::Identity(done, _) => match peer.accepted() {
                Some(identity) => {
                    if peer.blocked.is_none() && !peer.pinned {
                        step.note(peer_id, peer);
                        step.pin(peer_id, identity.fingerprint());
                        peer.pinned = true;
                    }
                    step.asked.push(Asked { done, identity });
                }
                None => {
                    let other = peer.blocked.as_deref().unwrap_or_default();
                    drop(done.send(Err(Error::identity_changed(peer_id, other))));
                }
            },
        }
    }
}

impl Peer {
    /// The identity key that messages are sealed for or, while the peer is blocked, were; `None`
    /// if it is not known here, but only that the one shown is another.
    fn accepted(&self) -> Option<IdentityKey> {
        let shown = self.announced.as_ref().map(|shown| shown.verified.bundle.identity_key());
        let agreed = self.record().and_then(PeerRecord::their_identity);
        let mut candidates = [agreed, shown].into_iter().flatten();
        match &self.blocked {
            Some(blocked) => candidates.find(|key| key.fingerprint() != *blocked).cloned(),
            None => shown.or(agreed).cloned(),
        }
    }

    /// What the application is told when the relay shows `announced`, which is not accepted.
    pub(super) fn identity_change(&self, peer_id: &str, announced: &Announced) -> IdentityChange {
        let identity = announced.verified.bundle.identity_key().clone();
        let previous = self.accepted().filter(|previous| *previous != identity);
        IdentityChange { peer_id: peer_id.to_owned(), previous, identity }
    }
}
