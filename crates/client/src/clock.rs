//! The time of day, as the protocol takes it: milliseconds since the Unix epoch.

use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::{Duration, Instant};

/// Where a user's task reads the time of day.
///
/// The system's clock, asked anew each time: a laptop that slept for a night must not stamp its
/// messages with yesterday. Simulations derive it from tokio's clock, which they hold.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Clock {
    #[default]
    System,
    #[cfg(feature = "simulation")]
    Virtual { start: Instant, start_ms: u64 },
}

impl Clock {
    pub(crate) fn now_ms(self) -> u64 {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                since.as_millis().try_into().unwrap_or(u64::MAX)
            }
            #[cfg(feature = "simulation")]
            Self::Virtual { start, start_ms } => start_ms + start.elapsed().as_millis() as u64,
        }
    }

    /// The instant at which this clock will show `at_ms`, now if it has passed.
    pub(crate) fn instant(self, at_ms: u64) -> Instant {
        /// Instants further ahead may not exist.
        const LONGEST_MS: u64 = 30 * 24 * 60 * 60 * 1000;
        let left = at_ms.saturating_sub(self.now_ms()).min(LONGEST_MS);
        Instant::now() + Duration::from_millis(left)
    }
}
