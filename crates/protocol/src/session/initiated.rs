//! We began and have received nothing: there is no receiving chain, and nothing to derive one.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::established::{Established, Turn};
use super::{DecryptError, Message, OpenedBy, Sending};
use crate::chain::SendingChain;
use crate::keys::{RatchetKeyPair, SignedPrekey};
use crate::root_key::RootKey;

#[derive(Clone)]
pub(crate) struct Initiated {
    pub(crate) root_key: RootKey,
    pub(crate) ratchet_key: RatchetKeyPair,
    /// What the peer's ratchet key stands for until it has answered. Public, and never a key that
    /// the peer sends with.
    pub(crate) their_signed_prekey: SignedPrekey,
    pub(crate) sending: SendingChain,
    pub(crate) post_compromise: bool,
}

impl Initiated {
    /// The peer's first answer makes the receiving chain.
    pub(crate) fn open(
        &self,
        message: &Message<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(Established, Zeroizing<Vec<u8>>, OpenedBy), DecryptError> {
        if message.header.ratchet_key == *self.their_signed_prekey.as_bytes() {
            return Err(DecryptError::SignedPrekey);
        }
        let turn = Turn {
            root_key: &self.root_key,
            ratchet_key: &self.ratchet_key,
            sent: self.sending.counter,
            ending: None,
        };
        turn.open(message, rng)
    }

    /// The peer needs the ratchet key that we have begun with.
    pub(crate) fn force_ratchet(&self) -> Self {
        Self { post_compromise: true, ..self.clone() }
    }
}

impl Sending for Initiated {
    fn sending(&self) -> &SendingChain {
        &self.sending
    }

    fn ratchet_key(&self) -> &RatchetKeyPair {
        &self.ratchet_key
    }

    fn previous_chain_length(&self) -> u32 {
        0
    }

    fn sent(&mut self, next: SendingChain) {
        self.sending = next;
    }
}
