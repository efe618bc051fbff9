//! Which messages were taken lately, so that one sent again after a lost answer is not stored
//! twice. Bounded: the oldest is forgotten first.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};

use super::mailbox::Sequence;
use super::users::UserKey;

/// Where a message went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken {
    pub(crate) user: UserKey,
    pub(crate) sequence: Sequence,
}

/// A message as its sender names it, hashed with keys that nobody else knows: 128 bits, so that
/// two messages are not mistaken for one another.
pub(crate) type Name = (u64, u64);

/// The messages taken lately.
#[derive(Debug)]
pub(crate) struct Recent {
    capacity: usize,
    hashers: (RandomState, RandomState),
    taken: HashMap<Name, Taken>,
    order: VecDeque<Name>,
}

impl Recent {
    pub(crate) fn new(capacity: usize) -> Self {
        let hashers = (RandomState::new(), RandomState::new());
        Self { capacity, hashers, taken: HashMap::new(), order: VecDeque::new() }
    }

    /// The name of a message: who sends it (token and claimed id), to whom, under which id.
    pub(crate) fn name(&self, of: impl Hash) -> Name {
        (self.hashers.0.hash_one(&of), self.hashers.1.hash_one(&of))
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
        let mut recent = Recent::new(2);
        let names: Vec<Name> = (0..3).map(|n| recent.name(n)).collect();
        for (sequence, name) in (0..).zip(&names) {
            recent.insert(*name, Taken { user: UserKey(0), sequence });
        }
        let known: Vec<bool> = names.iter().map(|name| recent.get(*name).is_some()).collect();
        assert_eq!(known, [false, true, true]);
    }
}
