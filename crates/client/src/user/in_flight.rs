//! Messages that have left for the relay and that it has not taken yet.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::Rng;
use tokio::time::Instant;

use super::Done;
use crate::Error;
use crate::events::{Content, Sent, SentStatus};
use crate::link::Outgoing;

/// What travels under a relay's message id.
pub(super) enum Flight {
    /// A message in wire 3.
    Legacy {
        /// What it carries, in case that its step is taken again.
        content: Content,
        done: Done,
    },
    /// A message in wire 4, for the first time.
    Content {
        seq: u64,
        /// The message's own id: the relay's is another for each transmission.
        id: String,
        /// Told when the relay has it; `None` when the recipient's receipt is waited for.
        done: Option<Done>,
    },
    /// A message in wire 4, sealed again: nobody waits for the relay.
    Again,
    /// A receipt or a question: nobody waits for the relay.
    Control,
}

/// What became of one.
pub(super) struct Landed {
    pub(super) to: String,
    pub(super) flight: Flight,
}

pub(super) struct InFlight {
    /// What ids begin with; the rest is a number.
    prefix: String,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    deadlines: BTreeSet<(Instant, u64)>,
}

struct Waiting {
    to: String,
    deadline: Instant,
    flight: Flight,
}

impl Flight {
    /// As logs say it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Legacy { .. } => "wire 3",
            Self::Content { .. } => "first",
            Self::Again => "again",
            Self::Control => "control",
        }
    }

    /// Answers the send, if one waits for the relay.
    pub(super) fn answer(self, relay_id: &str, outcome: Result<SentStatus, Error>) {
        match self {
            Self::Legacy { done, content: _ } => {
                done(outcome.map(|status| Sent { id: relay_id.to_owned(), status }));
            }
            Self::Content { id, done: Some(done), .. } => {
                done(outcome.map(|status| Sent { id, status }));
            }
            Self::Content { done: None, .. } | Self::Again | Self::Control => {}
        }
    }
}

impl InFlight {
    pub(super) fn new(random: &mut impl Rng) -> Self {
        let prefix = format!("{:016x}-", random.next_u64());
        Self { prefix, next: 0, waiting: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    /// An id that no other message of ours has, in this process or before it.
    pub(super) fn next_id(&mut self) -> String {
        self.next += 1;
        self.id(self.next)
    }

    fn id(&self, number: u64) -> String {
        format!("{}{number:x}", self.prefix)
    }

    /// What [`next_id`](Self::next_id) has made this id of, and no other spelling of it.
    fn number(&self, id: &str) -> Option<u64> {
        let digits = id.strip_prefix(&self.prefix)?;
        let is_ours = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        if digits.starts_with('0') || !digits.bytes().all(is_ours) {
            return None;
        }
        u64::from_str_radix(digits, 16).ok()
    }

    pub(super) fn insert(&mut self, message: &Outgoing, flight: Flight) {
        let Outgoing { id, to, deadline, .. } = message;
        let Some(number) = self.number(id) else { return };
        self.deadlines.insert((*deadline, number));
        let waiting = Waiting { to: to.clone(), deadline: *deadline, flight };
        self.waiting.insert(number, waiting);
    }

    /// Takes out what the relay has answered.
    pub(super) fn take(&mut self, id: &str) -> Option<Landed> {
        self.take_number(self.number(id)?)
    }

    fn take_number(&mut self, number: u64) -> Option<Landed> {
        let waiting = self.waiting.remove(&number)?;
        self.deadlines.remove(&(waiting.deadline, number));
        Some(Landed { to: waiting.to, flight: waiting.flight })
    }

    /// Takes out one whose time is over.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<(String, Landed)> {
        let (_, number) = self.deadlines.first().filter(|(at, _)| *at <= now).copied()?;
        self.take_number(number).map(|landed| (self.id(number), landed))
    }

    /// Takes out what is left.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (String, Landed)> {
        self.deadlines.clear();
        let Self { prefix, waiting, .. } = self;
        let landed = |Waiting { to, flight, .. }| Landed { to, flight };
        std::mem::take(waiting)
            .into_iter()
            .map(move |(number, it)| (format!("{prefix}{number:x}"), landed(it)))
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written_and_no_other_way() {
        let mut in_flight = InFlight::new(&mut ChaCha20Rng::seed_from_u64(1));
        let ids: Vec<String> = (0..40).map(|_| in_flight.next_id()).collect();
        for (id, number) in ids.iter().zip(1..) {
            assert_eq!(in_flight.number(id), Some(number));
        }
        let prefix = in_flight.prefix.clone();
        for digits in ["", "+1", "01", "A", "-1", "1 ", "g", "10000000000000000"] {
            assert_eq!(in_flight.number(&format!("{prefix}{digits}")), None, "{digits}");
        }
        assert_eq!(in_flight.number("1"), None);
    }
}
