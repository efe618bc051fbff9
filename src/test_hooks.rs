//! For the test that looks for root keys in the memory of this process; in no build that is published.

use std::sync::Mutex;

use napi::bindgen_prelude::{BufferSlice, Env, Result};
use napi_derive::napi;
use stvor_client::OsRandom;
use stvor_protocol::{
    Content, LocalKeys, Message4, Parties, PeerKeys, PeerRecord, Prekeys, StorageKey, VerifiedV4,
    parse_header_field,
};
use stvor_shield::test_hooks::{masked, noted};

use crate::error::invalid_argument;
use crate::random::with_random;

/// What is planted stays until the process ends.
static PLANTED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A root key that there is or was.
#[napi(object)]
pub struct NotedRootKey<'env> {
    /// Its bytes, each combined with 0xa5 by exclusive or.
    pub masked: BufferSlice<'env>,
    pub alive: bool,
}

/// Every root key so far.
#[napi(catch_unwind)]
pub fn noted_root_keys(env: &Env) -> Result<Vec<NotedRootKey<'_>>> {
    noted()
        .into_iter()
        .map(|key| {
            let alive = key.is_alive();
            Ok(NotedRootKey { masked: BufferSlice::copy_from(env, key.masked)?, alive })
        })
        .collect()
}

/// Puts into memory, in clear, what `bytes` are when unmasked.
#[napi(catch_unwind)]
pub fn plant(bytes: &[u8]) {
    PLANTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(masked(bytes));
}

struct User {
    name: &'static str,
    prekeys: Prekeys,
    storage_key: StorageKey,
    record: PeerRecord,
}

impl User {
    fn new(name: &'static str, now_ms: u64, random: &mut OsRandom) -> Self {
        let keys = LocalKeys::generate(random);
        Self {
            name,
            prekeys: Prekeys::new(&keys, now_ms, random),
            storage_key: StorageKey::derive(keys.identity()),
            record: PeerRecord::new(now_ms),
        }
    }

    fn keys(&self, now_ms: u64) -> Result<PeerKeys> {
        let bundle = self.prekeys.local_keys().bundle().verify().map_err(wrong)?;
        let v4 = VerifiedV4::verify(&self.prekeys.v4(self.name), &bundle, self.name, now_ms);
        Ok(PeerKeys { bundle, v4: Some(v4.map_err(wrong)?) })
    }

    /// As a store would: only the sealed record is left, and read again.
    fn save_and_load(&mut self, peer: &str, random: &mut OsRandom) -> Result<()> {
        let sealed = self.record.to_sealed(&self.storage_key, self.name, peer, random);
        let identity = self.prekeys.local_keys().identity();
        let read =
            PeerRecord::from_sealed(&self.storage_key, identity, self.name, peer, &sealed);
        self.record = read.map_err(wrong)?;
        Ok(())
    }
}

/// Two users whose records are sealed and opened again at each step.
#[napi]
pub struct RecordPair {
    users: [User; 2],
    now_ms: u64,
}

#[napi]
impl RecordPair {
    #[napi(factory, catch_unwind)]
    pub fn begin() -> Result<Self> {
        let now_ms = 1_800_000_000_000;
        with_random(|random| {
            let [mut alice, bob] = ["alice", "bob"].map(|name| User::new(name, now_ms, random));
            let parties = Parties { sender: "alice", recipient: "bob" };
            let theirs = bob.keys(now_ms)?;
            let record = &alice.record;
            let begun =
                record.begin(&alice.prekeys, parties, &theirs, None, now_ms, None, random);
            alice.record = begun.map_err(wrong)?;
            Ok(Self { users: [alice, bob], now_ms })
        })
    }

    /// A message to and fro, `rounds` times: each turns the ratchet.
    #[napi(catch_unwind)]
    pub fn exchange(&mut self, rounds: u32) -> Result<()> {
        for _ in 0..2 * rounds {
            with_random(|random| self.carry(random))?;
            self.users.reverse();
        }
        Ok(())
    }

    fn carry(&mut self, random: &mut OsRandom) -> Result<()> {
        self.now_ms += 1000;
        let ([from, to], now_ms) = (&mut self.users, self.now_ms);
        let parties = Parties { sender: from.name, recipient: to.name };
        let (queued, _) = from.record.push(Content::text("text".into()), false).map_err(wrong)?;
        let sealed = queued
            .seal(parties, now_ms, random)
            .ok_or_else(|| invalid_argument("record", "has nothing to seal"))?;
        from.record = sealed.record;
        from.save_and_load(to.name, random)?;

        let field = parse_header_field(&sealed.header)
            .map_err(wrong)?
            .ok_or_else(|| invalid_argument("header", "is not of wire 4"))?;
        let message = Message4::parse(&field.header, &field.trailer, &sealed.ciphertext);
        let message = message.map_err(wrong)?;
        let opened = to.record.open(&to.prekeys, parties, &message, now_ms, random);
        to.record = opened.map_err(wrong)?.record;
        to.save_and_load(from.name, random)
    }
}

fn wrong(error: impl std::fmt::Display) -> napi::Error {
    invalid_argument("record", error)
}
