//! Symmetric X3DH: both sides compute the same secret, whoever writes first.
//!
//! Departs from X3DH, section 3.3: there is no ephemeral key and no one-time prekey, and the
//! roles are given by the order of the identity keys instead of by who starts.
//! Spec: docs/PROTOCOL.md, "Symmetric X3DH".

use std::fmt;

use zeroize::Zeroizing;

use crate::curve::DhOutput;
use crate::kdf::hkdf;
use crate::keys::{IdentityKey, IdentityKeyPair, SignedPrekey, SignedPrekeyPair};
use crate::root_key::leaving_none;
use crate::secret::Secret;

const INFO: &[u8] = b"X3DH";
const SALT: [u8; 32] = [0; 32];

/// The shared secret `SK`, first root key of every session between the two.
///
/// There is no second copy of it, and no way to compare it but on purpose, in constant time:
///
/// ```compile_fail,E0599
/// # fn f(secret: stvor_protocol::SharedSecret) { let _ = secret.clone(); }
/// ```
///
/// ```compile_fail,E0369
/// # fn f(a: stvor_protocol::SharedSecret, b: stvor_protocol::SharedSecret) -> bool { a == b }
/// ```
pub struct SharedSecret(Secret<32>);

impl SharedSecret {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
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
    combine([&dh1, &dh2, &between_prekeys].map(DhOutput::as_bytes))
}

/// `HKDF(DH1 || DH2 || DH3)`
fn combine(outputs: [&[u8; 32]; 3]) -> SharedSecret {
    leaving_none(|| {
        let mut ikm = Zeroizing::new([0; 96]);
        for (part, dh) in ikm.chunks_exact_mut(32).zip(outputs) {
            part.copy_from_slice(dh);
        }
        SharedSecret(Secret::copied_from(&hkdf::<32>(&SALT, &*ikm, INFO)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::{Hex, kdf, parse};

    #[derive(serde::Deserialize)]
    struct File {
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Case {
        id: u32,
        note: String,
        a: Side,
        b: Side,
        lower: String,
        dh1: Hex,
        dh2: Hex,
        dh3: Hex,
        shared_secret: Hex,
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Side {
        identity_key: Pair,
        signed_pre_key: Pair,
    }

    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Pair {
        public_key: Hex,
        private_key: Hex,
    }

    impl Side {
        fn keys(&self) -> (IdentityKeyPair, SignedPrekeyPair) {
            let Self { identity_key, signed_pre_key } = self;
            (
                IdentityKeyPair::from_halves(&identity_key.public_key, &identity_key.private_key)
                    .unwrap(),
                SignedPrekeyPair::from_halves(
                    &signed_pre_key.public_key,
                    &signed_pre_key.private_key,
                )
                .unwrap(),
            )
        }
    }

    #[test]
    fn both_sides_agree_as_the_vectors_do() {
        let file: File = parse(include_str!("../tests/vectors/v3.0.0/x3dh.json"));
        let mut short_keys = 0;
        for case in &file.cases {
            let what = format!("case {} ({})", case.id, case.note);
            let ((a_ik, a_spk), (b_ik, b_spk)) = (case.a.keys(), case.b.keys());
            let a = x3dh_symmetric(&a_ik, &a_spk, b_ik.public(), b_spk.public());
            let b = x3dh_symmetric(&b_ik, &b_spk, a_ik.public(), a_spk.public());
            assert_eq!(a.as_bytes()[..], *case.shared_secret, "{what}: a");
            assert_eq!(b.as_bytes()[..], *case.shared_secret, "{what}: b");

            let (lower, upper) = if case.lower == "a" {
                ((&a_ik, &a_spk), (&b_ik, &b_spk))
            } else {
                ((&b_ik, &b_spk), (&a_ik, &a_spk))
            };
            let dh1 = lower.0.agree(upper.1.public().point());
            let dh2 = lower.1.agree(upper.0.public().point());
            let dh3 = lower.1.agree(upper.1.public().point());
            assert_eq!(dh1.as_bytes()[..], *case.dh1, "{what}: DH1");
            assert_eq!(dh2.as_bytes()[..], *case.dh2, "{what}: DH2");
            assert_eq!(dh3.as_bytes()[..], *case.dh3, "{what}: DH3");

            for pair in [&case.a.identity_key, &case.a.signed_pre_key] {
                let read = IdentityKeyPair::from_bytes(&pair.private_key).unwrap();
                assert_eq!(*read.to_short_bytes(), *pair.private_key, "{what}: short form");
                short_keys += usize::from(pair.private_key.len() < 32);
            }
        }
        assert_eq!(file.cases.len(), 27);
        assert!(short_keys > 0, "the vectors hold short private keys");
    }

    #[test]
    fn outputs_are_combined_as_the_vectors_do() {
        let vectors = kdf().x3dh_kdf;
        assert_eq!(vectors.len(), 8);
        for vector in vectors {
            let part =
                |from: usize| -> &[u8; 32] { vector.ikm[from..from + 32].try_into().unwrap() };
            let secret = combine([part(0), part(32), part(64)]);
            assert_eq!(secret.as_bytes()[..], *vector.shared_secret);
        }
    }
}
