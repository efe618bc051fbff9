//! A disk in memory that remembers in which order it was written and synced.

use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::disk::Disk;

#[derive(Debug, Default)]
pub(super) struct SimDisk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    log: Option<Vec<Op>>,
    syncs: usize,
    sync_takes: Duration,
    capacity: Option<usize>,
    /// Fails the operation, written or synced, that comes after this many others.
    fail_after: Option<(usize, io::ErrorKind)>,
    fail_read: Option<io::ErrorKind>,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// What a power cut leaves of what was written since the last sync.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left {
    Nothing,
    All,
    /// Some of the writes, whole.
    Some,
    /// Some of the sectors of each write.
    Torn,
}

impl SimDisk {
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Mutex::new(State { bytes, ..State::default() }))
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    pub(super) fn syncs(&self) -> usize {
        self.lock().syncs
    }

    pub(super) fn set_sync_time(&self, time: Duration) {
        self.lock().sync_takes = time;
    }

    pub(super) fn set_capacity(&self, capacity: Option<usize>) {
        self.lock().capacity = capacity;
    }

    pub(super) fn fail_after(&self, operations: usize, kind: io::ErrorKind) {
        self.lock().fail_after = Some((operations, kind));
    }

    /// Fails the next read.
    pub(super) fn fail_read(&self, kind: io::ErrorKind) {
        self.lock().fail_read = Some(kind);
    }

    /// Whether the failure that was asked for is still to come.
    pub(super) fn will_fail(&self) -> bool {
        self.lock().fail_after.is_some()
    }

    pub(super) fn start_log(&self) {
        self.lock().log = Some(Vec::new());
    }

    pub(super) fn logged(&self) -> usize {
        self.lock().log.as_ref().map_or(0, Vec::len)
    }

    pub(super) fn take_log(&self) -> Vec<Op> {
        self.lock().log.take().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn run(&mut self, op: Op) -> io::Result<()> {
        if let Some((left, kind)) = &mut self.fail_after {
            if *left == 0 {
                let kind = *kind;
                self.fail_after = None;
                return Err(kind.into());
            }
            *left -= 1;
        }
        let end = match &op {
            Op::Write(offset, bytes) => *offset as usize + bytes.len(),
            Op::SetLen(length) => *length as usize,
            Op::Sync => 0,
        };
        if end > self.bytes.len() && self.capacity.is_some_and(|capacity| end > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        op.apply(&mut self.bytes);
        if let Some(log) = &mut self.log {
            log.push(op);
        }
        Ok(())
    }
}

impl Op {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, written) => write(bytes, *offset as usize, written),
            Self::SetLen(length) => bytes.resize(*length as usize, 0),
            Self::Sync => {}
        }
    }

    /// Applies what a power cut leaves of an operation that was not synced.
    pub(super) fn apply_left(&self, bytes: &mut Vec<u8>, left: Left, random: &mut ChaCha20Rng) {
        let mut coin = || random.next_u32() & 1 == 0;
        match (left, self) {
            (Left::Nothing, _) => {}
            (Left::All, op) => op.apply(bytes),
            (Left::Torn, Self::Write(offset, written)) => {
                let to_sector = 512 - (*offset as usize % 512);
                let (first, rest) = written.split_at(to_sector.min(written.len()));
                let mut at = *offset as usize;
                for sector in std::iter::once(first).chain(rest.chunks(512)) {
                    if coin() {
                        write(bytes, at, sector);
                    }
                    at += sector.len();
                }
            }
            (Left::Some | Left::Torn, op) => {
                if coin() {
                    op.apply(bytes);
                }
            }
        }
    }
}

fn write(bytes: &mut Vec<u8>, offset: usize, written: &[u8]) {
    let end = offset + written.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(written);
}

impl Disk for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(kind) = state.fail_read.take() {
            return Err(kind.into());
        }
        let start = offset as usize;
        let bytes = state.bytes.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.lock().run(Op::Write(offset, bytes.to_vec()))
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.lock().run(Op::SetLen(length))
    }

    fn sync_data(&self) -> io::Result<()> {
        let takes = self.lock().sync_takes;
        std::thread::sleep(takes); // the disk's own time, not a wait for anything
        let mut state = self.lock();
        state.syncs += 1;
        state.run(Op::Sync)
    }
}
