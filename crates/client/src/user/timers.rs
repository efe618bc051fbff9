//! When which peer needs attention: one instant for each, the earliest first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

/// A set of alarms, one for each peer that has one. Asking for the earliest costs O(1), however
/// many peers wait.
#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Instant, Arc<str>)>,
    by_peer: HashMap<Arc<str>, Instant>,
}

impl Timers {
    /// Replaces the peer's alarm.
    pub(super) fn set(&mut self, peer_id: &str, at: Option<Instant>) {
        let known = self.by_peer.get_key_value(peer_id).map(|(id, at)| (id.clone(), *at));
        if known.as_ref().map(|(_, at)| *at) == at {
            return;
        }
        let id = match known {
            Some((id, earlier)) => {
                let key = (earlier, id);
                self.order.remove(&key);
                key.1
            }
            None => Arc::from(peer_id),
        };
        match at {
            Some(at) => {
                self.order.insert((at, id.clone()));
                self.by_peer.insert(id, at);
            }
            None => drop(self.by_peer.remove(&id)),
        }
    }

    pub(super) fn earliest(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the peers whose time has come, in the order of their alarms.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        while let Some((at, id)) = self.order.first().cloned()
            && at <= now
        {
            self.order.pop_first();
            self.by_peer.remove(&id);
            due.push(id);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn alarms_go_off_in_order_once_and_can_be_moved_and_taken_back() {
        let (mut timers, start) = (Timers::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        timers.set("a", Some(at(3)));
        timers.set("b", Some(at(1)));
        timers.set("c", Some(at(2)));
        timers.set("b", Some(at(4)));
        timers.set("c", None);
        assert_eq!(timers.earliest(), Some(at(3)));
        assert!(timers.take_due(at(2)).is_empty());
        let due: Vec<_> = timers.take_due(at(9)).iter().map(|id| id.to_string()).collect();
        assert_eq!(due, ["a", "b"]);
        assert_eq!(timers.earliest(), None);
        assert!(timers.take_due(at(9)).is_empty());
    }
}
