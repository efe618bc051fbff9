//! Deadlines, as values: the caller says what time it is and asks what is due.

/// A receipt waits so long for a message to ride on: what people do not notice, and a tenth of
/// what senders wait for one.
pub(super) const RECEIPT_DELAY_MS: u64 = 500;

/// A receipt goes by itself after so many messages: it turns the ratchet of both sides, so no
/// ratchet key seals more of a one-way stream than these and what was on its way.
pub(super) const RECEIPT_EVERY: u32 = 50;

/// A message that came before an earlier one waits so long before the gap is asked for: relays
/// that reorder do it within less.
pub(super) const GAP_DELAY_MS: u64 = 1_000;

/// The longest time between two requests for one gap.
pub(super) const MAX_GAP_DELAY_MS: u64 = 60_000;

/// A peer that shows nothing of what was sealed for it is asked after so long: six times what it
/// waits with its receipts.
pub(super) const PROBE_DELAY_MS: u64 = 3_000;

/// The same when the relay has said that it keeps the message for a peer that is away.
pub(super) const QUEUED_PROBE_DELAY_MS: u64 = 60_000;

/// The longest time between two probes: a peer that is away for days costs 288 of them a day.
pub(super) const MAX_PROBE_DELAY_MS: u64 = 300_000;

/// Messages are sealed again at the peer's request at most this often, whatever it asks for.
pub(super) const PASS_INTERVAL_MS: u64 = 1_000;

/// The same when the peer asks again and again and gets no further: the pause doubles up to here,
/// the longest between two requests of ours for one gap. A request of some bytes may otherwise cost
/// a whole outbox each second.
pub(super) const MAX_PASS_INTERVAL_MS: u64 = 60_000;

/// A peer that comes back, or a relay, is asked at once what it has received, but not more often
/// than this.
pub(super) const ASK_INTERVAL_MS: u64 = 1_000;

/// Something to do at a time, in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer {
    pub(super) at_ms: u64,
    /// How long it was set for.
    pub(super) wait_ms: u64,
}

impl Timer {
    pub(super) fn after(now_ms: u64, wait_ms: u64) -> Self {
        Self { at_ms: now_ms.saturating_add(wait_ms), wait_ms }
    }

    /// A timer further ahead than it was set for was set by a clock that has since gone back; it
    /// is due, or it could be years away.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.at_ms || self.at_ms - now_ms > self.wait_ms
    }

    /// The next one, after twice the time but at most `max_ms`.
    pub(super) fn backed_off(&self, now_ms: u64, max_ms: u64) -> Self {
        Self::after(now_ms, self.wait_ms.saturating_mul(2).min(max_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_when_its_time_has_come() {
        let timer = Timer::after(1_000, 500);
        assert!(!timer.is_due(1_000) && !timer.is_due(1_499));
        assert!(timer.is_due(1_500) && timer.is_due(u64::MAX));
    }

    #[test]
    fn a_timer_is_due_when_the_clock_has_gone_back() {
        assert!(Timer::after(1_000, 500).is_due(999));
    }

    #[test]
    fn waiting_doubles_up_to_its_limit() {
        let mut timer = Timer::after(0, 1_000);
        for wait_ms in [2_000, 4_000, 5_000, 5_000] {
            timer = timer.backed_off(10, 5_000);
            assert_eq!(timer, Timer { at_ms: 10 + wait_ms, wait_ms });
        }
    }
}
