//! The first page of a file: what it is, how its key is made, and whether a key is the right one.
//!
//! Written once, when the file is made. A checksum tells damage from a wrong key, and a MAC under
//! the file's key tells a wrong key before anything behind the page is looked at.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::key::{Cost, Derivation, FileKey, Key};

/// Bytes of the page; what is not named below is zero.
pub(crate) const HEADER_LENGTH: usize = 4096;

/// The format that this library writes, and the only one it reads.
pub(crate) const VERSION: u32 = 1;

/// As PNG's: a transfer that changes line ends, or stops at ^Z, is noticed.
const MAGIC: &[u8; 16] = b"\x89STVOR STORE\r\n\x1a\n";

const SALT: std::ops::Range<usize> = 36..68;
const MAC: std::ops::Range<usize> = 68..100;
const CHECKSUM: std::ops::Range<usize> = 100..132;

/// The bytes of a header, and the key it was made with.
pub(crate) struct Header {
    pub(crate) bytes: [u8; HEADER_LENGTH],
    pub(crate) key: FileKey,
}

impl Header {
    /// The header of a new file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system has no randomness, or no memory for Argon2id.
    pub(crate) fn create(key: &Key) -> Result<Self, Error> {
        let mut salt = [0; 32];
        fill(&mut salt)?;
        let derivation = key.derivation();
        let key = key.file_key(derivation, &salt)?;
        let mut bytes = [0; HEADER_LENGTH];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..20].copy_from_slice(&VERSION.to_le_bytes());
        if let Derivation::Argon2id(cost) = derivation {
            bytes[20] = 1;
            bytes[24..28].copy_from_slice(&cost.memory.to_le_bytes());
            bytes[28..32].copy_from_slice(&cost.passes.to_le_bytes());
            bytes[32..36].copy_from_slice(&cost.lanes.to_le_bytes());
        }
        bytes[SALT].copy_from_slice(&salt);
        let tag = mac(&key, &bytes[..MAC.start]).finalize().into_bytes();
        bytes[MAC].copy_from_slice(&tag);
        let checksum = Sha256::digest(&bytes[..CHECKSUM.start]);
        bytes[CHECKSUM].copy_from_slice(&checksum);
        Ok(Self { bytes, key })
    }

    /// The key of the file that begins with `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] for what no store begins with, [`Error::Version`] for a later format,
    /// [`Error::WrongKey`] if the file was made with another key.
    pub(crate) fn open(bytes: &[u8; HEADER_LENGTH], key: &Key) -> Result<FileKey, Error> {
        if bytes[..16] != *MAGIC || bytes[CHECKSUM] != *Sha256::digest(&bytes[..CHECKSUM.start]) {
            return Err(Error::Damaged);
        }
        let found = u32_at(bytes, 16);
        if found != VERSION {
            return Err(Error::Version { found });
        }
        let mut salt = [0; 32];
        salt.copy_from_slice(&bytes[SALT]);
        let key = key.file_key(derivation(bytes)?, &salt)?;
        mac(&key, &bytes[..MAC.start]).verify_slice(&bytes[MAC]).map_err(|_| Error::WrongKey)?;
        Ok(key)
    }
}

fn derivation(bytes: &[u8; HEADER_LENGTH]) -> Result<Derivation, Error> {
    let cost =
        Cost { memory: u32_at(bytes, 24), passes: u32_at(bytes, 28), lanes: u32_at(bytes, 32) };
    match bytes[20] {
        0 => Ok(Derivation::None),
        1 if cost.is_bounded() => Ok(Derivation::Argon2id(cost)),
        _ => Err(Error::Damaged),
    }
}

fn mac(key: &FileKey, bytes: &[u8]) -> Hmac<Sha256> {
    keyed(&key.derive("header")).chain_update(bytes)
}

/// HMAC-SHA-256 under a key of ours.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub(crate) fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("any length")
}

/// Random bytes of the system.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes).map_err(|_| Error::Io { kind: std::io::ErrorKind::Other })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bytes([7; 32])
    }

    #[test]
    fn a_header_opens_with_its_key_and_with_no_other() {
        let header = Header::create(&key()).unwrap();
        assert!(Header::open(&header.bytes, &key()).is_ok());
        let other = Header::open(&header.bytes, &Key::from_bytes([8; 32]));
        assert_eq!(other.err(), Some(Error::WrongKey));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_damage_and_not_a_wrong_key() {
        let header = Header::create(&key()).unwrap();
        for bit in 0..CHECKSUM.end * 8 {
            let mut bytes = header.bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::open(&bytes, &key()).err(), Some(Error::Damaged), "bit {bit}");
        }
    }

    fn forged(change: impl FnOnce(&mut [u8; HEADER_LENGTH])) -> [u8; HEADER_LENGTH] {
        let mut bytes = Header::create(&key()).unwrap().bytes;
        change(&mut bytes);
        let checksum = Sha256::digest(&bytes[..CHECKSUM.start]);
        bytes[CHECKSUM].copy_from_slice(&checksum);
        bytes
    }

    #[test]
    fn a_later_format_is_named() {
        let bytes = forged(|bytes| bytes[16] = 2);
        assert_eq!(Header::open(&bytes, &key()).err(), Some(Error::Version { found: 2 }));
    }

    #[test]
    fn a_header_that_asks_for_too_much_is_refused_before_it_is_paid() {
        let bytes = forged(|bytes| {
            bytes[20] = 1;
            bytes[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
        });
        let result = Header::open(&bytes, &Key::from_passphrase("secret"));
        assert_eq!(result.err(), Some(Error::Damaged));
    }
}
