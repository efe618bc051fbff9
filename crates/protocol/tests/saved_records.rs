//! Records as bytes: whatever state steps lead to is written, read, and goes on as if nothing had
//! happened; whatever steps cannot lead to is refused.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use proptest::sample::Index;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    DecryptError, LocalKeys, MAX_INITIATIONS, MAX_OLDER_SESSIONS, MAX_SKIPPED_KEYS, Record,
    SavedRecordError, SessionState, SignedPrekeyPair,
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
    their_keys: LocalKeys,
    bytes: Vec<u8>,
}

/// A record in each kind of state.
fn saved() -> Vec<Saved> {
    let rng = &mut ChaCha20Rng::seed_from_u64(7);
    let [mut a, mut b] = pair(rng);
    let mut saved = Vec::new();
    let both = [a.keys.clone(), b.keys.clone()];
    let mut save = |name, side: &Side| {
        let of_b = usize::from(side.keys.identity_key() == both[1].identity_key());
        let [keys, their_keys] = [of_b, 1 - of_b].map(|of| both[of].clone());
        saved.push(Saved { name, keys, their_keys, bytes: side.record.to_bytes().to_vec() });
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

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Refuses a record that is as it was but for what `alter` does; it gets the bytes and where the
/// agreement begins, the fourth of: owner, bundle, signature, agreement.
#[track_caller]
fn assert_altered(
    name: &str,
    what: &str,
    expected: SavedRecordError,
    alter: impl FnOnce(&Saved, &mut Vec<u8>, usize),
) {
    let saved = saved().into_iter().find(|saved| saved.name == name).unwrap();
    let mut bytes = saved.bytes.clone();
    let agreement = 197 + usize::from(bytes[196]);
    alter(&saved, &mut bytes, agreement);
    assert!(bytes != saved.bytes, "{what}: nothing altered");
    assert_refused(&saved, what, expected, &bytes);
}

const HUGE: [u8; 9] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]; // 2^63 - 1

#[test]
fn keys_that_are_none_are_refused() {
    use SavedRecordError::{Key, State};
    let refused = |what, expected, alter: &dyn Fn(&Saved, &mut Vec<u8>, usize)| {
        assert_altered("pending", what, expected, alter);
    };
    refused("their identity key", Key { field: "IK" }, &|_, v, _| v[67] ^= 1);
    refused("their signed prekey", Key { field: "SPK" }, &|_, v, _| v[132] ^= 1);
    refused("signature", Key { field: "SPK" }, &|_, v, at| v[at - 1] ^= 1);
    refused("our own bundle", State, &|saved, v, at| {
        let keys = &saved.keys;
        let bundle =
            [&keys.identity_key().as_bytes()[..], keys.signed_prekey().public().as_bytes()];
        let signature = [&[keys.signature().len() as u8], keys.signature()].concat();
        v.splice(66..at, [&bundle.concat()[..], &signature].concat());
    });
    refused("shared secret", State, &|_, v, at| put(v, at, &[0; 32]));
    refused("our signed prekey", Key { field: "SPK" }, &|_, v, at| put(v, at + 32, &[0; 32]));
    refused("their signed prekey as ours", State, &|saved, v, at| {
        put(v, at + 32, &*saved.their_keys.signed_prekey().to_bytes());
    });
    refused("ratchet key", Key { field: "DHs" }, &|_, v, at| put(v, at + 71, &[0xff; 32]));
}

#[test]
fn states_that_no_step_leads_to_are_refused() {
    use SavedRecordError::{Key, Malformed, State};
    let initiated = |what, expected, alter: &dyn Fn(&Saved, &mut [u8], usize)| {
        // The session stands behind the agreement and a count.
        assert_altered("initiated", what, expected, |saved, v, at| alter(saved, v, at + 65));
    };
    initiated("kind", Malformed, &|_, v, at| v[at] = 5);
    initiated("flags", Malformed, &|_, v, at| v[at + 5] = 2);
    initiated("root key", State, &|_, v, at| put(v, at + 6, &[0; 32]));
    initiated("their signed prekey", Key { field: "SPK" }, &|_, v, at| v[at + 71] ^= 1);
    initiated("another signed prekey", State, &|saved, v, at| {
        put(v, at + 70, saved.keys.identity_key().as_bytes());
    });
    initiated("chain key", State, &|_, v, at| put(v, at + 135, &[0; 32]));
    initiated("nothing sent", State, &|_, v, at| put(v, at + 167, &[0; 4]));

    let established = |what, expected, alter: &dyn Fn(&Saved, &mut Vec<u8>, usize)| {
        // The one key that has begun a session here stands before it.
        assert_altered("with skipped keys", what, expected, |saved, v, at| {
            assert_eq!((v[at + 64], v[at + 97], v[at + 102]), (1, 4, 2), "as expected below");
            alter(saved, v, at + 97);
        });
    };
    established("flags", Malformed, &|_, v, at| v[at + 5] |= 4);
    established("root key", State, &|_, v, at| put(v, at + 6, &[0; 32]));
    established("root key between", State, &|_, v, at| put(v, at + 38, &[0; 32]));
    established("ratchet key", Key { field: "DHs" }, &|_, v, at| put(v, at + 70, &[0; 32]));
    established("their ratchet key", Key { field: "DHr" }, &|_, v, at| v[at + 103] ^= 1);
    established("sending chain", State, &|_, v, at| put(v, at + 167, &[0; 32]));
    established("sent, and renewable", State, &|_, v, at| v[at + 202] = 1);
    established("receiving chain", State, &|_, v, at| put(v, at + 203, &[0; 32]));
    established("nothing received", State, &|_, v, at| put(v, at + 235, &[0; 4]));
    established("skipped, not received", State, &|_, v, at| v[at + 238] = 2);
    established("chains", Malformed, &|_, v, at| drop(v.splice(at + 243..at + 244, HUGE)));
    established("a chain twice", State, &|_, v, at| {
        let chain = v[at + 244..at + 382].to_vec();
        v[at + 243] = 2;
        v.splice(at + 382..at + 382, chain);
    });
    established("the current chain not last", State, &|saved, v, at| {
        let mut other = v[at + 244..at + 382].to_vec();
        put(&mut other, 0, saved.keys.identity_key().as_bytes());
        v[at + 243] = 2;
        v.splice(at + 382..at + 382, other);
    });
    established("skipped chain", Key { field: "MKSKIPPED" }, &|_, v, at| v[at + 245] ^= 1);
    established("no key in a chain", Malformed, &|_, v, at| v[at + 309] = 0);
    established("too many keys", Malformed, &|_, v, at| {
        v.splice(at + 309..at + 310, [0xe9, 0x07]); // 1,001
    });
    established("keys", Malformed, &|_, v, at| drop(v.splice(at + 309..at + 310, HUGE)));
    established("a key twice", State, &|_, v, at| v[at + 349] = 1);
    established("initiator key", Key { field: "initiator key" }, &|_, v, at| v[at + 383] ^= 1);
    established("one that began nothing", State, &|saved, v, at| {
        put(v, at + 382, saved.keys.identity_key().as_bytes());
    });
    established("older sessions", Malformed, &|_, v, at| v[at + 447] = 5);
    established("older sessions, many", Malformed, &|_, v, at| {
        v.splice(at + 447..at + 448, HUGE);
    });
    established("an older one that is pending", State, &|_, v, at| {
        v.truncate(at + 448);
        v.extend([&[0; 6][..], &[1; 32]].concat());
    });
    established("an older one of a later generation", State, &|_, v, at| v[at + 452] = 1);
    established("initiations", Malformed, &|_, v, at| {
        v.splice(at - 33..at - 32, [0xe9, 0x07]);
    });
    established("initiations, many", Malformed, &|_, v, at| drop(v.splice(at - 33..at - 32, HUGE)));
    established("an initiation twice", Malformed, &|_, v, at| {
        let digest = v[at - 32..at].to_vec();
        v[at - 33] = 2;
        v.splice(at..at, digest);
    });
}

#[test]
fn a_record_at_its_limits_is_read_back() {
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let [mut a, mut b] = pair(rng);
    for round in 0..MAX_INITIATIONS {
        let bundle = a.record.bundle().clone();
        a.record = Record::new(&a.keys, bundle, rng).unwrap();
        // Each of the last five leaves as many keys behind as a session keeps.
        let messages = if round + 5 < MAX_INITIATIONS { 1 } else { 1006 };
        for number in 0..messages {
            let sealed = a.record.encrypt(b"text", rng).unwrap();
            a.record = sealed.record;
            if number % 201 == 0 {
                let opened = b.record.decrypt(&b.keys, &sealed.header, &sealed.ciphertext, rng);
                b.record = opened.unwrap().record;
            }
        }
    }
    assert_eq!(b.record.session_count(), 1 + MAX_OLDER_SESSIONS);
    assert_eq!(b.record.sending_session().skipped_count(), MAX_SKIPPED_KEYS);
    let bytes = b.record.to_bytes();
    assert_eq!(*b.read_back().to_bytes(), *bytes);
    assert!(bytes.len() < 250_000, "{} bytes", bytes.len());
}

#[test]
fn an_idle_record_is_small() {
    let longest = saved()
        .iter()
        .filter(|saved| saved.name != "with skipped keys")
        .map(|saved| saved.bytes.len())
        .max();
    assert!(longest < Some(1024), "{longest:?}");
}
