//! The key of the process: made when it is first needed, gone with the process.
//!
//! It lies alone in a page that is read-only, locked into memory and left out of core dumps. Locking
//! fails where a limit (`RLIMIT_MEMLOCK`) forbids it, and Windows and core dumps of other systems than
//! Linux have no such call in `memmap2`: then the page is as any other, and the key may be swapped or
//! dumped. Going on is better than not encrypting, which is what refusing would come to.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aes::Aes256;
use ctr::Ctr64BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use memmap2::{Mmap, MmapMut};

const KEY_LENGTH: usize = 32;

/// Which part of the key stream hides a secret: of no two secrets in a process the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(u64);

impl Number {
    /// One that was not given before. At a billion a second they last for 500 years.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Encrypts or decrypts `from` into `to`, which is as long: AES-256 in counter mode, whose counter
/// begins at `number`, followed by eight zeros. Leaves copies of both on the stack.
#[expect(clippy::expect_used, reason = "the lengths are those of AES-256")]
pub(crate) fn apply<const N: usize>(number: Number, from: &[u8; N], to: &mut [u8; N]) {
    let mut counter = [0; 16];
    counter[..8].copy_from_slice(&number.0.to_be_bytes());
    let key = &process_key()[..KEY_LENGTH];
    Ctr64BE::<Aes256>::new_from_slices(key, &counter)
        .expect("key and counter have their lengths")
        .apply_keystream_b2b(from, to);
}

fn process_key() -> &'static Mmap {
    static KEY: OnceLock<Mmap> = OnceLock::new();
    KEY.get_or_init(generate)
}

/// Protects the page first, and puts the key in when it can go nowhere from there.
#[expect(
    clippy::expect_used,
    reason = "fails where memory is exhausted, as Vec does, or the system has no randomness"
)]
fn generate() -> Mmap {
    let mut page = MmapMut::map_anon(KEY_LENGTH).expect("there is memory for a page");
    protect(&page);
    getrandom::fill(&mut page).expect("the operating system has randomness");
    page.make_read_only().expect("a page can be made read-only")
}

#[cfg(unix)]
fn protect(page: &MmapMut) {
    let _may_be_swapped = page.lock();
    #[cfg(target_os = "linux")]
    let _may_be_dumped = page.advise(memmap2::Advice::DontDump);
}

#[cfg(not(unix))]
fn protect(_page: &MmapMut) {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags of the mapping that holds `address`. Spec: proc_pid_smaps(5).
    #[cfg(target_os = "linux")]
    fn flags_of_mapping(address: usize) -> Vec<String> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut is_it = false;
        for line in smaps.lines() {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if let Some((from, to)) = first.split_once('-') {
                let number = |hex| usize::from_str_radix(hex, 16).unwrap();
                is_it = (number(from)..number(to)).contains(&address);
            } else if is_it && first == "VmFlags:" {
                return rest.split_whitespace().map(str::to_owned).collect();
            }
        }
        panic!("no mapping holds {address:x}");
    }

    #[cfg(target_os = "linux")]
    fn has(flags: &[String], wanted: &str) -> bool {
        flags.iter().any(|flag| flag == wanted)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_key_lies_in_a_page_that_is_locked_not_dumped_and_read_only() {
        let flags = flags_of_mapping(process_key().as_ptr() as usize);
        assert!(has(&flags, "lo"), "locked: {flags:?}");
        assert!(has(&flags, "dd"), "not dumped: {flags:?}");
        assert!(has(&flags, "rd") && !has(&flags, "wr"), "read-only: {flags:?}");
        assert!(process_key().iter().any(|byte| *byte != 0), "there is a key in it");

        let heap = flags_of_mapping(Box::new(0_u8).as_ref() as *const u8 as usize);
        assert!(!has(&heap, "lo") && !has(&heap, "dd") && has(&heap, "wr"), "others: {heap:?}");
    }

    #[test]
    fn no_number_comes_twice() {
        let numbers = || (0..1000).map(|_| Number::next()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(numbers)).collect();
        let mut all: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        all.sort();
        assert!(all.is_sorted_by(|a, b| a < b));
    }
}
