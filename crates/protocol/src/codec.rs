//! Bytes in and out: fixed-width integers, varints, length-prefixed fields.
//!
//! A [`Reader`] never reads past its end and never allocates: every length is checked against what
//! is there. Integers are big-endian; a varint is LEB128 of at most ten bytes, in its shortest
//! form only, so that every value has one encoding.
//! Spec: docs/PROTOCOL.md, "Notation".

use zeroize::Zeroizing;

/// Bytes that end too soon, or are not in their one form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Takes bytes apart, front to back.
#[derive(Clone)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().copied().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().copied().map(u64::from_be_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits || (byte == 0 && shift > 0) {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A varint as a length of what follows.
    pub(crate) fn length(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.varint()?).map_err(|_| Malformed)
    }

    /// Bytes behind their length, a varint.
    pub(crate) fn field(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.length()?;
        self.take(length)
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whoever has read everything says so.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Appends what a [`Reader`] takes apart.
pub(crate) trait Write {
    fn put(&mut self, bytes: &[u8]);

    fn put_u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    fn put_u32(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.put(&value.to_be_bytes());
    }

    fn put_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.put_u8(value as u8);
    }

    fn put_field(&mut self, bytes: &[u8]) {
        self.put_varint(bytes.len() as u64);
        self.put(bytes);
    }
}

impl Write for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// For secrets: a vector that grows by itself leaves what it held behind, this one wipes it.
impl Write for Zeroizing<Vec<u8>> {
    fn put(&mut self, bytes: &[u8]) {
        let length = self.len() + bytes.len();
        if length > self.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            larger.extend_from_slice(self);
            *self = larger;
        }
        self.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(a: u64, b: u32, c: u8, field: Vec<u8>) {
            let mut bytes = Vec::new();
            bytes.put_varint(a);
            bytes.put_u64(a);
            bytes.put_u32(b);
            bytes.put_u8(c);
            bytes.put_field(&field);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint(), Ok(a));
            prop_assert_eq!(reader.u64(), Ok(a));
            prop_assert_eq!(reader.u32(), Ok(b));
            prop_assert_eq!(reader.u8(), Ok(c));
            prop_assert_eq!(reader.field(), Ok(field.as_slice()));
            prop_assert_eq!(reader.end(), Ok(()));
            for cut in 0..bytes.len() {
                let mut reader = Reader::new(&bytes[..cut]);
                let read = (|| {
                    reader.varint()?;
                    reader.u64()?;
                    reader.u32()?;
                    reader.u8()?;
                    reader.field().map(drop)
                })();
                prop_assert_eq!(read, Err(Malformed));
            }
        }

        #[test]
        fn a_wiping_vector_holds_what_others_do(fields: Vec<Vec<u8>>) {
            let (mut plain, mut wiping) = (Vec::new(), Zeroizing::new(Vec::new()));
            for field in &fields {
                plain.put_field(field);
                wiping.put_field(field);
            }
            prop_assert_eq!(plain, wiping.to_vec());
        }

        /// One value, one encoding: whatever is read writes itself again.
        #[test]
        fn a_varint_has_one_form(bytes in proptest::collection::vec(any::<u8>(), 1..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint() {
                let mut again = Vec::new();
                again.put_varint(value);
                prop_assert_eq!(&bytes[..bytes.len() - reader.rest().len()], again.as_slice());
            }
        }
    }
}
