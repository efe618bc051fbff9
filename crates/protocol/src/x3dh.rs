//! Symmetric X3DH: both sides compute the same secret, whoever writes first.
//!
//! Departs from X3DH, section 3.3: there is no ephemeral key and no one-time prekey, and the
//! roles are given by the order of the identity keys instead of by who starts.
//! Spec: docs/PROTOCOL.md, "Symmetric X3DH".

use std::fmt;

use zeroize::Zeroizing;

use crate::kdf::hkdf;
use crate::keys::{IdentityKey, IdentityKeyPair, SignedPrekey, SignedPrekeyPair};
use crate::secret::Secret;

const INFO: &[u8] = b"X3DH";
const SALT: [u8; 32] = [0; 32];

/// The shared secret `SK`, first root key of every session between the two.
pub struct SharedSecret(Secret<32>);

impl SharedSecret {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    pub(crate) fn into_secret(self) -> Secret<32> {
        self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSecret").finish_non_exhaustive()
    }
}

/// `SK = HKDF(DH1 || DH2 || DH3)`, with L the owner of the bytewise smaller identity key and U
/// the other: `DH1 = DH(IK_L, SPK_U)`, `DH2 = DH(SPK_L, IK_U)`, `DH3 = DH(SPK_L, SPK_U)`.
///
/// For `/ratchet`, whose caller has verified their signed prekey; a
/// [`Session`](crate::Session) is better made from a [`VerifiedBundle`](crate::VerifiedBundle).
/// With two equal identity keys the sides compute different secrets. Costs three agreements.
pub fn x3dh_symmetric(
    our_identity: &IdentityKeyPair,
    our_signed_prekey: &SignedPrekeyPair,
    their_identity: &IdentityKey,
    their_signed_prekey: &SignedPrekey,
) -> SharedSecret {
    let with_our_identity = our_identity.agree(their_signed_prekey.point());
    let with_their_identity = our_signed_prekey.agree(their_identity.point());
    let between_prekeys = our_signed_prekey.agree(their_signed_prekey.point());

    let we_are_lower = our_identity.public().as_bytes() < their_identity.as_bytes();
    let (dh1, dh2) = if we_are_lower {
        (with_our_identity, with_their_identity)
    } else {
        (with_their_identity, with_our_identity)
    };
    let mut ikm = Zeroizing::new([0; 96]);
    for (part, dh) in ikm.chunks_exact_mut(32).zip([&dh1, &dh2, &between_prekeys]) {
        part.copy_from_slice(dh.as_bytes());
    }
    SharedSecret(Secret::copied_from(&hkdf::<32>(&SALT, &*ikm, INFO)))
}
