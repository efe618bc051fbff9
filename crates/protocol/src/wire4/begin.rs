//! We begin a session.
//!
//! Spec: X3DH, section 3.3; PQXDH, section 3.2; docs/PROTOCOL.md, "Handshake".

use std::sync::Arc;

use rand_core::CryptoRng;

use super::blob::VerifiedV4;
use super::handshake::{Handshake, PrekeyIds};
use super::rank::Rank;
use super::schedule::{Secrets, Transcript, root_key, session_id};
use super::session::{RankedSession, Ratchet};
use super::{MAX_CLOCK_SKEW_MS, OneTimePrekey, Parties, Prekeys, Sessions};
use crate::chain::SendingChain;
use crate::keys::RatchetKeyPair;
use crate::session::{EstablishError, Initiated};
use crate::x3dh::x3dh_symmetric;

impl Sessions {
    /// Begins a session, which is sent on from now on: every message brings its handshake until
    /// the peer has answered. `parties` are us and the peer; `one_time` is a one-time prekey of
    /// theirs, if there is one, used for nothing else. `after_ms` is the
    /// [beginning](crate::Message4::begun_ms) of the session of a message that could not be
    /// opened, if that is why: the new session has to stand above it.
    ///
    /// Draws 32 bytes from `rng`, and another 32 where aws-lc is not the backend. Costs six
    /// agreements, a key generation and an encapsulation.
    ///
    /// # Errors
    ///
    /// [`EstablishError::IdentityChanged`]: `theirs` is another identity's.
    /// [`EstablishError::OwnKeys`], [`EstablishError::BundleExpired`].
    #[expect(clippy::too_many_arguments, reason = "two sides, two names, a time, two options")]
    pub fn begin(
        &self,
        ours: &Prekeys,
        parties: Parties<'_>,
        theirs: &VerifiedV4,
        one_time: Option<&OneTimePrekey>,
        now_ms: u64,
        after_ms: Option<u64>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, EstablishError> {
        let keys = ours.local_keys();
        let their_identity = theirs.identity_key();
        let their_signed_prekey = theirs.bundle().signed_prekey();
        if their_identity != self.their_identity() {
            return Err(EstablishError::IdentityChanged);
        }
        if their_identity == keys.identity_key()
            || their_signed_prekey == keys.signed_prekey().public()
        {
            return Err(EstablishError::OwnKeys);
        }
        if theirs.has_expired(now_ms) {
            return Err(EstablishError::BundleExpired);
        }

        let ephemeral = RatchetKeyPair::generate(rng);
        let (ciphertext, kem) = theirs.kem_key().encapsulate(rng);
        let held = self.without_impossible(now_ms);
        let begun_ms = held.next_begun_ms(now_ms, after_ms);
        let handshake = Handshake::write(
            &keys.identity_key().point().to_compressed(),
            &keys.signed_prekey().public().point().to_compressed(),
            PrekeyIds {
                signed_prekey: theirs.signed_prekey_id(),
                kem: theirs.kem_id(),
                one_time: one_time.map_or(0, OneTimePrekey::id),
            },
            keys.signature(),
            &ciphertext,
        );
        let secrets = Secrets {
            x3dh: x3dh_symmetric(
                keys.identity(),
                keys.signed_prekey(),
                their_identity,
                their_signed_prekey,
            ),
            with_identity: ephemeral.agree(their_identity.point()),
            with_one_time: one_time.map(|one_time| ephemeral.agree(one_time.point())),
            kem,
        };
        let public = ephemeral.public().as_bytes();
        let transcript = Transcript {
            begun_ms,
            parties,
            identity: their_identity,
            signed_prekey: their_signed_prekey,
            kem_key: theirs.kem_key().as_bytes(),
            one_time: one_time.map(OneTimePrekey::as_bytes),
            ephemeral: public,
            handshake: &handshake,
        };
        let first_step = ephemeral.agree(their_signed_prekey.point());
        let (root_key, chain_key) = root_key(&transcript, &secrets).step(&first_step);
        let id = session_id(begun_ms, parties, their_identity, public, &handshake);
        let state = Initiated {
            root_key,
            ratchet_key: ephemeral,
            their_signed_prekey: their_signed_prekey.clone(),
            sending: SendingChain::new(chain_key),
            post_compromise: false,
        };
        Ok(held.with(RankedSession {
            rank: Rank { begun_ms, id },
            is_ours: true,
            newest_ms: 0,
            ratchet: Ratchet::Initiated { state, handshake: Some(Arc::from(handshake)) },
        }))
    }

    /// Later than every session that we hold or have held, and than the one that we do not hold.
    /// That one's time is not authenticated, so it counts for no more than a peer's clock may be
    /// ahead. Nor is the new one further ahead, or the peer would refuse it.
    fn next_begun_ms(&self, now_ms: u64, after_ms: Option<u64>) -> u64 {
        let held = self.iter().map(|session| session.rank).chain(self.retired);
        held.map(|rank| rank.begun_ms)
            .chain(after_ms)
            .map(|before| before.saturating_add(1))
            .fold(now_ms, u64::max)
            .min(now_ms.saturating_add(MAX_CLOCK_SKEW_MS))
    }

    /// Without sessions of ours that no peer accepts, begun while our clock was far ahead.
    fn without_impossible(&self, now_ms: u64) -> Self {
        let latest = now_ms.saturating_add(MAX_CLOCK_SKEW_MS);
        let is_possible = |session: &&RankedSession| {
            !session.is_ours || session.is_answered() || session.rank.begun_ms <= latest
        };
        let mut kept = self.iter().filter(is_possible).cloned();
        let sending = kept.next();
        Self { sending, older: kept.collect(), ..self.clone() }
    }
}
