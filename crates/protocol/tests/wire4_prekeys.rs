//! Our prekeys: when they are replaced, what is kept, and what is saved of them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;

use stvor_protocol::{
    IdentityKeyPair, KeyError, LocalKeys, MAX_ONE_TIME_PREKEYS, OneTimePrekey, Prekeys,
    SavedRecordError,
};
use support::wire4::{DAY, START, World};

const WEEK: u64 = 7 * DAY;

#[test]
fn keys_are_replaced_weekly_and_kept_for_thirty_days() {
    let mut world = World::new(1);
    let mut prekeys = world.prekeys();
    assert_eq!(prekeys.next_rotation_ms(), START + WEEK);
    assert!(prekeys.rotated(START + WEEK - 1, &mut world.rng).is_none());
    for week in 1..=4 {
        prekeys = prekeys.rotated(START + week * WEEK, &mut world.rng).unwrap();
        assert_eq!(prekeys.older_local_keys().count(), week as usize);
    }
    // The first were replaced after a week; they go before the next are due.
    let last = START + 4 * WEEK;
    assert_eq!(prekeys.next_rotation_ms(), last + WEEK);
    prekeys = prekeys.rotated(last + WEEK, &mut world.rng).unwrap();
    assert_eq!(prekeys.older_local_keys().count(), 5);
    let expiry = START + WEEK + 30 * DAY;
    assert_eq!(prekeys.next_rotation_ms(), expiry);
    assert!(prekeys.rotated(expiry - 1, &mut world.rng).is_none());
    let current = *prekeys.local_keys().signed_prekey().public().as_bytes();
    prekeys = prekeys.rotated(expiry, &mut world.rng).unwrap();
    assert_eq!(prekeys.older_local_keys().count(), 4);
    assert_eq!(*prekeys.local_keys().signed_prekey().public().as_bytes(), current);
    // A user who was away for a year comes back with one old set.
    prekeys = prekeys.rotated(START + 365 * DAY, &mut world.rng).unwrap();
    assert_eq!(prekeys.older_local_keys().count(), 1);
}

#[test]
fn a_clock_that_is_set_wrong_makes_no_more_keys_than_a_right_one() {
    let mut world = World::new(2);
    let mut prekeys = world.prekeys();
    for n in 0..30 {
        let now = if n % 2 == 0 { START - DAY } else { START + 30 * DAY };
        prekeys = prekeys.rotated(now, &mut world.rng).unwrap();
    }
    assert_eq!(prekeys.older_local_keys().count(), 10);
    assert!(prekeys.rotated(START + 30 * DAY, &mut world.rng).is_none());
}

#[test]
fn one_time_prekeys_have_ids_that_do_not_come_again() {
    let mut world = World::new(3);
    let (prekeys, first) = world.prekeys().with_one_time(100, &mut world.rng);
    let prekeys = first.iter().fold(prekeys, |prekeys, key| prekeys.without_one_time(key.id()));
    assert_eq!(prekeys.one_time_count(), 0);
    let (prekeys, second) = prekeys.with_one_time(100, &mut world.rng);
    let ids: BTreeSet<u32> = first.iter().chain(&second).map(OneTimePrekey::id).collect();
    assert_eq!(ids.len(), 200);
    assert!(!ids.contains(&0));
    let keys: BTreeSet<_> = first.iter().chain(&second).map(|key| *key.as_bytes()).collect();
    assert_eq!(keys.len(), 200);
    assert_eq!(prekeys.without_one_time(first[0].id()).one_time_count(), 100);

    let (prekeys, _) = prekeys.with_one_time(MAX_ONE_TIME_PREKEYS, &mut world.rng);
    assert_eq!(prekeys.one_time_count(), MAX_ONE_TIME_PREKEYS);
    assert_eq!(prekeys.without_one_time(second[0].id()).one_time_count(), MAX_ONE_TIME_PREKEYS);
}

/// Whoever has lost their record gives no ids again that a relay still hands out.
#[test]
fn one_time_prekeys_of_a_new_record_have_other_ids_than_those_of_the_one_before() {
    let mut world = World::new(3);
    let keys = LocalKeys::generate(&mut world.rng);
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let record = Prekeys::new(&keys, world.now, &mut world.rng);
        let (_, published) = record.with_one_time(100, &mut world.rng);
        let ids: Vec<u32> = published.iter().map(OneTimePrekey::id).collect();
        assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "in the order of making");
        assert!(ids[0] > 0 && ids[0] < 1 << 31, "far from their end");
        assert!(ids.into_iter().all(|id| seen.insert(id)), "an id came again");
    }
}

#[test]
fn a_one_time_prekey_is_a_point_with_an_id() {
    let mut world = World::new(4);
    let (_, published) = world.prekeys().with_one_time(1, &mut world.rng);
    let key = published[0].as_bytes();
    assert_eq!(OneTimePrekey::parse(7, key).unwrap().id(), 7);
    assert_eq!(OneTimePrekey::parse(0, key).err(), Some(KeyError::Public));
    assert_eq!(OneTimePrekey::parse(7, &key[1..]).err(), Some(KeyError::Public));
    let mut off_the_curve = *key;
    off_the_curve[64] ^= 1;
    assert_eq!(OneTimePrekey::parse(7, &off_the_curve).err(), Some(KeyError::Public));
}

/// Everything that goes on from saved prekeys goes on alike.
#[test]
fn saved_prekeys_are_read_back() {
    let mut world = World::new(5);
    let (alice, mut bob) = world.sides();
    let (prekeys, published) = bob.prekeys.with_one_time(5, &mut world.rng);
    bob.prekeys = prekeys;
    let mut firsts = Vec::new();
    for one_time in [None, Some(&published[2])] {
        let mut alice = alice.clone();
        world.begin(&mut alice, &bob, one_time);
        firsts.push(world.seal(&mut alice, b"first"));
    }
    world.now += WEEK;
    bob.prekeys = bob.prekeys.rotated(world.now, &mut world.rng).unwrap();
    let mut alice = alice;
    world.begin(&mut alice, &bob, Some(&published[0]));
    firsts.push(world.seal(&mut alice, b"first"));

    let saved = bob.prekeys.to_bytes();
    let identity = bob.prekeys.local_keys().identity().clone();
    let read = Prekeys::from_bytes(&identity, &saved).unwrap();
    assert_eq!(*read.to_bytes(), *saved);
    assert_eq!(read.next_rotation_ms(), bob.prekeys.next_rotation_ms());
    assert_eq!(read.one_time_count(), 5);
    bob.prekeys = read;
    assert_eq!(
        bob.published(world.now).bundle().signed_prekey(),
        bob.prekeys.local_keys().signed_prekey().public()
    );
    for first in &firsts {
        assert_eq!(world.try_open(&bob, first).unwrap().payload.as_slice(), b"first");
    }
}

#[test]
fn what_are_not_our_saved_prekeys_is_refused() {
    let mut world = World::new(6);
    let (prekeys, _) = world.prekeys().with_one_time(2, &mut world.rng);
    let prekeys = prekeys.rotated(START + WEEK, &mut world.rng).unwrap();
    let identity = prekeys.local_keys().identity();
    let saved = prekeys.to_bytes();
    let read = |bytes: &[u8]| Prekeys::from_bytes(identity, bytes).err();
    assert_eq!(read(&saved), None);
    for length in 0..saved.len() {
        assert_eq!(read(&saved[..length]), Some(SavedRecordError::Malformed), "{length} bytes");
    }
    assert_eq!(read(&[&saved[..], &[0]].concat()), Some(SavedRecordError::Malformed));
    assert_eq!(read(&[&[2], &saved[1..]].concat()), Some(SavedRecordError::Version { version: 2 }));
    let other = IdentityKeyPair::generate(&mut world.rng);
    assert_eq!(
        Prekeys::from_bytes(&other, &saved).err(),
        Some(SavedRecordError::Key { field: "SPK signature" })
    );
    let zero_scalar = [&saved[..13], &[0; 32], &saved[45..]].concat();
    assert_eq!(read(&zero_scalar), Some(SavedRecordError::Key { field: "SPK" }));
    // Twice the same one-time prekey: the last two entries have 36 bytes each.
    let (rest, last) = saved.split_at(saved.len() - 36);
    let twice = [&rest[..rest.len() - 36], last, last].concat();
    assert_eq!(read(&twice), Some(SavedRecordError::State));
}
