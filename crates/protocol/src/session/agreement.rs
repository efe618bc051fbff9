//! What X3DH leaves behind: the ground on which sessions with a peer begin.

use std::sync::Arc;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::established::{Established, Turn};
use super::{DecryptError, EstablishError, Identities, Message, OpenedBy};
use crate::bundle::VerifiedBundle;
use crate::keys::{IdentityKey, IdentityKeyPair, LocalKeys, SignedPrekey, SignedPrekeyPair};
use crate::root_key::RootKey;
use crate::x3dh::x3dh_symmetric;

/// The shared secret as first root key, and the signed prekeys of both sides.
///
/// It is kept as long as sessions may begin. That gives nothing away that our long-term keys would
/// not: whoever holds them computes it again, and it opens nothing without a private ratchet key
/// or signed prekey.
pub(crate) struct Agreement {
    pub(crate) identities: Arc<Identities>,
    pub(crate) root_key: RootKey,
    pub(crate) our_signed_prekey: SignedPrekeyPair,
    pub(crate) their_signed_prekey: SignedPrekey,
}

impl Agreement {
    /// Costs three agreements.
    pub(crate) fn new(ours: &LocalKeys, theirs: &VerifiedBundle) -> Result<Self, EstablishError> {
        Self::unverified(
            ours.identity(),
            ours.signed_prekey(),
            theirs.identity_key(),
            theirs.signed_prekey(),
        )
    }

    pub(crate) fn unverified(
        our_identity: &IdentityKeyPair,
        our_signed_prekey: &SignedPrekeyPair,
        their_identity: &IdentityKey,
        their_signed_prekey: &SignedPrekey,
    ) -> Result<Self, EstablishError> {
        if our_identity.public() == their_identity
            || our_signed_prekey.public() == their_signed_prekey
        {
            return Err(EstablishError::OwnKeys);
        }
        let secret =
            x3dh_symmetric(our_identity, our_signed_prekey, their_identity, their_signed_prekey);
        let identities =
            Identities { ours: our_identity.public().clone(), theirs: their_identity.clone() };
        Ok(Self {
            identities: Arc::new(identities),
            root_key: RootKey::new(secret.as_bytes()),
            our_signed_prekey: our_signed_prekey.clone(),
            their_signed_prekey: their_signed_prekey.clone(),
        })
    }

    /// Opens the peer's first message. Our first ratchet key is our signed prekey.
    ///
    /// Spec: Double Ratchet, section 7.1 ("Integration with X3DH").
    pub(crate) fn respond(
        &self,
        message: &Message<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(Established, Zeroizing<Vec<u8>>, OpenedBy), DecryptError> {
        if message.header.ratchet_key == *self.their_signed_prekey.as_bytes() {
            return Err(DecryptError::SignedPrekey);
        }
        let turn = Turn {
            root_key: &self.root_key,
            ratchet_key: &self.our_signed_prekey.as_ratchet_key(),
            sent: 0,
            ending: None,
        };
        turn.open(message, rng)
    }
}
