//! What a computation leaves on the stack is there without, and not there with `on_wiped_stack`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hint::black_box;
use std::os::unix::fs::FileExt;

use stvor_shield::{Shielded, on_wiped_stack};

/// Byte `i` of a secret. It is computed where it is needed, so that it lies nowhere else.
fn byte(secret: u8, i: usize) -> u8 {
    black_box(secret).wrapping_mul(167).rotate_left(i as u32 % 8).wrapping_add(i as u8 * 89)
}

/// A careless function, `depth` bytes and more down the stack.
#[inline(never)]
fn leave(secret: u8, depth: usize) -> u8 {
    let mut bytes = [0; 256];
    if depth > bytes.len() {
        let result = leave(secret, depth - bytes.len());
        return result ^ black_box(&bytes)[7];
    }
    for (i, byte_of) in bytes.iter_mut().enumerate().take(32) {
        *byte_of = byte(secret, i);
    }
    black_box(&bytes)[31]
}

/// Whether the secret lies on the stack of this thread.
#[inline(never)]
fn is_on_stack(secret: u8) -> bool {
    let here = black_box(&secret) as *const u8 as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ranges = maps.lines().map(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let number = |hex| u64::from_str_radix(hex, 16).unwrap();
        number(from)..number(to)
    });
    let stack = ranges.into_iter().find(|range| range.contains(&here)).unwrap();
    let from = stack.start.max(here - (128 << 10));
    let mut bytes = vec![0; (stack.end.min(here + (16 << 10)) - from) as usize];
    std::fs::File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, from).unwrap();
    bytes.windows(32).any(|window| window.iter().enumerate().all(|(i, b)| *b == byte(secret, i)))
}

#[test]
fn what_a_step_leaves_behind_is_wiped() {
    let mut secret = 1;
    for depth in [4 << 10, 16 << 10, 40 << 10] {
        leave(secret, depth);
        assert!(is_on_stack(secret), "{depth} bytes down: left behind");
        secret += 1;
        on_wiped_stack::<{ 64 << 10 }, _>(|| leave(secret, depth));
        assert!(!is_on_stack(secret), "{depth} bytes down: wiped");
        secret += 1;
    }
}

#[test]
fn neither_shielding_nor_use_leaves_a_secret_on_the_stack() {
    let shielded = {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        bytes.iter_mut().enumerate().for_each(|(i, byte_of)| *byte_of = byte(99, i));
        Shielded::new(&bytes)
    };
    assert!(!is_on_stack(99));
    let is_itself = shielded.with(|bytes| {
        let copy = black_box(*bytes); // as a hash or a move would
        is_on_stack(99) && copy[3] == byte(99, 3)
    });
    assert!(is_itself, "in clear while it is used");
    assert!(!is_on_stack(99));
}
