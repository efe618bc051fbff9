//! Payloads and saved states, byte by byte.

use proptest::prelude::*;

use super::super::payload::{Asks, Place};
use super::super::receipt::Receipt;
use super::super::*;
use crate::codec::{Malformed, Reader};

/// `seq` 1,000 follows 998, and 995 is the oldest.
const PLACE: Place = Place { seq: 1_000, prev: 998, oldest: 995 };

fn content(text: &str) -> Option<Sent<'_>> {
    Some(Sent { kind: ContentKind::Text, bytes: text.as_bytes(), prompt: false })
}

fn padded(head: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(length, 0);
    bytes
}

#[test]
fn a_content_is_these_bytes() {
    let payload = Payload { receipt: None, probe: None, place: PLACE, content: content("hi") };
    let bytes = padded(b"\x01\0\0\0\0\0\0\x03\xe8\x02\x05\x00\x02hi", 32);
    assert_eq!(*payload.to_bytes(), bytes);
    assert_eq!(Payload::parse(&bytes), Ok(payload));
}

#[test]
fn a_receipt_is_these_bytes() {
    let have = vec![(303, 303), (500, 700)];
    let receipt = Receipt { received: 300, handled: 100, have };
    let payload = Payload {
        receipt: Some((receipt, Asks::default())),
        probe: None,
        place: PLACE,
        content: None,
    };
    let head = b"\x06\0\0\0\0\0\0\x01\x2c\xc8\x01\x02\x03\x00\xc5\x01\xc8\x01\
                 \0\0\0\0\0\0\x03\xe8\x02\x05";
    assert_eq!(*payload.to_bytes(), padded(head, 32));
    assert_eq!(Payload::parse(&padded(head, 32)), Ok(payload));
}

#[test]
fn everything_at_once_is_these_bytes() {
    let asks = Asks { answer: Some(200), resend: true, resend_all: true };
    let receipt = Receipt { received: 1, handled: 1, have: Vec::new() };
    let sent = Sent { kind: ContentKind::Cbor, bytes: &[0xf6], prompt: true };
    let payload = Payload {
        receipt: Some((receipt, asks)),
        probe: Some(7),
        place: PLACE,
        content: Some(sent),
    };
    let head = b"\xfb\0\0\0\0\0\0\0\x01\x00\xc8\x01\x07\0\0\0\0\0\0\x03\xe8\x02\x05\x02\x01\xf6";
    assert_eq!(*payload.to_bytes(), padded(head, 32));
    assert_eq!(Payload::parse(&padded(head, 32)), Ok(payload));
}

/// What 64 bytes of content cost with a receipt on them and thousands on their way, which wire 4's
/// limit of 75 characters more than wire 3 leaves room for.
#[test]
fn a_short_content_with_a_receipt_is_padded_by_24_bytes() {
    let text = "x".repeat(64);
    let receipt = Receipt { received: 1 << 53, handled: (1 << 53) - 10_000, have: Vec::new() };
    let place = Place { seq: 1 << 53, prev: (1 << 53) - 1, oldest: (1 << 53) - 10_000 };
    let receipt = Some((receipt, Asks::default()));
    let payload = Payload { receipt, probe: None, place, content: content(&text) };
    assert_eq!(payload.to_bytes().len(), 64 + 24);
}

/// Each differs from a payload that is read in one thing only.
#[test]
fn other_bytes_are_refused() {
    use PayloadError::{Malformed, Unsupported};
    let content = |head: &[u8]| Payload::parse(&padded(head, 32)).err();
    let seq = b"\0\0\0\0\0\0\x03\xe8";
    let with = |parts: &[&[u8]]| content(&parts.concat());
    let cases = [
        (with(&[b"\x01", seq, b"\x02\x05\x00\x02hi"]), None, "none"),
        (with(&[b"\x01", seq, b"\x02\x05\x03\x02hi"]), Some(Unsupported), "content kind"),
        (with(&[b"\x01", seq, b"\x02\x05\x00\x02h\xff"]), Some(Malformed), "UTF-8"),
        (with(&[b"\x01", seq, b"\x02\x05\x01\x02h\xff"]), None, "bytes are no text"),
        (with(&[b"\x01", seq, b"\x02\x05\x00\x03hi"]), None, "a text may end with a zero"),
        (with(&[b"\x01", seq, b"\x02\x05\x00\x01hi"]), Some(Malformed), "padding not zero"),
        (with(&[b"\x01", seq, b"\x02\x05\x00\x14hi"]), Some(Malformed), "content too long"),
        (with(&[b"\x01", seq, b"\x02\x05\x00\x82\x00hi"]), Some(Malformed), "varint"),
        (with(&[b"\x01", seq, b"\x00\x05\x00\x02hi"]), Some(Malformed), "prev = seq"),
        (with(&[b"\x01", seq, b"\x07\x05\x00\x02hi"]), Some(Malformed), "prev < oldest - 1"),
        (with(&[b"\x01", seq, b"\x06\x05\x00\x02hi"]), None, "prev = oldest - 1"),
        (with(&[b"\x01", seq, b"\xe9\x07\xe8\x07\x00\x02hi"]), Some(Malformed), "prev < 0"),
        (with(&[b"\x01", seq, b"\x02\xe8\x07\x00\x02hi"]), Some(Malformed), "oldest = 0"),
        (with(&[b"\x01", seq, b"\x02\xe7\x07\x00\x02hi"]), None, "oldest = 1"),
        (with(&[b"\x01", &[0; 8], b"\x00\x00\x00\x02hi"]), Some(Malformed), "seq = 0"),
        (with(&[b"\x01\x40", &[0; 7], b"\x01\x00\x00\x02hi"]), Some(Malformed), "seq = 2^62"),
        (with(&[b"\x01\x3f", &[255; 7], b"\x01\x00\x00\x02hi"]), None, "seq = 2^62 - 1"),
        (with(&[b"\x01", &[255; 8], b"\x00\x00\x00\x02hi"]), Some(Malformed), "prev + 1 = 2^64"),
        (with(&[b"\x08", seq, b"\x02\x05"]), Some(Malformed), "prompt, no content"),
        (with(&[b"\x20\x00", seq, b"\x02\x05"]), Some(Malformed), "answer, no receipt"),
        (with(&[b"\x40", seq, b"\x02\x05"]), Some(Malformed), "resend, no receipt"),
        (with(&[b"\x80", seq, b"\x02\x05"]), Some(Malformed), "resend all, no receipt"),
        (with(&[b"\x04", seq, b"\x02\x05"]), Some(Malformed), "ranges, no receipt"),
        (with(&[b"\x02", seq, b"\x00", seq, b"\x02\x05"]), None, "receipt"),
        (with(&[b"\x06", seq, b"\x00\x00", seq, b"\x02\x05"]), Some(Malformed), "no range"),
        (with(&[b"\x02", seq, b"\xe9\x07", seq, b"\x02\x05"]), Some(Malformed), "handled < 0"),
        (
            with(&[b"\x06", seq, b"\x00\x01\x01\x00", seq, b"\x02\x05"]),
            Some(Malformed),
            "a range with nothing missing before it",
        ),
        (
            with(&[b"\x06", seq, b"\x00\x01\x02\x00", seq, b"\x02\x05"]),
            None,
            "a range with one missing before it",
        ),
        (
            with(&[b"\x06\x3f", &[255; 7], b"\x00\x01\x02\x00", seq, b"\x02\x05"]),
            Some(Malformed),
            "a range beyond 2^62",
        ),
        (
            with(&[b"\x02\x40", &[0; 7], b"\x00", seq, b"\x02\x05"]),
            Some(Malformed),
            "received 2^62",
        ),
    ];
    for (found, expected, what) in cases {
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn other_lengths_are_refused() {
    let text = "x".repeat(100);
    for length in 0..text.len() {
        let content = content(&text[..length]);
        let bytes = Payload { receipt: None, probe: None, place: PLACE, content }.to_bytes();
        for other in 0..bytes.len() + 40 {
            let read = Payload::parse(&padded(&bytes[..other.min(bytes.len())], other)).is_ok();
            assert_eq!(read, other == bytes.len(), "{length} {other}");
        }
    }
}

#[test]
fn at_most_32_ranges_are_read() {
    for (count, is_read) in [(32, true), (33, false)] {
        let have = (1..=count).map(|at| (at * 10, at * 10 + 1)).collect();
        let receipt = Some((Receipt { received: 0, handled: 0, have }, Asks::default()));
        let payload = Payload { receipt, probe: None, place: PLACE, content: None }.to_bytes();
        assert_eq!(Payload::parse(&payload).is_ok(), is_read);
    }
}

#[test]
fn a_content_of_720_kib_is_the_longest_that_is_read() {
    for (length, is_read) in [(MAX_CONTENT_LENGTH, true), (MAX_CONTENT_LENGTH + 1, false)] {
        let text = "x".repeat(length);
        let content = content(&text);
        let bytes = Payload { receipt: None, probe: None, place: PLACE, content }.to_bytes();
        assert_eq!(Payload::parse(&bytes).is_ok(), is_read);
    }
}

/// The first number that [`state`] gives.
const SEQ0: u64 = 1 << 12;

fn place() -> impl Strategy<Value = Place> {
    (number(), 0..100_u64, 0..100_u64).prop_map(|(seq, to_prev, to_oldest)| {
        let prev = seq.saturating_sub(to_prev + 1);
        Place { seq, prev, oldest: (prev + 1).saturating_sub(to_oldest).max(1) }
    })
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let ranges = proptest::collection::vec((2..10_u64, 0..10_u64), 0..=32);
    (prop_oneof![Just(0), number()], 0..100_u64, ranges).prop_map(
        |(received, unhandled, ranges)| {
            let mut end = received;
            let have = ranges.into_iter().map(|(missing, more)| {
                let first = end + missing;
                end = first + more;
                (first, end)
            });
            let have = have.take_while(|(_, last)| *last <= MAX_SEQ).collect();
            Receipt { received, handled: received.saturating_sub(unhandled), have }
        },
    )
}

/// What a peer may write: numbers near those of [`state`], or anywhere.
#[derive(Debug, Clone)]
struct Written {
    receipt: Option<(Receipt, Asks)>,
    probe: Option<u64>,
    place: Place,
    content: Option<(ContentKind, String, bool)>,
}

impl Written {
    fn payload(&self) -> Payload<'_> {
        let Self { receipt, probe, place, content } = self;
        let content = content.as_ref().map(|(kind, text, prompt)| Sent {
            kind: *kind,
            bytes: text.as_bytes(),
            prompt: *prompt,
        });
        Payload { receipt: receipt.clone(), probe: *probe, place: *place, content }
    }
}

fn written() -> impl Strategy<Value = Written> {
    let asks = (any::<Option<u64>>(), any::<bool>(), any::<bool>());
    let asks = asks.prop_map(|(answer, resend, resend_all)| Asks { answer, resend, resend_all });
    let kind = (0..3_u8).prop_map(|code| ContentKind::from_code(code).unwrap());
    let content = (kind, "[a-z\u{e9}]{0,300}", any::<bool>());
    let receipt = proptest::option::of((receipt(), asks));
    (receipt, any::<Option<u64>>(), place(), proptest::option::of(content))
        .prop_map(|(receipt, probe, place, content)| Written { receipt, probe, place, content })
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => SEQ0..SEQ0 + 50, 1 => 1..=MAX_SEQ, 1 => Just(MAX_SEQ)]
}

/// A state with something in every part of it.
fn state(rounds: &[(u8, u8)]) -> Delivery {
    let (mut alice, mut bob) = (Delivery::new(1), Delivery::new(1));
    for (at, (what, which)) in rounds.iter().enumerate() {
        let content = Content::text("x".repeat(usize::from(*which)));
        bob = bob.push(content.clone(), which % 2 == 0).unwrap().0;
        if let Some(sealable) = bob.seal(1) {
            bob = sealable.delivery;
            if what % 3 != 0 {
                alice = alice.accept(&sealable.payload, at as u64, 1).unwrap().delivery;
            }
        }
        alice = alice.push(content, false).unwrap().0;
        match what % 5 {
            0 => alice = alice.seal(1).map_or(alice, |sealable| sealable.delivery),
            1 => {
                let first = alice.inbox().next().map_or(0, |item| item.seq);
                alice = alice.handled(first, 1);
            }
            2 => {
                let first = alice.outbox().next().unwrap();
                alice = alice.withdraw(first);
            }
            3 => alice = alice.ask_for_all(1),
            _ => alice = alice.control(1).map_or(alice, |(delivery, _)| delivery),
        }
    }
    alice
}

proptest! {
    #[test]
    fn a_payload_is_read_as_it_was_written(written in written()) {
        let bytes = written.payload().to_bytes();
        prop_assert_eq!(Payload::parse(&bytes), Ok(written.payload()));
    }

    /// One payload, one encoding.
    #[test]
    fn whatever_is_read_is_written_the_same(
        written in written(), at: proptest::sample::Index, byte in prop_oneof![0..8_u8, any::<u8>()],
    ) {
        let mut bytes = written.payload().to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(payload) = Payload::parse(&bytes) {
            prop_assert_eq!(&*payload.to_bytes(), &*bytes);
        }
    }

    /// Nothing that a peer may say does harm: what was not sealed stays, what is delivered is in
    /// order, what is due can be done and is over then, and the state can be saved.
    #[test]
    fn no_payload_does_harm(
        rounds: Vec<(u8, u8)>, told in proptest::collection::vec(written(), 1..5),
    ) {
        let mut delivery = state(&rounds);
        for (at, written) in told.iter().enumerate() {
            let now_ms = 10_000 + at as u64 * 400;
            let before = delivery.clone();
            let accepted = delivery.accept(&written.payload().to_bytes(), 0, now_ms).unwrap();
            delivery = accepted.delivery;
            let left = before.outbox_len() - delivery.outbox_len();
            prop_assert_eq!(left, accepted.handled.len());
            prop_assert!(accepted.handled.iter().all(|seq| *seq <= before.outbox.sealed()));
            prop_assert!(delivery.inbox().map(|item| item.seq).is_sorted_by(|a, b| a < b));
            let new = delivery.inbox().skip(before.inbox().count());
            prop_assert!(new.eq(accepted.delivered.iter()));
            while let Some(sealable) = delivery.seal(now_ms) {
                prop_assert!(Payload::parse(&sealable.payload).is_ok());
                delivery = sealable.delivery;
            }
            if let Some((after, payload)) = delivery.control(now_ms) {
                prop_assert!(Payload::parse(&payload).is_ok());
                prop_assert!(after.control(now_ms).is_none());
                delivery = after;
            }
            let saved = delivery.to_bytes();
            prop_assert_eq!(Delivery::from_bytes(&saved, 1).unwrap().to_bytes(), saved);
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written(rounds: Vec<(u8, u8)>, cut: proptest::sample::Index) {
        let delivery = state(&rounds);
        let bytes = delivery.to_bytes();
        let read = Delivery::from_bytes(&bytes, 1).unwrap();
        prop_assert_eq!(&*read.to_bytes(), &*bytes);
        prop_assert!(read.outbox().eq(delivery.outbox()));
        prop_assert_eq!(read.outbox_bytes(), delivery.outbox_bytes());
        prop_assert!(read.inbox().eq(delivery.inbox()));
        prop_assert_eq!(read.inbox.receipt(), delivery.inbox.receipt());
        prop_assert_eq!(read.owed.timer.is_some(), delivery.owed.timer.is_some());
        prop_assert_eq!(read.owed.resend_all, delivery.owed.resend_all);

        prop_assert!(Delivery::from_bytes(&bytes[..cut.index(bytes.len())], 1).is_err());
        prop_assert!(Delivery::from_bytes(&[&bytes[..], &[0]].concat(), 1).is_err());
    }

    /// A changed byte makes another state or none, but never one that panics.
    #[test]
    fn a_changed_state_does_no_harm(
        rounds: Vec<(u8, u8)>, at: proptest::sample::Index, byte: u8, written in written(),
    ) {
        let mut bytes = state(&rounds).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(delivery) = Delivery::from_bytes(&bytes, 1) {
            let delivery = delivery.accept(&written.payload().to_bytes(), 0, 1).unwrap().delivery;
            let mut delivery = delivery.reconnected(1_000_000);
            while let Some(sealable) = delivery.seal(1_000_000) {
                delivery = sealable.delivery;
            }
            delivery.control(1_000_000);
        }
    }
}

/// Each differs from a saved state in one thing only.
#[test]
fn impossible_states_are_refused() {
    let state = |flags: u8, next: u64, sealed: u64, rest: &[u8]| {
        let mut bytes = vec![flags];
        bytes.put_u64(next);
        bytes.put_u64(sealed);
        bytes.put(rest);
        let mut reader = Reader::new(&bytes);
        Delivery::read(&mut reader, 1).and_then(|_| reader.end())
    };
    let last = 9_u64.to_be_bytes();
    let rest =
        |outbox: &[u8], items: &[u8], pending: &[u8]| [outbox, &last, items, pending].concat();
    let time = [0; 8];
    let item = |seq: u8| [&[1, seq], &time[..], b"\x00\x01a"].concat();
    let pending = |seq: u8, to_prev: u8| [&[1, seq, to_prev], &time[..], b"\x00\x01a"].concat();
    let empty = rest(b"\0", b"\0", b"\0");

    let cases = [
        (state(3, 100, 99, &empty), true, "empty"),
        (state(7, 100, 99, &empty), true, "all flags"),
        (state(8, 100, 99, &empty), false, "flags"),
        (state(0, 0, 0, &empty), false, "no next number"),
        (state(0, MAX_SEQ + 1, 0, &empty), true, "all numbers used"),
        (state(0, MAX_SEQ + 2, 0, &empty), false, "more numbers used than there are"),
        (state(0, 100, 100, &empty), false, "sealed what is to come"),
        (state(0, 100, 0, &rest(b"\x01\x63\x80\x01a", b"\0", b"\0")), true, "an entry"),
        (state(0, 100, 0, &rest(b"\x01\x64\x80\x01a", b"\0", b"\0")), false, "entry to come"),
        (state(0, 100, 0, &rest(b"\x01\x00\x80\x01a", b"\0", b"\0")), false, "entry 0"),
        (state(0, 100, 0, &rest(b"\x01\x63\x83\x01a", b"\0", b"\0")), false, "content kind"),
        (
            state(0, 100, 0, &rest(b"\x02\x62\x00\x01a\x00\x00\x01a", b"\0", b"\0")),
            false,
            "two entries of one number",
        ),
        (state(0, 100, 0, &rest(b"\0", &item(9), b"\0")), true, "an item"),
        (state(0, 100, 0, &rest(b"\0", &item(10), b"\0")), false, "an item beyond the last"),
        (state(0, 100, 0, &rest(b"\0", b"\0", &pending(12, 2))), true, "pending"),
        (state(0, 100, 0, &rest(b"\0", b"\0", &pending(12, 3))), false, "pending for nothing"),
        (state(0, 100, 0, &rest(b"\0", b"\0", &pending(12, 0))), false, "pending for itself"),
        (state(0, 100, 0, &rest(b"\0", b"\0", &pending(9, 2))), false, "pending, received"),
        (state(0, 100, 0, &rest(b"\x91\x4e", b"\0", b"\0")), false, "too many entries"),
    ];
    for (read, is_read, what) in cases {
        assert_eq!(read, if is_read { Ok(()) } else { Err(Malformed) }, "{what}");
    }
}
