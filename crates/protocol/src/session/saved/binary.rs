//! The states of a session as bytes: parts of a saved record.
//!
//! Unlike the JSON form beside it this one is nobody's but ours. It holds the state whole, a
//! ratchet that can still be made again included, and each state has one encoding. Which state it
//! is, and between whom, whatever it is part of says. Every secret is in it in clear: a record is
//! sealed before it leaves. Spec: docs/PROTOCOL.md, "Saved record".

use std::sync::Arc;

use super::bytes::is_zero;
use crate::bundle::VerifiedBundle;
use crate::chain::{ReceivingChain, SendingChain};
use crate::chain_key::ChainKey;
use crate::codec::{Reader, Write};
use crate::curve;
use crate::keys::{
    IdentityKey, KeyError, RatchetKeyPair, RatchetPublicKey, SignedPrekey, SignedPrekeyPair,
};
use crate::message_key::MessageKey;
use crate::root_key::RootKey;
use crate::secret::Secret;
use crate::session::established::Established;
use crate::session::initiated::Initiated;
use crate::session::pending::Pending;
use crate::session::{Agreement, Identities, SavedRecordError, Session, SessionState, State};
use crate::skipped::{MAX_SKIPPED_KEYS, SkippedMessageKeys};

/// Flag: the session is marked to ratchet as soon as it can.
const FORCED: u8 = 1;
/// Flag: the root key between the two root steps of the last turn follows.
const RENEWABLE: u8 = 2;

impl Agreement {
    /// Appends the shared secret and our signed prekey, 64 bytes. The rest is in the bundle that
    /// it was made from.
    pub(crate) fn write(&self, out: &mut impl Write) {
        let Self { identities: _, root_key, our_signed_prekey, their_signed_prekey: _ } = self;
        root_key.with_bytes(|key| out.put(key));
        out.put(&*our_signed_prekey.to_bytes());
    }

    /// Reads what [`write`](Self::write) has written of an agreement between `ours` and `theirs`.
    pub(crate) fn read(
        ours: &IdentityKey,
        theirs: &VerifiedBundle,
        reader: &mut Reader<'_>,
    ) -> Result<Self, SavedRecordError> {
        let root_key = RootKey::new(read_key(reader)?);
        let our_signed_prekey =
            SignedPrekeyPair::from_bytes(reader.array::<32>()?).map_err(invalid("SPK"))?;
        if ours == theirs.identity_key() || our_signed_prekey.public() == theirs.signed_prekey() {
            return Err(SavedRecordError::State);
        }
        let identities = Identities { ours: ours.clone(), theirs: theirs.identity_key().clone() };
        Ok(Self {
            identities: Arc::new(identities),
            root_key,
            our_signed_prekey,
            their_signed_prekey: theirs.signed_prekey().clone(),
        })
    }
}

impl Session {
    /// Appends the state, not its name and not the agreement of one that is pending.
    pub(crate) fn write(&self, out: &mut impl Write) {
        match &self.state {
            State::Pending(pending) => pending.write(out),
            State::Initiated(initiated) => initiated.write(out),
            State::Established(established) => established.write(out),
        }
    }

    /// Reads a session that is in `state`. One that is pending begins with `agreement`, the
    /// others have only its identities.
    pub(crate) fn read(
        state: SessionState,
        agreement: &Arc<Agreement>,
        reader: &mut Reader<'_>,
    ) -> Result<Self, SavedRecordError> {
        let state = match state {
            SessionState::Pending => State::Pending(Pending::read(agreement, reader)?),
            SessionState::Initiated => State::Initiated(Initiated::read(reader)?),
            SessionState::Established => State::Established(Established::read(reader)?),
        };
        Ok(Self { identities: agreement.identities.clone(), state })
    }
}

impl Pending {
    fn write(&self, out: &mut impl Write) {
        let Self { agreement: _, ratchet_key, post_compromise } = self;
        out.put_u8(if *post_compromise { FORCED } else { 0 });
        out.put(&*ratchet_key.to_bytes());
    }

    fn read(agreement: &Arc<Agreement>, reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        let flags = read_flags(reader, FORCED)?;
        Ok(Self {
            agreement: agreement.clone(),
            ratchet_key: read_ratchet_pair(reader)?,
            post_compromise: flags & FORCED != 0,
        })
    }
}

impl Initiated {
    /// Appends the state, 166 bytes.
    pub(crate) fn write(&self, out: &mut impl Write) {
        let Self { root_key, ratchet_key, their_signed_prekey, sending, post_compromise } = self;
        out.put_u8(if *post_compromise { FORCED } else { 0 });
        root_key.with_bytes(|key| out.put(key));
        out.put(&*ratchet_key.to_bytes());
        out.put(their_signed_prekey.as_bytes());
        write_sending(sending, out);
    }

    /// Reads what [`write`](Self::write) has written. Nothing may have been sent yet; where that
    /// cannot be, the caller refuses it.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        let flags = read_flags(reader, FORCED)?;
        Ok(Self {
            root_key: RootKey::new(read_key(reader)?),
            ratchet_key: read_ratchet_pair(reader)?,
            their_signed_prekey: SignedPrekey::parse(reader.array::<65>()?)
                .map_err(invalid("SPK"))?,
            sending: read_sending(reader)?,
            post_compromise: flags & FORCED != 0,
        })
    }
}

impl Established {
    /// Appends the state: 207 bytes, 32 more until something is sent on a new ratchet key, and
    /// the skipped keys.
    pub(crate) fn write(&self, out: &mut impl Write) {
        let Self {
            root_key,
            ratchet_key,
            their_ratchet_key,
            sending,
            receiving,
            previous_chain_length,
            skipped,
            renewable,
            post_compromise,
        } = self;
        let forced = if *post_compromise { FORCED } else { 0 };
        out.put_u8(forced | renewable.as_ref().map_or(0, |_| RENEWABLE));
        root_key.with_bytes(|key| out.put(key));
        if let Some(intermediate) = renewable {
            intermediate.with_bytes(|key| out.put(key));
        }
        out.put(&*ratchet_key.to_bytes());
        out.put(their_ratchet_key.as_bytes());
        write_sending(sending, out);
        out.put(receiving.key.as_bytes());
        out.put_u32(receiving.counter);
        out.put_u32(*previous_chain_length);
        write_skipped(skipped, out);
    }

    /// Reads what [`write`](Self::write) has written.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        let flags = read_flags(reader, FORCED | RENEWABLE)?;
        let root_key = RootKey::new(read_key(reader)?);
        let renewable = match flags & RENEWABLE {
            0 => None,
            _ => Some(RootKey::new(read_key(reader)?)),
        };
        let ratchet_key = read_ratchet_pair(reader)?;
        let their_ratchet_key =
            RatchetPublicKey::parse(reader.array::<65>()?).map_err(invalid("DHr"))?;
        let sending = read_sending(reader)?;
        let key = ChainKey::new(Secret::copied_from(read_key(reader)?));
        let receiving = ReceivingChain { key, counter: reader.u32()? };
        // A turn receives a message, and the first message sent ends what it can make again.
        if receiving.counter == 0 || (renewable.is_some() && sending.counter > 0) {
            return Err(SavedRecordError::State);
        }
        Ok(Self {
            root_key,
            ratchet_key,
            sending,
            previous_chain_length: reader.u32()?,
            skipped: read_skipped(&their_ratchet_key, receiving.counter, reader)?,
            their_ratchet_key: their_ratchet_key.at_rest(),
            receiving,
            renewable,
            post_compromise: flags & FORCED != 0,
        })
    }
}

fn write_sending(sending: &SendingChain, out: &mut impl Write) {
    let SendingChain { key, counter } = sending;
    out.put(key.as_bytes());
    out.put_u32(*counter);
}

fn read_sending(reader: &mut Reader<'_>) -> Result<SendingChain, SavedRecordError> {
    Ok(SendingChain {
        key: ChainKey::new(Secret::copied_from(read_key(reader)?)),
        counter: reader.u32()?,
    })
}

fn write_skipped(skipped: &SkippedMessageKeys, out: &mut impl Write) {
    let chains = skipped.chains();
    out.put_varint(chains.len() as u64);
    for (ratchet_key, keys) in chains {
        out.put(ratchet_key);
        out.put_varint(keys.len() as u64);
        for (counter, message_key) in keys {
            out.put_u32(*counter);
            out.put(message_key.as_bytes());
        }
    }
}

/// Every chain once and none empty; the current one last, and none of its keys at or past
/// `received`.
fn read_skipped(
    current: &RatchetPublicKey,
    received: u32,
    reader: &mut Reader<'_>,
) -> Result<SkippedMessageKeys, SavedRecordError> {
    let mut skipped = SkippedMessageKeys::default();
    let chains = reader.length()?;
    if chains > MAX_SKIPPED_KEYS {
        return Err(SavedRecordError::Malformed); // none is empty
    }
    for left in (0..chains).rev() {
        let chain = reader.array::<65>()?;
        if skipped.holds_chain(chain) {
            return Err(SavedRecordError::State);
        }
        curve::PublicKey::parse(chain).ok_or(SavedRecordError::Key { field: "MKSKIPPED" })?;
        let is_current = chain == current.as_bytes();
        let limit = if is_current { received } else { u32::MAX };
        if is_current && left > 0 {
            return Err(SavedRecordError::State);
        }
        let keys = read_skipped_keys(MAX_SKIPPED_KEYS - skipped.len(), limit, reader)?;
        skipped.add(chain, keys);
    }
    Ok(skipped)
}

/// The keys of one chain, ascending, at most `room` and at least one, all before number `limit`.
fn read_skipped_keys(
    room: usize,
    limit: u32,
    reader: &mut Reader<'_>,
) -> Result<Vec<(u32, MessageKey)>, SavedRecordError> {
    let count = reader.length()?;
    if count == 0 || count > room {
        return Err(SavedRecordError::Malformed);
    }
    let mut keys = Vec::new();
    for _ in 0..count {
        let counter = reader.u32()?;
        let last = keys.last().map(|(counter, _)| *counter);
        if counter >= limit || last.is_some_and(|last| last >= counter) {
            return Err(SavedRecordError::State);
        }
        keys.push((counter, MessageKey::new(Secret::copied_from(reader.array()?))));
    }
    keys.shrink_to_fit();
    Ok(keys)
}

/// One byte of flags, of which only `known` may be set.
fn read_flags(reader: &mut Reader<'_>, known: u8) -> Result<u8, SavedRecordError> {
    let flags = reader.u8()?;
    if flags & !known == 0 { Ok(flags) } else { Err(SavedRecordError::Malformed) }
}

/// A root or chain key. Zeros are none: everybody could compute what descends from them.
fn read_key<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; 32], SavedRecordError> {
    let bytes = reader.array()?;
    if is_zero(bytes) { Err(SavedRecordError::State) } else { Ok(bytes) }
}

fn read_ratchet_pair(reader: &mut Reader<'_>) -> Result<RatchetKeyPair, SavedRecordError> {
    RatchetKeyPair::kept(reader.array()?).map_err(invalid("DHs"))
}

fn invalid(field: &'static str) -> impl FnOnce(KeyError) -> SavedRecordError {
    move |_| SavedRecordError::Key { field }
}
