//! The store that applications hold: names and values in, sealed rows to the threads.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use subtle::ConstantTimeEq;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::disk::Disk;
use crate::engine::{Engine, FINGERPRINTS, IDENTITIES, RECORDS, Table};
use crate::error::Error;
use crate::file::{self, Located};
use crate::key::{FileKey, Key};
use crate::replay::{Clock, Mark, Nonces, system_clock};
use crate::seal::{Row, Sealer};
use crate::writer::{Reply, Request, Writer};

/// Largest value in bytes: above any record, whose outbox and inbox may hold 64 MiB each.
pub const MAX_VALUE: usize = 160 << 20;

/// What can be chosen about a store.
#[derive(Clone)]
pub struct Options {
    /// How long a nonce is remembered, in whole seconds.
    pub replay_window: Duration,
    /// Memory that cached pages may take, in bytes.
    pub cache: usize,
    pub(crate) clock: Clock,
}

impl Default for Options {
    /// Five minutes (I5), and 64 MiB.
    fn default() -> Self {
        let (replay_window, cache) = (Duration::from_secs(5 * 60), 64 << 20);
        Self { replay_window, cache, clock: system_clock() }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { replay_window, cache, clock: _ } = self;
        f.debug_struct("Options")
            .field("replay_window", replay_window)
            .field("cache", cache)
            .finish_non_exhaustive()
    }
}

/// One file that holds identities, records, nonces and fingerprints of any number of users, all
/// of them sealed. Cloning shares it. Dropping the last clone closes it and waits for that, a few
/// syncs; [`close`](Self::close) does so without holding up a thread.
///
/// Whatever a method has returned is durable: it survives a kill and a power cut.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// What the threads and the callers share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) nonces: Nonces,
    records: Rows,
    identities: Rows,
    fingerprints: Rows,
}

/// A table and what seals it.
struct Rows {
    table: Table,
    sealer: Sealer,
}

struct Inner {
    shared: Arc<Shared>,
    requests: Sender<Request>,
    reads: Sender<Read>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Read {
    table: Table,
    row: Row,
    reply: Reply<Option<Vec<u8>>>,
}

/// What the writer's thread has once the file is open.
struct Opened {
    shared: Arc<Shared>,
    requests: Sender<Request>,
    reads: Sender<Read>,
}

impl Store {
    /// Opens the file at `path`, which is made if there is none; its directory has to be there.
    ///
    /// Reads the whole file once, to find it whole. A file that is not opened, or not written
    /// to afterwards, is not changed.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::WrongKey`], [`Error::Damaged`], [`Error::Version`],
    /// [`Error::Io`].
    pub async fn open(path: impl AsRef<Path>, key: Key) -> Result<Self, Error> {
        Self::open_with(path, key, Options::default()).await
    }

    /// [`open`](Self::open) with other than the usual options.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_with(
        path: impl AsRef<Path>,
        key: Key,
        options: Options,
    ) -> Result<Self, Error> {
        let path = PathBuf::from(path.as_ref());
        Self::start(options, move || file::open(&path, &key)).await
    }

    /// Opens what `locate` finds, in a thread of its own: finding takes the time of Argon2id.
    pub(crate) async fn start(
        options: Options,
        locate: impl FnOnce() -> Result<Located, Error> + Send + 'static,
    ) -> Result<Self, Error> {
        let (reply, opened) = oneshot::channel();
        let writer = spawn("stvor-store", move || {
            match locate().and_then(|(disk, key)| prepare(disk, &key, &options)) {
                Ok((opened, writer)) => {
                    // If nobody waits for it any more, the writer finds itself alone and ends.
                    drop(reply.send(Ok(opened)));
                    writer.run();
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        })?;
        let Opened { shared, requests, reads } = opened.await.map_err(|_| Error::Closed)??;
        let inner = Inner { shared, requests, reads, writer: Mutex::new(Some(writer)) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The record of `peer` that `user` last saved.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Closed`].
    pub async fn load(&self, user: &str, peer: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        self.get(&self.inner.shared.records, &[user.as_bytes(), peer.as_bytes()]).await
    }

    /// Replaces these records of `user`, by peers: all of them or, with an error, none.
    ///
    /// The nonces that [`mark_later`](Self::mark_later) has marked for `user` before are written
    /// in the same transaction.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Io`], [`Error::Closed`]. After any of them what was saved
    /// before is still there, and so is what waits to be marked.
    pub async fn save<P, B>(
        &self,
        user: &str,
        records: impl IntoIterator<Item = (P, B)>,
    ) -> Result<(), Error>
    where
        P: AsRef<str>,
        B: AsRef<[u8]>,
    {
        let sealer = &self.inner.shared.records.sealer;
        let mut sealed = Vec::new();
        for (peer, record) in records {
            let row = sealer.row(&[user.as_bytes(), peer.as_ref().as_bytes()]);
            sealed.push((row, seal(sealer, &row, record.as_ref())?));
        }
        let user = sealer.row(&[user.as_bytes()]);
        // Those of this step, and none of a later one that may have begun when this is committed.
        let marks = self.inner.shared.nonces.take_waiting(&user);
        self.ask(|reply| Request::Save { user, marks, records: sealed, reply }).await
    }

    /// The identity of `user`: the `candidate` of whoever asked first, for everybody and for ever.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Damaged`], [`Error::Io`], [`Error::Closed`].
    pub async fn identity(
        &self,
        user: &str,
        candidate: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let there =
            self.put_new(&self.inner.shared.identities, &[user.as_bytes()], candidate).await?;
        Ok(there.unwrap_or_else(|| Zeroizing::new(candidate.to_vec())))
    }

    /// Whether this nonce of `peer` has been marked within the window; it is now, durably.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Closed`]: the nonce is not marked.
    pub async fn check_and_mark(
        &self,
        user: &str,
        peer: &str,
        nonce: &[u8; 12],
    ) -> Result<bool, Error> {
        let seen = self.check_and_mark_many(user, [(peer, nonce)]).await?;
        Ok(seen == [true])
    }

    /// The same for many nonces with one sync: a `true` for each that had been marked, or that is
    /// a repetition of one before it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Closed`]: none of them is marked.
    pub async fn check_and_mark_many<'a>(
        &self,
        user: &str,
        nonces: impl IntoIterator<Item = (&'a str, &'a [u8; 12])>,
    ) -> Result<Vec<bool>, Error> {
        let mark = |(peer, nonce)| self.inner.shared.nonces.mark(user, peer, nonce);
        let marks: Vec<Mark> = nonces.into_iter().map(mark).collect();
        self.ask(|reply| Request::Mark { marks, reply }).await
    }

    /// Whether this nonce of `peer` has been marked within the window; it is now, in memory, and
    /// becomes durable in the transaction of the next [`save`](Self::save) of `user`, so that a
    /// step that receives costs one sync and not two.
    ///
    /// Call it before that `save`. Then a record is never durable without the marks of its step:
    /// a `save` that fails leaves them waiting for the next. A mark is never durable without a
    /// record either, for it is not written by itself: a crash before the `save` loses both, and
    /// the message, which was not acknowledged, is new again. Marks that no `save` follows are
    /// forgotten after the window.
    pub fn mark_later(&self, user: &str, peer: &str, nonce: &[u8; 12]) -> bool {
        let shared = &self.inner.shared;
        let user_row = shared.records.sealer.row(&[user.as_bytes()]);
        shared.nonces.mark_later(user_row, shared.nonces.mark(user, peer, nonce))
    }

    /// Pins `fingerprint` to `peer` if nothing is pinned; whether it is what is pinned now.
    /// Another fingerprint that is pinned stays.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Damaged`], [`Error::Io`], [`Error::Closed`].
    pub async fn store_fingerprint(
        &self,
        user: &str,
        peer: &str,
        fingerprint: &[u8],
    ) -> Result<bool, Error> {
        let names = [user.as_bytes(), peer.as_bytes()];
        let there = self.put_new(&self.inner.shared.fingerprints, &names, fingerprint).await?;
        Ok(there.is_none_or(|pinned| pinned.ct_eq(fingerprint).into()))
    }

    /// Pins `fingerprint` in place of whatever is pinned: only people may decide that.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], [`Error::Io`], [`Error::Closed`].
    pub async fn replace_fingerprint(
        &self,
        user: &str,
        peer: &str,
        fingerprint: &[u8],
    ) -> Result<(), Error> {
        let Rows { table, sealer } = &self.inner.shared.fingerprints;
        let row = sealer.row(&[user.as_bytes(), peer.as_bytes()]);
        let sealed = seal(sealer, &row, fingerprint)?;
        self.ask(|reply| Request::Put { table: *table, row, sealed, reply }).await
    }

    /// Whether `fingerprint` is what is pinned to `peer`; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`], [`Error::Closed`].
    pub async fn verify_fingerprint(
        &self,
        user: &str,
        peer: &str,
        fingerprint: &[u8],
    ) -> Result<Option<bool>, Error> {
        let names = [user.as_bytes(), peer.as_bytes()];
        let pinned = self.get(&self.inner.shared.fingerprints, &names).await?;
        Ok(pinned.map(|pinned| pinned.ct_eq(fingerprint).into()))
    }

    /// Closes the file and gives up its lock, after what was asked for before. Everything asked
    /// for later gets [`Error::Closed`]; closing again does nothing.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.inner.requests.send(Request::Close { reply }).is_ok() {
            // An error says that the thread has ended without us: it was closed before.
            let _ = closed.await;
        }
    }

    #[cfg(test)]
    pub(crate) fn remembered_rows(&self) -> usize {
        self.inner.shared.nonces.rows()
    }

    async fn get(
        &self,
        Rows { table, sealer }: &Rows,
        names: &[&[u8]],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let row = sealer.row(names);
        let sealed = self.read(*table, row).await?;
        sealed.map(|sealed| sealer.open(&row, &sealed)).transpose()
    }

    async fn read(&self, table: Table, row: Row) -> Result<Option<Vec<u8>>, Error> {
        let (reply, answer) = oneshot::channel();
        self.inner.reads.send(Read { table, row, reply }).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Writes a row that is never replaced; what is there instead, if it is.
    async fn put_new(
        &self,
        rows: &Rows,
        names: &[&[u8]],
        value: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        // Mostly it is there, which costs no sync.
        if let Some(there) = self.get(rows, names).await? {
            return Ok(Some(there));
        }
        let Rows { table, sealer } = rows;
        let row = sealer.row(names);
        let sealed = seal(sealer, &row, value)?;
        let there = self.ask(|reply| Request::PutNew { table: *table, row, sealed, reply }).await?;
        there.map(|sealed| sealer.open(&row, &sealed)).transpose()
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.inner.requests.send(request(reply)).map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The lock is free when this returns, so that whoever dropped the store may open it again.
        let (reply, _) = oneshot::channel();
        let _ = self.requests.send(Request::Close { reply });
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = writer.map(JoinHandle::join);
    }
}

fn prepare(
    disk: Arc<dyn Disk>,
    key: &FileKey,
    options: &Options,
) -> Result<(Opened, Writer), Error> {
    let engine = Engine::open(disk, key, options.cache)?;
    let sealer = Sealer::new(key, "nonces");
    let nonces = Nonces::load(&engine, sealer, options.replay_window, options.clock.clone())?;
    let shared = Arc::new(Shared {
        engine,
        nonces,
        records: Rows { table: RECORDS, sealer: Sealer::new(key, "records") },
        identities: Rows { table: IDENTITIES, sealer: Sealer::new(key, "identities") },
        fingerprints: Rows { table: FINGERPRINTS, sealer: Sealer::new(key, "fingerprints") },
    });
    let (requests, requested) = channel();
    let (reads, to_read) = channel();
    let reader = shared.clone();
    spawn("stvor-store-read", move || read(&reader, &to_read))?;
    Ok((Opened { shared: shared.clone(), requests, reads }, Writer::new(shared, requested)))
}

/// Answers reads until the store is dropped. A thread of its own: a read does not wait for a sync.
fn read(shared: &Shared, reads: &Receiver<Read>) {
    for Read { table, row, reply } in reads {
        let value = shared.engine.read(|transaction| {
            let value = transaction.open_table(table)?.get(row)?;
            Ok(value.map(|value| value.value().to_vec()))
        });
        drop(reply.send(value));
    }
}

fn seal(sealer: &Sealer, row: &Row, value: &[u8]) -> Result<Vec<u8>, Error> {
    if value.len() > MAX_VALUE {
        return Err(Error::TooLarge);
    }
    sealer.seal(row, value)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| Error::Io { kind: error.kind() })
}
