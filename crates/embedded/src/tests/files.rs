//! Real files: their lock, their key, how they are made.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

use super::key;
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;

/// A directory that is gone when the test is over.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("stvor-embedded-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("store")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn hash(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).unwrap()).to_vec()
}

#[tokio::test]
async fn a_file_is_made_whole_under_its_name_with_nothing_beside_it() {
    let directory = Directory::new();
    let store = Store::open(directory.file(), key()).await.unwrap();
    store.save("alice", [("bob", b"value")]).await.unwrap();
    let names: Vec<_> =
        fs::read_dir(&directory.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store"]);
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(directory.file()).unwrap());
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_second_store_of_the_same_file_is_refused_until_the_first_is_closed_or_dropped() {
    let directory = Directory::new();
    let store = Store::open(directory.file(), key()).await.unwrap();
    assert_eq!(Store::open(directory.file(), key()).await.err(), Some(Error::Locked));
    store.close().await;
    let second = Store::open(directory.file(), key()).await.unwrap();
    assert_eq!(Store::open(directory.file(), key()).await.err(), Some(Error::Locked));
    drop(store);
    drop(second);
    assert!(Store::open(directory.file(), key()).await.is_ok());
}

#[tokio::test]
async fn a_wrong_key_leaves_the_file_as_it_is_whether_it_was_closed_or_left_open() {
    let directory = Directory::new();
    let store = Store::open(directory.file(), key()).await.unwrap();
    store.save("alice", [("bob", b"value")]).await.unwrap();
    let left_open = directory.0.join("copy");
    fs::copy(directory.file(), &left_open).unwrap();
    store.close().await;
    for path in [directory.file(), left_open] {
        let before = hash(&path);
        for wrong in [Key::from_bytes([8; 32]), Key::from_passphrase("secret")] {
            assert_eq!(Store::open(&path, wrong).await.err(), Some(Error::WrongKey));
        }
        assert_eq!(hash(&path), before);
        let store = Store::open(&path, key()).await.unwrap();
        assert_eq!(store.load("alice", "bob").await.unwrap().unwrap().as_slice(), b"value");
    }
}

#[tokio::test]
async fn a_passphrase_opens_what_it_closed_and_no_other_does() {
    let directory = Directory::new();
    let passphrase = Key::from_passphrase("correct horse");
    let store = Store::open(directory.file(), passphrase.clone()).await.unwrap();
    store.save("alice", [("bob", b"value")]).await.unwrap();
    store.close().await;
    let before = hash(&directory.file());
    let wrong = Key::from_passphrase("correct house");
    assert_eq!(Store::open(directory.file(), wrong).await.err(), Some(Error::WrongKey));
    assert_eq!(hash(&directory.file()), before);
    let store = Store::open(directory.file(), passphrase).await.unwrap();
    assert_eq!(store.load("alice", "bob").await.unwrap().unwrap().as_slice(), b"value");
}

#[tokio::test]
async fn what_is_no_store_is_damaged_and_stays_as_it_is() {
    let directory = Directory::new();
    for content in [&b""[..], b"hello", &[0; 100_000], &[0xff; 100_000]] {
        fs::write(directory.file(), content).unwrap();
        assert_eq!(Store::open(directory.file(), key()).await.err(), Some(Error::Damaged));
        assert_eq!(fs::read(directory.file()).unwrap(), content);
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_an_error_of_the_system() {
    let directory = Directory::new();
    let result = Store::open(directory.0.join("none").join("store"), key()).await;
    assert_eq!(result.err(), Some(Error::Io { kind: std::io::ErrorKind::NotFound }));
    let result = Store::open("/", key()).await;
    assert!(matches!(result.err(), Some(Error::Io { .. })));
}

#[tokio::test]
async fn what_a_dead_process_left_of_making_a_file_is_no_hindrance() {
    let directory = Directory::new();
    fs::write(directory.0.join("store.new"), b"half of it").unwrap();
    let store = Store::open(directory.file(), key()).await.unwrap();
    store.save("alice", [("bob", b"value")]).await.unwrap();
    assert!(!directory.0.join("store.new").exists());
}

#[tokio::test]
async fn of_many_who_open_a_file_that_is_not_there_one_gets_it() {
    let directory = Directory::new();
    let opened = (0..8).map(|_| tokio::spawn(Store::open(directory.file(), key())));
    let mut stores = Vec::new();
    for result in opened.collect::<Vec<_>>() {
        match result.await.unwrap() {
            Ok(store) => stores.push(store),
            Err(error) => assert_eq!(error, Error::Locked),
        }
    }
    assert_eq!(stores.len(), 1);
    stores[0].save("alice", [("bob", b"value")]).await.unwrap();
    drop(stores);
    let store = Store::open(directory.file(), key()).await.unwrap();
    assert!(store.load("alice", "bob").await.unwrap().is_some());
}

/// The test runs itself as the other process, which is told by its environment what it is.
#[tokio::test]
async fn another_process_has_the_file_alone_until_it_is_killed_and_loses_nothing() {
    const HELD: &str = "STVOR_TEST_HELD_FILE";
    if let Ok(path) = std::env::var(HELD) {
        let store = Store::open(path, key()).await.unwrap();
        for i in 0..50 {
            store.save("alice", [(i.to_string(), b"value")]).await.unwrap();
        }
        writeln!(std::io::stderr(), "saved").unwrap();
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap(); // until it is killed
        return;
    }
    let directory = Directory::new();
    let name = "another_process_has_the_file_alone_until_it_is_killed_and_loses_nothing";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("tests::files::{name}"), "--nocapture"])
        .env(HELD, directory.file())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stderr.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line == "saved"));
    assert_eq!(Store::open(directory.file(), key()).await.err(), Some(Error::Locked));
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Store::open(directory.file(), key()).await.unwrap();
    for i in 0..50 {
        assert!(store.load("alice", &i.to_string()).await.unwrap().is_some());
    }
}
