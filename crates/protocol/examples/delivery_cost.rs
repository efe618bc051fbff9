//! What delivery costs for each message, beside sealing it: `cargo run --release --example
//! delivery_cost -p stvor-protocol`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::VecDeque;
use std::time::Instant;

use stvor_protocol::delivery::{Content, Delivery};

const NOW_MS: u64 = 1_800_000_000_000;
const MESSAGES: u32 = 200_000;

fn main() {
    println!("{} bytes in memory when idle", size_of::<Delivery>());
    for (length, window) in [(64, 1), (64, 64), (64, 5_000), (4_096, 64)] {
        let (sent, received) = measure(length, window);
        println!(
            "{length:>5} B, {window:>4} on their way: send {sent:>5} ns, receive {received:>5} ns"
        );
    }
}

/// Nanoseconds for each message: pushed, sealed and its share of receipts read; accepted, handled
/// and its share of receipts written.
fn measure(length: usize, window: usize) -> (u32, u32) {
    let (mut alice, mut bob) = (Delivery::new(NOW_MS), Delivery::new(NOW_MS));
    let (mut sending, mut receiving) = (0, 0);
    let mut payloads = VecDeque::new();
    for number in 0..MESSAGES as usize + window {
        let content = Content::bytes(vec![7; length]);
        let start = Instant::now();
        let (pushed, _) = alice.push(content, false).unwrap();
        let sealable = pushed.seal(NOW_MS).unwrap();
        alice = sealable.delivery;
        sending += start.elapsed().as_nanos();
        payloads.push_back(sealable.payload);
        if number < window {
            continue;
        }
        let payload = payloads.pop_front().unwrap();
        let start = Instant::now();
        let accepted = bob.accept(&payload, 0, NOW_MS).unwrap();
        bob = accepted.delivery.handled(accepted.delivered[0].seq, NOW_MS);
        let said = bob.control(NOW_MS);
        receiving += start.elapsed().as_nanos();
        if let Some((next, receipt)) = said {
            bob = next;
            let start = Instant::now();
            alice = alice.accept(&receipt, 0, NOW_MS).unwrap().delivery;
            sending += start.elapsed().as_nanos();
        }
    }
    let each = |total: u128| u32::try_from(total / u128::from(MESSAGES)).unwrap_or(u32::MAX);
    (each(sending), each(receiving))
}
