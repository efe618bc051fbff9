//! redb over a [`Volume`]: opened only if every page is whole, reopened after a failure.
//!
//! redb stops at the first error of the disk until it is opened again, and may panic over pages
//! that are not what it wrote. Both end here: as an [`Error`], with a database that goes on from
//! the last commit that was acknowledged.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::disk::Disk;
use crate::error::Error;
use crate::key::FileKey;
use crate::seal::Row;
use crate::volume::Volume;

/// A table of rows with hidden names.
pub(crate) type Table = TableDefinition<'static, Row, &'static [u8]>;

/// What `save` keeps.
pub(crate) const RECORDS: Table = TableDefinition::new("records");
/// What `identity` keeps.
pub(crate) const IDENTITIES: Table = TableDefinition::new("identities");
/// What is pinned.
pub(crate) const FINGERPRINTS: Table = TableDefinition::new("fingerprints");
/// Nonces, a row for each commit that marked some.
pub(crate) const NONCES: TableDefinition<'static, u64, &'static [u8]> =
    TableDefinition::new("nonces");

/// An open database, or a closed one.
pub(crate) struct Engine {
    cache: usize,
    opened: RwLock<Option<Opened>>,
}

struct Opened {
    /// `None` after a failure from which redb could not be opened again, so far.
    database: Option<Database>,
    volume: Arc<Volume>,
    /// Counts openings, so that two who saw one failure reopen once.
    generation: u64,
}

/// Bytes that redb may cache while it makes a file.
const CREATION_CACHE: usize = 4 << 20;

impl Engine {
    /// Fills an empty file: empty tables, closed.
    pub(crate) fn create(disk: Arc<dyn Disk>, key: &FileKey) -> Result<(), Error> {
        let volume = Arc::new(Volume::create(disk, key)?);
        let result = catch(|| {
            let mut builder = Database::builder();
            builder.set_cache_size(CREATION_CACHE);
            let database = builder.create_with_backend(volume.backend())?;
            let transaction = database.begin_write()?;
            for table in [RECORDS, IDENTITIES, FINGERPRINTS] {
                transaction.open_table(table)?;
            }
            transaction.open_table(NONCES)?;
            transaction.commit()?;
            Ok(())
        });
        if let Some(kind) = volume.failure() {
            return Err(Error::Io { kind });
        }
        result?;
        volume.mark_closed()
    }

    /// Opens a file and checks all of it. Writes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a page is not what was written; [`Error::Io`].
    pub(crate) fn open(disk: Arc<dyn Disk>, key: &FileKey, cache: usize) -> Result<Self, Error> {
        let volume = Arc::new(Volume::open(disk, key)?);
        let database = Some(open(&volume, cache)?);
        let opened = Opened { database, volume, generation: 0 };
        Ok(Self { cache, opened: RwLock::new(Some(opened)) })
    }

    /// Runs `f` on what has been committed.
    pub(crate) fn read<T>(
        &self,
        f: impl Fn(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        self.attempt(|_, database| f(&database.begin_read()?))
    }

    /// Runs `f` in a transaction and commits it: durable when this returns, or undone.
    pub(crate) fn write<T>(
        &self,
        f: impl Fn(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        self.attempt(|volume, database| {
            volume.release().map_err(|error| match error {
                Error::Io { kind } => redb::Error::Io(kind.into()),
                _ => redb::Error::Corrupted(String::new()),
            })?;
            let transaction = database.begin_write()?;
            let value = f(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// Closes the file and gives up its lock.
    pub(crate) fn close(&self) {
        let opened = self.opened.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Opened { database, volume, .. }) = opened else { return };
        // A file that cannot be marked is one that was left open: whole, and checked when opened.
        if discard(database) {
            let _ = volume.mark_closed();
        }
    }

    fn attempt<T>(
        &self,
        f: impl Fn(&Volume, &Database) -> Result<T, redb::Error>,
    ) -> Result<T, Error> {
        let (generation, result) = {
            let guard = self.opened.read().unwrap_or_else(PoisonError::into_inner);
            let opened = guard.as_ref().ok_or(Error::Closed)?;
            let result = opened.database.as_ref().map(|database| {
                let held_before = opened.volume.is_held();
                let result = catch(|| f(&opened.volume, database));
                // The disk's own words, where redb only knows that it had some.
                let failure = opened.volume.failure().map(|kind| Error::Io { kind });
                // What could not be released is held as before: redb has seen nothing of it.
                let intact = held_before && opened.volume.is_held() && failure.is_none();
                (result.map_err(|error| failure.unwrap_or(error)), intact)
            });
            (opened.generation, result)
        };
        match result {
            Some((Err(error), intact)) => {
                if !intact {
                    // An error of this is met, and told, by the next who comes.
                    let _ = self.reopen(generation);
                }
                Err(error)
            }
            Some((Ok(value), _)) => Ok(value),
            None => {
                self.reopen(generation)?;
                self.attempt(f)
            }
        }
    }

    fn reopen(&self, generation: u64) -> Result<(), Error> {
        let mut guard = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let opened = guard.as_mut().ok_or(Error::Closed)?;
        if opened.generation != generation {
            return Ok(());
        }
        // Held first: whatever a database that failed writes when it is dropped is forgotten.
        opened.volume.take_back();
        discard(opened.database.take());
        opened.volume.take_back();
        opened.database = Some(open(&opened.volume, self.cache)?);
        opened.generation += 1;
        Ok(())
    }
}

/// Opens redb on a held volume. The volume has redb take every file for one that was left open,
/// so redb checks every page of it; of a file that was not, the last commit has to be whole.
fn open(volume: &Arc<Volume>, cache: usize) -> Result<Database, Error> {
    let may_be_torn = volume.may_be_torn();
    let result = catch(|| {
        let mut builder = Database::builder();
        builder.set_cache_size(cache).set_repair_callback(move |repair| {
            // redb tells steps of a repair by numbers: this one comes only if the last commit has
            // turned out not to be whole.
            let goes_back = repair.progress() > 0.0 && repair.progress() < 0.5;
            if goes_back && !may_be_torn {
                repair.abort();
            }
        });
        Ok(builder.create_with_backend(volume.backend())?)
    });
    match volume.failure() {
        Some(kind) if result.is_err() => Err(std::io::Error::from(kind).into()),
        _ => result,
    }
}

/// Drops a database, which writes; whether it did so without a panic.
fn discard(database: Option<Database>) -> bool {
    catch_unwind(AssertUnwindSafe(move || drop(database))).is_ok()
}

/// Runs `f` and takes a panic for what it is here: pages that are not what redb wrote.
fn catch<T>(f: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Ok(result?),
        Err(_) => Err(Error::Damaged),
    }
}
