//! Beginning again with the same peer: on purpose, or because its identity has changed.

use std::sync::Arc;

use rand_core::CryptoRng;

use super::held::Held;
use super::{Record, SessionState};
use crate::bundle::VerifiedBundle;
use crate::keys::LocalKeys;
use crate::session::{EstablishError, Session};

impl Record {
    /// Sends on a fresh session from now on; the sessions so far go on receiving.
    ///
    /// For a sending chain so many of whose messages were lost that the peer could not skip to the
    /// next ([`MAX_SKIP`](crate::MAX_SKIP)). The peer needs no telling if it is ours; the original
    /// cannot follow, nor could it have skipped. Returns the record as it is if nothing was sent
    /// yet. Draws 32 bytes from `rng` otherwise.
    #[must_use = "the record itself is unchanged"]
    pub fn begin_anew(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        if self.sending.session.state() == SessionState::Pending {
            return self.clone();
        }
        let session = Session::pending(self.agreement.clone(), rng);
        self.replacing_sending(Held::ours(session, self.sending.generation))
    }

    /// The record that takes this one's place when the peer's new identity was accepted.
    ///
    /// No session is kept. What is kept is which ratchet keys have begun a session here: were the
    /// old identity accepted once more, a relay could otherwise replay its first messages.
    ///
    /// # Errors
    ///
    /// [`EstablishError::OwnKeys`]
    pub fn succeeded_by(
        &self,
        ours: &LocalKeys,
        theirs: VerifiedBundle,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, EstablishError> {
        let fresh = Self::new(ours, theirs, rng)?;
        Ok(Self { initiations: self.initiations.clone(), older: Arc::default(), ..fresh })
    }
}
