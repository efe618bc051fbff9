//! Metrics as text that Prometheus reads: exposition format 0.0.4.

use std::fmt::{self, Display, Formatter};

use crate::histogram::Histogram;
use crate::metrics::Metrics;

/// Displays as the exposition text, which ends with a line feed.
pub(crate) struct Exposition<'a>(pub(crate) &'a Metrics);

impl Display for Exposition<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Metrics {
            messages_encrypted,
            messages_decrypted,
            messages_rejected,
            replay_attempts,
            auth_failures,
            messages_retransmitted,
            receipts_received,
            sessions_begun,
            reconnections,
            storage_failures,
            storage_conflicts,
            send_duration,
            receipt_duration,
            commit_duration,
        } = self.0;
        let counters = [
            ("messages_encrypted", "Messages sealed for the first time.", messages_encrypted),
            ("messages_decrypted", "Messages opened.", messages_decrypted),
            ("messages_rejected", "Messages that failed authentication.", messages_rejected),
            ("replay_attempts", "Messages refused as received before.", replay_attempts),
            ("auth_failures", "Refused tokens and bundles not signed.", auth_failures),
            ("messages_retransmitted", "Messages sealed again.", messages_retransmitted),
            ("receipts_received", "Messages that recipients have handled.", receipts_received),
            ("sessions_begun", "Sessions begun by this app.", sessions_begun),
            ("reconnections", "Connections to the relay after the first.", reconnections),
            ("storage_failures", "Calls of stores that failed.", storage_failures),
            ("storage_conflicts", "Steps undone by another process.", storage_conflicts),
        ];
        for (name, help, value) in counters {
            head(f, &format_args!("{name}_total"), help, "counter")?;
            writeln!(f, "stvor_{name}_total {value}")?;
        }
        let histograms = [
            ("send", "From send() until the relay has the message.", send_duration),
            ("receipt", "From send() until the recipient has handled it.", receipt_duration),
            ("commit", "One write of a step to the stores.", commit_duration),
        ];
        histograms.into_iter().try_for_each(|(name, help, value)| histogram(f, name, help, value))
    }
}

fn head(f: &mut Formatter<'_>, name: &dyn Display, help: &str, kind: &str) -> fmt::Result {
    writeln!(f, "# HELP stvor_{name} {help}")?;
    writeln!(f, "# TYPE stvor_{name} {kind}")
}

fn histogram(f: &mut Formatter<'_>, name: &str, help: &str, value: &Histogram) -> fmt::Result {
    head(f, &format_args!("{name}_duration_seconds"), help, "histogram")?;
    for (bound, count) in value.cumulative() {
        let le = bound.as_secs_f64();
        writeln!(f, "stvor_{name}_duration_seconds_bucket{{le=\"{le}\"}} {count}")?;
    }
    let (count, sum) = (value.count(), value.sum().as_secs_f64());
    writeln!(f, "stvor_{name}_duration_seconds_bucket{{le=\"+Inf\"}} {count}")?;
    writeln!(f, "stvor_{name}_duration_seconds_sum {sum}")?;
    writeln!(f, "stvor_{name}_duration_seconds_count {count}")
}
