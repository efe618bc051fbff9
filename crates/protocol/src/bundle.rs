//! The prekey bundle: what a user publishes, and what of it has been verified.
//!
//! Nothing is agreed with a [`PrekeyBundle`]; only [`PrekeyBundle::verify`] makes the
//! [`VerifiedBundle`] that an agreement takes:
//!
//! ```compile_fail,E0308
//! # fn agree(ours: &stvor_protocol::LocalKeys, theirs: stvor_protocol::PrekeyBundle,
//! #          rng: &mut impl rand_core::CryptoRng) {
//! stvor_protocol::Session::establish(ours, &theirs, rng); // not verified
//! # }
//! ```
//!
//! Spec: X3DH, section 3.2; docs/PROTOCOL.md, "Public key bundle".

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::keys::{IdentityKey, KeyError, SignedPrekey};

/// base64url without padding; reads padding and stray trailing bits as the original does.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a bundle is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A field is not base64.
    #[error("the bundle's {field} is not base64")]
    Encoding {
        /// The field's name on the wire.
        field: &'static str,
    },
    /// A field is not a public key.
    #[error("the bundle's {field} is not a public key of P-256")]
    Key {
        /// The field's name on the wire.
        field: &'static str,
    },
    /// The signature is empty or absent. The original accepts that; a relay could then replace
    /// the signed prekey by its own.
    #[error("the bundle's signed prekey is not signed")]
    MissingSignature,
    /// The signature is not the identity key's over the signed prekey.
    #[error("the signature of the bundle's signed prekey is wrong")]
    Signature,
}

/// A user's public keys as received: well-formed, not verified.
#[derive(Clone, PartialEq, Eq)]
pub struct PrekeyBundle {
    identity_key: IdentityKey,
    signed_prekey: SignedPrekey,
    signature: Vec<u8>,
}

impl PrekeyBundle {
    pub(crate) fn new(
        identity_key: IdentityKey,
        signed_prekey: SignedPrekey,
        signature: Vec<u8>,
    ) -> Self {
        Self { identity_key, signed_prekey, signature }
    }

    /// Parses the raw fields. `signature` is DER and may be empty here; [`verify`](Self::verify)
    /// then refuses it.
    ///
    /// # Errors
    ///
    /// [`BundleError::Key`]
    pub fn parse(
        identity_key: &[u8],
        signed_prekey: &[u8],
        signature: &[u8],
    ) -> Result<Self, BundleError> {
        let not_a_key = |field| move |_: KeyError| BundleError::Key { field };
        Ok(Self {
            identity_key: IdentityKey::parse(identity_key).map_err(not_a_key("identityKey"))?,
            signed_prekey: SignedPrekey::parse(signed_prekey).map_err(not_a_key("signedPreKey"))?,
            signature: signature.to_vec(),
        })
    }

    /// Parses the fields as they travel: base64url, and as the original's decoder does, also the
    /// standard alphabet and padding.
    ///
    /// # Errors
    ///
    /// [`BundleError::Encoding`], [`BundleError::Key`]
    pub fn parse_base64url(
        identity_key: &str,
        signed_prekey: &str,
        signature: &str,
    ) -> Result<Self, BundleError> {
        Self::parse(
            &decode("identityKey", identity_key)?,
            &decode("signedPreKey", signed_prekey)?,
            &decode("signedPreKeySignature", signature)?,
        )
    }

    /// Checks the signature: ECDSA over SHA-256 of the signed prekey's 65 bytes.
    ///
    /// # Errors
    ///
    /// [`BundleError::MissingSignature`], [`BundleError::Signature`]
    pub fn verify(self) -> Result<VerifiedBundle, BundleError> {
        if self.signature.is_empty() {
            return Err(BundleError::MissingSignature);
        }
        if !self.identity_key.verify(self.signed_prekey.as_bytes(), &self.signature) {
            return Err(BundleError::Signature);
        }
        Ok(VerifiedBundle(self))
    }

    /// The identity key, not verified to have signed anything.
    pub fn identity_key(&self) -> &IdentityKey {
        &self.identity_key
    }

    /// The signature as it was received, DER where it verifies.
    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The identity key, base64url, as it travels in `identityKey`.
    pub fn identity_key_base64url(&self) -> String {
        BASE64URL.encode(self.identity_key.as_bytes())
    }

    /// The signed prekey, base64url, as it travels in `signedPreKey`.
    pub fn signed_prekey_base64url(&self) -> String {
        BASE64URL.encode(self.signed_prekey.as_bytes())
    }

    /// The signature, base64url, as it travels in `signedPreKeySignature`.
    pub fn signature_base64url(&self) -> String {
        BASE64URL.encode(&self.signature)
    }
}

impl fmt::Debug for PrekeyBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrekeyBundle").finish_non_exhaustive()
    }
}

/// A bundle whose signed prekey was signed by its identity key.
///
/// It proves that the two belong together, not whose they are: compare the
/// [`fingerprint`](Self::fingerprint).
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedBundle(PrekeyBundle);

impl VerifiedBundle {
    /// The identity key.
    pub fn identity_key(&self) -> &IdentityKey {
        &self.0.identity_key
    }

    /// The signed prekey.
    pub fn signed_prekey(&self) -> &SignedPrekey {
        &self.0.signed_prekey
    }

    /// The identity key's [fingerprint](IdentityKey::fingerprint).
    pub fn fingerprint(&self) -> String {
        self.0.identity_key.fingerprint()
    }

    /// The bundle as it was received.
    pub fn as_bundle(&self) -> &PrekeyBundle {
        &self.0
    }
}

impl fmt::Debug for VerifiedBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedBundle").finish_non_exhaustive()
    }
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, BundleError> {
    let text = text.replace('+', "-").replace('/', "_");
    BASE64URL.decode(text).map_err(|_| BundleError::Encoding { field })
}
