//! redb's storage: the file behind its header and marks, with writes held back until they may be
//! made.
//!
//! A volume opens *held*: what redb writes while it opens, repairs and checks itself stays in
//! memory, so a file that turns out to be damaged is left as it was found, and a file nobody
//! writes to is never changed. [`Volume::release`] puts it on the disk; after that, writes go
//! through. The file grows ahead of redb by real zeros, so that the sync of a commit overwrites
//! blocks the file already has and the file system has nothing of its own to write.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::Disk;
use crate::error::Error;
use crate::key::FileKey;
use crate::mark::{DATA, MARK_LENGTH, Mark, MarkKey, REDB_HEADER, left_open};
use crate::overlay::Overlay;

/// The file grows by a quarter of its length, within these bounds: few growths, each short.
const GROWTH: (u64, u64) = (1 << 20, 8 << 20);

/// Room to have before writes are released, so that a full disk is noticed here and not, at the
/// price of another repair, in the middle of a commit.
const HEADROOM: u64 = 256 << 10;

/// The storage of one [`redb::Database`].
pub(crate) struct Volume {
    disk: Arc<dyn Disk>,
    key: MarkKey,
    state: Mutex<State>,
}

struct State {
    /// The length that redb knows.
    logical: u64,
    /// The length of the file.
    physical: u64,
    /// Behind this (as redb counts) the file has only zeros.
    written: u64,
    mark: Mark,
    /// The slot of the last mark that is durable; the other is free.
    durable_slot: u64,
    mark_is_durable: bool,
    /// redb's header now, and as it was when last everything was durable.
    header: [u8; REDB_HEADER],
    durable_header: [u8; REDB_HEADER],
    held: Option<Overlay>,
    /// Whether redb's header is one that was durable: then so is everything it leads to, and a
    /// page that is not what it says is damaged. Otherwise it may be half of a commit.
    settled: bool,
    failure: Option<io::ErrorKind>,
}

impl State {
    /// Everything written so far is on the disk.
    fn is_durable(&mut self) {
        if !self.mark_is_durable {
            self.durable_slot = 1 - self.durable_slot;
            self.mark_is_durable = true;
        }
        self.durable_header = self.header;
    }

    /// Starts to hold what is written; so far, redb's header.
    fn hold(&mut self) {
        let mut held = Overlay::default();
        // The rest of the header's page is zero.
        held.write(0, &self.header, |_, block| block.fill(0));
        self.held = Some(held);
    }
}

impl Volume {
    /// A volume on an empty file, not held: redb may initialise itself.
    pub(crate) fn create(disk: Arc<dyn Disk>, key: &FileKey) -> Result<Self, Error> {
        disk.write_at(0, &[0; DATA as usize])?;
        let header = [0; REDB_HEADER];
        let mark = Mark { sequence: 0, closed: false, logical: 0, physical: DATA, header };
        Ok(Self::new(disk, key, mark, 0, header))
    }

    /// The volume of a file, held.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the file is not as its mark says, or has none.
    pub(crate) fn open(disk: Arc<dyn Disk>, key: &FileKey) -> Result<Self, Error> {
        let marks = MarkKey::new(key);
        let mut found: Option<(u64, Mark)> = None;
        for slot in [0, 1] {
            let mut bytes = [0; MARK_LENGTH];
            disk.read_at(Mark::offset(slot), &mut bytes)?;
            if let Some(mark) = Mark::from_bytes(&bytes, &marks)
                && found.as_ref().is_none_or(|(_, other)| other.sequence < mark.sequence)
            {
                found = Some((slot, mark));
            }
        }
        let (slot, mark) = found.ok_or(Error::Damaged)?;
        let physical = disk.len()?;
        let mut header = [0; REDB_HEADER];
        disk.read_at(DATA, &mut header)?;
        if physical < mark.physical || !mark.fits(&header) {
            return Err(Error::Damaged);
        }
        let settled = mark.closed;
        let volume = Self::new(disk, key, mark, slot, left_open(header));
        {
            let mut state = volume.lock();
            (state.physical, state.settled) = (physical, settled);
            state.hold();
        }
        Ok(volume)
    }

    fn new(
        disk: Arc<dyn Disk>,
        key: &FileKey,
        mark: Mark,
        durable_slot: u64,
        header: [u8; REDB_HEADER],
    ) -> Self {
        let state = State {
            logical: mark.logical,
            physical: mark.physical,
            written: mark.logical,
            mark,
            durable_slot,
            mark_is_durable: true,
            header,
            durable_header: header,
            held: None,
            settled: false,
            failure: None,
        };
        Self { disk, key: MarkKey::new(key), state: Mutex::new(state) }
    }

    /// The storage to give to redb.
    pub(crate) fn backend(self: &Arc<Self>) -> Backend {
        Backend(self.clone())
    }

    /// Whether redb may find its last commit torn and go back to the one before.
    pub(crate) fn may_be_torn(&self) -> bool {
        !self.lock().settled
    }

    /// Whether nothing has been written since the volume was opened or taken back.
    pub(crate) fn is_held(&self) -> bool {
        self.lock().held.is_some()
    }

    /// What the disk last refused, since the volume was opened or taken back.
    pub(crate) fn failure(&self) -> Option<io::ErrorKind> {
        self.lock().failure
    }

    /// Forgets what was written after the last sync and holds the volume: as it would be opened
    /// after a crash. No transaction that failed comes back.
    pub(crate) fn take_back(&self) {
        let mut state = self.lock();
        state.header = left_open(state.durable_header);
        state.hold();
        state.logical = state.mark.logical;
        state.written = state.logical;
        state.failure = None;
    }

    /// Puts what was held on the disk. Does nothing if nothing is held.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the volume is held as before, and the next call tries again.
    pub(crate) fn release(&self) -> Result<(), Error> {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(held) = &state.held else { return Ok(()) };
        let end = DATA + held.end().max(state.written.min(state.logical));
        if state.physical < end + HEADROOM {
            self.extend(state, end + HEADROOM)?;
        }
        // The mark first: from here on the file is one that was left open.
        let logical = state.logical.max(state.mark.logical);
        self.put_mark(state, |mark| (mark.closed, mark.logical) = (false, logical))?;
        self.sync(state)?;
        if let Some(held) = &state.held {
            // The header last, though nothing depends on it: until the sync, none of it counts.
            for (offset, block) in held.blocks().rev() {
                self.disk.write_at(DATA + offset, block)?;
            }
        }
        self.sync(state)?;
        state.settled = true;
        state.written = state.written.max(state.held.take().map_or(0, |held| held.end()));
        Ok(())
    }

    /// Says that redb has closed the file and everything in it is durable.
    pub(crate) fn mark_closed(&self) -> Result<(), Error> {
        let mut state = self.lock();
        if state.held.is_some() || state.failure.is_some() {
            return Ok(());
        }
        let logical = state.logical;
        let header = state.header;
        self.put_mark(&mut state, |mark| {
            (mark.closed, mark.logical, mark.header) = (true, logical, header);
        })?;
        Ok(self.sync(&mut state)?)
    }

    /// Writes the next mark into the slot that holds no durable one.
    fn put_mark(&self, state: &mut State, change: impl FnOnce(&mut Mark)) -> io::Result<()> {
        let mut mark = state.mark.clone();
        if state.mark_is_durable {
            mark.sequence += 1;
        }
        mark.physical = state.physical;
        mark.header = state.header;
        change(&mut mark);
        self.disk.write_at(Mark::offset(1 - state.durable_slot), &mark.to_bytes(&self.key))?;
        state.mark = mark;
        state.mark_is_durable = false;
        Ok(())
    }

    fn sync(&self, state: &mut State) -> io::Result<()> {
        self.disk.sync_data()?;
        state.is_durable();
        Ok(())
    }

    /// The same for redb, whose readers must not wait for a sync. There is one writer, so nothing
    /// is written meanwhile.
    fn sync_unlocked(&self) -> io::Result<()> {
        if self.lock().held.is_some() {
            return Ok(());
        }
        let result = self.disk.sync_data();
        self.attempt(|state| {
            result?;
            state.is_durable();
            Ok(())
        })
    }

    /// Makes the file at least `end` long, and more if the disk has more.
    fn extend(&self, state: &mut State, end: u64) -> io::Result<()> {
        let ahead = (state.physical / 4).clamp(GROWTH.0, GROWTH.1);
        let wanted = end.max(state.physical + ahead);
        self.zero(state.physical, wanted).or_else(|_| {
            self.disk.set_len(state.physical)?;
            self.zero(state.physical, end)
        })?;
        state.physical = wanted.min(self.disk.len()?);
        // Before a mark counts on the length, and a commit on the blocks.
        self.disk.sync_data()?;
        match state.held {
            // The mark that releases what is held comes next. This one might still say closed.
            Some(_) => Ok(()),
            None => self.put_mark(state, |_| ()),
        }
    }

    fn zero(&self, mut from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; 256 << 10];
        while from < to {
            let count = (to - from).min(zeros.len() as u64);
            self.disk.write_at(from, &zeros[..count as usize])?;
            from += count;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is made in one piece or reported as a failure.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what redb asks for and remembers how it failed.
    fn attempt<T>(&self, f: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.lock();
        let result = f(&mut state);
        if let Err(error) = &result {
            state.failure = Some(error.kind());
        }
        result
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        let end = offset.checked_add(out.len() as u64).ok_or(io::ErrorKind::InvalidInput)?;
        if end > state.logical {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // What redb has not written yet reads as zeros, whether the file is that long or not.
        let there = state.physical.saturating_sub(DATA + offset).min(out.len() as u64) as usize;
        let (on_disk, beyond) = out.split_at_mut(there);
        beyond.fill(0);
        match &state.held {
            Some(held) => {
                self.disk.read_at(DATA + offset, on_disk)?;
                held.read(offset, out);
                Ok(())
            }
            // Reads may wait for the disk; a writer must not wait for them.
            None => {
                drop(state);
                self.disk.read_at(DATA + offset, on_disk)
            }
        }
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.attempt(|state| {
            let end = offset + bytes.len() as u64;
            if end > state.logical {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            if offset < REDB_HEADER as u64 {
                let part = &mut state.header[offset as usize..];
                let count = part.len().min(bytes.len());
                part[..count].copy_from_slice(&bytes[..count]);
            }
            let physical = state.physical;
            if let Some(held) = &mut state.held {
                let mut failed = Ok(());
                held.write(offset, bytes, |at, block| {
                    block.fill(0);
                    let there = physical.saturating_sub(DATA + at).min(block.len() as u64);
                    let read = self.disk.read_at(DATA + at, &mut block[..there as usize]);
                    failed = std::mem::replace(&mut failed, Ok(())).and(read);
                });
                return failed;
            }
            if DATA + end > state.physical {
                self.extend(state, DATA + end)?;
            }
            state.written = state.written.max(end);
            self.disk.write_at(DATA + offset, bytes)
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.attempt(|state| {
            // Shrinking must not fail, and so does nothing: redb does it after a commit, which is
            // durable by then. The file keeps its blocks; what grows again has to be zero.
            if state.held.is_none() && length > state.logical {
                if state.logical < state.written {
                    let end = state.physical.min(DATA + state.written);
                    self.zero(DATA + state.logical, end)?;
                    state.written = state.logical;
                }
                if length > state.mark.logical {
                    // Durable before redb's header can count on it.
                    self.put_mark(state, |mark| mark.logical = length)?;
                    self.sync(state)?;
                }
            }
            state.logical = length;
            Ok(())
        })
    }
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume").field("disk", &self.disk).finish_non_exhaustive()
    }
}

/// What redb holds of a volume.
#[derive(Debug)]
pub(crate) struct Backend(Arc<Volume>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().logical)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_unlocked()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write(offset, bytes)
    }
}
