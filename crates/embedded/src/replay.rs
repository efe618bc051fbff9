//! The nonces of the last minutes: all of them in memory, and sealed in the file.
//!
//! A commit that marks nonces writes one row with all of them, in the order of commits, and
//! removes a few rows whose time is over. So marking costs no look-up in the file, and forgetting
//! is never more than a bounded part of a commit.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redb::ReadableTable;

use crate::engine::{Engine, NONCES};
use crate::error::Error;
use crate::seal::{Row, Sealer};

/// Nonces remembered at most, about 30 MB; the oldest go first. At five minutes, 1,700 messages a
/// second for as long.
const MAX_MARKS: usize = 500_000;

/// Rows that one commit removes at most. It adds one, so those whose time is over get fewer.
const FORGOTTEN_AT_ONCE: usize = 8;

/// A nonce of a peer of a user, in sixteen bytes of an HMAC.
pub(crate) type Mark = [u8; 16];

/// Seconds since 1970.
pub(crate) type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's clock: what is marked has to outlive the process.
pub(crate) fn system_clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Which nonces have been seen.
pub(crate) struct Nonces {
    sealer: Sealer,
    window: u64,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When each mark was made.
    seen: HashMap<Mark, u64>,
    /// The rows in the file, oldest first.
    rows: VecDeque<MarksRow>,
    next_sequence: u64,
    /// Marks that wait for the next `save` of their user.
    waiting: HashMap<Row, Vec<Mark>>,
    waiting_count: usize,
    /// When to look for waiting marks whose time is over.
    prune_at: usize,
}

struct MarksRow {
    sequence: u64,
    at: u64,
    marks: Vec<Mark>,
}

/// What one commit does to the nonces, until it has succeeded or failed.
#[derive(Default)]
pub(crate) struct Draft {
    at: u64,
    sequence: u64,
    /// Asked for by this commit itself.
    own: Vec<Mark>,
    /// Of the saves that it commits.
    saved: Vec<(Row, Vec<Mark>)>,
    /// The row to write, if there is anything to mark.
    pub(crate) row: Option<(u64, Vec<u8>)>,
    /// The rows to remove.
    pub(crate) forgotten: Vec<u64>,
}

impl Nonces {
    /// Reads what the file holds.
    pub(crate) fn load(
        engine: &Engine,
        sealer: Sealer,
        window: Duration,
        clock: Clock,
    ) -> Result<Self, Error> {
        let rows = engine.read(|transaction| {
            let mut rows = Vec::new();
            for entry in transaction.open_table(NONCES)?.iter()? {
                let (sequence, sealed) = entry?;
                rows.push((sequence.value(), sealed.value().to_vec()));
            }
            Ok(rows)
        })?;
        let mut state = State { prune_at: 1024, ..State::default() };
        for (sequence, sealed) in rows {
            let content = sealer.open(&sequence.to_be_bytes(), &sealed)?;
            let (at, marks) = content.split_first_chunk::<8>().ok_or(Error::Damaged)?;
            let (marks, []) = marks.as_chunks::<16>() else { return Err(Error::Damaged) };
            state.keep(MarksRow { sequence, at: u64::from_le_bytes(*at), marks: marks.to_vec() });
            state.next_sequence = sequence + 1;
        }
        Ok(Self { sealer, window: window.as_secs(), clock, state: Mutex::new(state) })
    }

    /// The mark of a nonce.
    pub(crate) fn mark(&self, user: &str, peer: &str, nonce: &[u8; 12]) -> Mark {
        let row = self.sealer.row(&[user.as_bytes(), peer.as_bytes(), nonce]);
        let mut mark = [0; 16];
        mark.copy_from_slice(&row[..16]);
        mark
    }

    /// Whether the mark was there; it is now, and waits for the next `save` of `user`.
    pub(crate) fn mark_later(&self, user: Row, mark: Mark) -> bool {
        let now = (self.clock)();
        let mut state = self.lock();
        if state.is_seen(&mark, now, self.window) {
            return true;
        }
        if state.waiting_count >= state.prune_at {
            state.prune(now, self.window);
        }
        state.seen.insert(mark, now);
        state.waiting.entry(user).or_default().push(mark);
        state.waiting_count += 1;
        false
    }

    /// Takes the marks that wait for a `save` of `user`, which begins.
    pub(crate) fn take_waiting(&self, user: &Row) -> Vec<Mark> {
        let mut state = self.lock();
        let marks = state.waiting.remove(user).unwrap_or_default();
        state.waiting_count -= marks.len();
        marks
    }

    /// Whether each of the marks `asked` was there; a commit of the draft writes those that were
    /// not, and those `saved`.
    pub(crate) fn draft<'a>(
        &self,
        saved: impl Iterator<Item = (Row, &'a [Mark])>,
        asked: impl Iterator<Item = &'a [Mark]>,
    ) -> Result<(Draft, Vec<Vec<bool>>), Error> {
        let now = (self.clock)();
        let mut state = self.lock();
        let mut draft = Draft { at: now, sequence: state.next_sequence, ..Draft::default() };
        let mut ask = |mark: &Mark| state.ask(*mark, now, self.window, &mut draft);
        let answers = asked.map(|marks| marks.iter().map(&mut ask).collect()).collect();
        draft.saved = saved.map(|(user, marks)| (user, marks.to_vec())).collect();
        draft.forgotten = state.forgettable(now, self.window);
        drop(state);
        let content = draft.content();
        if content.len() > 8 {
            match self.sealer.seal(&draft.sequence.to_be_bytes(), &content) {
                Ok(sealed) => draft.row = Some((draft.sequence, sealed)),
                Err(error) => {
                    self.abort(draft);
                    return Err(error);
                }
            }
        }
        Ok((draft, answers))
    }

    /// The draft is durable.
    pub(crate) fn commit(&self, draft: Draft) {
        let mut state = self.lock();
        for _ in &draft.forgotten {
            state.forget_oldest();
        }
        if draft.row.is_some() {
            let (sequence, at) = (draft.sequence, draft.at);
            state.keep(MarksRow { sequence, at, marks: draft.marks().copied().collect() });
            state.next_sequence = sequence + 1;
        }
    }

    /// The draft did not become durable: what was asked for is new again, what was saved waits.
    pub(crate) fn abort(&self, draft: Draft) {
        let mut state = self.lock();
        for mark in &draft.own {
            state.seen.remove(mark);
        }
        for (user, marks) in draft.saved {
            if marks.is_empty() {
                continue;
            }
            state.waiting_count += marks.len();
            let waiting = state.waiting.entry(user).or_default();
            let newer = mem::replace(waiting, marks);
            waiting.extend(newer);
        }
    }

    /// Rows in the file.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> usize {
        self.lock().rows.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change leaves the maps in pieces.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_seen(&self, mark: &Mark, now: u64, window: u64) -> bool {
        self.seen.get(mark).is_some_and(|at| now.saturating_sub(*at) <= window)
    }

    fn ask(&mut self, mark: Mark, now: u64, window: u64, draft: &mut Draft) -> bool {
        if self.is_seen(&mark, now, window) {
            return true;
        }
        self.seen.insert(mark, now);
        draft.own.push(mark);
        false
    }

    fn keep(&mut self, row: MarksRow) {
        for mark in &row.marks {
            self.seen.insert(*mark, row.at);
        }
        self.rows.push_back(row);
    }

    fn forgettable(&self, now: u64, window: u64) -> Vec<u64> {
        let mut marks = self.seen.len();
        let over = |row: &&MarksRow| {
            let is_over = marks > MAX_MARKS || now.saturating_sub(row.at) > window;
            marks = marks.saturating_sub(row.marks.len());
            is_over
        };
        let rows = self.rows.iter().take(FORGOTTEN_AT_ONCE).take_while(over);
        rows.map(|row| row.sequence).collect()
    }

    fn forget_oldest(&mut self) {
        let Some(row) = self.rows.pop_front() else { return };
        for mark in row.marks {
            // A mark made again since belongs to a later row.
            if self.seen.get(&mark) == Some(&row.at) {
                self.seen.remove(&mark);
            }
        }
    }

    /// Forgets waiting marks whose step never came.
    fn prune(&mut self, now: u64, window: u64) {
        let seen = &mut self.seen;
        self.waiting.retain(|_, marks| {
            marks.retain(|mark| {
                let is_live = seen.get(mark).is_some_and(|at| now.saturating_sub(*at) <= window);
                if !is_live {
                    seen.remove(mark);
                }
                is_live
            });
            !marks.is_empty()
        });
        self.waiting_count = self.waiting.values().map(Vec::len).sum();
        self.prune_at = (2 * self.waiting_count).max(1024);
    }
}

impl Draft {
    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.own.iter().chain(self.saved.iter().flat_map(|(_, marks)| marks))
    }

    fn content(&self) -> Vec<u8> {
        let mut content = self.at.to_le_bytes().to_vec();
        self.marks().for_each(|mark| content.extend_from_slice(mark));
        content
    }
}
