//! How long a step waits for company, where its store is slow.
//!
//! A step takes what waits when it begins. After a slow commit the first of many who were answered
//! would begin the next one alone, and have all others wait for another commit: two or three
//! commits would take turns with a part of the messages each. A moment's patience has them meet.

use std::time::Duration;

use tokio::time::Instant;

use super::BATCH;

/// A commit that takes less is not waited for: the wait would cost as much.
const SLOW: Duration = Duration::from_millis(2);

/// Longest wait for those who are expected; and never longer than half a commit, which is what it
/// costs at most when they do not come.
const PATIENCE: Duration = Duration::from_millis(5);

/// What the last step that wrote says about the next one.
#[derive(Debug, Default)]
pub(super) struct Pace {
    expected: usize,
    took: Duration,
}

impl Pace {
    /// Until when a step that has taken `taken` sends and messages and began at `begun` waits for
    /// more; `None` if there is nothing to wait for.
    pub(super) fn waits_until(&self, taken: usize, begun: Instant) -> Option<Instant> {
        (self.took >= SLOW && taken < self.expected).then(|| begun + PATIENCE.min(self.took / 2))
    }

    /// A step has written: `under_way` counts those who may be back soon, `took` says how long the
    /// commit took.
    pub(super) fn committed(&mut self, under_way: usize, took: Duration) {
        *self = Self { expected: under_way.min(BATCH), took };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_company_that_is_expected_after_a_slow_commit_is_waited_for() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.waits_until(0, now), None, "nothing is known yet");
        pace.committed(64, SLOW);
        assert_eq!(pace.waits_until(63, now), Some(now + SLOW / 2));
        assert_eq!(pace.waits_until(64, now), None, "all of them are there");
        pace.committed(64, 100 * SLOW);
        assert_eq!(pace.waits_until(63, now), Some(now + PATIENCE));
        pace.committed(1, SLOW);
        assert_eq!(pace.waits_until(1, now), None, "one at a time never waits");
        pace.committed(64, SLOW - Duration::from_micros(1));
        assert_eq!(pace.waits_until(1, now), None, "a fast store is not worth it");
        pace.committed(10 * BATCH, SLOW);
        assert_eq!(pace.waits_until(BATCH, now), None, "a step takes no more");
    }
}
