//! Payloads, each behind its length, taken by one side of a delivery that has sent and received.
//!
//! Each is taken as it is and padded anew. Whatever a peer says: contents are handed over once and
//! in order, what is handled was sent, the state can be saved, and what is said in turn is what
//! another side takes.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stvor_protocol::Content;
use stvor_protocol::delivery::{
    Accepted, Delivery, MAX_INBOX_MESSAGES, MAX_PENDING_MESSAGES, PayloadError,
};

const NOW: u64 = 1_800_000_000_000;

/// Three contents were sent, one of them was answered, one came and was not handled.
static OURS: LazyLock<Delivery> = LazyLock::new(|| {
    let (mut ours, mut theirs) = (Delivery::new(NOW), Delivery::new(NOW));
    for text in ["one", "two", "three"] {
        ours = ours.push(Content::text(text.to_owned()), false).expect("room").0;
    }
    let sealed = ours.seal(NOW).expect("a content");
    theirs = theirs.accept(&sealed.payload, NOW, NOW).expect("genuine").delivery;
    theirs = theirs.push(Content::bytes(vec![1, 2, 3]), true).expect("room").0;
    let answer = theirs.seal(NOW).expect("a content");
    let mut ours = sealed.delivery.accept(&answer.payload, NOW, NOW).expect("genuine").delivery;
    while let Some(sealed) = ours.seal(NOW) {
        ours = sealed.delivery;
    }
    ours
});

fuzz_target!(|bytes: &[u8]| {
    let (mut delivery, mut now) = (OURS.clone(), NOW);
    let mut last = delivery.inbox().last().map_or(0, |item| item.seq);
    for said in Payloads(bytes) {
        now += 400;
        let outbox: Vec<u64> = delivery.outbox().collect();
        let accepted = accept(&delivery, said, now);
        let accepted = accepted.or_else(|_| accept(&delivery, &padded(said), now));
        let Ok(Accepted { delivery: next, delivered, handled, refused: _ }) = accepted else {
            continue;
        };
        for item in delivered {
            assert!(item.seq > last, "once and in order");
            last = item.seq;
        }
        assert!(outbox.starts_with(&handled), "what was sent first is handled first");
        assert!(next.outbox().eq(outbox[handled.len()..].iter().copied()));
        assert!(next.inbox().count() <= MAX_INBOX_MESSAGES + MAX_PENDING_MESSAGES);
        delivery = speak(next, now);
        if said.len() % 8 == 0 {
            delivery = delivery.handled(last, now);
            assert_eq!(delivery.inbox().count(), 0);
        }
        let saved = delivery.to_bytes();
        let read = Delivery::from_bytes(&saved, 0).expect("what a step leads to can be saved");
        assert_eq!(*read.to_bytes(), *saved);
    }
});

fn accept(delivery: &Delivery, payload: &[u8], now: u64) -> Result<Accepted, PayloadError> {
    delivery.accept(payload, now, now)
}

/// Says what there is to say now. A side that answers for ever would end the run.
fn speak(mut delivery: Delivery, now: u64) -> Delivery {
    let listener = Delivery::new(NOW);
    let mut spoken = 0;
    while let Some(sealed) = delivery.seal(now) {
        assert!(accept(&listener, &sealed.payload, now).is_ok());
        delivery = sealed.delivery;
        spoken += 1;
    }
    while let Some((next, payload)) = delivery.control(now) {
        assert!(accept(&listener, &payload, now).is_ok());
        delivery = next;
        spoken += 1;
    }
    assert!(spoken <= 3 + 2, "{spoken}");
    delivery
}

/// Zeros up to a Padmé length, worked out in other words than the protocol's.
fn padded(head: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    let is_padme = |length: usize| {
        let exponent = usize::BITS - 1 - length.leading_zeros();
        let significant = u32::BITS - exponent.leading_zeros();
        length.trailing_zeros() >= exponent - significant
    };
    while bytes.len() < 32 || !is_padme(bytes.len()) {
        bytes.push(0);
    }
    bytes
}

struct Payloads<'a>(&'a [u8]);

impl<'a> Iterator for Payloads<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (payload, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        self.0 = rest;
        Some(payload)
    }
}
