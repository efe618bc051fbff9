//! What the steps of the protocol cost: `cargo run --release --example ratchet_cost`.
//!
//! Medians over rounds on this machine, one thread, nothing else running.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a program for a terminal")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    LocalKeys, Message4, Parties, Prekeys, Record, Sealed4, Session, Sessions, VerifiedV4,
};

/// The time of everything: it passes for nobody here.
const NOW: u64 = 1_800_000_000_000;

const TO_BOB: Parties<'_> = Parties { sender: "alice", recipient: "bob" };
const TO_ALICE: Parties<'_> = Parties { sender: "bob", recipient: "alice" };

/// The median time of one of `per_round` steps.
fn median(rounds: usize, per_round: u32, mut round: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed() / per_round
        })
        .collect();
    times.sort();
    times[rounds / 2]
}

fn print(what: &str, time: Duration) {
    println!("{what:<58} {:>9.2} us", time.as_nanos() as f64 / 1000.0);
}

fn sessions(rng: &mut ChaCha20Rng) -> (Session, Session) {
    let (a, b) = (LocalKeys::generate(rng), LocalKeys::generate(rng));
    let (for_a, for_b) = (b.bundle().verify().unwrap(), a.bundle().verify().unwrap());
    (Session::establish(&a, &for_a, rng).unwrap(), Session::establish(&b, &for_b, rng).unwrap())
}

fn one_way(rng: &mut ChaCha20Rng, length: usize) {
    const MESSAGES: u32 = 8; // few, so that the allocator's fresh pages are not what is measured
    let text = vec![7; length];
    let (mut a, mut b) = sessions(rng);
    let (mut sealing, mut opening) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        let mut messages = Vec::with_capacity(MESSAGES as usize);
        let start = Instant::now();
        for _ in 0..MESSAGES {
            let sealed = a.encrypt(&text, rng).unwrap();
            a = sealed.session;
            messages.push((sealed.header, sealed.ciphertext));
        }
        sealing.push(start.elapsed() / MESSAGES);
        let start = Instant::now();
        for (header, ciphertext) in &messages {
            let opened = b.decrypt(header, ciphertext, rng).unwrap();
            b = opened.session;
            black_box(opened.plaintext);
        }
        opening.push(start.elapsed() / MESSAGES);
    }
    sealing.sort();
    opening.sort();
    print(&format!("one way, {length} B: encrypt"), sealing[sealing.len() / 2]);
    print(&format!("one way, {length} B: decrypt"), opening[opening.len() / 2]);
}

fn opened(
    sessions: &Sessions,
    ours: &Prekeys,
    parties: Parties<'_>,
    sealed: &Sealed4,
    rng: &mut ChaCha20Rng,
) -> Sessions {
    let Sealed4 { header, trailer, ciphertext, .. } = sealed;
    let message = Message4::parse(header, trailer, ciphertext).unwrap();
    let opened = sessions.decrypt(ours, parties, &message, NOW, rng).unwrap();
    black_box(opened.payload);
    opened.sessions
}

fn wire_4(rng: &mut ChaCha20Rng) {
    let (a, b) = (LocalKeys::generate(rng), LocalKeys::generate(rng));
    let (ours, theirs) = (Prekeys::new(&a, NOW, rng), Prekeys::new(&b, NOW, rng));
    let (theirs, one_time) = theirs.with_one_time(1, rng);
    let blob = theirs.v4("bob");
    let verified = || VerifiedV4::verify(&blob, &b.bundle().verify().unwrap(), "bob", NOW).unwrap();
    let [none_yet, nor_there] = [&b, &a].map(|keys| Sessions::new(keys.identity_key().clone()));
    let begin = |rng: &mut ChaCha20Rng| {
        none_yet.begin(&ours, TO_BOB, &verified(), one_time.first(), NOW, None, rng).unwrap()
    };
    let set_up = median(100, 1, || {
        let first = begin(rng).encrypt(TO_BOB, NOW, &[7; 64], rng).unwrap();
        black_box(opened(&nor_there, &theirs, TO_BOB, &first, rng));
    });
    print("wire 4: set-up with a one-time prekey to the first message", set_up);

    let first = begin(rng).encrypt(TO_BOB, NOW, &[7; 64], rng).unwrap();
    let mut to_alice = opened(&nor_there, &theirs, TO_BOB, &first, rng);
    let answer = to_alice.encrypt(TO_ALICE, NOW, &[7; 64], rng).unwrap();
    let mut to_bob = opened(&first.sessions, &ours, TO_ALICE, &answer, rng);
    to_alice = answer.sessions;
    let one_way = median(200, 100, || {
        for _ in 0..100 {
            let sealed = to_bob.encrypt(TO_BOB, NOW, &[7; 64], rng).unwrap();
            to_alice = opened(&to_alice, &theirs, TO_BOB, &sealed, rng);
            to_bob = sealed.sessions;
        }
    });
    print("wire 4: one way, 64 B: encrypt and decrypt", one_way);
    let ping_pong = median(500, 1, || {
        let sealed = to_bob.encrypt(TO_BOB, NOW, &[7; 64], rng).unwrap();
        to_alice = opened(&to_alice, &theirs, TO_BOB, &sealed, rng);
        let answer = to_alice.encrypt(TO_ALICE, NOW, &[7; 64], rng).unwrap();
        to_bob = opened(&sealed.sessions, &ours, TO_ALICE, &answer, rng);
        to_alice = answer.sessions;
    });
    print("wire 4: ping and pong, 64 B: both with a DH step", ping_pong);
}

fn main() {
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    for length in [64, 1024, 65_536] {
        one_way(rng, length);
    }

    let (mut a, mut b) = sessions(rng);
    let ping_pong = median(500, 1, || {
        let sealed = a.encrypt(&[7; 64], rng).unwrap();
        let opened = b.decrypt(&sealed.header, &sealed.ciphertext, rng).unwrap();
        (a, b) = (opened.session, sealed.session); // it is the other's turn
    });
    print("ping-pong, 64 B: encrypt and decrypt with a DH step", ping_pong);

    let (a, b) = (LocalKeys::generate(rng), LocalKeys::generate(rng));
    let set_up = median(100, 1, || {
        let (for_a, for_b) = (b.bundle().verify().unwrap(), a.bundle().verify().unwrap());
        let ours = Session::establish(&a, &for_a, rng).unwrap();
        let theirs = Session::establish(&b, &for_b, rng).unwrap();
        let sealed = ours.encrypt(&[7; 64], rng).unwrap();
        black_box(theirs.decrypt(&sealed.header, &sealed.ciphertext, rng).unwrap());
    });
    print("set-up of both sides to the first message read", set_up);

    let long_term = median(100, 1, || {
        black_box(LocalKeys::generate(rng));
    });
    print("long-term keys of one side, signed", long_term);

    let mut to_b = Record::new(&a, b.bundle().verify().unwrap(), rng).unwrap();
    let mut to_a = Record::new(&b, a.bundle().verify().unwrap(), rng).unwrap();
    let records = median(200, 100, || {
        for _ in 0..100 {
            let sealed = to_b.encrypt(&[7; 64], rng).unwrap();
            let opened = to_a.decrypt(&b, &sealed.header, &sealed.ciphertext, rng).unwrap();
            (to_b, to_a) = (sealed.record, opened.record);
        }
    });
    print("one way, 64 B, by records: encrypt and decrypt", records);

    let sealed = to_b.encrypt(&[7; 64], rng).unwrap();
    let mut forged = sealed.header;
    forged[..65].copy_from_slice(b.identity_key().as_bytes());
    forged[65..73].fill(0);
    let refused = median(200, 1, || {
        black_box(to_a.decrypt(&b, &forged, &sealed.ciphertext, rng).unwrap_err());
    });
    print("a forged ratchet key refused by a record of one session", refused);

    wire_4(rng);
}
