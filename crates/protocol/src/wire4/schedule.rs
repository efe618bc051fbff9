//! The key schedule: what names a session, and what its first root key is made of.
//!
//! Spec: docs/PROTOCOL.md, "Key schedule".

use zeroize::Zeroizing;

use super::ad::Hashed;
use super::{Parties, SessionId, handshake};
use crate::codec::Write;
use crate::curve::{DhOutput, POINT_LENGTH};
use crate::kdf::hkdf;
use crate::kem;
use crate::keys::IdentityKey;
use crate::keys::SignedPrekey;
use crate::root_key::{RootKey, leaving_none};
use crate::secret::Secret;
use crate::x3dh::SharedSecret;

const SESSION_LABEL: &[u8] = b"stvor-v4-session";
const TRANSCRIPT_LABEL: &[u8] = b"stvor-v4-transcript";
const ROOT_LABEL: &[u8] = b"stvor-v4-root";

/// Comes before the secrets, so that they are no key material of another protocol on this curve.
/// Spec: X3DH, section 2.2 (`F`).
const F: [u8; 32] = [0xff; 32];

/// The first 8 bytes of SHA-256 over everything that makes the session another than any other.
/// `recipient` is `IK_B`, `ephemeral` is `EK_A`.
pub(super) fn session_id(
    begun_ms: u64,
    parties: Parties<'_>,
    recipient: &IdentityKey,
    ephemeral: &[u8; POINT_LENGTH],
    handshake: &[u8],
) -> SessionId {
    let mut hash = Hashed::new(SESSION_LABEL);
    hash.put_u64(begun_ms);
    hash.put_parties(parties);
    hash.put(recipient.as_bytes());
    hash.put(ephemeral);
    hash.put(handshake::name(handshake));
    let [a, b, c, d, e, f, g, h, ..] = hash.finish();
    SessionId::new([a, b, c, d, e, f, g, h])
}

/// Every public input of a session. The initiator's long-term keys stand in the handshake.
pub(super) struct Transcript<'a> {
    pub(super) begun_ms: u64,
    pub(super) parties: Parties<'a>,
    /// `IK_B`
    pub(super) identity: &'a IdentityKey,
    /// `SPK_B`
    pub(super) signed_prekey: &'a SignedPrekey,
    pub(super) kem_key: &'a [u8; kem::PUBLIC_KEY_LENGTH],
    /// `OPK_B`, if there is one.
    pub(super) one_time: Option<&'a [u8; POINT_LENGTH]>,
    /// `EK_A`
    pub(super) ephemeral: &'a [u8; POINT_LENGTH],
    pub(super) handshake: &'a [u8],
}

impl Transcript<'_> {
    fn hash(&self) -> [u8; 32] {
        let mut hash = Hashed::new(TRANSCRIPT_LABEL);
        hash.put_u64(self.begun_ms);
        hash.put_parties(self.parties);
        hash.put(self.identity.as_bytes());
        hash.put(self.signed_prekey.as_bytes());
        hash.put(self.kem_key);
        hash.put_field(self.one_time.map_or(&[], |key| &key[..]));
        hash.put(self.ephemeral);
        hash.put_field(self.handshake);
        hash.finish()
    }
}

/// What both sides share, each computed from its own halves.
pub(super) struct Secrets {
    /// Symmetric X3DH.
    pub(super) x3dh: SharedSecret,
    /// `DH(EK_A, IK_B)`
    pub(super) with_identity: DhOutput,
    /// `DH(EK_A, OPK_B)`
    pub(super) with_one_time: Option<DhOutput>,
    pub(super) kem: Secret<32>,
}

/// `SK`, the first root key. Its step with `DH(EK_A, SPK_B)` makes the initiator's first chain.
pub(super) fn root_key(transcript: &Transcript<'_>, secrets: &Secrets) -> RootKey {
    let mut ikm = Zeroizing::new([0; 5 * 32]);
    let parts = [&F, secrets.x3dh.as_bytes(), secrets.with_identity.as_bytes()]
        .into_iter()
        .chain(secrets.with_one_time.as_ref().map(DhOutput::as_bytes))
        .chain([secrets.kem.as_bytes()]);
    let mut length = 0;
    for part in parts {
        ikm[length..length + 32].copy_from_slice(part);
        length += 32;
    }
    let salt = transcript.hash();
    leaving_none(|| RootKey::new(&hkdf::<32>(&salt, &ikm[..length], ROOT_LABEL)))
}
