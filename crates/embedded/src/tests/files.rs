//! Real files: their lock, their key, how they are made.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

use super::{key, nonce, record, version_of};
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

/// The test `name` again, in another process that is told by its environment what it is.
fn child(name: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("tests::files::{name}"), "--nocapture"])
        .env(HELD, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

const HELD: &str = "STVOR_TEST_HELD_FILE";

#[tokio::test]
async fn another_process_has_the_file_alone_until_it_ends() {
    if let Ok(path) = std::env::var(HELD) {
        let store = Store::open(path, key()).await.unwrap();
        std::io::stderr().write_all(b"opened\n").unwrap();
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return store.close().await;
    }
    let directory = Directory::new();
    let mut child = child("another_process_has_the_file_alone_until_it_ends", &directory.file());
    let output = BufReader::new(child.stderr.take().unwrap());
    assert!(output.lines().map_while(Result::ok).any(|line| line == "opened"));
    assert_eq!(Store::open(directory.file(), key()).await.err(), Some(Error::Locked));
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(Store::open(directory.file(), key()).await.is_ok());
}

/// Saves for ever, eight peers at once, and says what has been acknowledged.
async fn save_until_killed(path: String) {
    let store = Store::open(path, key()).await.unwrap();
    let peers = (0..8usize).map(|peer| {
        let store = store.clone();
        tokio::spawn(async move {
            let found = store.load("alice", &peer.to_string()).await.unwrap();
            let last = found.map_or(0, |found| version_of(peer, &found));
            for version in last + 1.. {
                store.mark_later("alice", &peer.to_string(), &nonce(version));
                let length = (version * 97 % 5000) as usize;
                let records = [(peer.to_string(), record(peer, version, length))];
                store.save("alice", records).await.unwrap();
                let line = format!("saved {peer} {version}\n");
                std::io::stderr().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for peer in peers.collect::<Vec<_>>() {
        peer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_again_and_again_loses_nothing_acknowledged() {
    if let Ok(path) = std::env::var(HELD) {
        return save_until_killed(path).await;
    }
    let directory = Directory::new();
    let mut acknowledged = [0; 8];
    for round in 0..12 {
        let name = "a_process_that_is_killed_again_and_again_loses_nothing_acknowledged";
        let mut child = child(name, &directory.file());
        let mut output = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut lines) = (String::new(), 0);
        while output.read_line(&mut line).unwrap() > 0 {
            let words: Vec<_> = line.trim_end().split(' ').collect();
            if let ["saved", peer, version] = words[..] {
                acknowledged[peer.parse::<usize>().unwrap()] = version.parse().unwrap();
                lines += 1;
            }
            line.clear();
            if lines == 40 + 23 * round {
                child.kill().unwrap(); // what it still said is read to the end
            }
        }
        child.wait().unwrap();
        assert!(lines >= 40, "the other process did not get to it");
        let store = Store::open(directory.file(), key()).await.unwrap();
        for (peer, acknowledged) in acknowledged.iter().enumerate() {
            let found = store.load("alice", &peer.to_string()).await.unwrap();
            let version = found.map_or(0, |found| version_of(peer, &found));
            assert!(version >= *acknowledged, "{version} of {acknowledged} in round {round}");
            for marked in 1..=version {
                assert!(store.mark_later("alice", &peer.to_string(), &nonce(marked)));
            }
        }
    }
}
