//! Each backend against the other, on random input, and at the edges of what is valid.

use proptest::prelude::*;

use super::{aws_lc, portable};

/// The order of the group, big-endian.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn n_plus(difference: i8) -> [u8; 32] {
    let mut scalar = N;
    scalar[31] = scalar[31].wrapping_add_signed(difference); // 0x51: neither carries nor borrows
    scalar
}

proptest! {
    /// Whatever one backend makes of a scalar or a point, the other makes of it too.
    #[test]
    fn backends_agree(ours: [u8; 32], theirs: [u8; 32], message: Vec<u8>) {
        let (a, b) = (
            (aws_lc::PrivateKey::from_scalar(&ours), portable::PrivateKey::from_scalar(&ours)),
            (aws_lc::PrivateKey::from_scalar(&theirs), portable::PrivateKey::from_scalar(&theirs)),
        );
        let ((Some(a_aws), Some(a_portable)), (Some(b_aws), Some(b_portable))) = (a, b) else {
            return Err(TestCaseError::reject("not a scalar"));
        };
        prop_assert_eq!(*a_aws.to_scalar(), ours);
        prop_assert_eq!(*a_portable.to_scalar(), ours);
        let (a_public, b_public) = (a_aws.public_bytes().unwrap(), b_aws.public_bytes().unwrap());
        prop_assert_eq!(a_public, a_portable.public_bytes().unwrap());
        prop_assert_eq!(b_public, b_portable.public_bytes().unwrap());

        let aws_public = |bytes| aws_lc::PublicKey::from_uncompressed(bytes).unwrap();
        let portable_public = |bytes| portable::PublicKey::from_uncompressed(bytes).unwrap();
        let shared = a_aws.agree(&aws_public(&b_public));
        for same in [
            b_aws.agree(&aws_public(&a_public)),
            a_portable.agree(&portable_public(&b_public)),
            b_portable.agree(&portable_public(&a_public)),
        ] {
            prop_assert_eq!(shared.as_bytes(), same.as_bytes());
        }

        for signature in [a_aws.sign(&message), a_portable.sign(&message)] {
            prop_assert!(aws_public(&a_public).verify(&message, &signature));
            prop_assert!(portable_public(&a_public).verify(&message, &signature));
            prop_assert!(!aws_public(&b_public).verify(&message, &signature));
            prop_assert!(!portable_public(&b_public).verify(&message, &signature));
        }
    }

    /// A point with a changed byte is refused by both, or (prefix aside) accepted by both.
    #[test]
    fn backends_agree_on_what_is_a_point(scalar: [u8; 32], at in 1..65usize, flip in 1..=255u8) {
        let Some(private) = aws_lc::PrivateKey::from_scalar(&scalar) else {
            return Err(TestCaseError::reject("not a scalar"));
        };
        let mut point = private.public_bytes().unwrap();
        point[at] ^= flip;
        let aws = aws_lc::PublicKey::from_uncompressed(&point).is_some();
        prop_assert_eq!(aws, portable::PublicKey::from_uncompressed(&point).is_some());
    }

    /// Whatever bytes stand for a signature, both backends say the same of it.
    #[test]
    fn backends_agree_on_what_is_a_signature(
        scalar: [u8; 32],
        message: Vec<u8>,
        at: prop::sample::Index,
        flip: u8,
    ) {
        let Some(private) = portable::PrivateKey::from_scalar(&scalar) else {
            return Err(TestCaseError::reject("not a scalar"));
        };
        let public = private.public_bytes().unwrap();
        let mut signature = private.sign(&message);
        let at = at.index(signature.len());
        signature[at] ^= flip;
        let aws = aws_lc::PublicKey::from_uncompressed(&public).unwrap();
        let portable = portable::PublicKey::from_uncompressed(&public).unwrap();
        prop_assert_eq!(aws.verify(&message, &signature), flip == 0);
        prop_assert_eq!(portable.verify(&message, &signature), flip == 0);
    }
}

#[test]
fn scalars_run_from_1_to_n_minus_1() {
    let one = {
        let mut one = [0; 32];
        one[31] = 1;
        one
    };
    for (scalar, valid) in [
        ([0; 32], false),
        (one, true),
        (n_plus(-1), true),
        (N, false),
        (n_plus(1), false),
        ([255; 32], false),
    ] {
        assert_eq!(aws_lc::PrivateKey::from_scalar(&scalar).is_some(), valid, "{scalar:x?}");
        assert_eq!(portable::PrivateKey::from_scalar(&scalar).is_some(), valid, "{scalar:x?}");
    }
}
