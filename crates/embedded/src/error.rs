//! Why the store did not do what it was asked.

use std::io;

/// Why an operation failed. Nothing of a failed operation is kept: the file holds what it held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process, or another [`Store`](crate::Store) of this one, has the file open.
    #[error("the file is in use")]
    Locked,
    /// The file was made with another key or passphrase. It has not been touched.
    #[error("the key does not open the file")]
    WrongKey,
    /// The file, or a row of it, is not what was written: truncated, altered, or no store at all.
    #[error("the file is damaged")]
    Damaged,
    /// The file is of a later format than this library knows.
    #[error("the file has format {found}, which this version does not know")]
    Version {
        /// The format the file says it has.
        found: u32,
    },
    /// The system refused. [`is_disk_full`](Self::is_disk_full) tells the one case that passes
    /// once there is room.
    #[error("the file could not be read or written: {kind}")]
    Io {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// A value is larger than [`MAX_VALUE`](crate::MAX_VALUE).
    #[error("the value is too large")]
    TooLarge,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    /// Whether the disk, or the user's share of it, is full. The same call works once there is
    /// room again.
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { kind: StorageFull | QuotaExceeded })
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Behind our own bounds: the file ends, or says, what no store of ours would.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => Self::Damaged,
            kind => Self::Io { kind },
        }
    }
}

impl From<redb::Error> for Error {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => error.into(),
            redb::Error::PreviousIo => Self::Io { kind: io::ErrorKind::Other },
            redb::Error::DatabaseClosed => Self::Closed,
            redb::Error::ValueTooLarge(_) => Self::TooLarge,
            // The tables are ours and are there since the file was made: every other answer means
            // that what redb read is not what it wrote.
            _ => Self::Damaged,
        }
    }
}
