//! Both chains exist: the Double Ratchet proper.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{DecryptError, Message, OpenedBy, Sending};
use crate::chain::{ReceivingChain, SendingChain};
use crate::keys::{RatchetKeyPair, RatchetPublicKey};
use crate::root_key::RootKey;
use crate::skipped::SkippedMessageKeys;

#[derive(Clone)]
pub(crate) struct Established {
    /// `RK`
    pub(crate) root_key: RootKey,
    /// `DHs`
    pub(crate) ratchet_key: RatchetKeyPair,
    /// `DHr`
    pub(crate) their_ratchet_key: RatchetPublicKey,
    /// `CKs`, `Ns`
    pub(crate) sending: SendingChain,
    /// `CKr`, `Nr`
    pub(crate) receiving: ReceivingChain,
    /// `PN`
    pub(crate) previous_chain_length: u32,
    /// `MKSKIPPED`
    pub(crate) skipped: SkippedMessageKeys,
    /// The root key between the two root steps of the last turn, from which a forced ratchet makes
    /// the sending half again. Gone with the first message sent. It reveals nothing that the state
    /// does not hold already: with the ratchet key beside it, it yields the root key and sending
    /// chain that stand here too.
    pub(crate) renewable: Option<RootKey>,
    pub(crate) post_compromise: bool,
}

/// What a message that has proved genuine changes.
pub(crate) enum Change {
    /// The receiving chain goes on, or a key that was kept is used.
    Chain { receiving: ReceivingChain, skipped: SkippedMessageKeys },
    /// Both chains are new.
    Turn(Box<Established>),
}

impl Change {
    pub(crate) fn apply(self, state: &mut Established) {
        match self {
            Self::Chain { receiving, skipped } => {
                (state.receiving, state.skipped) = (receiving, skipped);
            }
            Self::Turn(turned) => *state = *turned,
        }
    }

    /// The state after the change to `state`.
    pub(crate) fn applied_to(self, state: &Established) -> Established {
        match self {
            Self::Chain { receiving, skipped } => {
                Established { receiving, skipped, ..state.clone() }
            }
            Self::Turn(turned) => *turned,
        }
    }
}

/// A Diffie-Hellman step about to be made, for a header with a new ratchet key.
pub(crate) struct Turn<'a> {
    pub(crate) root_key: &'a RootKey,
    pub(crate) ratchet_key: &'a RatchetKeyPair,
    /// Messages sent on the sending chain that ends.
    pub(crate) sent: u32,
    /// The receiving chain that ends, unless this is the first.
    pub(crate) ending: Option<&'a Established>,
}

impl Turn<'_> {
    /// Opens the message on its new chain and only then, when it has proved genuine, draws our
    /// next ratchet key and makes the sending chain.
    ///
    /// Spec: Double Ratchet, section 3.4 (`DHRatchet`).
    pub(crate) fn open(
        self,
        message: &Message<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(Established, Zeroizing<Vec<u8>>, OpenedBy), DecryptError> {
        let header = &message.header;
        let missing = skip_distance(0, header.counter, message.max_skip)?;
        let before = self.ending.map(|state| state.last_of_chain(message)).transpose()?;
        let their_ratchet_key = RatchetPublicKey::parse(&header.ratchet_key)
            .map_err(|_| DecryptError::InvalidRatchetKey)?;

        let dh = self.ratchet_key.agree(their_ratchet_key.point());
        let (intermediate, chain_key) = self.root_key.step(&dh);
        let (receiving, skipped) = ReceivingChain::new(chain_key).skip(missing);
        let (receiving, message_key) = next(&receiving)?;
        let plaintext = message.open_with(&message_key)?;

        let kept = match (self.ending, before) {
            (Some(state), Some(last)) => state.skipped_until(last),
            _ => SkippedMessageKeys::default(),
        };
        let (ratchet_key, root_key, sending) = sending_half(&intermediate, &their_ratchet_key, rng);
        let established = Established {
            root_key,
            ratchet_key,
            their_ratchet_key: their_ratchet_key.at_rest(),
            sending,
            receiving,
            previous_chain_length: self.sent,
            skipped: kept.with(&header.ratchet_key, skipped),
            renewable: Some(intermediate),
            post_compromise: false,
        };
        Ok((established, plaintext, OpenedBy::Chain))
    }
}

impl Established {
    pub(crate) fn open(
        &self,
        message: &Message<'_>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<(Change, Zeroizing<Vec<u8>>, OpenedBy), DecryptError> {
        let header = &message.header;
        if let Some((skipped, message_key)) = self.skipped.take(&header.ratchet_key, header.counter)
        {
            let plaintext = message.open_with(&message_key)?;
            let receiving = self.receiving.clone();
            return Ok((Change::Chain { receiving, skipped }, plaintext, OpenedBy::SkippedKey));
        }
        if header.ratchet_key == *self.their_ratchet_key.as_bytes() {
            return self.open_on_chain(message);
        }
        if self.skipped.holds_chain(&header.ratchet_key) {
            // An old chain: it has ended, and this key of it is gone.
            return Err(DecryptError::MissingMessageKey { counter: header.counter });
        }
        let turn = Turn {
            root_key: &self.root_key,
            ratchet_key: &self.ratchet_key,
            sent: self.sending.counter,
            ending: Some(self),
        };
        let (turned, plaintext, opened_by) = turn.open(message, rng)?;
        Ok((Change::Turn(Box::new(turned)), plaintext, opened_by))
    }

    /// How long the receiving chain was, by the header of the next one.
    fn last_of_chain(&self, message: &Message<'_>) -> Result<u32, DecryptError> {
        let length = message.header.previous_chain_length.max(self.receiving.counter);
        skip_distance(self.receiving.counter, length, message.max_skip)
    }

    /// The keys kept, and those of the receiving chain's messages before number `last`.
    fn skipped_until(&self, last: u32) -> SkippedMessageKeys {
        let (_, skipped) = self.receiving.skip(last);
        self.skipped.with(self.their_ratchet_key.as_bytes(), skipped)
    }

    fn open_on_chain(
        &self,
        message: &Message<'_>,
    ) -> Result<(Change, Zeroizing<Vec<u8>>, OpenedBy), DecryptError> {
        let header = &message.header;
        let until = skip_distance(self.receiving.counter, header.counter, message.max_skip)?;
        let (receiving, skipped) = self.receiving.skip(until);
        let (receiving, message_key) = next(&receiving)?;
        let plaintext = message.open_with(&message_key)?;
        let skipped = self.skipped.with(&header.ratchet_key, skipped);
        Ok((Change::Chain { receiving, skipped }, plaintext, OpenedBy::Chain))
    }

    pub(crate) fn force_ratchet(&self, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let Some(intermediate) = &self.renewable else {
            return Self { post_compromise: true, ..self.clone() };
        };
        let (ratchet_key, root_key, sending) =
            sending_half(intermediate, &self.their_ratchet_key, rng);
        Self { ratchet_key, root_key, sending, ..self.clone() }
    }

    pub(crate) fn knows_chain(&self, ratchet_key: &[u8; 65]) -> bool {
        self.their_ratchet_key.as_bytes() == ratchet_key || self.skipped.holds_chain(ratchet_key)
    }
}

impl Sending for Established {
    fn sending(&self) -> &SendingChain {
        &self.sending
    }

    fn ratchet_key(&self) -> &RatchetKeyPair {
        &self.ratchet_key
    }

    fn previous_chain_length(&self) -> u32 {
        self.previous_chain_length
    }

    fn sent(&mut self, next: SendingChain) {
        (self.sending, self.renewable) = (next, None);
    }
}

/// The second half of a turn: our new ratchet key, and the sending chain that it makes.
fn sending_half(
    intermediate: &RootKey,
    theirs: &RatchetPublicKey,
    rng: &mut (impl CryptoRng + ?Sized),
) -> (RatchetKeyPair, RootKey, SendingChain) {
    let ratchet_key = RatchetKeyPair::generate(rng);
    let (root_key, chain_key) = intermediate.step(&ratchet_key.agree(theirs.point()));
    (ratchet_key, root_key, SendingChain::new(chain_key))
}

/// `counter`, if a chain whose next message is `from` may skip to it.
fn skip_distance(from: u32, counter: u32, max_skip: u32) -> Result<u32, DecryptError> {
    match counter.checked_sub(from) {
        None => Err(DecryptError::MissingMessageKey { counter }),
        Some(distance) if distance > max_skip => Err(DecryptError::TooManySkipped),
        Some(_) => Ok(counter),
    }
}

fn next(
    chain: &ReceivingChain,
) -> Result<(ReceivingChain, crate::message_key::MessageKey), DecryptError> {
    chain.step().ok_or(DecryptError::TooManySkipped)
}
