//! Peers' keys: verified as bundles, pinned at first contact, blocked when they change.

use stvor_protocol::{PrekeyBundle, VerifiedBundle};
use stvor_wire::PublicKeyBundle;
use tokio::time::Instant;

use super::User;
use super::peer::{Announced, Peer};
use super::step::Step;
use crate::Error;
use crate::link::Request;

/// Length of a fingerprint: 32 bytes in lower-case hex.
const FINGERPRINT: usize = 64;

impl User {
    /// Makes sure that the peer's committed record is in memory.
    pub(super) async fn load(&mut self, peer_id: &str) -> Result<(), Error> {
        if self.peers.get(peer_id).is_some_and(|peer| peer.loaded) {
            return Ok(());
        }
        let failed = |error: crate::StoreError| Error::storage_failed(&error.0);
        let record = self.stores.sessions.load(&self.id, peer_id).await.map_err(failed)?;
        let fingerprint = record.as_ref().map(|record| record.their_identity().fingerprint());
        let pinned = match &fingerprint {
            Some(fingerprint) => {
                let checked = self.stores.tofu.verify_fingerprint(&self.id, peer_id, fingerprint);
                checked.await.map_err(failed)?
            }
            None => None,
        };
        let peer = self.peers.entry(peer_id.to_owned()).or_default();
        peer.loaded = true;
        if record.is_some() {
            peer.committed = record;
            peer.pinned = pinned == Some(true);
            // Another identity was accepted before it was shown: the record waits to be replaced.
            peer.blocked = fingerprint.filter(|_| pinned == Some(false));
            let (user, peer) = (self.id.clone(), peer_id.to_owned());
            self.link.request(Request::Watch { user, peer });
        }
        Ok(())
    }

    /// The relay shows a peer's keys.
    pub(super) async fn bundle(&mut self, peer_id: String, raw: PublicKeyBundle, step: &mut Step) {
        if self.load(&peer_id).await.is_err() {
            self.attention.insert(peer_id);
            return self.retry_soon();
        }
        let shown = self.peers.get(&peer_id).and_then(|peer| peer.announced.as_ref());
        if shown.is_none_or(|shown| shown.raw != raw) {
            let verified = match self.verify(&raw) {
                Some(verified) => verified,
                None => {
                    self.counters.auth_failure();
                    return self.events.error(Error::invalid_bundle(&peer_id));
                }
            };
            if let Err(error) = self.announced(&peer_id, Announced { raw, verified }, step).await {
                self.events.error(error);
                self.attention.insert(peer_id);
                return self.retry_soon();
            }
        } else {
            self.came_back(&peer_id, step);
        }
        self.release(&peer_id, step).await;
    }

    /// A peer shows the same keys again: perhaps it was away while the relay dropped messages.
    fn came_back(&mut self, peer_id: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id).filter(|p| p.lost_too_much(true)) else {
            return;
        };
        if let Some(anew) = peer.record().map(|record| record.begin_anew(&mut self.random)) {
            peer.heard();
            peer.working = Some(anew);
            step.change(peer_id);
        }
    }

    fn verify(&self, raw: &PublicKeyBundle) -> Option<VerifiedBundle> {
        let parsed = PrekeyBundle::parse_base64url(
            &raw.identity_key,
            &raw.signed_pre_key,
            &raw.signed_pre_key_signature,
        );
        let verified = parsed.and_then(PrekeyBundle::verify).ok()?;
        // With a key of ours the agreement has no lower and upper side.
        let is_ours = verified.identity_key() == self.keys.identity_key()
            || verified.signed_prekey() == self.keys.signed_prekey().public();
        (!is_ours).then_some(verified)
    }

    /// Checks new keys against the pin; takes them, or blocks the peer.
    async fn announced(
        &mut self,
        peer_id: &str,
        announced: Announced,
        step: &mut Step,
    ) -> Result<(), Error> {
        let fingerprint = announced.verified.fingerprint();
        let checked = self.stores.tofu.verify_fingerprint(&self.id, peer_id, &fingerprint).await;
        let pinned = checked.map_err(|error| Error::storage_failed(&error.0))?;
        let Some(peer) = self.peers.get_mut(peer_id) else { return Ok(()) };
        // A record is a pin too: its keys were agreed with that identity.
        let is_agreed =
            peer.record().is_none_or(|r| r.their_identity() == announced.verified.identity_key());
        step.note(peer_id, peer);
        if pinned == Some(false) || (pinned.is_none() && !is_agreed) {
            let error = Error::identity_changed(peer_id, &fingerprint);
            peer.announced = Some(announced);
            for send in std::mem::take(&mut peer.sends) {
                (send.done)(Err(error.clone()));
            }
            if peer.blocked.as_ref() != Some(&fingerprint) {
                peer.blocked = Some(fingerprint);
                self.events.error(error);
            }
            return Ok(());
        }
        peer.pinned = pinned == Some(true);
        self.accept(peer_id, announced, step);
        Ok(())
    }

    /// Takes keys that match the pin; a record follows them.
    fn accept(&mut self, peer_id: &str, announced: Announced, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        peer.blocked = None;
        if let Some(record) = peer.record() {
            let theirs = announced.verified.clone();
            let next = if record.their_identity() != theirs.identity_key() {
                record.succeeded_by(&self.keys, theirs, &mut self.random).ok()
            } else if *record.bundle() != theirs {
                record.with_bundle(&self.keys, theirs, &mut self.random).ok()
            } else {
                None
            };
            if next.is_some() {
                peer.working = next;
                step.change(peer_id);
            }
        }
        peer.announced = Some(announced);
    }

    /// The peer's keys are known: whatever waited for them goes on.
    async fn release(&mut self, peer_id: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        for (_, done) in peer.waiters.drain(..) {
            let _nobody_waits = done.send(true);
        }
        if peer.blocked.is_none() {
            if self.link.is_connected() {
                self.seal_waiting(peer_id, step);
            }
            self.open_held(peer_id, step).await;
        }
        self.tidy(peer_id);
    }

    /// The relay knows no such peer, or could not say whether their keys are still the same.
    pub(super) async fn unknown(&mut self, peer_id: &str, step: &mut Step) {
        self.refuse_impatient(peer_id);
        self.open_held(peer_id, step).await;
        self.tidy(peer_id);
    }

    /// Accepts `fingerprint` as the peer's: now if it is the one shown, else when it is shown.
    pub(super) async fn trust(
        &mut self,
        peer_id: String,
        fingerprint: String,
        step: &mut Step,
    ) -> Result<(), Error> {
        let hex = fingerprint.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fingerprint.len() != FINGERPRINT || !hex {
            let problem = "must be 64 lower-case hexadecimal characters";
            return Err(Error::invalid_argument("fingerprint", problem));
        }
        self.load(&peer_id).await?;
        self.pin(&peer_id, &fingerprint, step).await;
        self.tidy(&peer_id);
        Ok(())
    }

    async fn pin(&mut self, peer_id: &str, fingerprint: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        step.note(peer_id, peer);
        step.pins.push((peer_id.to_owned(), fingerprint.to_owned()));
        peer.pinned = true;
        let Some(announced) = peer.announced.take() else {
            // What was agreed with another identity is not used until the accepted one is shown.
            let agreed = peer.record().map(|record| record.their_identity().fingerprint());
            peer.blocked = agreed.filter(|agreed| agreed != fingerprint);
            return;
        };
        if announced.verified.fingerprint() == fingerprint {
            self.accept(peer_id, announced, step);
            self.release(peer_id, step).await;
        } else {
            peer.blocked = Some(announced.verified.fingerprint());
            peer.announced = Some(announced);
        }
    }

    /// Ends waits whose time is over.
    pub(super) fn expire_waits(&mut self, now: Instant, step: &mut Step) {
        let due: Vec<String> = self
            .attention
            .iter()
            .filter(|id| {
                self.peers.get(*id).and_then(Peer::next_deadline).is_some_and(|at| at <= now)
            })
            .cloned()
            .collect();
        for id in due {
            self.expire_peer(&id, now, step);
            self.tidy(&id);
        }
    }

    fn expire_peer(&mut self, id: &str, now: Instant, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let (over, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut peer.sends).into_iter().partition(|send| send.deadline <= now);
        peer.sends = waiting.into();
        let waiters = std::mem::take(&mut peer.waiters).into_iter();
        let (late, waiting): (Vec<_>, Vec<_>) = waiters.partition(|(at, _)| *at <= now);
        peer.waiters = waiting;
        let mut dropped = Vec::new();
        while let Some(envelope) = peer.take_overdue(now, &mut self.held) {
            dropped.push(envelope);
        }
        let (is_usable, connected) = (peer.is_usable(), self.link.is_connected());
        for send in over {
            let error = match (is_usable, connected) {
                (true, true) => Error::delivery_failed(id),
                (true, false) => Error::relay_unavailable(),
                (false, _) => Error::recipient_timeout(id, send.timeout.as_millis()),
            };
            (send.done)(Err(error));
        }
        for (_, done) in late {
            let _nobody_waits = done.send(false);
        }
        for envelope in dropped {
            self.reject(envelope, Error::decryption_failed(id), step);
        }
    }

    /// Tries again what a failed store held up; keys that came meanwhile are asked for again.
    pub(super) async fn retry_held(&mut self, step: &mut Step) {
        let waiting: Vec<String> = self.attention.iter().cloned().collect();
        for id in waiting {
            if self.load(&id).await.is_err() {
                self.retry_soon();
            } else {
                let (user, peer) = (self.id.clone(), id.clone());
                self.link.request(Request::Watch { user, peer });
                self.open_held(&id, step).await;
                self.tidy(&id);
            }
        }
    }

    /// Forgets a peer for whom nothing waits and with whom nothing was agreed.
    pub(super) fn tidy(&mut self, id: &str) {
        let Some(peer) = self.peers.get(id) else { return };
        if peer.is_quiet() {
            self.attention.remove(id);
        }
        if peer.is_stranger() {
            self.peers.remove(id);
            self.link.request(Request::Unwatch { user: self.id.clone(), peer: id.to_owned() });
        }
    }
}
