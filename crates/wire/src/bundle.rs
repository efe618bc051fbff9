//! The public key bundle of a user, as it travels: base64url strings.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Longest `v4` that is read, in characters: 2 KiB in base64, padded or not, and a little more.
/// What wire 4 needs is about 2,100; whoever shows longer ones only wants them stored.
pub const MAX_V4_CHARS: usize = 2_800;

/// A user's public keys as announced or registered, not yet parsed and not yet verified.
///
/// Unknown fields are ignored; field order when written is the original's, and a bundle without
/// `v4` is the original's to the byte. Source: docs/PROTOCOL.md, "Public key bundle".
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
    /// What wire 4 needs beyond the above, signed binary, base64url; absent in bundles of the
    /// original. At most [`MAX_V4_CHARS`] characters: a bundle with more is not read at all.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "bounded")]
    pub v4: Option<String>,
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let v4: Option<String> = Option::deserialize(deserializer)?;
    match v4.as_ref().is_some_and(|v4| v4.len() > MAX_V4_CHARS) {
        true => Err(D::Error::custom("v4 is too long")),
        false => Ok(v4),
    }
}

/// A prekey that a relay hands out to one peer only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneTimePrekey {
    /// Chosen by its owner, who finds the private half by it.
    pub id: u32,
    /// Public half, 65 bytes uncompressed P-256, base64url.
    pub key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINALS: &str =
        r#"{"identityKey":"i","signedPreKey":"s","signedPreKeySignature":"g","oneTimePreKey":""}"#;

    fn with_v4(v4: &str) -> String {
        ORIGINALS.replace('}', &format!(r#","v4":{v4}}}"#))
    }

    #[test]
    fn a_bundle_without_v4_is_the_originals_to_the_byte() {
        let bundle: PublicKeyBundle = serde_json::from_str(ORIGINALS).unwrap();
        assert_eq!(bundle.v4, None);
        assert_eq!(serde_json::to_string(&bundle).unwrap(), ORIGINALS);
    }

    #[test]
    fn v4_travels_behind_the_originals_fields() {
        let text = with_v4("\"AAEC\"");
        let bundle: PublicKeyBundle = serde_json::from_str(&text).unwrap();
        assert_eq!(bundle.v4.as_deref(), Some("AAEC"));
        assert_eq!(serde_json::to_string(&bundle).unwrap(), text);
        let value = serde_json::to_value(&bundle).unwrap();
        assert_eq!(serde_json::from_value::<PublicKeyBundle>(value).unwrap(), bundle);
    }

    #[test]
    fn a_bundle_whose_v4_is_too_long_or_no_text_is_not_read() {
        let read = |v4: &str| serde_json::from_str::<PublicKeyBundle>(&with_v4(v4));
        let of = |chars: usize| format!("\"{}\"", "A".repeat(chars));
        assert!(read(&of(MAX_V4_CHARS)).is_ok() && read("null").is_ok_and(|b| b.v4.is_none()));
        assert!(read(&of(MAX_V4_CHARS + 1)).is_err() && read("7").is_err());
    }
}
