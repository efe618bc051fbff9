//! Records sealed for a store that is trusted with nothing but keeping them.
//!
//! The key comes from the identity key: whoever has the one reads the records, whoever has only
//! the store does not. Each write has a key and a nonce of its own, derived from 16 random bytes
//! and from where the record belongs. So the number of writes is not bounded by AES-GCM's 96-bit
//! nonces: two of 2^48 writes share their salt with a probability of 2^-33. And a record that a
//! store gives out for another user, peer or kind does not open.
//!
//! What is not prevented: a store may give back an older record of the same place. Nothing sealed
//! can tell; the protocol recovers from it. Pure: no I/O, randomness is an argument.
//! Spec: docs/PROTOCOL.md, "Sealed record".

use std::fmt;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::aead::{self, TAG_LENGTH};
use crate::codec::{Reader, Write};
use crate::kdf::hkdf;
use crate::keys::IdentityKeyPair;
use crate::secret::Secret;

/// The form described here, the first byte of it.
const VERSION: u8 = 1;

/// Length of what makes the keys of one write its own.
const SALT_LENGTH: usize = 16;

/// Length of what tells under which storage key a record was sealed. It only chooses between two
/// errors, so it may be short.
const KEY_ID_LENGTH: usize = 4;

/// `info` of the storage key, derived from the identity key.
const STORAGE_KEY: &[u8] = b"stvor-v4-storage-key";

/// `info` of the key and nonce of one write, before the context.
const SEALED_RECORD: &[u8] = b"stvor-v4-sealed-record";

/// How much longer a sealed record is than what is in it: version, key id, salt and tag.
pub const SEALED_OVERHEAD: usize = 1 + KEY_ID_LENGTH + SALT_LENGTH + TAG_LENGTH;

/// Seals and opens all that one user keeps. Clones share the key; it is wiped with the last.
#[derive(Clone)]
pub struct StorageKey {
    key: Secret<32>,
    id: [u8; KEY_ID_LENGTH],
}

/// Why a sealed record was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// Sealed by a later version.
    #[error("the record was sealed by a later version, in form {version}")]
    Version {
        /// The form that it has.
        version: u8,
    },
    /// Sealed under another identity key than ours, or the bytes that say so are damaged.
    #[error("the record was sealed under another identity key")]
    OtherIdentity,
    /// Altered or cut, or sealed as another record of ours: for another peer, or of another kind.
    #[error("the record is damaged or stands in another's place")]
    Damaged,
}

impl StorageKey {
    /// The storage key of whoever has this identity. The same each time, and it tells nothing
    /// about the identity key.
    pub fn derive(identity: &IdentityKeyPair) -> Self {
        let output = hkdf::<{ 32 + KEY_ID_LENGTH }>(&[], &*identity.to_bytes(), STORAGE_KEY);
        let (key, id) = output.split_at(32);
        let mut key_id = [0; _];
        key_id.copy_from_slice(id);
        Self { key: Secret::filled(|secret| secret.copy_from_slice(key)), id: key_id }
    }

    /// Seals `plaintext`, which grows by [`SEALED_OVERHEAD`] bytes. `context` says where it
    /// belongs, such as our user id, the peer's, and what kind of record it is; the same has to
    /// be given to open it. Each part may be any bytes, none runs into the next.
    ///
    /// Draws 16 bytes from `rng`. Costs three HMACs and AES-GCM, some 1 us for 1 KiB.
    ///
    /// # Panics
    ///
    /// When `plaintext` is longer than AES-GCM can seal, 64 GiB.
    pub fn seal(
        &self,
        context: &[&[u8]],
        plaintext: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        let mut salt = [0; SALT_LENGTH];
        rng.fill_bytes(&mut salt);
        let OfOneWrite { key, nonce } = self.of_one_write(&salt, context);
        #[expect(clippy::expect_used, reason = "documented; no record comes near 64 GiB")]
        let ciphertext =
            aead::seal(&key, &nonce, &[VERSION], plaintext).expect("a record of under 64 GiB");
        let mut sealed = Vec::with_capacity(SEALED_OVERHEAD + plaintext.len());
        sealed.put_u8(VERSION);
        sealed.put(&self.id);
        sealed.put(&salt);
        sealed.put(&ciphertext);
        sealed
    }

    /// Opens what [`seal`](Self::seal) has sealed in the same context. Costs what sealing does.
    ///
    /// # Errors
    ///
    /// Any [`SealedError`].
    pub fn open(
        &self,
        context: &[&[u8]],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealedError> {
        let mut reader = Reader::new(sealed);
        match reader.u8() {
            Ok(VERSION) => {}
            Ok(version @ 2..) => return Err(SealedError::Version { version }),
            _ => return Err(SealedError::Damaged),
        }
        let id: &[u8; KEY_ID_LENGTH] = reader.array().map_err(|_| SealedError::Damaged)?;
        let salt = reader.array().map_err(|_| SealedError::Damaged)?;
        if *id != self.id {
            return Err(SealedError::OtherIdentity);
        }
        let OfOneWrite { key, nonce } = self.of_one_write(salt, context);
        aead::open(&key, &nonce, &[VERSION], reader.rest()).ok_or(SealedError::Damaged)
    }

    fn of_one_write(&self, salt: &[u8; SALT_LENGTH], context: &[&[u8]]) -> OfOneWrite {
        let mut info = SEALED_RECORD.to_vec();
        context.iter().for_each(|part| info.put_field(part));
        let output = hkdf::<44>(salt, self.key.as_bytes(), &info);
        let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; 12]);
        key.copy_from_slice(&output[..32]);
        nonce.copy_from_slice(&output[32..]);
        OfOneWrite { key, nonce }
    }
}

/// Key and nonce of one write. The nonce is not stored, and no secret.
struct OfOneWrite {
    key: Zeroizing<[u8; 32]>,
    nonce: [u8; 12],
}

impl fmt::Debug for StorageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key: _, id: _ } = self;
        f.debug_struct("StorageKey").finish_non_exhaustive()
    }
}
