//! Laws: whatever the relay does with messages, what was sent is delivered once, and what was
//! not sent is not delivered.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use proptest::sample::Index;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{DecryptError, LocalKeys, Record, Session};

/// What may happen. `Index` picks among the messages to that side, sent so far.
#[derive(Debug, Clone)]
enum Event {
    Send(Who),
    Deliver(Who, Index),
    Lose(Who, Index),
    Tamper(Who, Index, Index),
    ForceRatchet(Who),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    A,
    B,
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![Just(Who::A), Just(Who::B)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => who().prop_map(Event::Send),
        6 => (who(), any::<Index>()).prop_map(|(to, which)| Event::Deliver(to, which)),
        1 => (who(), any::<Index>()).prop_map(|(to, which)| Event::Lose(to, which)),
        2 => (who(), any::<Index>(), any::<Index>()).prop_map(|(to, which, bit)| Event::Tamper(to, which, bit)),
        1 => who().prop_map(Event::ForceRatchet),
    ]
}

struct Message {
    header: [u8; 85],
    ciphertext: Vec<u8>,
    text: Vec<u8>,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    OnItsWay,
    Read,
    Lost,
}

struct Side {
    keys: LocalKeys,
    record: Record,
    /// Messages to this side.
    inbox: Vec<Message>,
}

struct Pair {
    a: Side,
    b: Side,
    rng: ChaCha20Rng,
    sent: u32,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let (a, b) = (LocalKeys::generate(&mut rng), LocalKeys::generate(&mut rng));
        let mut side = |ours: &LocalKeys, theirs: &LocalKeys| {
            let theirs = theirs.bundle().verify().unwrap();
            let record = Record::new(ours, theirs, &mut rng).unwrap();
            Side { keys: ours.clone(), record, inbox: Vec::new() }
        };
        let (a, b) = (side(&a, &b), side(&b, &a));
        Self { a, b, rng, sent: 0 }
    }

    fn side(&mut self, who: Who) -> (&mut Side, &mut Side, &mut ChaCha20Rng) {
        match who {
            Who::A => (&mut self.a, &mut self.b, &mut self.rng),
            Who::B => (&mut self.b, &mut self.a, &mut self.rng),
        }
    }

    fn send(&mut self, from: Who) {
        self.sent += 1;
        let text = format!("message {}", self.sent).into_bytes();
        let (from, to, rng) = self.side(from);
        let sealed = from.record.encrypt(&text, rng).unwrap();
        from.record = sealed.record;
        let (header, ciphertext) = (sealed.header, sealed.ciphertext);
        to.inbox.push(Message { header, ciphertext, text, fate: Fate::OnItsWay });
    }

    /// A message is read the first time and refused ever after.
    fn deliver(&mut self, to: Who, which: usize) -> Result<(), TestCaseError> {
        let (side, _, rng) = self.side(to);
        let Side { keys, record, inbox } = side;
        let message = &mut inbox[which];
        let outcome = record.decrypt(keys, &message.header, &message.ciphertext, rng);
        match message.fate {
            Fate::OnItsWay => {
                let opened = outcome
                    .map_err(|error| TestCaseError::fail(format!("genuine message: {error}")))?;
                prop_assert_eq!(&*opened.plaintext, &message.text);
                side.record = opened.record;
                message.fate = Fate::Read;
            }
            Fate::Read => prop_assert!(outcome.is_err(), "read twice"),
            Fate::Lost => {}
        }
        Ok(())
    }

    /// Whatever bit is flipped, the message is refused; what it was made from is still readable,
    /// which the deliveries to come show.
    fn tamper(&mut self, to: Who, which: usize, bit: Index) -> Result<(), TestCaseError> {
        let (side, _, rng) = self.side(to);
        let message = &side.inbox[which];
        let (mut header, mut ciphertext) = (message.header, message.ciphertext.clone());
        let bit = bit.index(8 * (header.len() + ciphertext.len()));
        match header.get_mut(bit / 8) {
            Some(byte) => *byte ^= 1 << (bit % 8),
            None => ciphertext[bit / 8 - 85] ^= 1 << (bit % 8),
        }
        let outcome = side.record.decrypt(&side.keys, &header, &ciphertext, rng);
        prop_assert!(outcome.is_err(), "bit {} flipped", bit);
        Ok(())
    }

    fn apply(&mut self, event: &Event) -> Result<(), TestCaseError> {
        match event {
            Event::Send(from) => self.send(*from),
            Event::ForceRatchet(who) => {
                let (side, _, rng) = self.side(*who);
                side.record = side.record.force_ratchet(rng);
            }
            Event::Deliver(to, which) | Event::Lose(to, which) | Event::Tamper(to, which, _) => {
                let count = self.side(*to).0.inbox.len();
                if count == 0 {
                    return Ok(());
                }
                let which = which.index(count);
                match event {
                    Event::Lose(..) => {
                        let message = &mut self.side(*to).0.inbox[which];
                        if message.fate == Fate::OnItsWay {
                            message.fate = Fate::Lost;
                        }
                    }
                    Event::Tamper(_, _, bit) => self.tamper(*to, which, *bit)?,
                    _ => self.deliver(*to, which)?,
                }
            }
        }
        Ok(())
    }

    /// Every state that is reached can be saved and read back, to the byte.
    fn save_and_read_back(&self) -> Result<(), TestCaseError> {
        for side in [&self.a, &self.b] {
            let saved = side.record.sending_session().serialize();
            let loaded = Session::deserialize(&saved)
                .map_err(|error| TestCaseError::fail(format!("saved session: {error}")))?;
            prop_assert!(*loaded.serialize() == *saved, "saved again, it is another");
        }
        Ok(())
    }

    fn deliver_what_is_left(&mut self) -> Result<(), TestCaseError> {
        for to in [Who::A, Who::B] {
            for which in (0..self.side(to).0.inbox.len()).rev() {
                self.deliver(to, which)?;
            }
        }
        Ok(())
    }

    fn sends_on_one_session(&self) -> bool {
        let (a, b) = (self.a.record.sending_session(), self.b.record.sending_session());
        a.their_ratchet_key() == Some(b.our_ratchet_key().as_bytes())
            || b.their_ratchet_key() == Some(a.our_ratchet_key().as_bytes())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Any interleaving, loss, duplication, reordering and tampering between two sides that may
    /// both begin: each message that arrives is read, exactly once.
    #[test]
    fn what_arrives_is_read_exactly_once(
        seed: u64,
        events in prop::collection::vec(event(), 0..80),
    ) {
        let mut pair = Pair::new(seed);
        for event in &events {
            pair.apply(event)?;
            pair.save_and_read_back()?;
        }
        pair.deliver_what_is_left()?;
        pair.deliver_what_is_left()?; // all of it again: none is read twice
    }

    /// Once each side has heard the other, both send on the same session, and stay there.
    #[test]
    fn after_a_collision_both_sides_settle_on_one_session(
        seed: u64,
        events in prop::collection::vec(event(), 0..40),
    ) {
        let mut pair = Pair::new(seed);
        pair.send(Who::A);
        pair.send(Who::B);
        for event in &events {
            pair.apply(event)?;
        }
        pair.deliver_what_is_left()?;
        for round in 0..4 {
            for (from, to) in [(Who::A, Who::B), (Who::B, Who::A)] {
                pair.send(from);
                let newest = pair.side(to).0.inbox.len() - 1;
                pair.deliver(to, newest)?;
            }
            prop_assert!(round == 0 || pair.sends_on_one_session(), "round {}", round);
        }
    }

    /// Bytes that nobody sent are refused, whatever they look like.
    #[test]
    fn noise_is_refused(
        seed: u64,
        events in prop::collection::vec(event(), 0..10),
        header in prop::collection::vec(any::<u8>(), 0..100),
        ciphertext in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut pair = Pair::new(seed);
        for event in &events {
            pair.apply(event)?;
        }
        let Side { keys, record, .. } = &pair.a;
        let error = record.decrypt(keys, &header, &ciphertext, &mut pair.rng).unwrap_err();
        let expected = if ciphertext.len() < 16 {
            matches!(error, DecryptError::CiphertextTooShort { .. })
        } else {
            header.len() == 85 || matches!(error, DecryptError::Header(_))
        };
        prop_assert!(expected, "{}", error);
    }
}
