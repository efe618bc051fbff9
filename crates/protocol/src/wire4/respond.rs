//! The peer begins a session.
//!
//! Spec: X3DH, section 3.4; PQXDH, section 3.3; docs/PROTOCOL.md, "Handshake".

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::handshake::Handshake;
use super::message::Message4;
use super::prekeys::KeySet;
use super::rank::Rank;
use super::schedule::{Secrets, Transcript, root_key};
use super::session::{RankedSession, Ratchet, refused};
use super::{Decrypt4Error, MAX_CLOCK_SKEW_MS, Parties, Prekeys, Sessions};
use crate::curve;
use crate::keys::{RatchetPublicKey, SignedPrekey};
use crate::root_key::RootKey;
use crate::session::Turn;
use crate::x3dh::x3dh_symmetric;

/// A one-time prekey of ours, both halves.
type OneTimePair = (curve::PrivateKey, curve::PublicKey);

/// A session that the peer has begun, and what its first message brought.
pub(super) struct Begun {
    pub(super) session: RankedSession,
    pub(super) payload: Zeroizing<Vec<u8>>,
    /// The one-time prekey that it has used up.
    pub(super) one_time: Option<u32>,
}

impl Sessions {
    /// Opens a message of a session that we do not hold.
    pub(super) fn respond(
        &self,
        ours: &Prekeys,
        parties: Parties<'_>,
        message: &Message4<'_>,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Begun, Decrypt4Error> {
        let Some(handshake) = &message.trailer.handshake else {
            return Err(self.not_held(message));
        };
        let rank = message.trailer.rank;
        if rank.begun_ms > now_ms.saturating_add(MAX_CLOCK_SKEW_MS) {
            return Err(Decrypt4Error::FutureTimestamp); // it would outrank all others for too long
        }
        self.check(ours, parties, message, handshake)?;

        let set = ours.set(handshake.ids, now_ms).ok_or(Decrypt4Error::UnknownPrekey)?;
        let one_time = match handshake.ids.one_time {
            0 => None,
            id => Some((id, ours.one_time(id).ok_or(Decrypt4Error::UnknownPrekey)?)),
        };
        let key_pair = one_time.as_ref().map(|(_, pair)| pair);
        let root_key = self.agree(set, key_pair, parties, message, handshake)?;
        let turn = Turn {
            root_key: &root_key,
            ratchet_key: &set.local.signed_prekey().as_ratchet_key(),
            sent: 0,
            ending: None,
        };
        let ad = message.associated_data(parties);
        let (state, payload, _) = turn.open(&message.for_ratchet(&ad), rng).map_err(refused)?;
        let session = RankedSession {
            rank,
            is_ours: false,
            newest_ms: message.timestamp_ms(),
            ratchet: Ratchet::Established(state),
        };
        Ok(Begun { session, payload, one_time: one_time.map(|(id, _)| id) })
    }

    /// Whether a session of theirs began here once and was dropped, or is older than one that was.
    fn is_retired(&self, rank: Rank) -> bool {
        self.retired.is_some_and(|retired| rank <= retired)
    }

    /// What can be said of a handshake before it costs anything.
    fn check(
        &self,
        ours: &Prekeys,
        parties: Parties<'_>,
        message: &Message4<'_>,
        handshake: &Handshake<'_>,
    ) -> Result<(), Decrypt4Error> {
        let our_identity = ours.local_keys().identity_key();
        let their_identity = self.their_identity();
        if *handshake.identity != their_identity.point().to_compressed()
            || their_identity == our_identity
        {
            return Err(Decrypt4Error::IdentityMismatch);
        }
        if !message.is_begun_with(parties, our_identity) {
            return Err(Decrypt4Error::Authentication);
        }
        if self.is_retired(message.trailer.rank) { Err(self.not_held(message)) } else { Ok(()) }
    }

    /// What to think of a message of a session that was dropped, or never was: late, unless it
    /// claims to be newer than all others. Then its sender may be back with an old state, or we
    /// may have lost something.
    fn not_held(&self, message: &Message4<'_>) -> Decrypt4Error {
        match message.timestamp_ms() <= self.newest_ms() {
            true => Decrypt4Error::Replay,
            false => Decrypt4Error::UnknownSession,
        }
    }

    /// The first root key, from the handshake and our keys that it names.
    fn agree(
        &self,
        set: &KeySet,
        one_time: Option<&OneTimePair>,
        parties: Parties<'_>,
        message: &Message4<'_>,
        handshake: &Handshake<'_>,
    ) -> Result<RootKey, Decrypt4Error> {
        let keys = &set.local;
        let their_identity = &self.their_identity().at_rest(); // its handle goes with this step
        let their_signed_prekey: SignedPrekey =
            curve::PublicKey::parse_compressed(handshake.signed_prekey)
                .ok_or(Decrypt4Error::Malformed)?
                .into();
        if their_signed_prekey == *keys.signed_prekey().public()
            || !their_identity.verify(their_signed_prekey.as_bytes(), handshake.signature)
        {
            return Err(Decrypt4Error::Authentication);
        }
        let ephemeral = RatchetPublicKey::parse(&message.header.ratchet_key)
            .map_err(|_| Decrypt4Error::Malformed)?;
        let secrets = Secrets {
            x3dh: x3dh_symmetric(
                keys.identity(),
                keys.signed_prekey(),
                their_identity,
                &their_signed_prekey,
            ),
            with_identity: keys.identity().agree(ephemeral.point()),
            with_one_time: one_time.map(|(private, _)| private.agree(ephemeral.point())),
            kem: set.kem.decapsulate(handshake.ciphertext),
        };
        let transcript = Transcript {
            begun_ms: message.begun_ms(),
            parties,
            identity: keys.identity_key(),
            signed_prekey: keys.signed_prekey().public(),
            kem_key: set.kem.public_bytes(),
            one_time: one_time.map(|(_, public)| public.as_bytes()),
            ephemeral: ephemeral.as_bytes(),
            handshake: handshake.bytes,
        };
        Ok(root_key(&transcript, &secrets))
    }
}
