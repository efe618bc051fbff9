//! A record as bytes.
//!
//! They hold every secret of the record in clear, so they are [sealed](crate::StorageKey) before
//! anything keeps them. Reading them back refuses rather than trusts: every key is checked, every
//! count, and that the parts make up a record that steps can lead to. A record has one encoding:
//! what is read is written as the same bytes. Spec: docs/PROTOCOL.md, "Saved record".

use std::sync::Arc;

use zeroize::Zeroizing;

use super::held::{Held, Origin};
use super::initiations::Initiations;
use super::{MAX_OLDER_SESSIONS, Record};
use crate::bundle::{BundleError, PrekeyBundle, VerifiedBundle};
use crate::codec::{Reader, Write};
use crate::curve::{POINT_LENGTH, PublicKey};
use crate::keys::IdentityKey;
use crate::session::{Agreement, SavedRecordError, Session, SessionState};

/// The form described here; another one has another number.
const VERSION: u8 = 1;

impl Record {
    /// The record as bytes, to be sealed: they hold every secret in clear. Wiped when dropped.
    ///
    /// Some 650 bytes with one session and nothing skipped. Costs no scalar multiplication.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
        self.write(&mut bytes);
        bytes
    }

    /// Reads back what [`to_bytes`](Self::to_bytes) has made of a record of `ours`. It goes on
    /// as the record itself would have.
    ///
    /// Costs a scalar multiplication for each session and one more, and a signature check: 70 us
    /// with one session. What it allocates is bounded by what `bytes` takes.
    ///
    /// # Errors
    ///
    /// Any [`SavedRecordError`].
    pub fn from_bytes(ours: &IdentityKey, bytes: &[u8]) -> Result<Self, SavedRecordError> {
        let mut reader = Reader::new(bytes);
        let record = Self::read(ours, &mut reader)?;
        reader.end()?;
        Ok(record)
    }

    /// Appends the record.
    pub(crate) fn write(&self, out: &mut impl Write) {
        let Self { bundle, agreement, sending, older, initiations } = self;
        out.put_u8(VERSION);
        out.put(agreement.identities.ours.as_bytes());
        write_bundle(bundle, out);
        agreement.write(out);
        initiations.write(out);
        sending.write(out);
        out.put_varint(older.len() as u64);
        for held in older.iter() {
            held.write(out);
        }
    }

    /// Reads what [`write`](Self::write) has written, and no further.
    pub(crate) fn read(
        ours: &IdentityKey,
        reader: &mut Reader<'_>,
    ) -> Result<Self, SavedRecordError> {
        match reader.u8()? {
            VERSION => {}
            0 => return Err(SavedRecordError::Malformed),
            version => return Err(SavedRecordError::Version { version }),
        }
        if reader.array()? != ours.as_bytes() {
            return Err(SavedRecordError::Identity);
        }
        let bundle = read_bundle(reader)?;
        let agreement = Arc::new(Agreement::read(ours, &bundle, reader)?);
        let initiations = Initiations::read(reader)?;
        let sending = Held::read(&agreement, reader)?;
        let count = reader.length()?;
        if count > MAX_OLDER_SESSIONS {
            return Err(SavedRecordError::Malformed);
        }
        let older = (0..count).map(|_| Held::read(&agreement, reader)).collect::<Result<_, _>>()?;
        let record = Self { bundle, agreement, sending, older: Arc::new(older), initiations };
        if record.is_possible() { Ok(record) } else { Err(SavedRecordError::State) }
    }

    /// Whether steps can lead here, as far as one part tells about another.
    fn is_possible(&self) -> bool {
        let current = self.sending.generation;
        self.older.iter().all(|held| held.can_turn() && held.generation <= current)
            && self.sessions().map(|at| self.held(at)).all(|held| {
                // Nothing begins a session here that is not remembered, nor on an older prekey.
                let remembered = self.initiations.contains(&held.initiator_key);
                let with_bundle = held.session.their_ratchet_key()
                    == Some(self.bundle.signed_prekey().as_bytes());
                (held.origin == Origin::Ours || remembered)
                    && (!held.is_unanswered() || held.generation < current || with_bundle)
            })
    }
}

/// What a session is and who began it, as one byte: no other combinations exist.
#[derive(Clone, Copy)]
enum Kind {
    Pending = 0,
    Initiated = 1,
    EstablishedByUs = 2,
    EstablishedByThem = 3,
    EstablishedByThemCollided = 4,
}

impl Kind {
    fn read(reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        Ok(match reader.u8()? {
            0 => Self::Pending,
            1 => Self::Initiated,
            2 => Self::EstablishedByUs,
            3 => Self::EstablishedByThem,
            4 => Self::EstablishedByThemCollided,
            _ => return Err(SavedRecordError::Malformed),
        })
    }

    fn state(self) -> SessionState {
        match self {
            Self::Pending => SessionState::Pending,
            Self::Initiated => SessionState::Initiated,
            _ => SessionState::Established,
        }
    }

    fn origin(self) -> Origin {
        match self {
            Self::Pending | Self::Initiated | Self::EstablishedByUs => Origin::Ours,
            Self::EstablishedByThem => Origin::Theirs { collided: false },
            Self::EstablishedByThemCollided => Origin::Theirs { collided: true },
        }
    }
}

impl Held {
    /// A session that the peer has begun is established from its first message on.
    fn kind(&self) -> Kind {
        match (self.session.state(), self.origin) {
            (SessionState::Pending, _) => Kind::Pending,
            (SessionState::Initiated, _) => Kind::Initiated,
            (SessionState::Established, Origin::Ours) => Kind::EstablishedByUs,
            (_, Origin::Theirs { collided: false }) => Kind::EstablishedByThem,
            (_, Origin::Theirs { collided: true }) => Kind::EstablishedByThemCollided,
        }
    }

    fn write(&self, out: &mut impl Write) {
        let Self { session, origin: _, initiator_key, generation } = self;
        out.put_u8(self.kind() as u8);
        out.put_u32(*generation);
        session.write(out);
        if session.state() == SessionState::Established {
            out.put(initiator_key); // before, it is our ratchet key
        }
    }

    fn read(agreement: &Arc<Agreement>, reader: &mut Reader<'_>) -> Result<Self, SavedRecordError> {
        let kind = Kind::read(reader)?;
        let generation = reader.u32()?;
        let session = Session::read(kind.state(), agreement, reader)?;
        if session.state() != SessionState::Established {
            let used = session.send_count() > 0;
            let possible = used == (session.state() == SessionState::Initiated);
            let held = Self::ours(session, generation);
            return if possible { Ok(held) } else { Err(SavedRecordError::State) };
        }
        let initiator_key: &[u8; POINT_LENGTH] = reader.array()?;
        PublicKey::parse(initiator_key).ok_or(SavedRecordError::Key { field: "initiator key" })?;
        Ok(Self::new(session, kind.origin(), *initiator_key, generation))
    }
}

fn write_bundle(bundle: &VerifiedBundle, out: &mut impl Write) {
    out.put(bundle.identity_key().as_bytes());
    out.put(bundle.signed_prekey().as_bytes());
    out.put_field(bundle.as_bundle().signature());
}

fn read_bundle(reader: &mut Reader<'_>) -> Result<VerifiedBundle, SavedRecordError> {
    let identity_key = reader.array::<POINT_LENGTH>()?;
    let signed_prekey = reader.array::<POINT_LENGTH>()?;
    let field = |error: BundleError| SavedRecordError::Key {
        field: match error {
            BundleError::Key { field: "identityKey" } => "IK",
            _ => "SPK",
        },
    };
    PrekeyBundle::parse(identity_key, signed_prekey, reader.field()?)
        .and_then(PrekeyBundle::verify)
        .map_err(field)
}
