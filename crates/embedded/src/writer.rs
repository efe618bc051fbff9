//! The thread that writes: everything that waits goes into one transaction, and everybody is
//! answered after its sync.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use redb::{ReadableTable, WriteTransaction};
use tokio::sync::oneshot;

use crate::engine::{NONCES, RECORDS, Table};
use crate::error::Error;
use crate::replay::{Draft, Mark};
use crate::seal::Row;
use crate::store::Shared;

/// Requests and bytes that one transaction takes at most: what one disk writes in a moment.
const MAX_BATCH: usize = 1024;
const MAX_BATCH_BYTES: usize = 32 << 20;

/// Longest wait for those who were answered together and are expected together again.
const MAX_WAIT: Duration = Duration::from_millis(1);

pub(crate) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// What the writer is asked for. Values come sealed: that is done in the callers' threads.
pub(crate) enum Request {
    /// Replaces rows, and writes the marks that waited for `user`.
    Save { user: Row, marks: Vec<Mark>, records: Vec<(Row, Vec<u8>)>, reply: Reply<()> },
    /// Replaces one row.
    Put { table: Table, row: Row, sealed: Vec<u8>, reply: Reply<()> },
    /// Writes a row unless it is there; answers what is there instead.
    PutNew { table: Table, row: Row, sealed: Vec<u8>, reply: Reply<Option<Vec<u8>>> },
    /// Marks nonces; answers which had been marked.
    Mark { marks: Vec<Mark>, reply: Reply<Vec<bool>> },
    /// Closes the file and ends the thread.
    Close { reply: oneshot::Sender<()> },
}

impl Request {
    fn size(&self) -> usize {
        match self {
            Self::Save { records, .. } => records.iter().map(|(_, sealed)| sealed.len()).sum(),
            Self::Put { sealed, .. } | Self::PutNew { sealed, .. } => sealed.len(),
            Self::Mark { marks, .. } => marks.len() * size_of::<Mark>(),
            Self::Close { .. } => 0,
        }
    }

    fn fail(self, error: Error) {
        // Whoever has stopped waiting does not want to know.
        match self {
            Self::Save { reply, .. } | Self::Put { reply, .. } => drop(reply.send(Err(error))),
            Self::PutNew { reply, .. } => drop(reply.send(Err(error))),
            Self::Mark { reply, .. } => drop(reply.send(Err(error))),
            Self::Close { reply } => drop(reply.send(())),
        }
    }
}

/// The state of the thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    /// How many were answered together last, and how long their commit took.
    last: (usize, Duration),
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, requests: Receiver<Request>) -> Self {
        Self { shared, requests, last: (1, Duration::ZERO) }
    }

    /// Runs until the store is closed or dropped, and closes the file.
    pub(crate) fn run(mut self) {
        let mut closing = None;
        while closing.is_none() {
            let Ok(first) = self.requests.recv() else { break };
            let mut batch = self.gather(first, &mut closing);
            if batch.is_empty() {
                continue;
            }
            let started = Instant::now();
            let count = batch.len();
            self.commit(&mut batch);
            self.last = (count, started.elapsed());
        }
        self.shared.engine.close();
        if let Some(reply) = closing {
            let _ = reply.send(());
        }
        self.requests.try_iter().for_each(|request| request.fail(Error::Closed));
    }

    /// Takes what waits. If many were answered together just now, gives them a moment to come
    /// back: the first of them alone would have the others wait for a whole sync.
    fn gather(&self, first: Request, closing: &mut Option<oneshot::Sender<()>>) -> Vec<Request> {
        let (expected, took) = self.last;
        let deadline = Instant::now() + (took / 4).min(MAX_WAIT);
        let (mut batch, mut size) = (Vec::with_capacity(expected), 0);
        let mut next = Some(first);
        while let Some(request) = next {
            size += request.size();
            match request {
                Request::Close { reply } => {
                    *closing = Some(reply);
                    break;
                }
                request => batch.push(request),
            }
            if batch.len() >= MAX_BATCH || size >= MAX_BATCH_BYTES {
                break;
            }
            next = self.requests.try_recv().ok();
            if next.is_none() && batch.len() < expected {
                let left = deadline.saturating_duration_since(Instant::now());
                next = self.requests.recv_timeout(left).ok();
            }
        }
        batch
    }

    fn commit(&self, batch: &mut Vec<Request>) {
        let nonces = &self.shared.nonces;
        let saved = batch.iter().filter_map(|request| match request {
            Request::Save { user, marks, .. } => Some((*user, marks.as_slice())),
            _ => None,
        });
        let asked = batch.iter().filter_map(|request| match request {
            Request::Mark { marks, .. } => Some(marks.as_slice()),
            _ => None,
        });
        let (draft, answers) = match nonces.draft(saved, asked) {
            Ok(drafted) => drafted,
            Err(error) => return batch.drain(..).for_each(|request| request.fail(error.clone())),
        };
        let only_asked = batch.iter().all(|request| matches!(request, Request::Mark { .. }));
        let result = if only_asked && draft.row.is_none() {
            Ok(Vec::new()) // All of them had been marked, durably or by a step of this process.
        } else {
            self.shared.engine.write(|transaction| apply(transaction, batch, &draft))
        };
        match result {
            Ok(found) => {
                nonces.commit(draft);
                answer(batch, found, answers);
            }
            Err(error) => {
                nonces.abort(draft);
                batch.drain(..).for_each(|request| request.fail(error.clone()));
            }
        }
    }
}

/// Writes a batch; returns, for each [`Request::PutNew`], what was there.
fn apply(
    transaction: &WriteTransaction,
    batch: &[Request],
    draft: &Draft,
) -> Result<Vec<Option<Vec<u8>>>, redb::Error> {
    let mut found = Vec::new();
    if batch.iter().any(|request| matches!(request, Request::Save { .. })) {
        let mut table = transaction.open_table(RECORDS)?;
        for request in batch {
            if let Request::Save { records, .. } = request {
                for (row, sealed) in records {
                    table.insert(row, sealed.as_slice())?;
                }
            }
        }
    }
    for request in batch {
        match request {
            Request::Put { table, row, sealed, .. } => {
                transaction.open_table(*table)?.insert(row, sealed.as_slice())?;
            }
            Request::PutNew { table, row, sealed, .. } => {
                let mut table = transaction.open_table(*table)?;
                let there = table.get(row)?.map(|value| value.value().to_vec());
                if there.is_none() {
                    table.insert(row, sealed.as_slice())?;
                }
                found.push(there);
            }
            Request::Save { .. } | Request::Mark { .. } | Request::Close { .. } => {}
        }
    }
    if draft.row.is_some() || !draft.forgotten.is_empty() {
        let mut table = transaction.open_table(NONCES)?;
        if let Some((sequence, sealed)) = &draft.row {
            table.insert(sequence, sealed.as_slice())?;
        }
        for sequence in &draft.forgotten {
            table.remove(sequence)?;
        }
    }
    Ok(found)
}

fn answer(batch: &mut Vec<Request>, found: Vec<Option<Vec<u8>>>, answers: Vec<Vec<bool>>) {
    let (mut found, mut answers) = (found.into_iter(), answers.into_iter());
    for request in batch.drain(..) {
        match request {
            Request::Save { reply, .. } | Request::Put { reply, .. } => drop(reply.send(Ok(()))),
            Request::PutNew { reply, .. } => drop(reply.send(Ok(found.next().flatten()))),
            Request::Mark { reply, .. } => {
                drop(reply.send(Ok(answers.next().unwrap_or_default())));
            }
            Request::Close { reply } => drop(reply.send(())),
        }
    }
}
