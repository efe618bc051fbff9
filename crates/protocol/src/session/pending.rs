//! Agreed on, nothing sent, nothing received: the roles are open.

use std::sync::Arc;

use rand_core::CryptoRng;

use super::Agreement;
use super::initiated::Initiated;
use crate::chain::SendingChain;
use crate::keys::RatchetKeyPair;

#[derive(Clone)]
pub(crate) struct Pending {
    pub(crate) agreement: Arc<Agreement>,
    /// Ours if we begin; discarded unused if the peer does.
    pub(crate) ratchet_key: RatchetKeyPair,
    pub(crate) post_compromise: bool,
}

impl Pending {
    /// We begin: `RK, CKs = KDF_RK(SK, DH(DHs, SPK))`. Costs an agreement.
    ///
    /// Spec: Double Ratchet, section 3.3 (`RatchetInitAlice`).
    pub(crate) fn initiate(&self) -> Initiated {
        let their_signed_prekey = &self.agreement.their_signed_prekey;
        let dh = self.ratchet_key.agree(their_signed_prekey.point());
        let (root_key, chain_key) = self.agreement.root_key.step(&dh);
        Initiated {
            root_key,
            ratchet_key: self.ratchet_key.clone(),
            their_signed_prekey: their_signed_prekey.clone(),
            sending: SendingChain::new(chain_key),
            post_compromise: self.post_compromise,
        }
    }

    pub(crate) fn force_ratchet(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self { ratchet_key: RatchetKeyPair::generate(rng), ..self.clone() }
    }
}
