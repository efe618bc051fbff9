//! The message key `MK`: seals or opens one message.
//!
//! Spec: docs/PROTOCOL.md, "Message".

use zeroize::Zeroizing;

use crate::aead;
use crate::secret::Secret;

/// The message key `MK`, used for a single message.
#[derive(Clone)]
pub(crate) struct MessageKey(Secret<32>);

impl MessageKey {
    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// AES-256-GCM; `None` when `plaintext` is longer than GCM can seal (64 GiB).
    pub(crate) fn seal(&self, nonce: &[u8; 12], ad: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
        aead::seal(self.0.as_bytes(), nonce, ad, plaintext)
    }

    /// `None` unless `ciphertext` ends in its genuine tag of 16 bytes.
    pub(crate) fn open(
        &self,
        nonce: &[u8; 12],
        ad: &[u8],
        ciphertext: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        aead::open(self.0.as_bytes(), nonce, ad, ciphertext)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::kdf;

    #[test]
    fn messages_are_sealed_and_opened_as_in_the_vectors() {
        let vectors = kdf().aead;
        assert_eq!(vectors.len(), 10);
        for vector in vectors {
            let message_key = MessageKey::new(Secret::copied_from(vector.key.array()));
            let nonce = vector.nonce.array();
            let sealed = message_key.seal(nonce, &vector.aad, &vector.plaintext).unwrap();
            assert_eq!(sealed, *vector.ciphertext);
            let opened = message_key.open(nonce, &vector.aad, &vector.ciphertext).unwrap();
            assert_eq!(*opened, *vector.plaintext);
        }
    }
}
