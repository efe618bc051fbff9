//! Making and finding the file: it is there as a whole or not at all, and one store has it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, FileDisk};
use crate::engine::Engine;
use crate::error::Error;
use crate::header::{HEADER_LENGTH, Header};
use crate::key::{FileKey, Key};

/// A file that is locked, and its key.
pub(crate) type Located = (Arc<dyn Disk>, FileKey);

/// The file at `path`, locked, and its key. Made first if there is none.
pub(crate) fn open(path: &Path, key: &Key) -> Result<Located, Error> {
    loop {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => {
                let disk = FileDisk::lock(file)?;
                let key = unlock(&disk, key)?;
                return Ok((Arc::new(disk), key));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(made) = create(path, key)? {
                    return Ok(made);
                }
                // Somebody else was faster: the file is there now.
            }
            Err(error) => return Err(Error::Io { kind: error.kind() }),
        }
    }
}

/// The key of the file that begins on `disk`, if `key` is the right one.
pub(crate) fn unlock(disk: &dyn Disk, key: &Key) -> Result<FileKey, Error> {
    let mut bytes = [0; HEADER_LENGTH];
    disk.read_at(0, &mut bytes)?;
    Header::open(&bytes, key)
}

/// Fills an empty disk.
pub(crate) fn fill(disk: &Arc<dyn Disk>, key: &Key) -> Result<FileKey, Error> {
    let header = Header::create(key)?;
    Engine::create(disk.clone(), &header.key)?;
    disk.write_at(0, &header.bytes)?;
    disk.sync_data()?;
    Ok(header.key)
}

/// Makes the file beside its place and moves it there when it is whole and durable. `None` if
/// another file has taken the place meanwhile.
fn create(path: &Path, key: &Key) -> Result<Option<Located>, Error> {
    let unfinished = beside(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&unfinished).map_err(|error| Error::Io { kind: error.kind() })?;
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::lock(file)?);
    // Whoever had the lock before has published this very file, or has died over it.
    if path.try_exists().map_err(|error| Error::Io { kind: error.kind() })? {
        return Ok(None);
    }
    let made = disk
        .set_len(0)
        .map_err(Error::from)
        .and_then(|()| fill(&disk, key))
        .and_then(|key| Ok((key, publish(&unfinished, path)?)));
    if !matches!(made, Ok((_, true))) {
        // It holds nothing; if it cannot be removed, the next who comes begins with it again.
        let _ = fs::remove_file(&unfinished);
    }
    let (key, is_ours) = made?;
    Ok(is_ours.then_some((disk, key)))
}

/// Gives the file its name, if nothing has it.
fn publish(unfinished: &Path, path: &Path) -> Result<bool, Error> {
    // Unlike a rename, a link never replaces what is there.
    let result = match fs::hard_link(unfinished, path) {
        Ok(()) => fs::remove_file(unfinished),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        // A file system without links. The lock on the unfinished file is the only guard here.
        Err(_) => fs::rename(unfinished, path),
    };
    result.and_then(|()| sync_directory(path)).map_err(|error| Error::Io { kind: error.kind() })?;
    Ok(true)
}

fn beside(path: &Path) -> Result<PathBuf, Error> {
    let name = path.file_name().ok_or(Error::Io { kind: io::ErrorKind::InvalidInput })?;
    let mut name = OsString::from(name);
    name.push(".new");
    Ok(path.with_file_name(name))
}

/// Makes a name durable. Windows does so by itself and does not open directories.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(windows) {
        return Ok(());
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}
