//! One test for each rule.

use super::super::outbox::RAISED_BY;
use super::super::payload::Place;
use super::super::receipt::{MAX_RANGES, Receipt};
use super::super::timer::*;
use super::super::*;

const T0: u64 = 1_800_000_000_000;

/// The first number that is given at `T0`.
const SEQ0: u64 = T0 << 12;

type Bytes = Zeroizing<Vec<u8>>;

/// A party and what it has to do with time.
struct Party {
    delivery: Delivery,
    now_ms: u64,
}

impl Party {
    fn new() -> Self {
        Self { delivery: Delivery::new(T0), now_ms: T0 }
    }

    fn push(&mut self, text: &str) -> u64 {
        self.push_content(Content::text(text.into()), false).unwrap()
    }

    fn push_content(&mut self, content: Content, prompt: bool) -> Result<u64, PushError> {
        let (delivery, seq) = self.delivery.push(content, prompt)?;
        self.delivery = delivery;
        Ok(seq)
    }

    /// Seals all that wants sealing.
    fn seal(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| {
            let sealable = self.delivery.seal(self.now_ms)?;
            self.delivery = sealable.delivery;
            Some(sealable.payload)
        })
        .collect()
    }

    fn send(&mut self, texts: &[&str]) -> Vec<Bytes> {
        for text in texts {
            self.push(text);
        }
        self.seal()
    }

    fn accept(&mut self, payload: &[u8]) -> Accepted {
        let accepted = self.delivery.accept(payload, self.now_ms, self.now_ms).unwrap();
        let mut in_place = self.delivery.clone();
        let brought = in_place.accept_in_place(payload, self.now_ms, self.now_ms).unwrap();
        assert_eq!(brought.is_none(), accepted.refused);
        // What is refused changes nothing, and what is accepted the same either way.
        let expected = if accepted.refused { &self.delivery } else { &accepted.delivery };
        if accepted.refused || self.delivery.inbox().count() < 100 {
            assert_eq!(format!("{in_place:?}"), format!("{expected:?}"));
        }
        self.delivery = accepted.delivery.clone();
        accepted
    }

    /// The texts that are delivered when `payload` arrives.
    fn read(&mut self, payload: &[u8]) -> Vec<String> {
        self.accept(payload).delivered.iter().map(|item| text(&item.content)).collect()
    }

    /// Handles everything in the inbox.
    fn handle(&mut self) {
        let last = self.delivery.inbox().last().map_or(0, |item| item.seq);
        self.delivery = self.delivery.handled(last, self.now_ms);
    }

    fn control(&mut self) -> Option<Bytes> {
        let (delivery, payload) = self.delivery.control(self.now_ms)?;
        self.delivery = delivery;
        Some(payload)
    }

    /// Waits for the next deadline, which is in so many milliseconds, and does what is due.
    fn wait(&mut self, ms: u64) -> Bytes {
        assert_eq!(self.delivery.next_deadline(), Some(self.now_ms + ms));
        self.now_ms += ms - 1;
        assert!(self.control().is_none(), "nothing is due a millisecond early");
        self.now_ms += 1;
        self.control().unwrap()
    }

    fn restart(&mut self) {
        self.delivery = Delivery::from_bytes(&self.delivery.to_bytes(), self.now_ms).unwrap();
    }
}

fn text(content: &Content) -> String {
    String::from_utf8(content.as_bytes().to_vec()).unwrap()
}

fn parsed(payload: &[u8]) -> Payload<'_> {
    Payload::parse(payload).unwrap()
}

fn receipt_in(payload: &[u8]) -> (Receipt, Asks) {
    parsed(payload).receipt.unwrap()
}

/// A receipt by itself, as a peer may write it.
fn forged(receipt: Receipt, asks: Asks) -> Bytes {
    let place = Outbox::new(T0).place(SEQ0);
    Payload { receipt: Some((receipt, asks)), probe: None, place, content: None }.to_bytes()
}

fn resend() -> Asks {
    Asks { resend: true, ..Asks::default() }
}

mod order {
    use super::*;

    #[test]
    fn a_message_arrives_is_handled_and_leaves_the_outbox() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let seq = alice.push("hi");
        let payloads = alice.seal();
        let accepted = bob.delivery.accept(&payloads[0], 7, T0).unwrap();
        assert_eq!(accepted.delivered, bob.accept(&payloads[0]).delivered.map_timestamp(7));
        assert_eq!(accepted.delivered[0].seq, seq);
        bob.handle();
        assert_eq!(bob.delivery.inbox().count(), 0);
        let receipt = bob.wait(RECEIPT_DELAY_MS);
        assert_eq!(alice.accept(&receipt).handled, [seq]);
        assert_eq!((alice.delivery.outbox_len(), alice.delivery.outbox_bytes()), (0, 0));
        assert_eq!(alice.delivery.next_deadline(), None);
        assert_eq!(bob.delivery.next_deadline(), None);
    }

    trait MapTimestamp {
        fn map_timestamp(self, timestamp_ms: u64) -> Self;
    }

    impl MapTimestamp for Vec<InboxItem> {
        fn map_timestamp(mut self, timestamp_ms: u64) -> Self {
            self.iter_mut().for_each(|item| item.timestamp_ms = timestamp_ms);
            self
        }
    }

    #[test]
    fn numbers_begin_with_the_clock_and_count_up() {
        let mut alice = Party::new();
        assert_eq!((alice.push("a"), alice.push("b")), (SEQ0, SEQ0 + 1));
        alice.now_ms += 1;
        assert_eq!(alice.push("c"), SEQ0 + 2);
        alice.restart();
        assert_eq!(alice.push("d"), SEQ0 + 4096);
        alice.now_ms -= 1000;
        alice.restart();
        assert_eq!(alice.push("e"), SEQ0 + 4097);
    }

    #[test]
    fn what_comes_early_waits_for_what_is_missing() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c", "d"]);
        assert_eq!(bob.read(&payloads[3]), [""; 0]);
        assert_eq!(bob.read(&payloads[1]), [""; 0]);
        assert_eq!(bob.read(&payloads[0]), ["a", "b"]);
        assert_eq!(bob.read(&payloads[2]), ["c", "d"]);
        assert_eq!(bob.delivery.inbox().count(), 4);
    }

    #[test]
    fn what_comes_twice_is_delivered_once() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c"]);
        for which in [0, 2, 2, 0, 1, 1, 2, 0] {
            bob.accept(&payloads[which]);
        }
        let texts: Vec<String> = bob.delivery.inbox().map(|item| text(&item.content)).collect();
        assert_eq!(texts, ["a", "b", "c"]);
        bob.handle();
        payloads.iter().for_each(|payload| assert!(bob.read(payload).is_empty()));
    }

    #[test]
    fn contents_arrive_as_they_were_sent() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let contents = [
            (Content::text("\u{e9}".into()), true),
            (Content::bytes(vec![0; MAX_CONTENT_LENGTH]), false),
            (Content::cbor(vec![0xa0]), true),
            (Content::bytes(Vec::new()), false),
        ];
        for (content, prompt) in &contents {
            alice.push_content(content.clone(), *prompt).unwrap();
        }
        for (payload, (content, prompt)) in alice.seal().iter().zip(&contents) {
            let accepted = bob.accept(payload);
            assert_eq!(accepted.delivered[0].content, *content);
            assert_eq!(accepted.delivered[0].prompt, *prompt);
        }
    }

    #[test]
    fn messages_behind_a_withdrawn_one_are_delivered() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c", "d"]);
        bob.read(&payloads[0]);
        alice.delivery = alice.delivery.withdraw(SEQ0 + 1);
        assert!(bob.read(&payloads[2]).is_empty() && bob.read(&payloads[3]).is_empty());
        bob.now_ms += GAP_DELAY_MS;
        let request = bob.control().unwrap();
        assert_eq!(receipt_in(&request).1, resend());
        alice.accept(&request);
        assert!(!alice.delivery.wants_sealing());
        assert_eq!(alice.delivery.next_deadline(), Some(0));
        let told = alice.control().unwrap();
        assert_eq!(parsed(&told).content, None);
        assert_eq!(bob.read(&told), ["c", "d"]);
        bob.handle();
        assert_eq!(alice.accept(&bob.wait(RECEIPT_DELAY_MS)).handled.len(), 3);
        assert_eq!(alice.delivery.next_deadline(), None);
    }

    /// "d" comes again and says that it follows "b" and that "a" is settled. That makes "b" in
    /// order, which makes "d" so, but not before what waits between them.
    #[test]
    fn what_one_message_brings_into_order_is_delivered_in_order() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "withdrawn", "c", "d"]);
        assert!(bob.read(&payloads[1]).is_empty() && bob.read(&payloads[3]).is_empty());
        for seq in [SEQ0, SEQ0 + 2, SEQ0 + 3] {
            alice.delivery = alice.delivery.withdraw(seq);
        }
        alice.accept(&forged(Receipt::default(), Asks { resend_all: true, ..Asks::default() }));
        assert_eq!(bob.read(&alice.seal()[1]), ["b", "c", "d"]);
    }

    #[test]
    fn what_waits_follows_what_it_was_last_said_to_follow() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c", "d"]);
        bob.read(&payloads[3]);
        alice.delivery = alice.delivery.withdraw(SEQ0 + 2);
        alice.accept(&forged(Receipt::default(), Asks { resend_all: true, ..Asks::default() }));
        assert!(bob.read(&alice.seal()[2]).is_empty());
        assert!(bob.read(&payloads[3]).is_empty(), "an old word changes nothing");
        assert_eq!(bob.read(&payloads[0]), ["a"]);
        assert_eq!(bob.read(&payloads[1]), ["b", "d"]);
    }

    #[test]
    fn what_follows_a_gap_is_told_whatever_is_sent_meanwhile() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c"]);
        bob.read(&payloads[0]);
        bob.read(&payloads[2]);
        alice.delivery = alice.delivery.withdraw(SEQ0 + 1);
        bob.now_ms += GAP_DELAY_MS;
        alice.accept(&bob.control().unwrap());
        alice.accept(&bob.send(&["d"])[0]);
        let with_receipt = alice.send(&["e"]).remove(0);
        assert!(parsed(&with_receipt).receipt.is_some());
        assert_eq!(bob.read(&alice.control().unwrap()), ["c"]);
    }

    #[test]
    fn a_withdrawn_message_that_was_never_sealed_is_gone() {
        let mut alice = Party::new();
        let seq = alice.push("a");
        alice.delivery = alice.delivery.withdraw(seq).withdraw(seq).withdraw(7);
        assert!(!alice.delivery.wants_sealing());
        assert_eq!((alice.delivery.outbox_len(), alice.delivery.outbox_bytes()), (0, 0));
    }

    #[test]
    fn a_sender_that_has_lost_its_state_is_followed() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c"]);
        bob.read(&payloads[0]);
        bob.read(&payloads[2]);
        alice.delivery = Delivery::new(T0 + 1);
        let payloads = alice.send(&["d"]);
        assert_eq!(bob.read(&payloads[0]), ["c", "d"]);
    }

    #[test]
    fn a_sender_restored_from_an_old_state_is_followed() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payload = alice.send(&["a"]).remove(0);
        let backup = alice.delivery.to_bytes();
        bob.read(&payload);
        let payloads = alice.send(&["b", "c"]);
        bob.read(&payloads[1]); // waits for "b", which nobody has any longer
        alice.delivery = Delivery::from_bytes(&backup, T0 + 1).unwrap();
        bob.now_ms += GAP_DELAY_MS;
        let request = bob.control().unwrap();
        alice.accept(&request);
        assert_eq!(bob.read(&alice.control().unwrap()), ["c"]);
        assert_eq!(bob.read(&alice.send(&["d"])[0]), ["d"]);
    }

    #[test]
    fn numbers_go_on_from_the_clock_when_the_peer_asks_for_everything() {
        let mut alice = Party::new();
        let everything = forged(Receipt::default(), Asks { resend_all: true, ..Asks::default() });
        alice.now_ms += 10;
        alice.accept(&everything);
        assert_eq!(alice.push("a"), first_seq(T0 + 10));
        alice.now_ms += 10;
        alice.accept(&everything);
        assert_eq!(alice.push("b"), first_seq(T0 + 10) + 1, "whether \"a\" arrives is not known");
    }

    #[test]
    fn numbers_are_raised_above_what_the_peer_has_of_us() {
        let mut alice = Party::new();
        alice.push("a");
        let known = |have| Receipt { received: SEQ0 + 100, handled: SEQ0 + 100, have };
        alice.accept(&forged(known(Vec::new()), Asks::default()));
        let first = SEQ0 + 100 + RAISED_BY;
        assert_eq!(alice.push("b"), first + 1, "\"a\" has another number now");
        alice.accept(&forged(known(vec![(first + 200, first + 300)]), Asks::default()));
        let third = first + 300 + RAISED_BY;
        assert_eq!(alice.push("c"), third);
        let too_high = Receipt { received: MAX_SEQ, handled: 0, have: Vec::new() };
        alice.accept(&forged(too_high, Asks::default()));
        assert_eq!(alice.push("d"), third + 1);
        assert_eq!(alice.delivery.outbox_len(), 4, "nothing counts as handled that was not sealed");
        let seqs: Vec<_> = alice.seal().iter().map(|payload| parsed(payload).place.seq).collect();
        assert_eq!(seqs, [first, first + 1, third, third + 1]);
    }

    /// Bob, who has handled three contents of an alice who then lost her state, and whose clock
    /// now is a minute behind.
    fn lost_with_the_clock_behind() -> (Party, Party) {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        alice.send(&["a", "b", "c"]).iter().for_each(|payload| drop(bob.read(payload)));
        bob.handle();
        bob.wait(RECEIPT_DELAY_MS);
        alice.now_ms = T0 - 60_000;
        alice.delivery = Delivery::new(alice.now_ms);
        (alice, bob)
    }

    #[test]
    fn a_sender_without_its_state_whose_clock_is_behind_gets_through() {
        let (mut alice, mut bob) = lost_with_the_clock_behind();
        let named = [alice.push("d"), alice.push("e")];
        assert!(named[1] < SEQ0);
        for payload in alice.seal() {
            assert!(bob.read(&payload).is_empty(), "bob has such numbers already");
        }
        let accepted = alice.accept(&bob.wait(RECEIPT_DELAY_MS));
        assert_eq!(accepted.handled, [0; 0], "what was dropped was not handled");
        let again = alice.seal();
        assert_eq!(again.iter().flat_map(|p| bob.read(p)).collect::<Vec<_>>(), ["d", "e"]);
        assert_eq!(alice.delivery.outbox().collect::<Vec<_>>(), named, "known by their names");
        bob.handle();
        assert_eq!(alice.accept(&bob.wait(RECEIPT_DELAY_MS)).handled, named);
        assert_eq!(bob.read(&alice.send(&["f"])[0]), ["f"]);
    }

    #[test]
    fn a_restart_before_the_first_receipt_does_not_hide_what_was_dropped() {
        let (mut alice, mut bob) = lost_with_the_clock_behind();
        bob.read(&alice.send(&["d"])[0]);
        alice.restart();
        assert_eq!(alice.accept(&bob.wait(RECEIPT_DELAY_MS)).handled, [0; 0]);
        assert_eq!(bob.read(&alice.seal()[0]), ["d"]);
    }

    #[test]
    fn what_was_handled_before_an_old_state_is_not_sent_under_another_number() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let receipt = |bob: &mut Party| {
            bob.handle();
            bob.wait(RECEIPT_DELAY_MS)
        };
        bob.read(&alice.send(&["a"])[0]);
        alice.accept(&receipt(&mut bob));
        let old = alice.push("b");
        let payloads = alice.seal();
        let backup = alice.delivery.to_bytes();
        bob.read(&payloads[0]);
        alice.now_ms += 10;
        alice.restart();
        bob.read(&alice.send(&["c"])[0]);
        alice.now_ms = T0 - 60_000;
        alice.delivery = Delivery::from_bytes(&backup, alice.now_ms).unwrap();
        let new = alice.push("d");
        bob.read(&alice.seal()[0]);
        let accepted = alice.accept(&receipt(&mut bob));
        assert_eq!(accepted.handled, [old], "it was bob's from before");
        let again = alice.seal();
        assert_eq!(bob.read(&again[0]), ["d"]);
        assert_eq!((again.len(), alice.delivery.outbox().collect()), (1, vec![new]));
    }

    #[test]
    fn what_was_received_keeps_its_number() {
        let mut alice = Party::new();
        alice.send(&["a", "b"]);
        let receipt = |received| Receipt { received, handled: SEQ0 - 1, have: Vec::new() };
        alice.accept(&forged(receipt(SEQ0), Asks::default()));
        alice.accept(&forged(receipt(SEQ0 + 100), Asks::default()));
        let seqs: Vec<_> = alice.seal().iter().map(|payload| parsed(payload).place.seq).collect();
        assert_eq!(seqs, [SEQ0 + 100 + RAISED_BY]);
    }

    #[test]
    fn a_content_withdrawn_under_its_first_number_is_gone() {
        let (mut alice, mut bob) = lost_with_the_clock_behind();
        let named = alice.push("d");
        bob.read(&alice.seal()[0]);
        alice.accept(&bob.wait(RECEIPT_DELAY_MS));
        alice.delivery = alice.delivery.withdraw(named);
        assert_eq!((alice.delivery.outbox_len(), alice.seal().len()), (0, 0));
    }

    #[test]
    fn a_peer_that_leaves_our_numbers_behind_again_and_again_gets_little_for_it() {
        let mut alice = Party::new();
        alice.send(&["a"]);
        let mut sealed = 0;
        for ms in 0..120_000 / 100 {
            alice.now_ms = T0 + ms * 100;
            let received = alice.delivery.outbox.next();
            let receipt = Receipt { received, handled: received, have: Vec::new() };
            alice.accept(&forged(receipt, Asks::default()));
            sealed += alice.seal().len();
            assert_eq!(alice.delivery.outbox_len(), 1);
        }
        assert_eq!(sealed, 7, "at 0, 1, 3, 7, 15, 31 and 63 seconds");
    }
}

mod receipts {
    use super::*;

    #[test]
    fn a_receipt_rides_on_a_message() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payload = alice.send(&["a"]).remove(0);
        bob.read(&payload);
        bob.handle();
        let payload = bob.send(&["b", "c"]);
        assert!(parsed(&payload[0]).receipt.is_some() && parsed(&payload[1]).receipt.is_none());
        assert_eq!(alice.accept(&payload[0]).handled, [SEQ0]);
        assert_eq!(bob.delivery.next_deadline(), Some(T0 + PROBE_DELAY_MS));
    }

    #[test]
    fn a_receipt_says_what_was_received_handled_and_kept() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c", "d", "e", "f", "g"]);
        for which in [0, 1, 3, 4, 6] {
            bob.read(&payloads[which]);
        }
        bob.delivery = bob.delivery.handled(SEQ0, T0);
        let have = vec![(SEQ0 + 3, SEQ0 + 4), (SEQ0 + 6, SEQ0 + 6)];
        let receipt = Receipt { received: SEQ0 + 1, handled: SEQ0, have };
        assert_eq!(receipt_in(&bob.wait(RECEIPT_DELAY_MS)), (receipt, Asks::default()));
    }

    #[test]
    fn a_receipt_goes_at_once_after_fifty_messages() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a"; 100]);
        for round in 0..2 {
            for which in 0..50 {
                assert!(bob.control().is_none());
                bob.read(&payloads[round * 50 + which]);
            }
            assert!(bob.control().is_some());
        }
        assert_eq!(bob.delivery.next_deadline(), None);
    }

    #[test]
    fn a_receipt_goes_at_once_when_a_prompt_message_is_handled() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        alice.push_content(Content::text("a".into()), true).unwrap();
        bob.read(&alice.seal()[0]);
        assert!(bob.control().is_none());
        bob.handle();
        assert_eq!(receipt_in(&bob.control().unwrap()).0.handled, SEQ0);
    }

    #[test]
    fn what_is_handled_later_is_reported_later() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        bob.read(&alice.send(&["a"])[0]);
        assert!(alice.accept(&bob.wait(RECEIPT_DELAY_MS)).handled.is_empty());
        bob.now_ms += 10_000;
        bob.handle();
        assert_eq!(alice.accept(&bob.wait(RECEIPT_DELAY_MS)).handled, [SEQ0]);
    }

    #[test]
    fn a_message_that_comes_again_is_reported_again() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payload = alice.send(&["a"]).remove(0);
        bob.read(&payload);
        bob.handle();
        bob.wait(RECEIPT_DELAY_MS);
        bob.read(&payload);
        assert_eq!(alice.accept(&bob.wait(RECEIPT_DELAY_MS)).handled, [SEQ0]);
    }

    #[test]
    fn a_receipt_is_not_answered() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        bob.read(&alice.send(&["a"])[0]);
        bob.handle();
        alice.accept(&bob.wait(RECEIPT_DELAY_MS));
        assert!(alice.control().is_none() && alice.delivery.next_deadline().is_none());
    }

    #[test]
    fn a_late_receipt_takes_nothing_back() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b"]);
        bob.read(&payloads[0]);
        let early = bob.wait(RECEIPT_DELAY_MS);
        bob.read(&payloads[1]);
        let late = bob.wait(RECEIPT_DELAY_MS);
        alice.accept(&late);
        alice.accept(&early);
        assert_eq!(alice.delivery.outbox.hints().0.received, SEQ0 + 1);
    }

    #[test]
    fn a_receipt_owed_is_owed_after_a_restart() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        bob.read(&alice.send(&["a"])[0]);
        bob.delivery = bob.delivery.ask_for_all(T0);
        bob.now_ms += 5_000;
        bob.restart();
        assert!(receipt_in(&bob.wait(RECEIPT_DELAY_MS)).1.resend_all);
    }

    #[test]
    fn a_receipt_names_only_so_many_ranges() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a"; 100]);
        for payload in payloads.iter().skip(1).step_by(2) {
            bob.read(payload);
        }
        let receipt = receipt_in(&bob.control().unwrap()).0;
        assert_eq!(receipt.have.len(), MAX_RANGES);
    }
}

mod gaps {
    use super::*;

    #[test]
    fn a_gap_is_asked_for_after_a_second_then_after_twice_the_time() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b"]);
        bob.read(&payloads[1]);
        bob.wait(RECEIPT_DELAY_MS);
        bob.now_ms = T0;
        for wait_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
            assert_eq!(receipt_in(&bob.wait(wait_ms)).1, resend());
        }
        assert_eq!(bob.read(&payloads[0]), ["a", "b"]);
        bob.wait(RECEIPT_DELAY_MS);
        assert_eq!(bob.delivery.next_deadline(), None);
    }

    #[test]
    fn a_new_gap_waits_anew() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c", "d"]);
        bob.read(&payloads[1]);
        bob.read(&payloads[3]);
        bob.wait(RECEIPT_DELAY_MS);
        bob.read(&payloads[0]);
        assert_eq!(receipt_in(&bob.wait(RECEIPT_DELAY_MS)).1, Asks::default());
        assert_eq!(receipt_in(&bob.wait(GAP_DELAY_MS - RECEIPT_DELAY_MS)).1, resend());
    }

    #[test]
    fn only_what_is_missing_is_sealed_again() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c", "d", "e"]);
        bob.read(&payloads[1]);
        bob.read(&payloads[3]);
        bob.now_ms += GAP_DELAY_MS;
        alice.accept(&bob.control().unwrap());
        let again: Vec<Bytes> = alice.seal();
        let seqs: Vec<u64> = again.iter().map(|payload| parsed(payload).place.seq).collect();
        assert_eq!(seqs, [SEQ0, SEQ0 + 2], "the last may still be on its way");
        assert_eq!(bob.read(&again[0]), ["a", "b"]);
        assert_eq!(bob.read(&again[1]), ["c", "d"]);
        assert_eq!(alice.delivery.next_deadline(), Some(T0 + PROBE_DELAY_MS));
    }

    #[test]
    fn messages_are_sealed_again_at_most_once_a_second() {
        let mut alice = Party::new();
        alice.send(&["a", "b"]);
        let missing = Receipt { received: 0, handled: 0, have: vec![(SEQ0 + 1, SEQ0 + 1)] };
        let request = forged(missing, resend());
        alice.accept(&request);
        assert_eq!(alice.seal().len(), 1);
        alice.now_ms += PASS_INTERVAL_MS - 1;
        alice.accept(&request);
        assert_eq!(alice.seal().len(), 0);
        alice.now_ms += 1;
        alice.accept(&request);
        assert_eq!(alice.seal().len(), 1);
    }

    #[test]
    fn whoever_asks_for_everything_and_gets_no_further_waits_twice_as_long_each_time() {
        let mut alice = Party::new();
        alice.send(&["a", "b"]);
        let asks = Asks { resend_all: true, ..Asks::default() };
        let nothing = forged(Receipt::default(), asks);
        let passes = |alice: &mut Party, seconds: u64| {
            let start_ms = alice.now_ms;
            let mut at = Vec::new();
            for second in 0..seconds {
                alice.now_ms = start_ms + second * 1_000;
                alice.accept(&nothing);
                if !alice.seal().is_empty() {
                    at.push(second);
                }
            }
            alice.now_ms = start_ms + seconds * 1_000;
            at
        };
        assert_eq!(passes(&mut alice, 200), [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        // To have received less than before is not to get further.
        let claimed = Receipt { received: SEQ0, handled: 0, have: Vec::new() };
        alice.accept(&forged(claimed.clone(), Asks::default()));
        assert_eq!(passes(&mut alice, 4), [0, 1, 3], "it has received the first");
        alice.accept(&forged(claimed, Asks::default()));
        assert_eq!(passes(&mut alice, 3), [0; 0]);
    }

    #[test]
    fn what_arrives_meanwhile_is_not_sealed_again() {
        let mut alice = Party::new();
        alice.send(&["a", "b", "c"]);
        let asks = Asks { resend_all: true, ..Asks::default() };
        alice.accept(&forged(Receipt::default(), asks));
        assert_eq!(alice.delivery.seal(T0).unwrap().seq, SEQ0);
        let receipt = Receipt { received: SEQ0 + 1, handled: 0, have: Vec::new() };
        alice.accept(&forged(receipt, Asks::default()));
        assert_eq!(alice.delivery.seal(T0).unwrap().seq, SEQ0 + 2);
        let receipt = Receipt { received: SEQ0 + 2, handled: 0, have: Vec::new() };
        alice.accept(&forged(receipt, Asks::default()));
        assert!(!alice.delivery.wants_sealing());
    }

    #[test]
    fn a_later_request_adds_to_an_earlier_one() {
        let mut alice = Party::new();
        alice.send(&["a", "b", "c"]);
        let missing = Receipt { received: 0, handled: 0, have: vec![(SEQ0 + 1, SEQ0 + 1)] };
        alice.accept(&forged(missing.clone(), resend()));
        alice.now_ms += PASS_INTERVAL_MS;
        alice.accept(&forged(missing, Asks { resend_all: true, ..Asks::default() }));
        let seqs = alice.seal().iter().map(|payload| parsed(payload).place.seq).collect::<Vec<_>>();
        assert_eq!(seqs, [SEQ0, SEQ0 + 2]);
    }

    #[test]
    fn a_peer_that_could_not_open_gets_everything_again() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c"]);
        bob.read(&payloads[1]);
        alice.push("d");
        bob.delivery = bob.delivery.ask_for_all(T0);
        alice.accept(&bob.control().unwrap());
        let again = alice.seal();
        let delivered: Vec<String> = again.iter().flat_map(|payload| bob.read(payload)).collect();
        assert_eq!(delivered, ["a", "b", "c", "d"]);
        assert_eq!(again.len(), 3, "\"b\" was received");
    }
}

mod probes {
    use super::*;

    #[test]
    fn a_silent_peer_is_asked_after_three_seconds_then_after_twice_the_time() {
        let mut alice = Party::new();
        alice.send(&["a"]);
        for wait_ms in [3_000, 6_000, 12_000, 24_000, 48_000, 96_000, 192_000, 300_000, 300_000] {
            assert!(parsed(&alice.wait(wait_ms)).probe.is_some());
        }
        alice.delivery = alice.delivery.reconnected(alice.now_ms);
        assert!(parsed(&alice.wait(1_000)).probe.is_some(), "a second after it was asked last");
        alice.wait(6_000);
        alice.delivery = alice.delivery.withdraw(SEQ0);
        assert_eq!(alice.delivery.next_deadline(), None);
    }

    #[test]
    fn what_is_sealed_later_does_not_put_a_probe_off() {
        let mut alice = Party::new();
        alice.send(&["a"]);
        alice.now_ms += 2_999;
        alice.send(&["b"]);
        assert!(alice.control().is_none());
        alice.now_ms += 1;
        assert!(alice.control().is_some());
    }

    #[test]
    fn a_peer_for_whom_the_relay_keeps_messages_is_asked_later() {
        let mut alice = Party::new();
        alice.delivery = alice.delivery.queued(T0);
        assert_eq!(alice.delivery.next_deadline(), None);
        alice.send(&["a"]);
        alice.delivery = alice.delivery.queued(T0);
        alice.wait(QUEUED_PROBE_DELAY_MS);
        alice.wait(2 * QUEUED_PROBE_DELAY_MS);
    }

    #[test]
    fn a_probe_is_answered_at_once_and_everything_before_it_is_sealed_again() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b", "c"]);
        bob.read(&payloads[1]);
        let probe = alice.wait(PROBE_DELAY_MS);
        alice.send(&["d"]);
        bob.accept(&probe);
        let answer = bob.control().unwrap();
        assert_eq!(receipt_in(&answer).1.answer, parsed(&probe).probe);
        alice.accept(&answer);
        let seqs = alice.seal().iter().map(|payload| parsed(payload).place.seq).collect::<Vec<_>>();
        assert_eq!(seqs, [SEQ0, SEQ0 + 2], "\"b\" was received, \"d\" is on its way");
        alice.accept(&answer);
        assert!(!alice.delivery.wants_sealing(), "a probe is answered once");
    }

    #[test]
    fn an_answer_to_an_earlier_probe_is_late() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        alice.send(&["a"]);
        bob.accept(&alice.wait(PROBE_DELAY_MS));
        let late = bob.control().unwrap();
        bob.accept(&alice.wait(2 * PROBE_DELAY_MS));
        alice.accept(&late);
        assert!(!alice.delivery.wants_sealing());
        alice.accept(&bob.control().unwrap());
        assert!(alice.delivery.wants_sealing());
    }

    #[test]
    fn an_answer_rides_on_a_message() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        alice.send(&["a"]);
        let probe = alice.wait(PROBE_DELAY_MS);
        bob.accept(&probe);
        let answer = bob.send(&["b"]).remove(0);
        assert_eq!(receipt_in(&answer).1.answer, parsed(&probe).probe);
        assert!(bob.control().is_none());
    }

    #[test]
    fn a_probe_rides_on_a_message() {
        let mut alice = Party::new();
        alice.send(&["a"]);
        alice.now_ms += PROBE_DELAY_MS;
        assert!(parsed(&alice.send(&["b"])[0]).probe.is_some());
        assert!(alice.control().is_none());
    }

    #[test]
    fn nothing_is_asked_while_messages_wait_to_be_sealed_again() {
        let mut alice = Party::new();
        alice.send(&["a"]);
        let asks = Asks { resend_all: true, ..Asks::default() };
        alice.accept(&forged(Receipt::default(), asks));
        alice.now_ms += 10 * PROBE_DELAY_MS;
        assert_eq!(alice.delivery.next_deadline(), None);
        assert!(parsed(&alice.seal()[0]).probe.is_some(), "with the last of them");
        assert_eq!(alice.delivery.next_deadline(), Some(alice.now_ms + 2 * PROBE_DELAY_MS));
    }

    #[test]
    fn what_is_sealed_again_puts_a_probe_off() {
        let mut alice = Party::new();
        alice.send(&["a"]);
        alice.now_ms += 2_000;
        let asks = Asks { resend_all: true, ..Asks::default() };
        alice.accept(&forged(Receipt::default(), asks));
        assert_eq!(alice.seal().len(), 1);
        assert!(parsed(&alice.wait(PROBE_DELAY_MS)).probe.is_some());
    }

    #[test]
    fn progress_makes_probes_quick_again() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a", "b"]);
        alice.wait(3_000);
        alice.wait(6_000);
        bob.read(&payloads[0]);
        let receipt = bob.wait(RECEIPT_DELAY_MS);
        alice.accept(&receipt);
        alice.wait(PROBE_DELAY_MS);
        alice.accept(&receipt); // says nothing new
        alice.wait(2 * PROBE_DELAY_MS);
    }

    #[test]
    fn a_peer_restored_from_an_old_state_gets_what_it_had() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let backup = bob.delivery.to_bytes();
        let payload = alice.send(&["a"]).remove(0);
        bob.read(&payload);
        alice.accept(&bob.wait(RECEIPT_DELAY_MS));
        bob.delivery = Delivery::from_bytes(&backup, bob.now_ms).unwrap();
        bob.accept(&alice.wait(PROBE_DELAY_MS));
        alice.accept(&bob.control().unwrap());
        assert_eq!(bob.read(&alice.seal()[0]), ["a"]);
    }

    #[test]
    fn a_restart_asks_for_what_was_sealed() {
        let mut alice = Party::new();
        alice.push("a");
        alice.restart();
        assert_eq!(alice.delivery.next_deadline(), None);
        alice.seal();
        alice.restart();
        assert!(!alice.delivery.wants_sealing());
        assert!(parsed(&alice.wait(PROBE_DELAY_MS)).probe.is_some());
    }
}

mod limits {
    use super::*;

    #[test]
    fn an_outbox_holds_so_many_messages() {
        let mut alice = Party::new();
        for _ in 0..MAX_OUTBOX_MESSAGES {
            alice.push("");
        }
        let content = Content::text(String::new());
        assert_eq!(alice.push_content(content.clone(), false), Err(PushError::OutboxFull));
        alice.delivery = alice.delivery.withdraw(SEQ0 + 5);
        assert!(alice.push_content(content, false).is_ok());
    }

    #[test]
    fn an_outbox_holds_so_many_bytes() {
        let mut alice = Party::new();
        let content = Content::bytes(vec![0; MAX_CONTENT_LENGTH]);
        let count = MAX_OUTBOX_BYTES / MAX_CONTENT_LENGTH;
        for _ in 0..count {
            alice.push_content(content.clone(), false).unwrap();
        }
        assert_eq!(alice.delivery.outbox_bytes(), count * MAX_CONTENT_LENGTH);
        assert_eq!(alice.push_content(content, false), Err(PushError::OutboxFull));
    }

    #[test]
    fn a_content_has_so_many_bytes() {
        let length = MAX_CONTENT_LENGTH + 1;
        let pushed = Delivery::new(T0).push(Content::bytes(vec![0; length]), false);
        assert_eq!(pushed.err(), Some(PushError::TooLong { length }));
    }

    /// As long as text, in base64url, as a relay of 1 MiB takes with the envelope around it.
    #[test]
    fn the_longest_payload_fits_through_a_relay() {
        let mut alice = Party::new();
        alice.push_content(Content::bytes(vec![0; MAX_CONTENT_LENGTH]), false).unwrap();
        let sealed = alice.seal()[0].len() + 16;
        assert!(sealed.div_ceil(3) * 4 + 40_000 < 1024 * 1024);
    }

    #[test]
    fn what_waits_for_a_gap_is_bounded_and_comes_again() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let payloads = alice.send(&["a"; MAX_PENDING_MESSAGES + 10]);
        for payload in &payloads[1..=MAX_PENDING_MESSAGES] {
            assert!(!bob.accept(payload).refused);
        }
        for payload in &payloads[MAX_PENDING_MESSAGES + 1..] {
            let accepted = bob.accept(payload);
            assert!(accepted.refused && accepted.delivered.is_empty());
        }
        assert_eq!(bob.read(&payloads[0]).len(), MAX_PENDING_MESSAGES + 1);
        bob.handle();
        alice.accept(&bob.control().unwrap());
        bob.accept(&alice.wait(PROBE_DELAY_MS));
        alice.accept(&bob.control().unwrap());
        assert_eq!(alice.seal().iter().flat_map(|payload| bob.read(payload)).count(), 9);
    }

    #[test]
    fn bytes_that_wait_for_a_gap_are_bounded() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let content = Content::bytes(vec![0; MAX_CONTENT_LENGTH]);
        let fitting = MAX_PENDING_BYTES / MAX_CONTENT_LENGTH;
        for _ in 0..fitting + 2 {
            alice.push_content(content.clone(), false).unwrap();
        }
        let payloads = alice.seal();
        let refused: Vec<bool> =
            payloads[1..].iter().map(|payload| bob.accept(payload).refused).collect();
        assert_eq!(refused.iter().filter(|refused| **refused).count(), 1);
        assert!(refused[fitting]);
    }

    #[test]
    fn what_waits_for_a_gap_counts_once_however_often_it_comes() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        for _ in 0..3 {
            alice.push_content(Content::bytes(vec![0; MAX_CONTENT_LENGTH]), false).unwrap();
        }
        let payloads = alice.seal();
        for _ in 0..2 * MAX_PENDING_BYTES / MAX_CONTENT_LENGTH {
            bob.accept(&payloads[1]);
        }
        assert!(!bob.accept(&payloads[2]).refused);
        assert_eq!(bob.accept(&payloads[0]).delivered.len(), 3);
    }

    #[test]
    fn what_was_handled_makes_room() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        let content = Content::bytes(vec![0; MAX_CONTENT_LENGTH]);
        for _ in 0..MAX_INBOX_BYTES / MAX_CONTENT_LENGTH / 10 + 2 {
            // Ten at a time, the first of them last.
            for _ in 0..10 {
                alice.push_content(content.clone(), false).unwrap();
            }
            let payloads = alice.seal();
            payloads.iter().rev().for_each(|payload| assert!(!bob.accept(payload).refused));
            bob.handle();
            bob.now_ms += RECEIPT_DELAY_MS;
            assert_eq!(alice.accept(&bob.control().unwrap()).handled.len(), 10);
        }
    }

    #[test]
    fn a_payload_that_cannot_be_read_or_finds_no_room_changes_nothing() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        bob.send(&["of bob's"]);
        for _ in 0..MAX_INBOX_MESSAGES {
            alice.push("a");
        }
        alice.seal().iter().for_each(|payload| assert!(!bob.accept(payload).refused));
        let before = format!("{:?}", bob.delivery);
        // With a receipt, which would empty the outbox and have the rest sealed again.
        let place = Place { seq: SEQ0 + (1 << 40), prev: SEQ0, oldest: SEQ0 };
        let handled = Receipt { received: SEQ0, handled: SEQ0, have: Vec::new() };
        let receipt = Some((handled, Asks { resend_all: true, ..Asks::default() }));
        let content = Some(Sent { kind: ContentKind::Text, bytes: b"b", prompt: true });
        let mut payload = Payload { receipt, probe: Some(1), place, content }.to_bytes();
        assert!(bob.delivery.accept_in_place(&payload, T0, T0).unwrap().is_none());
        assert_eq!(format!("{:?}", bob.delivery), before);
        payload[0] = 0xff;
        assert!(bob.delivery.accept_in_place(&payload, T0, T0).is_err());
        assert_eq!(format!("{:?}", bob.delivery), before);
    }

    #[test]
    fn what_waits_for_the_application_is_bounded() {
        let (mut alice, mut bob) = (Party::new(), Party::new());
        for _ in 0..MAX_INBOX_MESSAGES {
            alice.push("a");
        }
        alice.seal().iter().for_each(|payload| assert!(!bob.accept(payload).refused));
        alice.delivery = Delivery::new(T0 + 10);
        let payload = alice.send(&["b"]).remove(0);
        assert!(bob.accept(&payload).refused);
        bob.handle();
        assert_eq!(bob.read(&payload), ["b"]);
    }

    /// A peer that fills what is pending and then says that nothing is missing, over and over.
    #[test]
    fn what_joins_the_inbox_from_among_the_pending_is_bounded() {
        let mut bob = Party::new();
        let mut seq = SEQ0;
        let mut held = 0;
        for _ in 0..8 {
            for _ in 0..MAX_PENDING_MESSAGES {
                seq += 2;
                let place = payload::Place { seq, prev: seq - 1, oldest: 1 };
                let content = Some(Sent { kind: ContentKind::Bytes, bytes: b"", prompt: false });
                let payload = Payload { receipt: None, probe: None, place, content };
                bob.accept(&payload.to_bytes());
            }
            seq += 2;
            let place = payload::Place { seq, prev: seq - 1, oldest: seq };
            bob.accept(&Payload { receipt: None, probe: None, place, content: None }.to_bytes());
            held = bob.delivery.inbox().count();
        }
        assert_eq!(held, MAX_INBOX_MESSAGES + MAX_PENDING_MESSAGES);
    }

    #[test]
    fn receipts_of_what_was_never_sent_change_nothing() {
        let mut alice = Party::new();
        alice.push("unsealed");
        let receipts = [
            Receipt { received: MAX_SEQ, handled: MAX_SEQ, have: Vec::new() },
            Receipt { received: SEQ0, handled: SEQ0, have: vec![(SEQ0 + 2, MAX_SEQ)] },
            Receipt { received: 0, handled: 0, have: vec![(MAX_SEQ, MAX_SEQ)] },
        ];
        for (at, receipt) in receipts.into_iter().enumerate() {
            for resend_all in [true, false] {
                let asks = Asks { answer: Some(u64::MAX), resend: true, resend_all };
                alice.now_ms += 2 * PASS_INTERVAL_MS;
                let accepted = alice.accept(&forged(receipt.clone(), asks));
                assert!(accepted.handled.is_empty() && accepted.delivered.is_empty(), "{at}");
                assert_eq!(alice.delivery.outbox_len(), 1, "{at}");
                assert_eq!(*alice.delivery.outbox.hints().0, Receipt::default(), "{at}");
                assert_eq!(alice.delivery.outbox.hints().1, None, "{at}");
            }
        }
        assert_eq!(alice.seal().len(), 1);
    }

    #[test]
    fn the_highest_number_ends_a_senders_messages_and_nothing_else() {
        let mut bob = Party::new();
        let place = payload::Place { seq: MAX_SEQ, prev: MAX_SEQ - 1, oldest: MAX_SEQ };
        let content = Some(Sent { kind: ContentKind::Bytes, bytes: b"", prompt: false });
        let payload = Payload { receipt: None, probe: None, place, content }.to_bytes();
        assert_eq!(bob.accept(&payload).delivered.len(), 1);
        bob.handle();
        assert_eq!(receipt_in(&bob.wait(RECEIPT_DELAY_MS)).0.received, MAX_SEQ);
        bob.restart();
        assert!(bob.accept(&payload).delivered.is_empty());
    }

    #[test]
    fn numbers_can_be_used_up() {
        let mut alice = Party::new();
        alice.delivery.outbox = Outbox::restored(Default::default(), MAX_SEQ, 0, true);
        assert_eq!(alice.push("last"), MAX_SEQ);
        let pushed = alice.push_content(Content::text(String::new()), false);
        assert_eq!(pushed, Err(PushError::OutboxFull));
        alice.restart();
        assert_eq!(alice.seal().len(), 1);
        assert!(Delivery::new(u64::MAX).outbox.next() < 1 << 61);
    }

    #[test]
    fn a_delivery_is_small() {
        assert!(size_of::<Delivery>() <= 400, "{}", size_of::<Delivery>());
        assert!(Delivery::new(T0).to_bytes().len() <= 32);
    }

    #[test]
    fn printing_shows_no_content() {
        let mut alice = Party::new();
        alice.push("attack at dawn");
        let payload = alice.seal().remove(0);
        let accepted = Party::new().accept(&payload);
        for printed in [format!("{:?}", alice.delivery), format!("{accepted:?}")] {
            assert!(!printed.contains("attack") && !printed.contains("97, 116"), "{printed}");
        }
    }
}

#[test]
fn a_message_has_one_id_on_both_sides() {
    // SHA-256 by Python's hashlib.
    assert_eq!(message_id("alice", "bob", SEQ0), "bd5f0f2e6c5f887f728ae2343f93210b");
    assert_ne!(message_id("alice", "bob", SEQ0), message_id("alic", "ebob", SEQ0));
}
