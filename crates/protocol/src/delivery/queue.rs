//! Numbered things in ascending order, of which a clone costs one pointer.
//!
//! A list of chunks behind one pointer: a clone shares everything, a change copies the pointers of
//! the list and the one chunk that it touches. Added mostly at the back, taken mostly from the
//! front.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// How many things a chunk holds. A change copies one chunk and the list of chunks, so both are to
/// be short: as long as each other at 64 things, which is what is on its way in a stream.
const CHUNK: usize = 8;

/// The same from [`MANY`] things up, for the list's sake.
const LARGE_CHUNK: usize = 64;
const MANY: usize = 512;

/// Something with a number of its own.
pub(crate) trait Numbered {
    fn seq(&self) -> u64;
}

/// Ascending by number, each number once.
#[derive(Clone)]
pub(crate) struct Queue<T> {
    /// No chunk is empty; `None` when there is nothing at all.
    chunks: Option<Arc<VecDeque<Arc<Vec<T>>>>>,
    len: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { chunks: None, len: 0 }
    }
}

impl<T: Numbered + Clone> Queue<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.chunks.as_ref()?.front()?.first()
    }

    pub(crate) fn back(&self) -> Option<&T> {
        self.chunks.as_ref()?.back()?.last()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flat_map(|chunks| chunks.iter().flat_map(|chunk| chunk.iter()))
    }

    /// What has this number or a higher one.
    pub(crate) fn iter_from(&self, seq: u64) -> impl Iterator<Item = &T> {
        let (chunk, position) = self.position(seq);
        let chunks = self.chunks.as_deref();
        let first = chunks.and_then(|chunks| chunks.get(chunk)).map(|first| &first[position..]);
        let rest = chunks.into_iter().flat_map(move |chunks| chunks.iter().skip(chunk + 1));
        first.into_iter().flatten().chain(rest.flat_map(|chunk| chunk.iter()))
    }

    /// The last that has a lower number.
    pub(crate) fn before(&self, seq: u64) -> Option<&T> {
        let chunks = self.chunks.as_ref()?;
        match self.position(seq) {
            (0, 0) => None,
            (chunk, 0) => chunks.get(chunk - 1)?.last(),
            (chunk, position) => chunks.get(chunk)?.get(position - 1),
        }
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&T> {
        self.iter_from(seq).next().filter(|found| found.seq() == seq)
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut T> {
        self.get(seq)?;
        let (chunk, position) = self.position(seq);
        let chunks = Arc::make_mut(self.chunks.as_mut()?);
        Arc::make_mut(chunks.get_mut(chunk)?).get_mut(position)
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let seq = self.front()?.seq();
        self.remove(seq)
    }

    /// Puts `thing` in its place; one of the same number is replaced.
    pub(crate) fn insert(&mut self, thing: T) {
        let seq = thing.seq();
        if self.back().is_some_and(|back| seq <= back.seq())
            && let Some(there) = self.get_mut(seq)
        {
            *there = thing;
            return;
        }
        let (chunk, position) = self.position(seq);
        let chunks = Arc::make_mut(self.chunks.get_or_insert_default());
        self.len += 1;
        // What belongs between two chunks goes to the end of the first: that is also the back.
        let (chunk, position) = match (chunk.checked_sub(1), position) {
            (Some(previous), 0) => (previous, chunks[previous].len()),
            _ => (chunk, position),
        };
        let Some(target) = chunks.get_mut(chunk) else {
            chunks.push_back(one(thing));
            return;
        };
        if target.len() < if self.len < MANY { CHUNK } else { LARGE_CHUNK } {
            Arc::make_mut(target).insert(position, thing);
        } else if position == target.len() {
            chunks.insert(chunk + 1, one(thing));
        } else {
            let target = Arc::make_mut(target);
            let rest = target.split_off(position);
            target.push(thing);
            chunks.insert(chunk + 1, Arc::new(rest));
        }
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<T> {
        self.get(seq)?;
        let (chunk, position) = self.position(seq);
        let chunks = Arc::make_mut(self.chunks.as_mut()?);
        let target = Arc::make_mut(chunks.get_mut(chunk)?);
        let removed = target.remove(position);
        if target.is_empty() {
            chunks.remove(chunk);
        }
        self.len -= 1;
        if self.len == 0 {
            self.chunks = None;
        }
        Some(removed)
    }

    /// Takes out everything up to number `seq`, and shows it to `each`. Chunks that go as a whole
    /// are not copied.
    pub(crate) fn drop_through(&mut self, seq: u64, mut each: impl FnMut(&T)) {
        while self.front().is_some_and(|front| front.seq() <= seq)
            && let Some(chunks) = &mut self.chunks
        {
            let chunks = Arc::make_mut(chunks);
            let Some(first) = chunks.front_mut() else { return };
            let gone = first.partition_point(|thing| thing.seq() <= seq);
            first[..gone].iter().for_each(&mut each);
            self.len -= gone;
            if gone < first.len() {
                Arc::make_mut(first).drain(..gone);
            } else {
                chunks.pop_front();
            }
            if self.len == 0 {
                self.chunks = None;
            }
        }
    }

    /// Where `seq` is, or would be: a chunk, and a place in it.
    fn position(&self, seq: u64) -> (usize, usize) {
        let Some(chunks) = &self.chunks else { return (0, 0) };
        let ends_before = |chunk: &Arc<Vec<T>>| chunk.last().is_none_or(|last| last.seq() < seq);
        if chunks.back().is_none_or(ends_before) {
            return (chunks.len(), 0);
        }
        // Mostly at the back.
        let chunk = match chunks.len().checked_sub(2) {
            Some(last_but_one) if !ends_before(&chunks[last_but_one]) => {
                chunks.partition_point(ends_before)
            }
            _ => chunks.len() - 1,
        };
        (chunk, chunks[chunk].partition_point(|thing| thing.seq() < seq))
    }
}

fn one<T>(thing: T) -> Arc<Vec<T>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    chunk.push(thing);
    Arc::new(chunk)
}

impl<T: Numbered + Clone> FromIterator<T> for Queue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(things: I) -> Self {
        let mut queue = Self::default();
        things.into_iter().for_each(|thing| queue.insert(thing));
        queue
    }
}

impl<T: Numbered + Clone + fmt::Debug> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Numbered for (u64, u8) {
        fn seq(&self) -> u64 {
            self.0
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Append(u8),
        Insert(u64, u8),
        Remove(u64),
        PopFront,
        DropThrough(u64),
        Change(u64, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => any::<u8>().prop_map(Step::Append),
            3 => (0..300_u64, any::<u8>()).prop_map(|(seq, value)| Step::Insert(seq, value)),
            1 => (0..300_u64).prop_map(Step::Remove),
            1 => Just(Step::PopFront),
            1 => (0..300_u64).prop_map(Step::DropThrough),
            1 => (0..300_u64, any::<u8>()).prop_map(|(seq, value)| Step::Change(seq, value)),
        ]
    }

    proptest! {
        /// A queue does what an ordered map does, and what was cloned from it stays as it was.
        #[test]
        fn a_queue_is_an_ordered_map(
            filled in prop_oneof![Just(0), 0..1_500_u64],
            steps in proptest::collection::vec(step(), 0..400),
        ) {
            let things = (0..filled).map(|at| (at * 2, 0));
            let (mut queue, mut map) = (things.clone().collect::<Queue<_>>(), things.collect::<BTreeMap<_, _>>());
            for step in steps {
                let (old_queue, old_map) = (queue.clone(), map.clone());
                match step {
                    Step::Append(value) => {
                        let seq = map.last_key_value().map_or(0, |(seq, _)| seq + 1);
                        queue.insert((seq, value));
                        map.insert(seq, value);
                    }
                    Step::Insert(seq, value) => {
                        queue.insert((seq, value));
                        map.insert(seq, value);
                    }
                    Step::Remove(seq) => {
                        prop_assert_eq!(queue.remove(seq).map(|(_, value)| value), map.remove(&seq));
                    }
                    Step::PopFront => prop_assert_eq!(queue.pop_front(), map.pop_first()),
                    Step::DropThrough(seq) => {
                        let mut dropped = Vec::new();
                        queue.drop_through(seq, |thing| dropped.push(*thing));
                        let kept = map.split_off(&(seq + 1));
                        prop_assert!(dropped.into_iter().eq(std::mem::replace(&mut map, kept)));
                    }
                    Step::Change(seq, value) => {
                        if let Some(thing) = queue.get_mut(seq) {
                            thing.1 = value;
                        }
                        map.entry(seq).and_modify(|there| *there = value);
                    }
                }
                prop_assert!(queue.iter().copied().eq(map.clone()));
                prop_assert!(old_queue.iter().copied().eq(old_map));
                prop_assert_eq!(queue.len(), map.len());
                prop_assert_eq!(queue.is_empty(), map.is_empty());
                prop_assert_eq!(queue.front().copied(), map.clone().pop_first());
                prop_assert_eq!(queue.back().copied(), map.clone().pop_last());
                for seq in [0, 1, 7, 8, 9, 65, 150, 299, 500, 5_000] {
                    let ranged = |range| map.range::<u64, std::ops::Range<u64>>(range);
                    let copied = |(seq, value): (&u64, &u8)| (*seq, *value);
                    prop_assert!(queue.iter_from(seq).copied().eq(ranged(seq..u64::MAX).map(copied)));
                    prop_assert_eq!(queue.before(seq).copied(), ranged(0..seq).next_back().map(copied));
                    prop_assert_eq!(queue.get(seq).map(|(_, value)| value), map.get(&seq));
                }
            }
        }
    }
}
