//! Which messages were taken lately, so that one sent again after a lost answer is not stored
//! twice. Bounded: the oldest is forgotten first.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::mailbox::Sequence;
use super::users::UserKey;

/// Where a message went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) user: UserKey,
    pub(crate) sequence: Sequence,
}

/// A message, hashed with keys that nobody else knows: 128 bits, so that two messages are not
/// mistaken for one another. All of its text counts. Were it named by sender, recipient and id
/// alone, anybody who holds the token and guesses ids could have later messages taken for his.
pub(crate) type Name = (u64, u64);

/// Names messages.
#[derive(Debug, Default)]
pub(crate) struct Namer(RandomState, RandomState);

impl Namer {
    pub(crate) fn name(&self, namespace: &str, text: &str) -> Name {
        (self.0.hash_one((namespace, text)), self.1.hash_one((namespace, text)))
    }
}

/// The messages taken lately.
#[derive(Debug)]
pub(crate) struct Recent {
    capacity: usize,
    taken: HashMap<Name, Taken>,
    order: VecDeque<Name>,
}

impl Recent {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, taken: HashMap::new(), order: VecDeque::new() }
    }

    pub(crate) fn get(&self, name: Name) -> Option<Taken> {
        self.taken.get(&name).copied()
    }

    pub(crate) fn insert(&mut self, name: Name, taken: Taken) {
        if self.capacity == 0 || self.taken.insert(name, taken).is_some() {
            return;
        }
        if self.order.len() == self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.taken.remove(&oldest);
        }
        self.order.push_back(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let (mut recent, namer) = (Recent::new(2), Namer::default());
        let names: Vec<Name> = ["a", "b", "c"].map(|text| namer.name("token", text)).into();
        for (sequence, name) in (0..).zip(&names) {
            recent.insert(*name, Taken { user: UserKey(0), sequence });
        }
        let known: Vec<bool> = names.iter().map(|name| recent.get(*name).is_some()).collect();
        assert_eq!(known, [false, true, true]);
    }
}
