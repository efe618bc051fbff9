//! What the tests share: recorded randomness, hex, and the vectors' key pairs.
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses a part; a test fails by panicking"
)]

pub(crate) mod conversation;
pub(crate) mod wire4;

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use serde::{Deserialize, Deserializer};
use stvor_protocol::{IdentityKeyPair, LocalKeys, SignedPrekeyPair};

/// Yields recorded bytes in order, and panics when a step draws more or leaves some over.
pub(crate) struct Recorded(Vec<u8>);

impl Recorded {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn nothing() -> Self {
        Self::new(&[])
    }

    /// A private key as it would have been drawn: 32 bytes.
    pub(crate) fn key(pair: &Pair) -> Self {
        let mut scalar = vec![0; 32 - pair.private_key.0.len()];
        scalar.extend_from_slice(&pair.private_key.0);
        Self(scalar)
    }

    pub(crate) fn assert_used_up(&self) {
        assert!(self.0.is_empty(), "{} recorded bytes were not drawn", self.0.len());
    }
}

impl TryRng for Recorded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        assert!(out.len() <= self.0.len(), "a step drew more than was recorded");
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Recorded {}

/// Bytes that stand as hex in the vectors.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl std::ops::Deref for Hex {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pair {
    pub(crate) public_key: Hex,
    pub(crate) private_key: Hex,
}

impl Pair {
    pub(crate) fn identity(&self) -> IdentityKeyPair {
        IdentityKeyPair::from_halves(&self.public_key, &self.private_key).unwrap()
    }

    pub(crate) fn signed_prekey(&self) -> SignedPrekeyPair {
        SignedPrekeyPair::from_halves(&self.public_key, &self.private_key).unwrap()
    }
}

/// The long-term keys of one side.
pub(crate) fn local_keys(identity: &Pair, signed_prekey: &Pair, signature: &[u8]) -> LocalKeys {
    let (identity, signed_prekey) = (identity.identity(), signed_prekey.signed_prekey());
    LocalKeys::from_parts(identity, signed_prekey, signature.to_vec()).unwrap()
}
