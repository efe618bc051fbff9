//! One-time prekeys: each begins one session and is deleted in the step that commits it.
//!
//! Spec: X3DH, section 2.4 (`OPK`); docs/PROTOCOL.md, "Prekeys".

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rand_core::CryptoRng;

use crate::codec::{Reader, Write};
use crate::curve::{self, POINT_LENGTH};
use crate::keys::KeyError;
use crate::secret::Secret;
use crate::session::SavedRecordError;

/// How many private one-time prekeys are kept, the oldest dropped first. Ten times what is
/// published at once: some are handed out and never used, and we do not learn which.
pub const MAX_ONE_TIME_PREKEYS: usize = 1000;

/// Ids begin below this at random: a user who has lost their record must not give the ids of prekeys
/// that a relay still hands out. From there they count up without meeting their end.
const FIRST_IDS: u32 = 1 << 31;

/// The public half of a one-time prekey `OPK`.
#[derive(Clone)]
pub struct OneTimePrekey {
    id: u32,
    key: curve::PublicKey,
}

impl OneTimePrekey {
    /// Reads what a relay has handed out: `key` is 65 bytes, `id` not 0.
    ///
    /// # Errors
    ///
    /// [`KeyError::Public`]
    pub fn parse(id: u32, key: &[u8]) -> Result<Self, KeyError> {
        let key = curve::PublicKey::parse(key).filter(|_| id != 0).ok_or(KeyError::Public)?;
        Ok(Self { id, key })
    }

    /// The id, which its owner knows it by.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The 65 bytes, `04 || x || y`.
    pub fn as_bytes(&self) -> &[u8; POINT_LENGTH] {
        self.key.as_bytes()
    }

    pub(super) fn point(&self) -> &curve::PublicKey {
        &self.key
    }
}

impl fmt::Debug for OneTimePrekey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, key: _ } = self;
        f.debug_struct("OneTimePrekey").field("id", id).finish_non_exhaustive()
    }
}

/// Our own, by id. Scalars only: a handle is made for the one that is used. Clones share them.
#[derive(Clone)]
pub(super) struct OneTimePrekeys {
    next_id: u32,
    scalars: Arc<BTreeMap<u32, Secret<32>>>,
}

impl OneTimePrekeys {
    /// None yet. Draws 4 bytes from `rng`: the first id, below [`FIRST_IDS`].
    pub(super) fn none(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut drawn = [0; 4];
        rng.fill_bytes(&mut drawn);
        let next_id = (u32::from_be_bytes(drawn) % FIRST_IDS).max(1);
        Self { next_id, scalars: Arc::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.scalars.len()
    }

    pub(super) fn get(&self, id: u32) -> Option<(curve::PrivateKey, curve::PublicKey)> {
        curve::PrivateKey::from_scalar(self.scalars.get(&id)?.as_bytes())
    }

    pub(super) fn without(&self, id: u32) -> Self {
        let mut next = self.clone();
        if next.scalars.contains_key(&id) {
            Arc::make_mut(&mut next.scalars).remove(&id);
        }
        next
    }

    /// Draws 32 bytes from `rng` for each.
    pub(super) fn with_new(
        &self,
        count: usize,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> (Self, Vec<OneTimePrekey>) {
        let mut next = self.clone();
        let scalars = Arc::make_mut(&mut next.scalars);
        let mut published = Vec::with_capacity(count);
        for _ in 0..count {
            let (private, key) = curve::PrivateKey::generate(rng);
            let id = next.next_id;
            next.next_id = id.checked_add(1).unwrap_or(1);
            scalars.insert(id, Secret::copied_from(&private.to_scalar()));
            published.push(OneTimePrekey { id, key });
        }
        while scalars.len() > MAX_ONE_TIME_PREKEYS {
            scalars.pop_first();
        }
        (next, published)
    }

    pub(super) fn write(&self, out: &mut impl Write) {
        out.put_u32(self.next_id);
        out.put_varint(self.scalars.len() as u64);
        for (id, scalar) in &*self.scalars {
            out.put_u32(*id);
            out.put(scalar.as_bytes());
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        let (next_id, count) = (reader.u32()?, reader.length()?);
        if next_id == 0 || count > MAX_ONE_TIME_PREKEYS {
            return Err(SavedRecordError::State);
        }
        let mut scalars = BTreeMap::new();
        for _ in 0..count {
            let (id, scalar) = (reader.u32()?, Secret::copied_from(reader.array()?));
            let follows = scalars.last_key_value().is_none_or(|(last, _)| *last < id);
            if id == 0 || !follows {
                return Err(SavedRecordError::State);
            }
            scalars.insert(id, scalar);
        }
        Ok(Self { next_id, scalars: Arc::new(scalars) })
    }
}
