//! Byte strings as JSON arrays of numbers, read into place without stray copies.

use std::fmt;

use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// An array of exactly `N` bytes.
pub(super) fn exactly<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<Zeroizing<[u8; N]>, D::Error> {
    let (bytes, length) = deserializer.deserialize_seq(UpTo::<N>)?;
    if length == N { Ok(bytes) } else { Err(D::Error::invalid_length(length, &UpTo::<N>)) }
}

/// An array of up to `N` bytes, padded on the left: a big-endian number.
pub(super) fn number<'de, D: Deserializer<'de>, const N: usize>(
    deserializer: D,
) -> Result<Zeroizing<[u8; N]>, D::Error> {
    let (mut bytes, length) = deserializer.deserialize_seq(UpTo::<N>)?;
    bytes.rotate_right(N - length);
    Ok(bytes)
}

/// Whether all bytes are zero, in a time that does not depend on them.
pub(super) fn is_zero<const N: usize>(bytes: &[u8; N]) -> bool {
    bytes.ct_eq(&[0; N]).into()
}

struct UpTo<const N: usize>;

impl<'de, const N: usize> Visitor<'de> for UpTo<N> {
    type Value = (Zeroizing<[u8; N]>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of {N} bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Zeroizing::new([0; N]);
        let mut length = 0;
        while let Some(byte) = seq.next_element()? {
            *bytes.get_mut(length).ok_or_else(|| A::Error::invalid_length(length + 1, &self))? =
                byte;
            length += 1;
        }
        Ok((bytes, length))
    }
}
