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
        let read = PeerRecord::from_sealed(&self.storage_key, identity, self.name, peer, &sealed);
        self.record = read.map_err(wrong)?;
        Ok(())
    }
}

/// Two users who write to each other, each message turning the ratchet.
struct Couple {
    users: [User; 2],
    now_ms: u64,
}

impl Couple {
    fn new(random: &mut OsRandom) -> Result<Self> {
        let now_ms = 1_800_000_000_000;
        let [mut alice, bob] = ["alice", "bob"].map(|name| User::new(name, now_ms, random));
        let parties = Parties { sender: "alice", recipient: "bob" };
        let theirs = bob.keys(now_ms)?;
        let begun =
            alice.record.begin(&alice.prekeys, parties, &theirs, None, now_ms, None, random);
        alice.record = begun.map_err(wrong)?;
        Ok(Self { users: [alice, bob], now_ms })
    }

    fn carry(&mut self, random: &mut OsRandom) -> Result<()> {
        self.now_ms += 1000;
        let ([from, to], now_ms) = (&mut self.users, self.now_ms);
        let parties = Parties { sender: from.name, recipient: to.name };
        from.record.push(Content::text("text".into()), false).map_err(wrong)?;
        let sealed = from
            .record
            .seal(parties, now_ms, random)
            .ok_or_else(|| invalid_argument("record", "has nothing to seal"))?;

        let field = parse_header_field(&sealed.header)
            .map_err(wrong)?
            .ok_or_else(|| invalid_argument("header", "is not of wire 4"))?;
        let message = Message4::parse(&field.header, &field.trailer, &sealed.ciphertext);
        let message = message.map_err(wrong)?;
        to.record.open(&to.prekeys, parties, &message, now_ms, random).map_err(wrong)?;
        self.users.reverse();
        Ok(())
    }

    fn save_and_load(&mut self, random: &mut OsRandom) -> Result<()> {
        let [a, b] = &mut self.users;
        a.save_and_load(b.name, random)?;
        b.save_and_load(a.name, random)
    }
}

/// On threads of their own, whose stacks stay as the last step left them: messages to and fro, with both
/// records sealed for a store and read back before each one or after it.
#[napi(catch_unwind)]
pub fn exchange_on_resting_threads(rounds: u32) -> Result<()> {
    let exchange = move |random: &mut OsRandom, ends_with_load: bool| {
        let mut couple = Couple::new(random)?;
        for _ in 0..2 * rounds {
            if ends_with_load {
                couple.carry(random)?;
                couple.save_and_load(random)?;
            } else {
                couple.save_and_load(random)?;
                couple.carry(random)?;
            }
        }
        Ok(couple)
    };
    rest_after(move |random| exchange(random, true))?;
    rest_after(move |random| exchange(random, false))?;
    rest_after(Couple::new)
}

/// Runs `work` on a new thread, which then keeps its result and does nothing more.
fn rest_after<T>(work: impl FnOnce(&mut OsRandom) -> Result<T> + Send + 'static) -> Result<()> {
    let (done, result) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let kept = with_random(work);
        let _nobody_else_waits = done.send(kept.as_ref().map(drop).map_err(|e| e.reason.clone()));
        loop {
            std::thread::park();
        }
    });
    result.recv().map_err(wrong)?.map_err(wrong)
}

fn wrong(error: impl std::fmt::Display) -> napi::Error {
    invalid_argument("record", error)
}
