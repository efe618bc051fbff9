//! A record that goes on with a session of the original's, which kept sessions and no records.

use std::sync::Arc;

use rand_core::CryptoRng;

use super::Record;
use super::held::{Held, Origin};
use crate::bundle::VerifiedBundle;
use crate::keys::LocalKeys;
use crate::session::{EstablishError, Session, SessionState};

impl Record {
    /// A record of a saved session and of the bundle that the same peer shows now.
    ///
    /// Which messages began the session is not known any more, so `ours` must have another signed
    /// prekey than it began with: a relay could otherwise have such a message opened once more.
    /// A session that nothing was sent or received on is begun anew.
    pub(crate) fn adopting(
        session: &Session,
        ours: &LocalKeys,
        theirs: VerifiedBundle,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Self, EstablishError> {
        let with_bundle = session.their_ratchet_key() == Some(theirs.signed_prekey().as_bytes());
        let fresh = Self::new(ours, theirs, rng)?;
        let initiator_key = *session.our_ratchet_key().as_bytes();
        let held = Held::new(session.clone(), Origin::Ours, initiator_key, 0);
        Ok(match session.state() {
            SessionState::Pending => fresh,
            SessionState::Initiated if !with_bundle => {
                // The peer cannot answer what it has no signed prekey for; if it has, it can.
                let sending = Held { generation: 1, ..fresh.sending.clone() };
                Self { sending, older: Arc::new(vec![held]), ..fresh }
            }
            SessionState::Initiated | SessionState::Established => Self { sending: held, ..fresh },
        })
    }
}
