//! A histogram of durations with fixed buckets, written without locks or allocation.
//!
//! An observation is two atomic additions. Buckets and sum are not read at one instant: the count
//! is that of the buckets, and the sum may lack an observation that is being written.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many bounds there are; one more bucket takes what is longer than all of them.
const BOUNDS: usize = 18;

/// Upper bounds of the buckets in microseconds: from what a message costs without a network up to
/// what a person waits. A bound belongs to its bucket, as in Prometheus.
const BOUNDS_US: [u64; BOUNDS] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Durations as they are observed.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    buckets: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

/// A reading of a histogram.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram {
    /// Observations in each bucket alone; the last one is that of the longest.
    buckets: [u64; BOUNDS + 1],
    /// All observations together.
    sum: Duration,
}

impl Recorder {
    pub(crate) fn observe(&self, duration: Duration) {
        let bucket = BOUNDS_US.partition_point(|bound| Duration::from_micros(*bound) < duration);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_ns.fetch_add(nanos, Ordering::Relaxed); // wraps after 584 years of waiting
    }

    pub(crate) fn read(&self) -> Histogram {
        Histogram {
            buckets: std::array::from_fn(|at| self.buckets[at].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)),
        }
    }
}

impl Histogram {
    /// How many durations were observed.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// For each bound, ascending, how many were as long at most. What is longer than the last
    /// bound is in [`count`](Self::count) only.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let counts = self.buckets.iter().scan(0, |total, count| {
            *total += count;
            Some(*total)
        });
        BOUNDS_US.iter().map(|us| Duration::from_micros(*us)).zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_longer_than_all_only_to_the_count() {
        let recorder = Recorder::default();
        let longest = Duration::from_secs(60);
        for duration in [Duration::ZERO, Duration::from_micros(100), longest, longest * 2] {
            recorder.observe(duration);
        }
        recorder.observe(Duration::from_nanos(100_001));
        let read = recorder.read();
        let counts: Vec<_> = read.cumulative().collect();
        assert_eq!(counts.len(), BOUNDS);
        assert_eq!(counts[0], (Duration::from_micros(100), 2));
        assert_eq!(counts[1], (Duration::from_micros(250), 3));
        assert_eq!(counts[BOUNDS - 2], (Duration::from_secs(30), 3));
        assert_eq!(counts[BOUNDS - 1], (longest, 4));
        assert_eq!(read.count(), 5);
        assert_eq!(read.sum(), longest * 3 + Duration::from_nanos(200_001));
    }

    #[test]
    fn observations_of_several_threads_are_all_counted() {
        let recorder = Recorder::default();
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let recorder = &recorder;
                scope.spawn(move || {
                    (0..1_000).for_each(|_| recorder.observe(Duration::from_millis(thread)));
                });
            }
        });
        assert_eq!(recorder.read().count(), 4_000);
        assert_eq!(recorder.read().sum(), Duration::from_secs(6));
    }

    #[test]
    fn bounds_ascend() {
        assert!(BOUNDS_US.is_sorted_by(|one, next| one < next));
    }
}
