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
