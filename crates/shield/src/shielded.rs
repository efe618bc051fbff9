//! A secret that is in clear only while somebody works with it.

use std::fmt;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::on_wiped_stack;
use crate::process_key::{Number, apply};

/// How deep the stack is wiped after a secret was in clear: several times what the ciphers and hashes
/// of this project use. Costs some 100 ns.
const DEPTH: usize = 8 << 10;

/// `N` secret bytes, encrypted. Clones share them; they are wiped with the last.
///
/// A clone or a move copies a pointer. That matters although what it points to is ciphertext: copies
/// of it would outlive the secret, and could be decrypted as long as the process lives.
#[derive(Clone)]
pub struct Shielded<const N: usize>(Arc<Ciphertext<N>>);

struct Ciphertext<const N: usize> {
    number: Number,
    bytes: [u8; N],
}

impl<const N: usize> Shielded<N> {
    /// Encrypts `secret`, which the caller wipes.
    pub fn new(secret: &[u8; N]) -> Self {
        let mut ciphertext = Arc::new(Ciphertext { number: Number::next(), bytes: [0; N] });
        if let Some(Ciphertext { number, bytes }) = Arc::get_mut(&mut ciphertext) {
            on_wiped_stack::<DEPTH, _>(|| apply(*number, secret, bytes));
        }
        #[cfg(feature = "test-hooks")]
        crate::test_hooks::note(secret, &ciphertext);
        Self(ciphertext)
    }

    /// Runs `step` with the secret in clear, then wipes it, and the stack that `step` ran on.
    ///
    /// What `step` copies elsewhere it has to wipe, and what it returns must hold no secret in clear.
    pub fn with<T>(&self, step: impl FnOnce(&[u8; N]) -> T) -> T {
        let Ciphertext { number, bytes } = &*self.0;
        on_wiped_stack::<DEPTH, _>(|| {
            let mut secret = Zeroizing::new([0; N]);
            apply(*number, bytes, &mut secret);
            step(&secret)
        })
    }
}

impl<const N: usize> Drop for Ciphertext<N> {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl<const N: usize> fmt::Debug for Shielded<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shielded").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_shielded_is_what_comes_back(secret: [u8; 32], long: [u8; 100]) {
            let shielded = Shielded::new(&secret);
            let clone = shielded.clone();
            drop(shielded);
            prop_assert_eq!(clone.with(|bytes| *bytes), secret);
            prop_assert_eq!(clone.with(|bytes| *bytes), secret);
            prop_assert_eq!(Shielded::new(&long).with(|bytes| *bytes), long);
        }

        #[test]
        fn at_rest_there_is_no_secret_and_nothing_that_repeats(secret: [u8; 32]) {
            let (a, b) = (Shielded::new(&secret), Shielded::new(&secret));
            prop_assert_ne!(a.0.bytes, secret);
            prop_assert_ne!(a.0.bytes, b.0.bytes);
        }
    }

    #[test]
    fn nothing_is_printed() {
        assert_eq!(format!("{:?}", Shielded::new(&[7; 32])), "Shielded { .. }");
    }
}
