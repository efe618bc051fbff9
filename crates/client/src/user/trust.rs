//! Peers' keys: verified as bundles, pinned at first contact, blocked when they change.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use stvor_protocol::{
    Parties, PeerKeys, PeerRecord, PrekeyBundle, V4Error, VerifiedBundle, VerifiedV4,
};
use stvor_wire::PublicKeyBundle;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::User;
use super::legacy::received_legacy;
use super::peer::{Announced, Peer, Waits};
use super::step::{Begun, Step};
use crate::config::LegacyPeers;
use crate::events::Received;
use crate::link::Request;
use crate::{Error, StoreError};

/// Length of a fingerprint: 32 bytes in lower-case hex.
const FINGERPRINT: usize = 64;

impl User {
    /// Makes sure that the peer's committed record is in memory. What it holds for the application
    /// since an earlier stay is handed over.
    pub(super) async fn load(&mut self, peer_id: &str, step: &mut Step) -> Result<(), Error> {
        if self.peers.get(peer_id).is_some_and(|peer| peer.loaded) {
            return Ok(());
        }
        let counters = self.counters.clone();
        let failed = |error: StoreError| counters.storage(&error);
        let record = self.stores.sessions.load(&self.id, peer_id).await.map_err(failed)?;
        let identity = record.as_ref().and_then(PeerRecord::their_identity);
        let fingerprint = identity.map(|identity| identity.fingerprint());
        let pinned = match &fingerprint {
            Some(fingerprint) => {
                self.verify_pin(peer_id, fingerprint, step).await.map_err(failed)?
            }
            None => None,
        };
        // What is read again was given before, here or by the process that has written it.
        let again = self.reloading.remove(peer_id);
        self.unreadable.remove(peer_id);
        let peer = self.peers.entry(peer_id.to_owned()).or_default();
        peer.loaded = true;
        step.touch(peer_id);
        if let Some(record) = record {
            let record = record.resumed(self.clock.now_ms());
            match again {
                true => self.read_once_more(peer_id, &record),
                false => self.give_again(peer_id, &record, |_| true),
            }
            let peer = self.peers.entry(peer_id.to_owned()).or_default();
            peer.committed = Some(record);
            self.pending.count(peer);
            peer.pinned = pinned == Some(true);
            // Another identity was accepted before it was shown: the record waits to be replaced.
            peer.blocked = fingerprint.filter(|_| pinned == Some(false));
            let (user, peer) = (self.id.clone(), peer_id.to_owned());
            self.link.request(Request::Watch { user, peer });
        }
        Ok(())
    }

    /// Whether this is the pinned fingerprint, `None` if none is pinned. What the step pins counts
    /// before what the store has, which learns of it when the step is committed.
    pub(super) async fn verify_pin(
        &mut self,
        peer_id: &str,
        fingerprint: &str,
        step: &mut Step,
    ) -> Result<Option<bool>, StoreError> {
        match step.pinned(peer_id) {
            Some(pinned) => Ok(Some(pinned == fingerprint)),
            None => self.stores.tofu.verify_fingerprint(&self.id, peer_id, fingerprint).await,
        }
    }

    /// A record cannot be read: the application is told once, and it is tried again soon.
    pub(super) fn not_read(&mut self, peer_id: &str, error: Error) {
        if self.unreadable.insert(peer_id.to_owned()) {
            self.events.error(error);
        }
        self.retry_soon();
    }

    /// Hands over what was received before and not handled, as far as `wanted` by its ticket.
    pub(super) fn give_again(
        &mut self,
        peer_id: &str,
        record: &PeerRecord,
        wanted: impl Fn(u64) -> bool,
    ) {
        let wire4 = record.inbox().map(|item| Received {
            id: stvor_protocol::message_id(peer_id, &self.id, item.seq),
            sender_id: peer_id.to_owned(),
            content: item.content.clone(),
            ticket: item.seq,
            timestamp_ms: item.timestamp_ms,
        });
        let legacy = record.legacy_inbox().map(|item| received_legacy(peer_id, item));
        let batch: Vec<Received> =
            legacy.chain(wire4).filter(|message| wanted(message.ticket)).collect();
        if batch.is_empty() {
            return;
        }
        let tickets = batch.iter().map(|message| message.ticket);
        self.peers.entry(peer_id.to_owned()).or_default().given.extend(tickets);
        self.events.messages(batch);
    }

    /// The relay shows a peer's keys, because it was asked or because they are announced.
    pub(super) async fn bundle(
        &mut self,
        peer_id: String,
        raw: PublicKeyBundle,
        is_news: bool,
        step: &mut Step,
    ) {
        if self.load(&peer_id, step).await.is_err() {
            self.attention.insert(peer_id);
            return self.retry_soon();
        }
        let shown = self.peers.get(&peer_id).and_then(|peer| peer.announced.as_ref());
        if shown.is_none_or(|shown| shown.raw != raw) {
            let verified = match self.verify(&peer_id, &raw) {
                Ok(verified) => verified,
                Err(error) => {
                    self.counters.auth_failures.one();
                    warn!(code = error.code.as_str(), "keys refused");
                    debug!(peer = peer_id, "whose keys were refused");
                    self.events.error(error);
                    return self.tidy(&peer_id);
                }
            };
            if let Err(error) = self.announced(&peer_id, Announced { raw, verified }, step).await {
                // Whoever waits for these keys can try again; nobody is told that there are none.
                if let Some(peer) = self.peers.get_mut(&peer_id) {
                    peer.send_bytes = 0;
                    for send in std::mem::take(&mut peer.sends) {
                        (send.done)(Err(error.clone()));
                    }
                }
                self.events.error(error);
                self.attention.insert(peer_id);
                return self.retry_soon();
            }
        } else if is_news {
            self.came_back(&peer_id, step);
        }
        self.release(&peer_id, step).await;
    }

    /// A peer announces the same keys again: perhaps it was away while the relay dropped messages.
    fn came_back(&mut self, peer_id: &str, step: &mut Step) {
        let behind = self.peers.get(peer_id).filter(|peer| peer.lost_too_much(true));
        match behind.map(Peer::speaks_wire4) {
            Some(true) => self.begin_anew(peer_id, step),
            Some(false) => self.begin_legacy_anew(peer_id, step),
            None => {}
        }
        self.probe_soon(peer_id, step);
    }

    fn begin_legacy_anew(&mut self, peer_id: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        let Some(record) = peer.record() else { return };
        if let Some(legacy) = record.legacy() {
            let anew = legacy.begin_anew(&mut self.random);
            let record = record.with_legacy(anew);
            peer.heard();
            peer.working = Some(record);
            step.begin(peer_id, Begun::Anew);
            step.change(peer_id);
        }
    }

    fn verify(&self, peer_id: &str, raw: &PublicKeyBundle) -> Result<PeerKeys, Error> {
        let parsed = PrekeyBundle::parse_base64url(
            &raw.identity_key,
            &raw.signed_pre_key,
            &raw.signed_pre_key_signature,
        );
        let verified = parsed.and_then(PrekeyBundle::verify);
        let bundle = verified.map_err(|_| Error::invalid_bundle(peer_id))?;
        // With a key of ours the agreement has no lower and upper side.
        let ours = self.own.prekeys().local_keys();
        if bundle.identity_key() == ours.identity_key()
            || bundle.signed_prekey() == ours.signed_prekey().public()
        {
            return Err(Error::invalid_bundle(peer_id));
        }
        let record = self.peers.get(peer_id).and_then(Peer::record);
        let v4 = match &raw.v4 {
            Some(blob) => {
                let now_ms = self.clock.now_ms();
                let blob = BASE64.decode(blob).map_err(|_| Error::invalid_bundle(peer_id))?;
                let v4 = VerifiedV4::verify(&blob, &bundle, peer_id, now_ms);
                Some(v4.map_err(|error| match error {
                    V4Error::Expired => Error::outdated_bundle(peer_id),
                    _ => Error::invalid_bundle(peer_id),
                })?)
            }
            // Somebody has taken out what tells of wire 4, or the peer has gone back to less.
            None if self.has_shown_wire4(peer_id, &bundle) => {
                return Err(Error::downgraded(peer_id));
            }
            None => None,
        };
        if let (Some(v4), Some(record)) = (&v4, record)
            && record.their_identity() == Some(bundle.identity_key())
            && v4.valid_until_ms() < record.newest_bundle_ms()
        {
            return Err(Error::outdated_bundle(peer_id));
        }
        Ok(PeerKeys { bundle, v4 })
    }

    /// Whether this identity was seen with wire 4, in a message or in a bundle.
    fn has_shown_wire4(&self, peer_id: &str, bundle: &VerifiedBundle) -> bool {
        let Some(peer) = self.peers.get(peer_id) else { return false };
        let seen = peer.record().is_some_and(|r| r.has_seen_wire4_of(bundle.identity_key()));
        let shown = peer.announced.as_ref().is_some_and(|shown| {
            let PeerKeys { bundle: known, v4 } = &shown.verified;
            v4.is_some() && known.identity_key() == bundle.identity_key()
        });
        seen || shown
    }

    /// Checks new keys against the pin; takes them, or blocks the peer.
    async fn announced(
        &mut self,
        peer_id: &str,
        announced: Announced,
        step: &mut Step,
    ) -> Result<(), Error> {
        let fingerprint = announced.verified.bundle.fingerprint();
        let checked = self.verify_pin(peer_id, &fingerprint, step).await;
        let pinned = checked.map_err(|error| self.counters.storage(&error))?;
        let Some(peer) = self.peers.get_mut(peer_id) else { return Ok(()) };
        // A record is a pin too: its keys were agreed with that identity.
        let agreed = peer.record().and_then(PeerRecord::their_identity);
        let is_agreed = agreed.is_none_or(|key| key == announced.verified.bundle.identity_key());
        step.note(peer_id, peer);
        if pinned == Some(false) || (pinned.is_none() && !is_agreed) {
            let error = Error::identity_changed(peer_id, &fingerprint);
            let change = peer.identity_change(peer_id, &announced);
            peer.announced = Some(announced);
            peer.send_bytes = 0;
            for send in std::mem::take(&mut peer.sends) {
                (send.done)(Err(error.clone()));
            }
            if peer.blocked.as_ref() != Some(&fingerprint) {
                peer.blocked = Some(fingerprint);
                warn!("identity changed");
                debug!(peer = peer_id, "whose identity changed");
                self.events.error(error);
                self.events.identity_changed(change);
            }
            return Ok(());
        }
        peer.pinned = pinned == Some(true);
        self.accept(peer_id, announced, step);
        Ok(())
    }

    /// Takes keys that match the pin; a record follows them.
    fn accept(&mut self, peer_id: &str, announced: Announced, step: &mut Step) {
        let now_ms = self.clock.now_ms();
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        peer.blocked = None;
        if let Some(record) = peer.record() {
            let keys = self.own.prekeys().local_keys();
            let parties = Parties { sender: peer_id, recipient: &self.id };
            let next =
                record.following(keys, &announced.verified, parties, now_ms, &mut self.random);
            if let Some(next) = next {
                peer.working = Some(next);
                step.change(peer_id);
            }
        }
        peer.announced = Some(announced);
    }

    /// The peer's keys are known: whatever waited for them goes on.
    async fn release(&mut self, peer_id: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        step.touch(peer_id);
        for (_, waiter) in std::mem::take(&mut peer.waiters) {
            self.known(peer_id, waiter, step);
        }
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        if peer.blocked.is_none() {
            if self.legacy_peers == LegacyPeers::Refuse && !peer.speaks_wire4() {
                peer.send_bytes = 0;
                for send in std::mem::take(&mut peer.sends) {
                    (send.done)(Err(Error::legacy_refused(peer_id)));
                }
            }
            self.introduced(peer_id);
            self.begin_sought(peer_id, step);
            self.resume_sends(peer_id, step);
            self.open_held(peer_id, step).await;
        }
        self.tidy(peer_id);
    }

    /// Seals what waits, or asks for what is needed to begin a session.
    pub(super) fn resume_sends(&mut self, peer_id: &str, step: &mut Step) {
        let Some(peer) = self.peers.get(peer_id) else { return };
        let awaits = peer.record().is_some_and(PeerRecord::wants_sealing);
        match peer.can_seal() {
            true if self.link.is_connected() => self.seal_waiting(peer_id, step),
            false if peer.speaks_wire4() && (!peer.sends.is_empty() || awaits) => {
                self.seek_first(peer_id);
            }
            _ => {}
        }
    }

    /// The relay knows no such peer, or could not say whether their keys are still the same.
    pub(super) async fn unknown(&mut self, peer_id: &str, step: &mut Step) {
        self.refuse_impatient(peer_id);
        self.looked_up(peer_id, None);
        self.begin_sought(peer_id, step); // with the keys known from before, if there are any
        self.open_held(peer_id, step).await;
        step.touch(peer_id);
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
        self.load(&peer_id, step).await?;
        self.pin(&peer_id, &fingerprint, step).await;
        self.tidy(&peer_id);
        Ok(())
    }

    async fn pin(&mut self, peer_id: &str, fingerprint: &str, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(peer_id) else { return };
        step.note(peer_id, peer);
        step.repin(peer_id, fingerprint.to_owned());
        peer.pinned = true;
        let Some(announced) = peer.announced.take() else {
            // What was agreed with another identity is not used until the accepted one is shown.
            let agreed = peer.record().and_then(PeerRecord::their_identity);
            let agreed = agreed.map(|identity| identity.fingerprint());
            peer.blocked = agreed.filter(|agreed| agreed != fingerprint);
            return;
        };
        if announced.verified.bundle.fingerprint() == fingerprint {
            self.accept(peer_id, announced, step);
            self.release(peer_id, step).await;
        } else {
            peer.blocked = Some(announced.verified.bundle.fingerprint());
            peer.announced = Some(announced);
        }
    }

    /// Ends the waits for a peer whose time is over.
    pub(super) fn expire_peer(&mut self, id: &str, now: Instant, step: &mut Step) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        step.touch(id);
        let is_over = peer.stranger_until.is_some_and(|until| until <= now);
        let (over, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut peer.sends).into_iter().partition(|send| send.deadline <= now);
        peer.sends = waiting.into();
        peer.send_bytes = peer.sends.iter().map(|send| send.content.len()).sum();
        let waiters = std::mem::take(&mut peer.waiters).into_iter();
        let (late, waiting): (Vec<_>, Vec<_>) = waiters.partition(|(at, _)| *at <= now);
        peer.waiters = waiting;
        let Waits { unsent, receipts } = peer.take_waiting(|_, deadline| deadline <= now);
        let mut dropped = Vec::new();
        while let Some(envelope) = peer.take_overdue(now, &mut self.held) {
            dropped.push(envelope);
        }
        let (is_usable, connected) = (peer.can_seal(), self.link.is_connected());
        for send in over {
            let error = match (is_usable, connected) {
                (_, false) => self.link.unavailable(),
                (true, true) => Error::delivery_failed(id),
                (false, true) => Error::recipient_timeout(id, send.timeout.as_millis()),
            };
            (send.done)(Err(error));
        }
        for (seq, unsent) in unsent {
            self.withdraw(id, seq, step);
            if let Some(done) = unsent.done {
                done(Err(if connected {
                    Error::delivery_failed(id)
                } else {
                    self.link.unavailable()
                }));
            }
        }
        for (_, (_, done)) in receipts {
            done(Err(Error::receipt_timeout(id)));
        }
        for (_, waiter) in late {
            waiter.late(id);
        }
        for envelope in dropped {
            self.reject(envelope, Error::decryption_failed(id), step);
        }
        if is_over {
            self.introduced(id);
        }
    }

    /// Tries again what a failed store held up; keys that came meanwhile are asked for again.
    pub(super) async fn retry_held(&mut self, step: &mut Step) {
        self.read_others_again();
        let waiting: Vec<String> = self.attention.iter().cloned().collect();
        for id in waiting {
            step.touch(&id);
            if let Err(error) = self.load(&id, step).await {
                self.not_read(&id, error);
            } else {
                let (user, peer) = (self.id.clone(), id.clone());
                self.link.request(Request::Watch { user, peer });
                self.resume_sends(&id, step);
                self.open_held(&id, step).await;
                self.tidy(&id);
            }
        }
        for (id, seq) in std::mem::take(&mut self.withdraw_again) {
            self.withdraw(&id, seq, step);
        }
        self.write_again(step);
        let handled = std::mem::take(&mut self.handled_again);
        self.handled(handled, step).await;
    }

    /// Forgets a peer for whom nothing waits and with whom nothing was agreed.
    pub(super) fn tidy(&mut self, id: &str) {
        let Some(peer) = self.peers.get(id) else { return };
        if peer.is_quiet() {
            self.attention.remove(id);
        }
        if peer.is_stranger() && !self.reloading.contains(id) && !self.unsure.contains(id) {
            self.peers.remove(id);
            self.link.request(Request::Unwatch { user: self.id.clone(), peer: id.to_owned() });
        }
    }
}
