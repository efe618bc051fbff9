//! Receiving: open on a scratch record, check the nonce, and only then let the step have it.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use stvor_protocol::{DecryptError, Record};
use tokio::time::{Duration, Instant};

use super::User;
use super::outgoing::now_ms;
use super::step::{Opened, Step};
use crate::Error;
use crate::config::check_user_id;
use crate::events::{Content, ContentKind, Received};
use crate::link::{Envelope, Request};

/// A timestamp further ahead than this is nobody's clock.
const MAX_AHEAD_MS: u64 = 5 * 60 * 1000;

/// At most one look-up of a peer's keys in this time because of messages that do not open.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// With or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
const BASE64_STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);

/// Our messages travel in base64url; the original's decoder takes the standard alphabet as well.
fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL.decode(text).or_else(|_| BASE64_STANDARD.decode(text)).ok()
}

impl User {
    pub(super) async fn message(&mut self, envelope: Envelope, step: &mut Step) {
        let from = envelope.from.clone();
        if check_user_id("from", &from).is_err() || *from == *self.id {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        }
        if self.load(&from).await.is_err() {
            self.peers.entry(from.clone()).or_default();
            self.retry_soon();
        }
        let Some(peer) = self.peers.get(&from) else { return };
        if peer.is_usable() && peer.held.is_empty() {
            self.open(envelope, step).await;
            self.tidy(&from);
        } else {
            self.hold(envelope);
        }
    }

    /// Keeps a message until its sender's keys are known or accepted.
    fn hold(&mut self, envelope: Envelope) {
        let from = envelope.from.clone();
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let first = peer.held.is_empty();
        if peer.hold(envelope, &mut self.held).is_some() {
            // Not settled: a relay that keeps its messages still has it.
            self.counters.rejected();
            self.events.error(Error::decryption_failed(&from));
            return self.tidy(&from);
        }
        self.attention.insert(from.clone());
        if first && self.peers.get(&from).is_some_and(|p| p.blocked.is_none()) {
            self.link.request(Request::Watch { user: self.id.clone(), peer: from });
        }
    }

    /// Opens the messages held for a peer that has become usable.
    pub(super) async fn open_held(&mut self, peer_id: &str, step: &mut Step) {
        let mut waiting = self.peers.get(peer_id).map_or(0, |peer| peer.held.len());
        while waiting > 0 {
            waiting -= 1;
            let Some(peer) = self.peers.get_mut(peer_id).filter(|peer| peer.is_usable()) else {
                return;
            };
            let Some(envelope) = peer.take_held(&mut self.held) else { return };
            self.open(envelope, step).await;
            if self.retry_at.is_some() {
                return; // a store has just failed: not again at once
            }
        }
    }

    /// Opens a message of a usable peer.
    async fn open(&mut self, envelope: Envelope, step: &mut Step) {
        let from = envelope.from.clone();
        let decoded = (decode(&envelope.header), decode(&envelope.ciphertext));
        let (Some(header), Some(ciphertext)) = decoded else {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        };
        let Some(peer) = self.peers.get(&from) else { return };
        let first = match (peer.record(), &peer.announced) {
            (None, Some(announced)) => {
                Record::new(&self.keys, announced.verified.clone(), &mut self.random).ok()
            }
            _ => None,
        };
        let Some(record) = first.as_ref().or(peer.record()) else {
            return self.reject(envelope, Error::decryption_failed(&from), step);
        };
        let opened = match record.decrypt(&self.keys, &header, &ciphertext, &mut self.random) {
            Ok(opened) => opened,
            Err(error) => return self.not_opened(envelope, &error, step),
        };
        let Some(nonce) = header.last_chunk::<12>().copied() else { return };
        match self.is_replay(&from, nonce).await {
            Ok(false) => {}
            Ok(true) => {
                self.counters.replay();
                return self.settle(envelope, Error::replay_detected(&from), step);
            }
            Err(error) => {
                let Some(peer) = self.peers.get_mut(&from) else { return };
                peer.hold_again(envelope, &mut self.held);
                // Whether it was marked is unknown; the ratchet itself refuses a second one.
                self.marked.insert((from.clone(), nonce));
                self.attention.insert(from);
                self.retry_soon();
                return self.events.error(error);
            }
        }
        self.opened(&from, opened, nonce, envelope, step);
    }

    /// Adds an opened message to the step.
    fn opened(
        &mut self,
        from: &str,
        opened: stvor_protocol::Opened,
        nonce: [u8; 12],
        envelope: Envelope,
        step: &mut Step,
    ) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        if !peer.pinned {
            step.pins.push((from.to_owned(), opened.record.their_identity().fingerprint()));
        }
        let is_new = peer.record().is_none();
        peer.heard();
        peer.working = Some(opened.record);
        step.change(from);
        if is_new {
            let peer = from.to_owned();
            self.link.request(Request::Watch { user: self.id.clone(), peer });
        }
        let now = now_ms();
        let received = Received {
            id: envelope.id.clone(),
            sender_id: from.to_owned(),
            content: content(opened.plaintext),
            ticket: 0,
            timestamp_ms: envelope
                .timestamp_ms
                .filter(|at| *at <= now + MAX_AHEAD_MS)
                .unwrap_or(now),
        };
        step.opened.push(Opened { received, nonce, envelope });
    }

    async fn is_replay(&mut self, peer_id: &str, nonce: [u8; 12]) -> Result<bool, Error> {
        let checked = self.stores.replay.check_and_mark(&self.id, peer_id, nonce).await;
        let seen = checked.map_err(|error| Error::storage_failed(&error.0))?;
        // Seen, but by a step of ours that was not committed: new once more.
        Ok(seen && !self.marked.contains(&(peer_id.to_owned(), nonce)))
    }

    fn not_opened(&mut self, envelope: Envelope, error: &DecryptError, step: &mut Step) {
        let from = envelope.from.clone();
        if matches!(error, DecryptError::MissingMessageKey { .. }) {
            self.counters.replay();
            return self.settle(envelope, Error::replay_detected(&from), step);
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let ask = self.link.fetches_bundles()
            && peer.record().is_some()
            && peer.refreshed_at.is_none_or(|at| at.elapsed() > REFRESH_INTERVAL);
        let envelope = match ask {
            // Perhaps the peer has new keys, of which this relay does not tell by itself.
            true => match peer.hold(envelope, &mut self.held) {
                None => {
                    peer.refreshed_at = Some(Instant::now());
                    self.attention.insert(from.clone());
                    let user = self.id.clone();
                    return self.link.request(Request::Refresh { user, peer: from });
                }
                Some(refused) => refused,
            },
            false => envelope,
        };
        self.reject(envelope, Error::decryption_failed(&from), step);
    }

    /// Refuses a message for good.
    pub(super) fn reject(&mut self, envelope: Envelope, error: Error, step: &mut Step) {
        self.counters.rejected();
        self.settle(envelope, error, step);
    }

    fn settle(&mut self, envelope: Envelope, error: Error, step: &mut Step) {
        step.settled.extend(envelope.delivery);
        self.events.error(error);
    }
}

/// Wire 3 says nothing of kinds: what is UTF-8 is text.
fn content(bytes: zeroize::Zeroizing<Vec<u8>>) -> Content {
    let is_text = std::str::from_utf8(&bytes).is_ok();
    Content { kind: if is_text { ContentKind::Text } else { ContentKind::Bytes }, bytes }
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
