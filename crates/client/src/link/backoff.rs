//! How long to wait before the next attempt to connect.

use std::time::Duration;

use rand_core::Rng;

use crate::random::OsRandom;

const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// Doubling delays from 250 ms to 30 s, each drawn from the upper half of its range, so that a
/// relay that restarts is not met by all its clients at the same instant.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempt: u32,
}

impl Backoff {
    /// The next delay.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.attempt.min(16)).min(LONGEST);
        self.attempt = self.attempt.saturating_add(1);
        let half = full / 2;
        let fraction = f64::from(OsRandom::default().next_u32()) / f64::from(u32::MAX);
        half + half.mul_f64(fraction)
    }

    /// The connection works: begin from the shortest again.
    pub(crate) fn reset(&mut self) {
        self.attempt = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_250_ms_to_30_s_and_stay_there() {
        let mut backoff = Backoff::default();
        let mut full = FIRST;
        for _ in 0..40 {
            let delay = backoff.next();
            assert!(delay >= full / 2 && delay <= full, "{delay:?} of {full:?}");
            full = (full * 2).min(LONGEST);
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
