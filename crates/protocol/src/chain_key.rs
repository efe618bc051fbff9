//! The chain key `CK` and its step.
//!
//! Spec: Double Ratchet, section 5.2 (`KDF_CK`); docs/PROTOCOL.md, "Key derivation".

use crate::kdf::HmacKey;
use crate::message_key::MessageKey;
use crate::secret::Secret;

/// The chain key `CK`: derives one message key and its own successor.
///
/// A chain that does not exist has no chain key: there is no default, no zero value, and
/// [`RootKey::step`](crate::root_key::RootKey::step) is the only way to a new one besides
/// reading back a saved session, which refuses zeros.
#[derive(Clone)]
pub(crate) struct ChainKey(Secret<32>);

impl ChainKey {
    const MESSAGE_KEY: &'static [u8] = &[2];
    const NEXT: &'static [u8] = &[1];

    pub(crate) fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// `CK, MK = KDF_CK(CK)`: the next chain key, and the key of one message.
    pub(crate) fn step(&self) -> (Self, MessageKey) {
        let mac = HmacKey::new(self.0.as_bytes());
        let next = Secret::filled(|key| mac.tag(Self::NEXT, key));
        let message_key = Secret::filled(|key| mac.tag(Self::MESSAGE_KEY, key));
        (Self(next), MessageKey::new(message_key))
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
    fn chain_steps_match_the_vectors() {
        let vectors = kdf().chain_kdf;
        assert_eq!(vectors.len(), 12);
        for vector in vectors {
            let chain_key = ChainKey::new(Secret::copied_from(vector.chain_key.array()));
            let (next, message_key) = chain_key.step();
            assert_eq!(next.as_bytes()[..], *vector.next_chain_key);
            assert_eq!(message_key.as_bytes()[..], *vector.message_key);
        }
    }

    #[test]
    fn chains_match_the_vectors_for_twenty_steps() {
        let vectors = kdf().chain_sequences;
        assert_eq!(vectors.len(), 1);
        for vector in vectors {
            assert_eq!(vector.message_keys.len(), 20);
            let mut chain_key = ChainKey::new(Secret::copied_from(vector.start.array()));
            for (number, expected) in vector.message_keys.iter().enumerate() {
                let (next, message_key) = chain_key.step();
                assert_eq!(message_key.as_bytes()[..], **expected, "message {number}");
                chain_key = next;
            }
            assert_eq!(chain_key.as_bytes()[..], *vector.final_chain_key);
        }
    }
}
