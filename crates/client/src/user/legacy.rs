//! Receiving in wire 3: what clients of the original write.

use stvor_protocol::{DecryptError, HEADER_LENGTH, PeerRecord, Record};

use super::User;
use super::incoming::{decode, nonce_of};
use super::peer::Peer;
use super::step::{Opened, Step};
use crate::Error;
use crate::config::LegacyPeers;
use crate::events::Received;
use crate::link::Envelope;

/// A timestamp further ahead than this is nobody's clock.
const MAX_AHEAD_MS: u64 = 5 * 60 * 1000;

impl User {
    /// Opens a message of wire 3.
    pub(super) async fn open_legacy(&mut self, envelope: Envelope, step: &mut Step) {
        let from = envelope.from.clone();
        let Some(peer) = self.peers.get(&from) else { return };
        let decoded = (decode(&envelope.header), decode(&envelope.ciphertext));
        let (Some(header), Some(ciphertext)) = decoded else {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        };
        let Ok(header) = <[u8; HEADER_LENGTH]>::try_from(header) else {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        };
        if self.legacy_peers == LegacyPeers::Refuse {
            return self.reject(envelope, Error::legacy_refused(&from), step);
        }
        if peer.record().is_none_or(|record| record.legacy().is_none()) {
            // A peer that has wire 4 does not fall back: somebody wants us to.
            if peer.speaks_wire4() {
                return self.reject(envelope, Error::downgraded(&from), step);
            }
        }
        let nonce = nonce_of(&header);
        let opened = match self.decrypt_legacy(&from, &header, &ciphertext) {
            Ok(opened) => opened,
            Err(error) => return self.legacy_not_opened(envelope, &error, step),
        };
        let Some(peer) = self.peers.get(&from) else { return };
        let now_ms = self.clock.now_ms();
        let record = peer.record().cloned().unwrap_or_else(|| PeerRecord::new(now_ms));
        let is_new = peer.record().is_none();
        let record = record.with_legacy(opened.record);
        let timestamp = envelope.timestamp_ms.filter(|at| *at <= now_ms + MAX_AHEAD_MS);
        let timestamp_ms = timestamp.unwrap_or(now_ms);
        let id = envelope.id.clone();
        let Some((record, item)) = record.receive_legacy(id, opened.plaintext, timestamp_ms) else {
            return self.events.error(Error::inbox_full(&from)); // the relay may still have it
        };
        let Some(envelope) = self.admitted(envelope, &record, nonce, step).await else { return };
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.heard();
        peer.working = Some(record);
        step.change(&from);
        step.received.push(received_legacy(&from, &item));
        if is_new {
            self.watch(&from);
        }
        step.opened.push(Opened { from, nonce, envelope });
    }

    /// With the signed prekey in force, or one that was when the peer took it.
    fn decrypt_legacy(
        &mut self,
        from: &str,
        header: &[u8],
        ciphertext: &[u8],
    ) -> Result<stvor_protocol::Opened, DecryptError> {
        let prekeys = self.own.prekeys();
        let peer = self.peers.get(from);
        let known = peer.and_then(Peer::record).and_then(PeerRecord::legacy);
        let announced = peer.and_then(|peer| peer.announced.as_ref());
        let mut outcome = Err(DecryptError::Authentication);
        for keys in std::iter::once(prekeys.local_keys()).chain(prekeys.older_local_keys()) {
            let first = match (known, announced) {
                (None, Some(shown)) => {
                    Record::new(keys, shown.verified.bundle.clone(), &mut self.random).ok()
                }
                _ => None,
            };
            let Some(record) = first.as_ref().or(known) else { break };
            outcome = record.decrypt(keys, header, ciphertext, &mut self.random);
            if !matches!(outcome, Err(DecryptError::Authentication)) {
                break;
            }
        }
        outcome
    }

    fn legacy_not_opened(&mut self, envelope: Envelope, error: &DecryptError, step: &mut Step) {
        let from = envelope.from.clone();
        if matches!(error, DecryptError::MissingMessageKey { .. }) && self.is_ours(&envelope) {
            self.forget_nonce(&envelope);
            return step.settled.extend(envelope.delivery);
        }
        if matches!(error, DecryptError::MissingMessageKey { .. }) {
            self.counters.replays.one();
            return self.settle(envelope, Error::replay_detected(&from), step);
        }
        if self.reads_again_for(&from) {
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.hold_again(envelope, &mut self.held);
            }
            return;
        }
        if self.link.fetches_bundles() {
            return self.ask_who_it_is(envelope, step);
        }
        self.reject(envelope, Error::decryption_failed(&from), step);
    }
}

/// A message of wire 3 as it is handed to the application.
pub(super) fn received_legacy(from: &str, item: &stvor_protocol::LegacyItem) -> Received {
    Received {
        id: item.id().to_owned(),
        sender_id: from.to_owned(),
        content: item.content().clone(),
        ticket: item.ticket(),
        timestamp_ms: item.timestamp_ms(),
    }
}
