//! A session as JSON, in the original's form, byte for byte.
//!
//! The text holds every secret of the session in clear. Reading it back refuses rather than
//! trusts: each key is checked, each length, and that the fields make up a state that exists.
//! Zeros for a chain mean in this format that there is none; they never become a chain key.
//! Spec: docs/PROTOCOL.md, "Saved session".

mod absent;
mod binary;
mod bytes;
mod json;

use std::sync::Arc;

use zeroize::Zeroizing;

use self::absent::descends_from_zeros;
use self::bytes::is_zero;
use self::json::{Pair, PairRef, Saved, SavedRef, SkippedRef};
use super::established::Established;
use super::initiated::Initiated;
use super::pending::Pending;
use super::{Agreement, Identities, SavedSessionError, Session, State};
use crate::chain::{ReceivingChain, SendingChain};
use crate::chain_key::ChainKey;
use crate::curve;
use crate::keys::{
    IdentityKey, KeyError, RatchetKeyPair, RatchetPublicKey, SignedPrekey, SignedPrekeyPair,
};
use crate::message_key::MessageKey;
use crate::root_key::{RootKey, leaving_none};
use crate::secret::Secret;
use crate::skipped::{MAX_SKIPPED_KEYS, SkippedMessageKeys};

/// What stands for a chain that does not exist.
const NO_CHAIN: [u8; 32] = [0; 32];

impl Session {
    /// The session as the original saves it: UTF-8 JSON. Holds every secret in clear; wiped when
    /// dropped.
    ///
    /// Not in it is what allows a [forced ratchet](Self::force_ratchet) right after a receipt to
    /// take effect at once; a session read back only marks it.
    pub fn serialize(&self) -> Zeroizing<Vec<u8>> {
        self.root_key().with_bytes(|root_key| self.to_json(root_key))
    }

    fn to_json(&self, root_key: &[u8; 32]) -> Zeroizing<Vec<u8>> {
        let private = self.our_ratchet_pair().to_short_bytes();
        let mrk = PairRef { public: self.our_ratchet_key().as_bytes(), private: &private };
        let common = SavedRef {
            my_ik: self.our_identity().as_bytes(),
            peer_ik: self.their_identity().as_bytes(),
            rk: root_key,
            sck: &NO_CHAIN,
            rck: &NO_CHAIN,
            mrk,
            trpk: self.their_ratchet_key().map(|key| &key[..]),
            sc: self.send_count(),
            rc: self.receive_count(),
            psc: self.previous_send_count(),
            sk: SkippedRef(None),
            ipc: u8::from(self.is_ratchet_forced()),
            pspk: None,
            mspk: None,
        };
        match &self.state {
            State::Pending(Pending { agreement, .. }) => {
                let private = agreement.our_signed_prekey.to_short_bytes();
                let public = agreement.our_signed_prekey.public().as_bytes();
                SavedRef {
                    pspk: Some(agreement.their_signed_prekey.as_bytes()),
                    mspk: Some(PairRef { public, private: &private }),
                    ..common
                }
                .to_json()
            }
            State::Initiated(Initiated { sending, .. }) => {
                SavedRef { sck: sending.key.as_bytes(), ..common }.to_json()
            }
            State::Established(Established { sending, receiving, skipped, .. }) => SavedRef {
                sck: sending.key.as_bytes(),
                rck: receiving.key.as_bytes(),
                sk: SkippedRef(Some(skipped)),
                ..common
            }
            .to_json(),
        }
    }

    /// Reads back what [`serialize`](Self::serialize), or the original, has saved.
    ///
    /// # Errors
    ///
    /// Any [`SavedSessionError`].
    pub fn deserialize(json: &[u8]) -> Result<Self, SavedSessionError> {
        leaving_none(|| Self::from_json(json))
    }

    fn from_json(json: &[u8]) -> Result<Self, SavedSessionError> {
        let saved: Saved =
            serde_json::from_slice(json).map_err(|_| SavedSessionError::Malformed)?;
        let ours = IdentityKey::parse(&saved.my_ik).map_err(invalid("myIK"))?;
        let theirs = IdentityKey::parse(&saved.peer_ik).map_err(invalid("peerIK"))?;
        if ours == theirs || is_zero(&saved.rk) {
            return Err(SavedSessionError::State);
        }
        let identities = Arc::new(Identities { ours, theirs });
        let state = saved.state(&identities)?;
        Ok(Self { identities, state })
    }

    fn root_key(&self) -> &RootKey {
        match &self.state {
            State::Pending(pending) => &pending.agreement.root_key,
            State::Initiated(initiated) => &initiated.root_key,
            State::Established(established) => &established.root_key,
        }
    }

    fn our_ratchet_pair(&self) -> &RatchetKeyPair {
        match &self.state {
            State::Pending(pending) => &pending.ratchet_key,
            State::Initiated(initiated) => &initiated.ratchet_key,
            State::Established(established) => &established.ratchet_key,
        }
    }
}

impl Saved {
    /// Each state has its own set of fields; whatever is not exactly one of them is refused.
    fn state(self, identities: &Arc<Identities>) -> Result<State, SavedSessionError> {
        if descends_from_zeros(&self) {
            return Err(SavedSessionError::State);
        }
        let has_sending = !is_zero(&self.sck);
        let has_receiving = !is_zero(&self.rck);
        let has_prekeys = self.pspk.is_some() && self.mspk.is_some();
        let has_no_prekeys = self.pspk.is_none() && self.mspk.is_none();
        match (&self.trpk, has_sending, has_receiving) {
            (None, false, false) if has_prekeys => self.pending(identities),
            (Some(_), true, false) if has_no_prekeys => self.initiated(),
            (Some(_), true, true) if has_no_prekeys => self.established(),
            _ => Err(SavedSessionError::State),
        }
    }

    fn pending(self, identities: &Arc<Identities>) -> Result<State, SavedSessionError> {
        let unused = self.sc == 0 && self.rc == 0 && self.psc == 0 && self.sk.is_empty();
        let (Some(pspk), Some(mspk), true) = (&self.pspk, &self.mspk, unused) else {
            return Err(SavedSessionError::State);
        };
        let our_signed_prekey =
            SignedPrekeyPair::from_halves(&mspk.public, &*mspk.private).map_err(invalid("mspk"))?;
        let their_signed_prekey = SignedPrekey::parse(pspk).map_err(invalid("pspk"))?;
        if *our_signed_prekey.public() == their_signed_prekey {
            return Err(SavedSessionError::State);
        }
        Ok(State::Pending(Pending {
            agreement: Arc::new(Agreement {
                identities: identities.clone(),
                root_key: RootKey::new(&self.rk),
                our_signed_prekey,
                their_signed_prekey,
            }),
            ratchet_key: self.mrk.ratchet_key()?,
            post_compromise: self.ipc,
        }))
    }

    fn initiated(self) -> Result<State, SavedSessionError> {
        let begun = self.sc > 0 && self.rc == 0 && self.psc == 0 && self.sk.is_empty();
        let (Some(trpk), true) = (&self.trpk, begun) else {
            return Err(SavedSessionError::State);
        };
        Ok(State::Initiated(Initiated {
            root_key: RootKey::new(&self.rk),
            ratchet_key: self.mrk.ratchet_key()?,
            their_signed_prekey: SignedPrekey::parse(trpk).map_err(invalid("trpk"))?,
            sending: SendingChain { key: chain_key(&self.sck), counter: self.sc },
            post_compromise: self.ipc,
        }))
    }

    fn established(self) -> Result<State, SavedSessionError> {
        let (Some(trpk), true) = (&self.trpk, self.rc > 0) else {
            return Err(SavedSessionError::State);
        };
        let their_ratchet_key = RatchetPublicKey::parse(trpk).map_err(invalid("trpk"))?;
        Ok(State::Established(Established {
            root_key: RootKey::new(&self.rk),
            ratchet_key: self.mrk.ratchet_key()?,
            sending: SendingChain { key: chain_key(&self.sck), counter: self.sc },
            receiving: ReceivingChain { key: chain_key(&self.rck), counter: self.rc },
            previous_chain_length: self.psc,
            skipped: self.skipped(&their_ratchet_key)?,
            their_ratchet_key,
            renewable: None,
            post_compromise: self.ipc,
        }))
    }

    fn skipped(&self, current: &RatchetPublicKey) -> Result<SkippedMessageKeys, SavedSessionError> {
        if self.sk.len() > MAX_SKIPPED_KEYS {
            return Err(SavedSessionError::TooManySkippedKeys);
        }
        let mut skipped = SkippedMessageKeys::default();
        for group in self.sk.chunk_by(|a, b| a.ratchet_key == b.ratchet_key) {
            let chain = group[0].ratchet_key;
            curve::PublicKey::parse(&chain).ok_or(SavedSessionError::Key { field: "sk" })?;
            let ascending = group.is_sorted_by(|a, b| a.counter < b.counter);
            let in_chain =
                chain != *current.as_bytes() || group.iter().all(|entry| entry.counter < self.rc);
            if skipped.holds_chain(&chain) || !ascending || !in_chain {
                return Err(SavedSessionError::State);
            }
            let keys = group.iter().map(|entry| {
                (entry.counter, MessageKey::new(Secret::copied_from(&entry.message_key)))
            });
            skipped.add(&chain, keys.collect());
        }
        Ok(skipped)
    }
}

impl Pair {
    fn ratchet_key(&self) -> Result<RatchetKeyPair, SavedSessionError> {
        RatchetKeyPair::from_halves(&self.public, &*self.private).map_err(invalid("mrk"))
    }
}

/// Only called for bytes that are not zeros.
fn chain_key(bytes: &[u8; 32]) -> ChainKey {
    ChainKey::new(Secret::copied_from(bytes))
}

fn invalid(field: &'static str) -> impl FnOnce(KeyError) -> SavedSessionError {
    move |_| SavedSessionError::Key { field }
}
