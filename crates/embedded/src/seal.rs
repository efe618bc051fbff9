//! What stands in the tables: names as HMACs, values under AES-256-GCM, each bound to its row.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::header::{fill, keyed};
use crate::key::FileKey;

/// The name of a row: an HMAC, so that no user's or peer's name is in the file.
pub(crate) type Row = [u8; 32];

const SALT_LENGTH: usize = 16;
const TAG_LENGTH: usize = 16;

/// The two keys of one table.
pub(crate) struct Sealer {
    names: Hmac<Sha256>,
    values: Hmac<Sha256>,
}

impl Sealer {
    pub(crate) fn new(key: &FileKey, table: &str) -> Self {
        Self {
            names: keyed(&key.derive(&format!("{table} names"))),
            values: keyed(&key.derive(&format!("{table} values"))),
        }
    }

    /// The row of these names, in this order. Their lengths count too: no two lists share a row.
    pub(crate) fn row(&self, names: &[&[u8]]) -> Row {
        let mut mac = self.names.clone();
        for name in names {
            mac.update(&(name.len() as u64).to_le_bytes());
            mac.update(name);
        }
        mac.finalize().into_bytes().into()
    }

    /// `salt || ciphertext || tag`, 32 bytes more than `value`.
    ///
    /// A key is used once: it is derived of the row and 16 random bytes, so there is no limit to
    /// how often a row is written, as there would be for random nonces under one key.
    pub(crate) fn seal(&self, row: &[u8], value: &[u8]) -> Result<Vec<u8>, Error> {
        let mut sealed = Vec::with_capacity(SALT_LENGTH + value.len() + TAG_LENGTH);
        sealed.resize(SALT_LENGTH, 0);
        fill(&mut sealed)?;
        let cipher = self.cipher(row, &sealed);
        sealed.extend_from_slice(value);
        let tag = cipher
            .encrypt_inout_detached(&[0; 12].into(), row, (&mut sealed[SALT_LENGTH..]).into())
            .map_err(|_| Error::TooLarge)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// What [`seal`](Self::seal) took, or [`Error::Damaged`] for anything else.
    pub(crate) fn open(&self, row: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (salt, rest) = sealed.split_at_checked(SALT_LENGTH).ok_or(Error::Damaged)?;
        let (ciphertext, tag) = rest.split_last_chunk::<TAG_LENGTH>().ok_or(Error::Damaged)?;
        let mut value = Zeroizing::new(ciphertext.to_vec());
        self.cipher(row, salt)
            .decrypt_inout_detached(&[0; 12].into(), row, value.as_mut_slice().into(), tag.into())
            .map_err(|_| Error::Damaged)?;
        Ok(value)
    }

    fn cipher(&self, row: &[u8], salt: &[u8]) -> Aes256Gcm {
        let mac = self.values.clone().chain_update(salt).chain_update(row);
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(&mac.finalize().into_bytes());
        Aes256Gcm::new((&*key).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Header;
    use crate::key::Key;

    fn sealer(table: &str) -> Sealer {
        let header = Header::create(&Key::from_bytes([7; 32])).unwrap();
        Sealer::new(&header.key, table)
    }

    #[test]
    fn a_value_opens_in_its_row_and_nowhere_else() {
        let key = Header::create(&Key::from_bytes([7; 32])).unwrap().key;
        let records = Sealer::new(&key, "records");
        let sealed = records.seal(b"row", b"value").unwrap();
        assert_eq!(records.open(b"row", &sealed).unwrap().as_slice(), b"value");
        assert_eq!(records.open(b"other", &sealed).err(), Some(Error::Damaged));
        let identities = Sealer::new(&key, "identities");
        assert_eq!(identities.open(b"row", &sealed).err(), Some(Error::Damaged));
    }

    #[test]
    fn a_value_is_never_sealed_twice_alike() {
        let sealer = sealer("records");
        assert_ne!(sealer.seal(b"row", b"value").unwrap(), sealer.seal(b"row", b"value").unwrap());
    }

    #[test]
    fn every_flipped_bit_and_every_missing_byte_is_damage() {
        let sealer = sealer("records");
        let sealed = sealer.seal(b"row", b"value").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(sealer.open(b"row", &altered).err(), Some(Error::Damaged));
        }
        for length in 0..sealed.len() {
            assert_eq!(sealer.open(b"row", &sealed[..length]).err(), Some(Error::Damaged));
        }
    }

    #[test]
    fn names_that_only_join_alike_have_different_rows() {
        let sealer = sealer("records");
        assert_ne!(sealer.row(&[b"ab", b"c"]), sealer.row(&[b"a", b"bc"]));
        assert_ne!(sealer.row(&[b"ab"]), sealer.row(&[b"ab", b""]));
    }
}
