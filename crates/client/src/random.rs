//! The operating system's randomness, as the protocol takes it.

use rand_core::{Infallible, TryCryptoRng, TryRng};

/// Bytes fetched at once: one system call serves about twenty nonces.
const BUFFER: usize = 256;

/// The operating system's generator, read through a small buffer that is wiped as it is used.
///
/// A process without randomness cannot go on: failure to read it panics, as it does in the
/// standard library's hash maps.
pub struct OsRandom {
    buffer: zeroize::Zeroizing<[u8; BUFFER]>,
    used: usize,
}

impl Default for OsRandom {
    fn default() -> Self {
        Self { buffer: zeroize::Zeroizing::new([0; BUFFER]), used: BUFFER }
    }
}

#[expect(clippy::panic, reason = "without randomness nothing here may go on")]
fn fill_from_os(dst: &mut [u8]) {
    if let Err(error) = getrandom::fill(dst) {
        panic!("the operating system has no randomness: {error}");
    }
}

impl TryRng for OsRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
        if dst.len() > BUFFER - self.used {
            if dst.len() > BUFFER {
                fill_from_os(dst);
                return Ok(());
            }
            fill_from_os(&mut *self.buffer);
            self.used = 0;
        }
        let taken = &mut self.buffer[self.used..self.used + dst.len()];
        dst.copy_from_slice(taken);
        zeroize::Zeroize::zeroize(taken);
        self.used += dst.len();
        Ok(())
    }
}

impl TryCryptoRng for OsRandom {}

/// Where a user's task takes its randomness from: the operating system, but in simulations.
pub(crate) type Random = Box<dyn rand_core::CryptoRng + Send>;

#[cfg(test)]
mod tests {
    use rand_core::Rng;

    use super::*;

    #[test]
    fn bytes_are_handed_out_once_and_wiped() {
        let mut random = OsRandom::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut nonce = [0; 12];
            random.fill_bytes(&mut nonce);
            assert!(seen.insert(nonce), "a nonce came twice");
        }
        assert!(random.buffer[..random.used].iter().all(|b| *b == 0));
    }

    #[test]
    fn requests_larger_than_the_buffer_are_served() {
        let mut big = [0; 1000];
        OsRandom::default().fill_bytes(&mut big);
        assert!(big.iter().any(|b| *b != 0));
    }
}
