//! Records as bytes: whatever state steps lead to is written, read, and goes on as if nothing had
//! happened; whatever steps cannot lead to is refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use proptest::sample::Index;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    DecryptError, LocalKeys, Record, SavedRecordError, SessionState, SignedPrekeyPair,
};

/// What may happen to a side. `Index` picks among the messages to it, sent so far.
#[derive(Debug, Clone)]
enum Step {
    Send,
    Receive(Index),
    ForceRatchet,
    BeginAnew,
    LoseSessions,
    ReplaceSignedPrekey,
    SucceedItself,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Send),
        10 => any::<Index>().prop_map(Step::Receive),
        3 => Just(Step::ForceRatchet),
        1 => Just(Step::BeginAnew),
        1 => Just(Step::LoseSessions),
        1 => Just(Step::ReplaceSignedPrekey),
        1 => Just(Step::SucceedItself),
    ]
}

struct Message {
    header: [u8; 85],
    ciphertext: Vec<u8>,
}

struct Side {
    keys: LocalKeys,
    record: Record,
    inbox: Vec<Message>,
}

/// What a step has led to, as far as it can be seen.
#[derive(PartialEq)]
struct Outcome {
    record: Vec<u8>,
    seen: Option<Result<Vec<u8>, DecryptError>>,
}

impl Side {
    fn read_back(&self) -> Record {
        Record::from_bytes(self.keys.identity_key(), &self.record.to_bytes()).unwrap()
    }

    /// Takes a step with `record` in place of our own, which it does not change.
    fn step(&self, record: &Record, step: &Step, rng: &mut ChaCha20Rng) -> (Record, Outcome) {
        let (mut next, mut seen) = (record.clone(), None);
        match step {
            Step::Send => {
                let sealed = record.encrypt(b"text", rng).unwrap();
                next = sealed.record;
                seen = Some(Ok([&sealed.header[..], &sealed.ciphertext].concat()));
            }
            Step::Receive(which) if !self.inbox.is_empty() => {
                let Message { header, ciphertext } = which.get(&self.inbox);
                let opened = record.decrypt(&self.keys, header, ciphertext, rng);
                seen = Some(opened.map(|opened| {
                    next = opened.record;
                    opened.plaintext.to_vec()
                }));
            }
            Step::Receive(_) | Step::ReplaceSignedPrekey => {}
            Step::ForceRatchet => next = record.force_ratchet(rng),
            Step::BeginAnew => next = record.begin_anew(rng),
            Step::LoseSessions => {
                next = Record::new(&self.keys, record.bundle().clone(), rng).unwrap();
            }
            Step::SucceedItself => {
                let bundle = record.bundle().clone();
                next = record.succeeded_by(&self.keys, bundle, rng).unwrap();
            }
        }
        let outcome = Outcome { record: next.to_bytes().to_vec(), seen };
        (next, outcome)
    }

    /// The same step on the record and on what it is read back as, with the same randomness.
    fn step_twice(
        &mut self,
        step: &Step,
        rng: &mut ChaCha20Rng,
    ) -> Result<Option<Message>, TestCaseError> {
        let mut rng_of_twin = rng.clone();
        let (next, outcome) = self.step(&self.record, step, rng);
        let (_, outcome_of_twin) = self.step(&self.read_back(), step, &mut rng_of_twin);
        prop_assert!(outcome == outcome_of_twin, "{:?} went otherwise", step);
        prop_assert!(*rng == rng_of_twin, "{:?} drew otherwise", step);
        self.record = next;
        let message = match (step, outcome.seen) {
            (Step::Send, Some(Ok(bytes))) => {
                let (header, ciphertext) = bytes.split_first_chunk().unwrap();
                Some(Message { header: *header, ciphertext: ciphertext.to_vec() })
            }
            _ => None,
        };
        Ok(message)
    }
}

fn pair(rng: &mut ChaCha20Rng) -> [Side; 2] {
    let (a, b) = (LocalKeys::generate(rng), LocalKeys::generate(rng));
    let mut side = |ours: &LocalKeys, theirs: &LocalKeys| {
        let record = Record::new(ours, theirs.bundle().verify().unwrap(), rng).unwrap();
        Side { keys: ours.clone(), record, inbox: Vec::new() }
    };
    [side(&a, &b), side(&b, &a)]
}

/// A side takes another signed prekey, and the other learns of it.
fn replace_signed_prekey(sides: &mut [Side; 2], who: usize, rng: &mut ChaCha20Rng) {
    let identity = sides[who].keys.identity().clone();
    let prekey = SignedPrekeyPair::generate(rng);
    let signature = identity.sign(prekey.public().as_bytes());
    sides[who].keys = LocalKeys::from_parts(identity, prekey, signature).unwrap();
    let bundle = sides[who].keys.bundle().verify().unwrap();
    let other = &mut sides[1 - who];
    other.record = other.record.with_bundle(&other.keys, bundle, rng).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_record_read_back_goes_on_as_it_would_have(
        seed: u64,
        steps in prop::collection::vec((0..2usize, step()), 0..60),
    ) {
        let rng = &mut ChaCha20Rng::seed_from_u64(seed);
        let mut sides = pair(rng);
        for (who, step) in &steps {
            if let Step::ReplaceSignedPrekey = step {
                replace_signed_prekey(&mut sides, *who, rng);
            }
            let message = sides[*who].step_twice(step, rng)?;
            sides[1 - *who].inbox.extend(message);
            let Side { keys, record, .. } = &sides[*who];
            let bytes = record.to_bytes();
            let again = Record::from_bytes(keys.identity_key(), &bytes).unwrap();
            prop_assert!(*again.to_bytes() == *bytes, "one record, one encoding");
            prop_assert_eq!(format!("{again:?}"), format!("{record:?}"));
        }
    }

    #[test]
    fn noise_is_no_record(noise: Vec<u8>, version_and_owner: bool) {
        let rng = &mut ChaCha20Rng::seed_from_u64(1);
        let [a, _] = pair(rng);
        let mut bytes = noise;
        if version_and_owner {
            bytes.splice(0..0, a.record.to_bytes()[..66].iter().copied());
        }
        prop_assert!(Record::from_bytes(a.keys.identity_key(), &bytes).is_err());
    }

    /// Bytes of a genuine record that are altered are refused or are a record: one that writes
    /// the same bytes, and can be used.
    #[test]
    fn an_altered_record_is_refused_or_is_one(
        state in 0..5usize,
        edits in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
    ) {
        let Saved { keys, bytes, .. } = &saved()[state];
        let mut bytes = bytes.clone();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(record) = Record::from_bytes(keys.identity_key(), &bytes) {
            prop_assert!(*record.to_bytes() == *bytes);
            let rng = &mut ChaCha20Rng::seed_from_u64(1);
            if let Ok(sealed) = record.force_ratchet(rng).begin_anew(rng).encrypt(b"text", rng) {
                prop_assert!(record.decrypt(keys, &sealed.header, &sealed.ciphertext, rng).is_err());
            }
        }
    }
}

struct Saved {
    name: &'static str,
    keys: LocalKeys,
    bytes: Vec<u8>,
}

/// A record in each kind of state.
fn saved() -> Vec<Saved> {
    let rng = &mut ChaCha20Rng::seed_from_u64(7);
    let [mut a, mut b] = pair(rng);
    let mut saved = Vec::new();
    let mut save = |name, side: &Side| {
        saved.push(Saved { name, keys: side.keys.clone(), bytes: side.record.to_bytes().to_vec() });
    };
    let send = |from: &mut Side, to: &mut Side| {
        let sealed = from.record.encrypt(b"text", &mut ChaCha20Rng::seed_from_u64(8)).unwrap();
        from.record = sealed.record;
        to.inbox.push(Message { header: sealed.header, ciphertext: sealed.ciphertext });
    };
    let mut receive = |side: &mut Side, which: usize| {
        let Message { header, ciphertext } = &side.inbox[which];
        side.record = side.record.decrypt(&side.keys, header, ciphertext, rng).unwrap().record;
    };
    save("pending", &a);
    (0..4).for_each(|_| send(&mut a, &mut b));
    save("initiated", &a);
    send(&mut b, &mut a);
    receive(&mut b, 0);
    save("collided", &b);
    receive(&mut b, 3);
    save("with skipped keys", &b);
    receive(&mut a, 0);
    send(&mut b, &mut a);
    receive(&mut a, 1);
    send(&mut a, &mut b);
    receive(&mut b, 4);
    save("settled", &a);
    saved
}

fn assert_refused(saved: &Saved, what: &str, expected: SavedRecordError, bytes: &[u8]) {
    let outcome = Record::from_bytes(saved.keys.identity_key(), bytes);
    assert_eq!(outcome.err(), Some(expected), "{}: {what}", saved.name);
}

#[test]
fn the_states_are_what_they_are_called() {
    let records: Vec<Record> = saved()
        .iter()
        .map(|saved| Record::from_bytes(saved.keys.identity_key(), &saved.bytes).unwrap())
        .collect();
    let states = records.iter().map(|record| record.sending_session().state());
    use SessionState::{Established, Initiated, Pending};
    assert!(states.eq([Pending, Initiated, Established, Established, Established]));
    assert!(records.iter().map(Record::session_count).eq([1, 1, 2, 2, 2]));
    assert!(records.iter().any(|record| record.sending_session().skipped_count() > 0));
}

#[test]
fn a_cut_or_lengthened_record_is_refused() {
    for saved in saved() {
        for length in 0..saved.bytes.len() {
            let outcome = Record::from_bytes(saved.keys.identity_key(), &saved.bytes[..length]);
            assert!(outcome.is_err(), "{}: {length} bytes", saved.name);
        }
        let longer = [&saved.bytes[..], &[0]].concat();
        assert_refused(&saved, "a byte more", SavedRecordError::Malformed, &longer);
    }
}

#[test]
fn a_record_of_another_identity_or_version_is_refused() {
    let rng = &mut ChaCha20Rng::seed_from_u64(9);
    let stranger = LocalKeys::generate(rng);
    for mut saved in saved() {
        let outcome = Record::from_bytes(stranger.identity_key(), &saved.bytes);
        assert_eq!(outcome.err(), Some(SavedRecordError::Identity), "{}", saved.name);
        saved.bytes[0] = 2;
        let later = SavedRecordError::Version { version: 2 };
        assert_refused(&saved, "version", later, &saved.bytes);
        saved.bytes[0] = 0;
        assert_refused(&saved, "version", SavedRecordError::Malformed, &saved.bytes);
    }
}
