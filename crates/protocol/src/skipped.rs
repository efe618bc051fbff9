//! `MKSKIPPED`: keys of messages that are still on their way.
//!
//! Grouped by chain, in the order in which the chains were used; within a chain by number. That is
//! also the order in which they were stored. Clones share the groups, a change copies only the
//! pointers of the group that it touches.
//! Spec: Double Ratchet, section 2.6 ("Out-of-order messages").

use std::sync::Arc;

use crate::curve::POINT_LENGTH;
use crate::message_key::MessageKey;

/// `MAX_SKIP`: how far ahead in one chain a message may be. What the original accepts; each step
/// costs two HMACs before the message is known to be genuine.
pub const MAX_SKIP: u32 = 256;

/// How many keys a session keeps. The original keeps all, for ever; an evil peer could fill our
/// memory with them.
pub const MAX_SKIPPED_KEYS: usize = 1000;

type RatchetKeyBytes = [u8; POINT_LENGTH];

/// The skipped message keys of a session, at most [`MAX_SKIPPED_KEYS`].
#[derive(Clone, Default)]
pub(crate) struct SkippedMessageKeys {
    chains: Arc<Vec<Arc<SkippedChain>>>,
    count: usize,
}

#[derive(Clone)]
struct SkippedChain {
    ratchet_key: RatchetKeyBytes,
    keys: Vec<(u32, MessageKey)>, // ascending
}

impl SkippedMessageKeys {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether any key of this chain is kept.
    pub(crate) fn holds_chain(&self, ratchet_key: &RatchetKeyBytes) -> bool {
        self.chain(ratchet_key).is_some()
    }

    /// The key of one message, and the store without it.
    pub(crate) fn take(
        &self,
        ratchet_key: &RatchetKeyBytes,
        counter: u32,
    ) -> Option<(Self, MessageKey)> {
        let at = self.chain(ratchet_key)?;
        let keys = &self.chains[at].keys;
        let position = keys.binary_search_by_key(&counter, |(counter, _)| *counter).ok()?;
        let message_key = keys[position].1.clone();

        let mut next = self.clone();
        next.remove(at, position);
        Some((next, message_key))
    }

    /// The store with the keys of one chain added, `keys` ascending and beyond those kept so far.
    /// The oldest are dropped when there are too many.
    pub(crate) fn with(&self, ratchet_key: &RatchetKeyBytes, keys: Vec<(u32, MessageKey)>) -> Self {
        let mut next = self.clone();
        next.add(ratchet_key, keys);
        next
    }

    /// The same in place, for a store that nobody else holds yet.
    pub(crate) fn add(&mut self, ratchet_key: &RatchetKeyBytes, keys: Vec<(u32, MessageKey)>) {
        if keys.is_empty() {
            return;
        }
        self.count += keys.len();
        let chains = Arc::make_mut(&mut self.chains);
        match chains.last_mut().filter(|chain| chain.ratchet_key == *ratchet_key) {
            Some(chain) => Arc::make_mut(chain).keys.extend(keys),
            None => chains.push(Arc::new(SkippedChain { ratchet_key: *ratchet_key, keys })),
        }
        self.drop_oldest();
    }

    /// Every chain of which keys are kept, oldest first, and those keys with their numbers.
    pub(crate) fn chains(
        &self,
    ) -> impl ExactSizeIterator<Item = (&RatchetKeyBytes, &[(u32, MessageKey)])> {
        self.chains.iter().map(|chain| (&chain.ratchet_key, chain.keys.as_slice()))
    }

    /// Every key with its chain and number, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RatchetKeyBytes, u32, &MessageKey)> {
        self.chains().flat_map(|(ratchet_key, keys)| {
            keys.iter().map(move |(counter, key)| (ratchet_key, *counter, key))
        })
    }

    /// Newest first: late messages mostly belong to a recent chain.
    fn chain(&self, ratchet_key: &RatchetKeyBytes) -> Option<usize> {
        self.chains.iter().rposition(|chain| chain.ratchet_key == *ratchet_key)
    }

    /// Drops what is beyond [`MAX_SKIPPED_KEYS`].
    fn drop_oldest(&mut self) {
        let chains = Arc::make_mut(&mut self.chains);
        while let Some(excess) = self.count.checked_sub(MAX_SKIPPED_KEYS).filter(|&n| n > 0) {
            let keys = &mut Arc::make_mut(&mut chains[0]).keys;
            let dropped = excess.min(keys.len());
            keys.drain(..dropped);
            if keys.is_empty() {
                chains.remove(0);
            }
            self.count -= dropped;
        }
    }

    fn remove(&mut self, at: usize, position: usize) {
        let chains = Arc::make_mut(&mut self.chains);
        let keys = &mut Arc::make_mut(&mut chains[at]).keys;
        keys.remove(position);
        if keys.is_empty() {
            chains.remove(at);
        }
        self.count -= 1;
    }
}
