//! Receiving: open on a scratch record, check the nonce, and only then let the step have it.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use stvor_protocol::{
    Decrypt4Error, HEADER_LENGTH, Message4, NONCE_LENGTH, OpenError, OpenedMessage, Parties,
    PeerRecord, parse_header_field,
};
use tokio::time::{Duration, Instant};
use tracing::{debug, warn};

use super::User;
use super::peer::Peer;
use super::step::{Opened, Receipted, Step};
use crate::Error;
use crate::config::check_user_id;
use crate::events::{Receipt, Received};
use crate::link::{Envelope, Request};
use crate::printable::printable;

/// At most one look-up of a peer's keys in this time because of messages that do not open.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// With or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const BASE64_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Our messages travel in base64url; the original's decoder takes the standard alphabet as well.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL.decode(text).or_else(|_| BASE64_STANDARD.decode(text)).ok()
}

/// The header field of wire 4 has two parts.
pub(super) fn is_wire4(envelope: &Envelope) -> bool {
    envelope.header.contains('.')
}

impl User {
    pub(super) async fn message(&mut self, envelope: Envelope, step: &mut Step) {
        let from = envelope.from.clone();
        if check_user_id("from", &from).is_err() || *from == *self.id {
            return self.reject(envelope, Error::decryption_failed(&printable(&from)), step);
        }
        if let Err(error) = self.load(&from, step).await {
            self.peers.entry(from.clone()).or_default();
            self.not_read(&from, error);
        }
        let peer = self.peers.entry(from.clone()).or_default();
        let opens = can_open(peer, &envelope) && peer.held.is_empty();
        if opens && self.may_receive() && !self.redoing {
            self.open(envelope, step).await;
            self.go_on(&from, step);
            self.tidy(&from);
        } else {
            self.hold(envelope, step);
        }
    }

    /// A message may have brought a session: what waited for one goes.
    fn go_on(&mut self, peer_id: &str, step: &mut Step) {
        let waits = self.peers.get(peer_id).is_some_and(|peer| !peer.sends.is_empty());
        if waits && self.link.is_connected() {
            self.seal_waiting(peer_id, step);
        }
        self.deliver(peer_id, step);
    }

    /// Keeps a message until its sender's keys are known or accepted.
    fn hold(&mut self, envelope: Envelope, step: &mut Step) {
        let from = envelope.from.clone();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let first = peer.held.is_empty();
        if peer.hold(envelope, &mut self.held).is_some() {
            // Not settled: a relay that keeps its messages still has it.
            let error = Error::decryption_failed(&from);
            log_refusal(&from, &error);
            self.events.error(error);
            return self.tidy(&from);
        }
        step.touch(&from);
        self.attention.insert(from.clone());
        if first && self.peers.get(&from).is_some_and(|p| p.blocked.is_none()) {
            self.link.request(Request::Watch { user: self.id.clone(), peer: from });
        }
    }

    /// Opens the messages held for a peer that has become usable.
    pub(super) async fn open_held(&mut self, peer_id: &str, step: &mut Step) {
        let waiting = self.peers.get(peer_id).filter(|_| self.may_receive());
        let mut waiting = waiting.map_or(0, |peer| peer.held.len());
        while waiting > 0 {
            waiting -= 1;
            let Some(peer) = self.peers.get(peer_id) else { return };
            let next = peer.held.front().filter(|held| can_open(peer, &held.envelope));
            let Some(next) = next else { return };
            // Such as are known to be new, or known to be replays: nothing undoes this step again.
            if self.redoing && !self.was_checked(peer_id, &next.envelope) {
                return;
            }
            let Some(peer) = self.peers.get_mut(peer_id) else { return };
            let held = peer.held.len();
            let Some(envelope) = peer.take_held(&mut self.held) else { return };
            self.open(envelope, step).await;
            if self.peers.get(peer_id).is_some_and(|peer| peer.held.len() == held) {
                return; // a store has just failed: not again at once
            }
        }
        self.go_on(peer_id, step);
    }

    async fn open(&mut self, envelope: Envelope, step: &mut Step) {
        if is_wire4(&envelope) {
            self.open_wire4(envelope, step).await;
        } else {
            self.open_legacy(envelope, step).await;
        }
    }

    async fn open_wire4(&mut self, envelope: Envelope, step: &mut Step) {
        let from = envelope.from.clone();
        let field = parse_header_field(&envelope.header).ok().flatten();
        let (Some(field), Some(ciphertext)) = (field, decode(&envelope.ciphertext)) else {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        };
        let Ok(message) = Message4::parse(&field.header, &field.trailer, &ciphertext) else {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        };
        let Some(peer) = self.peers.get(&from) else { return };
        if !is_expected(peer, &message) {
            let after_ms = message.begun_ms();
            let error = Decrypt4Error::IdentityMismatch.into();
            return self.not_opened(envelope, &error, after_ms, true, step);
        }
        let (now_ms, after_ms) = (self.clock.now_ms(), message.begun_ms());
        let nonce = nonce_of(&field.header);
        let is_sure = self.will_admit(&from, nonce, ciphertext.len(), step);
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let parties = Parties { sender: &from, recipient: &self.id };
        let own = step.user.as_ref().unwrap_or(&self.own);
        let random = &mut self.random;
        let mut open =
            |record: &mut PeerRecord| record.open(own.prekeys(), parties, &message, now_ms, random);
        // In place, unless what is opened may yet be refused.
        let opened = if is_sure {
            peer.try_change(open).map(|opened| opened.map(|opened| (opened, None)))
        } else {
            let mut record = peer.record().cloned().unwrap_or_else(|| PeerRecord::new(now_ms));
            Some(open(&mut record).map(|opened| (opened, Some(record))))
        };
        match opened {
            Some(Ok((opened, record))) => {
                self.opened_wire4(envelope, opened, record, nonce, step).await;
            }
            Some(Err(error)) => {
                let identity = self.own.prekeys().local_keys().identity_key();
                let is_ours = !self.never_met(&from) || message.is_begun_with(parties, identity);
                if !is_ours && self.is_left_over(&message) {
                    debug!(peer = from, "left over for an earlier identity");
                    return step.settled.extend(envelope.delivery);
                }
                self.not_opened(envelope, &error, after_ms, is_ours, step);
            }
            None => {}
        }
    }

    /// Whether nothing can be said against a message that opens on a session of this peer: its
    /// identity is pinned, its nonce is the only one in the step, and there is room.
    fn will_admit(&self, from: &str, nonce: [u8; 12], bytes: usize, step: &Step) -> bool {
        let peer = self.peers.get(from);
        let is_pinned = |peer: &Peer| {
            peer.pinned && peer.record().is_some_and(|record| record.sending_session().is_some())
        };
        let nonce = (from.to_owned(), nonce);
        peer.is_some_and(is_pinned)
            && self.pending.has_ample_room(bytes)
            && !self.replayed.contains(&nonce)
            && !step.unchecked.contains(&nonce)
    }

    async fn opened_wire4(
        &mut self,
        envelope: Envelope,
        opened: OpenedMessage,
        record: Option<PeerRecord>,
        nonce: [u8; 12],
        step: &mut Step,
    ) {
        let from = envelope.from.clone();
        let mut is_new = false;
        let envelope = match record {
            Some(record) => {
                // Before its nonce is marked: it comes again.
                let peer = self.peers.get(&from);
                if !peer.is_some_and(|peer| self.pending.has_room(peer, &record)) {
                    return self.events.error(Error::pending_full(&from));
                }
                let admitted = self.admitted(envelope, &record, nonce, step).await;
                let Some(envelope) = admitted else { return };
                let Some(peer) = self.peers.get_mut(&from) else { return };
                is_new = peer.record().is_none();
                peer.working = Some(record);
                envelope
            }
            None => {
                step.unchecked.insert((from.clone(), nonce));
                envelope
            }
        };
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let OpenedMessage { delivered, handled, used_one_time } = opened;
        step.receipted += handled.len() as u64;
        peer.heard();
        self.pending.count(peer);
        let told = self.events.wants_receipts();
        if told || !peer.receipts.is_empty() {
            for seq in handled {
                let waiting = peer.receipts.remove(&seq);
                if told || waiting.is_some() {
                    let id = stvor_protocol::message_id(&self.id, &from, seq);
                    let receipt = Receipt { id, recipient_id: from.clone() };
                    step.receipts.push(Receipted { seq, receipt, waiting });
                }
            }
        }
        if let Some(id) = used_one_time {
            let own = step.user.as_ref().unwrap_or(&self.own);
            step.user = Some(own.with_prekeys(own.prekeys().without_one_time(id)));
        }
        if is_new {
            self.watch(&from);
        }
        for item in delivered {
            let id = stvor_protocol::message_id(&from, &self.id, item.seq);
            step.received.push(Received {
                id,
                sender_id: from.clone(),
                content: item.content,
                ticket: item.seq,
                timestamp_ms: item.timestamp_ms,
            });
        }
        step.change(&from);
        step.opened.push(Opened { from, nonce, envelope });
    }

    pub(super) fn watch(&mut self, peer_id: &str) {
        let peer = peer_id.to_owned();
        self.link.request(Request::Watch { user: self.id.clone(), peer });
    }

    /// Checks the identity that an opened message proves against the pin, and notes its nonce for
    /// the replay cache, which is asked once for the whole step. Gives the envelope back if the
    /// message may be received.
    pub(super) async fn admitted(
        &mut self,
        envelope: Envelope,
        record: &PeerRecord,
        nonce: [u8; 12],
        step: &mut Step,
    ) -> Option<Envelope> {
        let from = envelope.from.clone();
        // A pin alone says nothing of this identity: it may have been set before any was seen.
        let peer = self.peers.get(&from)?;
        let known = peer.record().and_then(PeerRecord::their_identity);
        let checked = peer.pinned && known.is_some() && known == record.their_identity();
        let identity = record.their_identity().filter(|_| !checked);
        if let Some(fingerprint) = identity.map(|identity| identity.fingerprint()) {
            match self.verify_pin(&from, &fingerprint, step).await {
                Ok(None) => step.pin(&from, fingerprint),
                Ok(Some(true)) => self.peers.get_mut(&from)?.pinned = true,
                // Whoever writes in the peer's name decides nothing: what the relay shows does.
                Ok(Some(false)) => {
                    self.ask_who_it_is(envelope, step);
                    return None;
                }
                Err(error) => {
                    let error = self.counters.storage(&error);
                    self.open_later(envelope, error);
                    return None;
                }
            }
        }
        let nonce = (from, nonce);
        if self.replayed.contains(&nonce) || !step.unchecked.insert(nonce) {
            self.counters.replays.one();
            let error = Error::replay_detected(&envelope.from);
            self.settle(envelope, error, step);
            return None;
        }
        Some(envelope)
    }

    /// Whether messages may be opened: while a store fails, they would only take with them
    /// whatever else a step does.
    fn may_receive(&self) -> bool {
        !self.paused && self.receive_at.is_none()
    }

    /// Whether the replay cache was asked about a message already.
    fn was_checked(&self, from: &str, envelope: &Envelope) -> bool {
        let Some(nonce) = envelope_nonce(envelope) else { return true }; // it does not open
        let nonce = (from.to_owned(), nonce);
        self.marked.contains(&nonce) || self.replayed.contains(&nonce)
    }

    /// A store failed: the message is opened again when it works.
    fn open_later(&mut self, envelope: Envelope, error: Error) {
        let from = envelope.from.clone();
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.hold_again(envelope, &mut self.held);
            self.attention.insert(from);
            self.retry_soon();
            self.events.error(error);
        }
    }

    /// A message of wire 4 was refused; its sender may need a new session, if what they have `is_ours`
    /// and not with an identity that we had before.
    fn not_opened(
        &mut self,
        envelope: Envelope,
        error: &OpenError,
        after_ms: u64,
        is_ours: bool,
        step: &mut Step,
    ) {
        let from = envelope.from.clone();
        match error {
            // It was kept by a step that seemed to have failed.
            OpenError::Decrypt(Decrypt4Error::Replay) if self.is_ours(&envelope) => {
                self.forget_nonce(&envelope);
                step.settled.extend(envelope.delivery);
            }
            OpenError::Decrypt(Decrypt4Error::Replay) => {
                self.counters.replays.one();
                self.settle(envelope, Error::replay_detected(&from), step);
            }
            // There is no room for it now. The sender keeps it until it has been handled.
            OpenError::Full => self.events.error(Error::inbox_full(&from)),
            OpenError::Decrypt(Decrypt4Error::IdentityMismatch) => {
                self.ask_who_it_is(envelope, step)
            }
            error => {
                if is_ours && error.calls_for_a_new_session() {
                    self.heal(&from, after_ms, step);
                }
                self.reject(envelope, Error::decryption_failed(&from), step);
            }
        }
    }

    /// Whether nothing can have been agreed with a peer: our identity is as new as this stay, and no
    /// message of theirs has opened. There is nothing to heal then, and a relay may show keys of theirs that
    /// are as old as the message: those are not to be pinned because of it.
    ///
    /// Where a relay does not announce, a session that heals is how peers learn of our new identity.
    fn never_met(&self, peer_id: &str) -> bool {
        let announces = !self.link.fetches_bundles();
        let is_new = announces && self.identity_made_ms.is_some();
        is_new && self.peers.get(peer_id).and_then(Peer::record).is_none()
    }

    /// Whether a message is of an answered session and older than our identity, by its own account: what
    /// a relay had kept for the one before.
    fn is_left_over(&self, message: &Message4<'_>) -> bool {
        let is_older = |made_ms| message.timestamp_ms() < made_ms;
        !message.has_handshake() && self.identity_made_ms.is_some_and(is_older)
    }

    /// Perhaps the peer has new keys, of which the relay has not told: asks, once in a while.
    pub(super) fn ask_who_it_is(&mut self, envelope: Envelope, step: &mut Step) {
        let from = envelope.from.clone();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let ask = peer.refreshed_at.is_none_or(|at| at.elapsed() > REFRESH_INTERVAL);
        if !ask {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        }
        if let Some(envelope) = peer.hold(envelope, &mut self.held) {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        }
        peer.refreshed_at = Some(Instant::now());
        step.touch(&from);
        self.attention.insert(from.clone());
        self.link.request(Request::Refresh { user: self.id.clone(), peer: from });
    }

    /// Refuses a message for good.
    pub(super) fn reject(&mut self, envelope: Envelope, error: Error, step: &mut Step) {
        self.counters.rejected.one();
        self.settle(envelope, error, step);
    }

    /// Whether the message was opened before, by a step that was not taken.
    pub(super) fn is_ours(&self, envelope: &Envelope) -> bool {
        let nonce = envelope_nonce(envelope).filter(|_| !self.marked.is_empty());
        nonce.is_some_and(|nonce| self.marked.contains(&(envelope.from.clone(), nonce)))
    }

    /// That its nonce was marked by a step that was not taken ends with the message.
    pub(super) fn forget_nonce(&mut self, envelope: &Envelope) {
        if let Some(nonce) = envelope_nonce(envelope).filter(|_| !self.marked.is_empty()) {
            self.marked.remove(&(envelope.from.clone(), nonce));
        }
    }

    pub(super) fn settle(&mut self, envelope: Envelope, error: Error, step: &mut Step) {
        self.forget_nonce(&envelope);
        log_refusal(&envelope.from, &error);
        step.settled.extend(envelope.delivery);
        self.events.error(error);
    }
}

fn log_refusal(from: &str, error: &Error) {
    warn!(code = error.code.as_str(), "message refused");
    debug!(peer = printable(from), "whose message was refused");
}

/// The nonce of a message of either wire; `None` if it has none.
fn envelope_nonce(envelope: &Envelope) -> Option<[u8; NONCE_LENGTH]> {
    let header = match is_wire4(envelope) {
        true => parse_header_field(&envelope.header).ok()??.header,
        false => <[u8; HEADER_LENGTH]>::try_from(decode(&envelope.header)?).ok()?,
    };
    Some(nonce_of(&header))
}

/// Whether the message can be tried now.
fn can_open(peer: &Peer, envelope: &Envelope) -> bool {
    match is_wire4(envelope) {
        true => peer.blocked.is_none() && peer.loaded, // it brings the keys that it needs
        false => peer.can_open_legacy(),
    }
}

/// Whether a handshake comes from the identity that we know.
fn is_expected(peer: &Peer, message: &Message4<'_>) -> bool {
    let known = peer.record().and_then(PeerRecord::their_identity);
    let shown = peer.announced.as_ref().map(|shown| shown.verified.bundle.identity_key());
    match (message.sender_identity(), known.or(shown)) {
        (Ok(Some(claimed)), Some(known)) => claimed == *known,
        _ => true,
    }
}

/// A header's last bytes.
pub(super) fn nonce_of(header: &[u8; HEADER_LENGTH]) -> [u8; NONCE_LENGTH] {
    let mut nonce = [0; NONCE_LENGTH];
    nonce.copy_from_slice(&header[HEADER_LENGTH - NONCE_LENGTH..]);
    nonce
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn base64_is_read_in_both_alphabets_with_and_without_padding() {
        for text in ["-_8", "-_8=", "+/8", "+/8="] {
            assert_eq!(decode(text).as_deref(), Some([0xfb, 0xff].as_slice()), "{text}");
        }
        assert_eq!(decode("-/8"), None, "not both at once");
        assert_eq!(decode("a"), None);
    }
}
