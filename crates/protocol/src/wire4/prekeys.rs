//! Our prekeys: the signed prekey and the ML-KEM key, those they replaced, the one-time prekeys.
//!
//! One set per user, a record of its own. A step returns the next set; the caller stores it in
//! place of the old one, in the same write as the session that made the step necessary.
//! Spec: docs/PROTOCOL.md, "Prekeys".

use std::fmt;
use std::sync::{Arc, OnceLock};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::blob::Blob;
use super::handshake::{MAX_SIGNATURE_LENGTH, PrekeyIds};
use super::one_time::OneTimePrekeys;
use super::saved::read_version;
use super::{DAY_MS, MAX_CLOCK_SKEW_MS, OneTimePrekey};
use crate::codec::{Reader, Write};
use crate::curve;
use crate::kem;
use crate::keys::{IdentityKeyPair, LocalKeys, SignedPrekeyPair};
use crate::secret::Secret;
use crate::session::SavedRecordError;

/// How long a signed prekey and its ML-KEM key are the ones to begin with: a week. A key that is
/// stolen opens the beginnings of a week.
const ROTATION_MS: u64 = 7 * DAY_MS;

/// How long they are kept after that: 30 days, for messages that wait in a mailbox as long.
const KEPT_MS: u64 = 30 * DAY_MS;

/// How long a bundle may be begun with: a user who was away for up to 90 days can be written to.
/// Of one who was not, the keys of an old bundle are gone before; the handshake is then made anew.
const VALID_MS: u64 = 90 * DAY_MS;

/// How many replaced sets are kept at most: those of 30 days, and as many for clocks set wrong.
const MAX_REPLACED: usize = 10;

const SAVED_VERSION: u8 = 1;

/// Our prekeys. Clones share them.
#[derive(Clone)]
pub struct Prekeys {
    current: Arc<KeySet>,
    /// Most recently replaced first.
    replaced: Arc<Vec<Replaced>>,
    one_time: OneTimePrekeys,
}

/// A signed prekey and an ML-KEM key of the same age; both go by one id.
pub(super) struct KeySet {
    id: u32,
    created_ms: u64,
    pub(super) local: LocalKeys,
    pub(super) kem: kem::KeyPair,
    /// The signed blob, once it has been asked for, and the user that it names.
    blob: OnceLock<(String, Vec<u8>)>,
}

#[derive(Clone)]
struct Replaced {
    set: Arc<KeySet>,
    at_ms: u64,
}

impl Prekeys {
    /// The first set: the signed prekey of `keys` and a new ML-KEM key, both with id 1. Draws 68
    /// bytes from `rng`.
    pub fn new(keys: &LocalKeys, now_ms: u64, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self {
            current: Arc::new(KeySet::new(1, keys.clone(), now_ms, rng)),
            replaced: Arc::default(),
            one_time: OneTimePrekeys::none(rng),
        }
    }

    /// Our identity with the current signed prekey, for both wires.
    pub fn local_keys(&self) -> &LocalKeys {
        &self.current.local
    }

    /// Our identity with each signed prekey that was replaced and is still kept, newest first.
    pub fn older_local_keys(&self) -> impl Iterator<Item = &LocalKeys> {
        self.replaced.iter().map(|replaced| &replaced.set.local)
    }

    /// The `v4` field of our bundle, before base64url. `user` is our user id, at most 256 bytes.
    /// Signs once; the bytes stay the same until the keys are replaced or loaded.
    pub fn v4(&self, user: &str) -> Vec<u8> {
        let set = &*self.current;
        let (named, blob) = set.blob.get_or_init(|| (user.to_owned(), set.sign_blob(user)));
        if named == user { blob.clone() } else { set.sign_blob(user) }
    }

    /// When [`rotated`](Self::rotated) has something to do, milliseconds since the Unix epoch.
    pub fn next_rotation_ms(&self) -> u64 {
        let expiry = self.replaced.iter().map(Replaced::expires_ms).min();
        self.current.created_ms.saturating_add(ROTATION_MS).min(expiry.unwrap_or(u64::MAX))
    }

    /// New keys, if the current ones are a week old, without those replaced 30 days ago. `None`
    /// when nothing is due. Draws 96 bytes from `rng` for new keys.
    ///
    /// A clock that was set back past the creation of the keys makes new ones too: their age is
    /// not known then.
    pub fn rotated(&self, now_ms: u64, rng: &mut (impl CryptoRng + ?Sized)) -> Option<Self> {
        let created_ms = self.current.created_ms;
        let is_due = now_ms >= created_ms.saturating_add(ROTATION_MS)
            || now_ms.saturating_add(MAX_CLOCK_SKEW_MS) < created_ms;
        let is_kept = |replaced: &&Replaced| now_ms < replaced.expires_ms();
        let mut replaced: Vec<_> = self.replaced.iter().filter(is_kept).cloned().collect();
        if !is_due {
            let drops = replaced.len() < self.replaced.len();
            return drops.then(|| Self { replaced: Arc::new(replaced), ..self.clone() });
        }
        replaced.insert(0, Replaced { set: self.current.clone(), at_ms: now_ms });
        replaced.truncate(MAX_REPLACED);
        let id = self.current.id.checked_add(1).unwrap_or(1);
        let local = self.current.local.rotated(rng);
        Some(Self {
            current: Arc::new(KeySet::new(id, local, now_ms, rng)),
            replaced: Arc::new(replaced),
            one_time: self.one_time.clone(),
        })
    }

    /// Whether others are shown the same keys as by `other`, which belongs to the same user.
    pub fn shows_the_same_as(&self, other: &Self) -> bool {
        self.current.id == other.current.id
    }

    /// `count` new one-time prekeys, and their public halves to be published. Draws 32 bytes from
    /// `rng` for each.
    pub fn with_one_time(
        &self,
        count: usize,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> (Self, Vec<OneTimePrekey>) {
        let (one_time, published) = self.one_time.with_new(count, rng);
        (Self { one_time, ..self.clone() }, published)
    }

    /// How many one-time prekeys are kept, published or handed out.
    pub fn one_time_count(&self) -> usize {
        self.one_time.len()
    }

    /// Without the one that began a session. Without effect if it is gone.
    #[must_use = "the prekeys themselves are unchanged"]
    pub fn without_one_time(&self, id: u32) -> Self {
        Self { one_time: self.one_time.without(id), ..self.clone() }
    }

    pub(super) fn one_time(&self, id: u32) -> Option<(curve::PrivateKey, curve::PublicKey)> {
        self.one_time.get(id)
    }

    /// The set that a handshake names: one that is kept, both ids of the same.
    pub(super) fn set(&self, ids: PrekeyIds, now_ms: u64) -> Option<&KeySet> {
        let kept = self.replaced.iter().filter(|replaced| now_ms < replaced.expires_ms());
        std::iter::once(&self.current)
            .chain(kept.map(|replaced| &replaced.set))
            .find(|set| set.id == ids.signed_prekey && set.id == ids.kem)
            .map(|set| &**set)
    }

    /// The prekeys as they are saved, in clear; wiped when dropped. The identity key is not in it.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let sets = 1 + self.replaced.len();
        // Enough, so that no half-written copy is left behind.
        let capacity = 32 + sets * 200 + self.one_time.len() * 36;
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));
        out.put_u8(SAVED_VERSION);
        self.current.write(&mut out);
        out.put_u8(self.replaced.len() as u8);
        for replaced in &*self.replaced {
            out.put_u64(replaced.at_ms);
            replaced.set.write(&mut out);
        }
        self.one_time.write(&mut out);
        out
    }

    /// Reads back what [`to_bytes`](Self::to_bytes) has saved. `identity` is the key pair that
    /// they were made with. Checks every signature.
    ///
    /// # Errors
    ///
    /// Any [`SavedRecordError`].
    pub fn from_bytes(identity: &IdentityKeyPair, bytes: &[u8]) -> Result<Self, SavedRecordError> {
        let mut reader = Reader::new(bytes);
        read_version(&mut reader, SAVED_VERSION)?;
        let current = Arc::new(KeySet::read(identity, &mut reader)?);
        let count = usize::from(reader.u8()?);
        if count > MAX_REPLACED {
            return Err(SavedRecordError::State);
        }
        let mut replaced = Vec::with_capacity(count);
        for _ in 0..count {
            let at_ms = reader.u64()?;
            let set = Arc::new(KeySet::read(identity, &mut reader)?);
            replaced.push(Replaced { set, at_ms });
        }
        let one_time = OneTimePrekeys::read(&mut reader)?;
        reader.end()?;
        Ok(Self { current, replaced: Arc::new(replaced), one_time })
    }
}

impl Replaced {
    fn expires_ms(&self) -> u64 {
        self.at_ms.saturating_add(KEPT_MS)
    }
}

impl KeySet {
    fn new(
        id: u32,
        local: LocalKeys,
        created_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Self {
        Self { id, created_ms, local, kem: kem::KeyPair::generate(rng), blob: OnceLock::new() }
    }

    fn sign_blob(&self, user: &str) -> Vec<u8> {
        let blob = Blob {
            user,
            signed_prekey_id: self.id,
            signed_prekey: self.local.signed_prekey().public(),
            kem_id: self.id,
            kem_key: self.kem.public_bytes(),
            valid_from_ms: self.created_ms,
            valid_until_ms: self.created_ms.saturating_add(VALID_MS),
        };
        blob.sign(self.local.identity())
    }

    fn write(&self, out: &mut impl Write) {
        out.put_u32(self.id);
        out.put_u64(self.created_ms);
        out.put(&*self.local.signed_prekey().to_bytes());
        out.put_field(self.local.signature());
        out.put(self.kem.seed());
    }

    fn read(identity: &IdentityKeyPair, reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        let (id, created_ms) = (reader.u32()?, reader.u64()?);
        let signed_prekey = SignedPrekeyPair::from_bytes(reader.array::<32>()?)
            .map_err(|_| SavedRecordError::Key { field: "SPK" })?;
        let signature = reader.field()?;
        if signature.len() > MAX_SIGNATURE_LENGTH {
            return Err(SavedRecordError::Malformed);
        }
        let local = LocalKeys::from_parts(identity.clone(), signed_prekey, signature.to_vec())
            .map_err(|_| SavedRecordError::Key { field: "SPK signature" })?;
        let kem = kem::KeyPair::from_seed(Secret::copied_from(reader.array()?));
        Ok(Self { id, created_ms, local, kem, blob: OnceLock::new() })
    }
}

impl fmt::Debug for Prekeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { current, replaced, one_time } = self;
        f.debug_struct("Prekeys")
            .field("id", &current.id)
            .field("replaced", &replaced.len())
            .field("one_time", &one_time.len())
            .finish_non_exhaustive()
    }
}
