//! Receiving in wire 4.

use std::sync::Arc;

use rand_core::CryptoRng;

use super::{LegacyItem, OpenError, OpenedMessage, PeerRecord};
use crate::delivery::{Brought, InboxItem};
use crate::wire4::{Decrypt4Error, Message4, Opening, Parties, Prekeys, Sessions};

impl PeerRecord {
    /// Opens a message and takes what it brings. A peer of whom nothing is known is taken for whom
    /// the message's handshake says, which the message proves: the caller checks the pin.
    ///
    /// # Errors
    ///
    /// Any [`OpenError`]; the record is unchanged then.
    pub fn open(
        &mut self,
        ours: &Prekeys,
        parties: Parties<'_>,
        message: &Message4<'_>,
        now_ms: u64,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<OpenedMessage, OpenError> {
        let (stranger, opening) = match &self.sessions {
            Some(sessions) => (None, sessions.open(ours, parties, message, now_ms, rng)?),
            None => {
                let sessions = self.sessions_of_stranger(message)?;
                let opening = sessions.open(ours, parties, message, now_ms, rng)?;
                (Some(sessions), opening)
            }
        };
        let Opening { payload, timestamp_ms, used_one_time, change } = opening;
        let delivery = Arc::make_mut(&mut self.delivery);
        let brought = delivery.accept_in_place(&payload, timestamp_ms, now_ms)?;
        let Brought { delivered, handled, .. } = brought.ok_or(OpenError::Full)?;

        // Nothing fails from here on.
        if message.has_handshake() {
            delivery.owe_answer(now_ms); // who still brings it waits to be answered
        }
        if let Some(stranger) = stranger {
            self.sessions = Some(Arc::new(stranger));
        }
        if let Some(sessions) = &mut self.sessions {
            Arc::make_mut(sessions).take(change);
        }
        // The peer is there with wire 4: what was on its way in wire 3 has come, and whoever has
        // stolen an old state of it shall not write with that for ever.
        (self.legacy, self.imported) = (None, None);
        Ok(OpenedMessage { delivered, handled, used_one_time })
    }

    fn sessions_of_stranger(&self, message: &Message4<'_>) -> Result<Sessions, Decrypt4Error> {
        let claimed = message.sender_identity()?.ok_or(Decrypt4Error::UnknownSession)?;
        match self.their_identity() {
            Some(known) if *known != claimed => Err(Decrypt4Error::IdentityMismatch),
            _ => Ok(Sessions::new(claimed)),
        }
    }

    /// Contents that wait for an earlier one of the same peer, and their bytes.
    pub fn pending_size(&self) -> (usize, usize) {
        self.delivery.pending_size()
    }

    /// What the application has not handled, in order of delivery.
    pub fn inbox(&self) -> impl Iterator<Item = &InboxItem> {
        self.delivery.inbox()
    }

    /// Whether a message is [handled](Self::handled) when one that came after it from the same peer
    /// is.
    pub fn is_handled_with(ticket: u64, later: u64) -> bool {
        !LegacyItem::is_ticket(ticket) && !LegacyItem::is_ticket(later) && ticket <= later
    }

    /// The application has handled the message of this ticket and, in wire 4, those before it.
    #[must_use = "the record itself is unchanged"]
    pub fn handled(&self, ticket: u64, now_ms: u64) -> Self {
        // Of an identity that was replaced after the application was given the message?
        let former = LegacyItem::former_ticket(ticket);
        let ticket = if self.legacy_inbox.contains(former) { former } else { ticket };
        match LegacyItem::is_ticket(ticket) {
            true => Self { legacy_inbox: self.legacy_inbox.without(ticket), ..self.clone() },
            false => self.with_delivery(self.delivery.handled(ticket, now_ms)),
        }
    }
}
