//! What opens a file: 32 bytes, or a passphrase through Argon2id.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::Error;

/// What the application opens a file with. Wiped on drop, never printed.
#[derive(Clone)]
pub struct Key(Source);

#[derive(Clone)]
enum Source {
    Bytes(Zeroizing<[u8; 32]>),
    Passphrase(Zeroizing<String>),
}

impl Key {
    /// A key of 32 uniformly random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Source::Bytes(Zeroizing::new(bytes)))
    }

    /// A passphrase of people, stretched by Argon2id at every opening (64 MiB, three passes).
    pub fn from_passphrase(passphrase: impl Into<String>) -> Self {
        Self(Source::Passphrase(Zeroizing::new(passphrase.into())))
    }

    /// How a new file says that its key is made.
    pub(crate) fn derivation(&self) -> Derivation {
        match self.0 {
            Source::Bytes(_) => Derivation::None,
            Source::Passphrase(_) => Derivation::Argon2id(Cost::DEFAULT),
        }
    }

    /// The key of the file with this `salt`.
    ///
    /// # Errors
    ///
    /// [`Error::WrongKey`] for bytes where the file has a passphrase, or the other way round;
    /// [`Error::Io`] if there is no memory for Argon2id.
    pub(crate) fn file_key(
        &self,
        derivation: Derivation,
        salt: &[u8; 32],
    ) -> Result<FileKey, Error> {
        match (&self.0, derivation) {
            (Source::Bytes(bytes), Derivation::None) => Ok(FileKey::new(salt, bytes)),
            (Source::Passphrase(passphrase), Derivation::Argon2id(cost)) => {
                let stretched = cost.stretch(passphrase.as_bytes(), salt)?;
                Ok(FileKey::new(salt, &stretched))
            }
            _ => Err(Error::WrongKey),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Bytes(_) => "Key::Bytes(..)",
            Source::Passphrase(_) => "Key::Passphrase(..)",
        })
    }
}

/// How the key of a file is made of what the application gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Derivation {
    None,
    Argon2id(Cost),
}

/// What one guess of a passphrase costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Memory in KiB.
    pub(crate) memory: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

impl Cost {
    /// The second recommendation of RFC 9106, section 4, with one lane: `argon2` computes lanes
    /// one after the other, so that more of them would help only those who guess.
    pub(crate) const DEFAULT: Self = Self { memory: 64 << 10, passes: 3, lanes: 1 };

    /// Whether a file may ask for it: nobody's header makes us take a gigabyte or a minute.
    pub(crate) fn is_bounded(self) -> bool {
        (8..=256 << 10).contains(&self.memory)
            && (1..=16).contains(&self.passes)
            && (1..=4).contains(&self.lanes)
            && self.memory >= 8 * self.lanes
    }

    fn stretch(self, passphrase: &[u8], salt: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, Error> {
        let params = Params::new(self.memory, self.passes, self.lanes, Some(32))
            .map_err(|_| Error::Damaged)?;
        // Wiped, as what `argon2` would allocate itself is not: the last blocks give the key.
        let mut memory = Zeroizing::new(Vec::new());
        let no_memory = Error::Io { kind: std::io::ErrorKind::OutOfMemory };
        memory.try_reserve_exact(params.block_count()).map_err(|_| no_memory)?;
        memory.resize(params.block_count(), Block::default());
        let mut output = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase, salt, &mut *output, &mut memory[..])
            .map_err(|_| Error::Damaged)?;
        Ok(output)
    }
}

/// The key of one file, from which the others are derived. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct FileKey([u8; 32]);

impl FileKey {
    fn new(salt: &[u8; 32], ikm: &[u8; 32]) -> Self {
        let mut key = Self([0; 32]);
        expand(salt, ikm, "stvor embedded file 1", &mut key.0);
        key
    }

    /// The key for one purpose.
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        expand(&[], &self.0, purpose, &mut key);
        key
    }
}

#[expect(clippy::expect_used, reason = "HKDF-SHA-256 gives up to 8,160 bytes")]
fn expand(salt: &[u8], ikm: &[u8; 32], info: &str, output: &mut [u8; 32]) {
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info.as_bytes(), output).expect("32 bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vector of the reference implementation (phc-winner-argon2, `src/test.c`).
    #[test]
    fn argon2id_agrees_with_the_reference_implementation() {
        let params = Params::new(65536, 2, 1, Some(32)).unwrap();
        let mut memory = vec![Block::default(); params.block_count()];
        let mut output = [0; 32];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(b"password", b"somesalt", &mut output, &mut memory[..])
            .unwrap();
        let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7");
    }

    #[test]
    fn another_passphrase_salt_or_cost_gives_another_key() {
        let cheap = Cost { memory: 64, passes: 1, lanes: 1 };
        let key = |passphrase: &str, salt, cost| {
            let key = Key::from_passphrase(passphrase);
            key.file_key(Derivation::Argon2id(cost), &salt).unwrap().0
        };
        let one = key("secret", [1; 32], cheap);
        assert_eq!(one, key("secret", [1; 32], cheap));
        assert_ne!(one, key("secret ", [1; 32], cheap));
        assert_ne!(one, key("secret", [2; 32], cheap));
        assert_ne!(one, key("secret", [1; 32], Cost { passes: 2, ..cheap }));
    }

    #[test]
    fn bytes_do_not_open_what_a_passphrase_closed() {
        let key = Key::from_bytes([7; 32]);
        let result = key.file_key(Derivation::Argon2id(Cost::DEFAULT), &[0; 32]);
        assert_eq!(result.err(), Some(Error::WrongKey));
        let key = Key::from_passphrase("secret");
        assert_eq!(key.file_key(Derivation::None, &[0; 32]).err(), Some(Error::WrongKey));
    }

    #[test]
    fn debug_prints_no_secret() {
        assert_eq!(format!("{:?}", Key::from_passphrase("hunter2")), "Key::Passphrase(..)");
        assert_eq!(format!("{:?}", Key::from_bytes([7; 32])), "Key::Bytes(..)");
    }

    #[test]
    fn a_cost_out_of_bounds_is_not_paid() {
        assert!(Cost::DEFAULT.is_bounded());
        for cost in [
            Cost { memory: 1 << 20, ..Cost::DEFAULT },
            Cost { memory: 0, ..Cost::DEFAULT },
            Cost { passes: 17, ..Cost::DEFAULT },
            Cost { passes: 0, ..Cost::DEFAULT },
            Cost { lanes: 5, ..Cost::DEFAULT },
            Cost { lanes: 0, ..Cost::DEFAULT },
            Cost { memory: 8, passes: 1, lanes: 2 },
        ] {
            assert!(!cost.is_bounded(), "{cost:?}");
        }
    }
}
