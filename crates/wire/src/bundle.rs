//! The public key bundle of a user, as it travels: four base64url strings.

use serde::{Deserialize, Serialize};

/// A user's public keys as announced or registered, not yet parsed and not yet verified.
///
/// Unknown fields are ignored; field order when written is the original's. Source:
/// docs/PROTOCOL.md, "Public key bundle".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublicKeyBundle {
    /// Identity key, 65 bytes uncompressed P-256, base64url.
    pub identity_key: String,
    /// Signed prekey, 65 bytes uncompressed P-256, base64url.
    pub signed_pre_key: String,
    /// ECDSA P-256/SHA-256 signature over the signed prekey's 65 bytes, DER, base64url.
    #[serde(default)]
    pub signed_pre_key_signature: String,
    /// Always empty when written, ignored when read.
    #[serde(default)]
    pub one_time_pre_key: String,
}
