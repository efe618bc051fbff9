//! Two users of wire 4, a clock, and messages that a relay may do anything with.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use stvor_protocol::{
    Decrypt4Error, LocalKeys, Message4, OneTimePrekey, Opened4, Parties, Prekeys, SessionId,
    Sessions, VerifiedV4,
};

/// When the tests begin, milliseconds since the Unix epoch.
pub(crate) const START: u64 = 1_800_000_000_000;

pub(crate) const DAY: u64 = 24 * 60 * 60 * 1000;

#[derive(Clone)]
pub(crate) struct Side {
    pub(crate) name: &'static str,
    pub(crate) prekeys: Prekeys,
    pub(crate) sessions: Sessions,
}

/// A message as a relay sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Envelope {
    pub(crate) sender: String,
    pub(crate) recipient: String,
    pub(crate) header: [u8; 85],
    pub(crate) trailer: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: ChaCha20Rng,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self { now: START, rng: ChaCha20Rng::seed_from_u64(seed) }
    }

    /// Alice and Bob, who know each other's bundles and have no session.
    pub(crate) fn sides(&mut self) -> (Side, Side) {
        let (a, b) = (self.prekeys(), self.prekeys());
        let (to_a, to_b) = (identity(&a), identity(&b));
        (
            Side { name: "alice", prekeys: a, sessions: Sessions::new(to_b) },
            Side { name: "bob", prekeys: b, sessions: Sessions::new(to_a) },
        )
    }

    pub(crate) fn prekeys(&mut self) -> Prekeys {
        Prekeys::new(&LocalKeys::generate(&mut self.rng), self.now, &mut self.rng)
    }

    /// Alice has begun, Bob has answered, and Alice has read it.
    pub(crate) fn settled(&mut self) -> (Side, Side) {
        let (mut alice, mut bob) = self.sides();
        self.begin(&mut alice, &bob, None);
        let first = self.seal(&mut alice, b"first");
        self.open(&mut bob, &first).unwrap();
        let answer = self.seal(&mut bob, b"answer");
        self.open(&mut alice, &answer).unwrap();
        assert!(alice.sessions.is_answered() && bob.sessions.is_answered());
        (alice, bob)
    }

    pub(crate) fn begin(&mut self, from: &mut Side, to: &Side, one_time: Option<&OneTimePrekey>) {
        self.begin_after(from, to, one_time, None);
    }

    pub(crate) fn begin_after(
        &mut self,
        from: &mut Side,
        to: &Side,
        one_time: Option<&OneTimePrekey>,
        after: Option<u64>,
    ) {
        let theirs = to.published(self.now);
        let parties = Parties { sender: from.name, recipient: to.name };
        let (now, rng) = (self.now, &mut self.rng);
        from.sessions = from
            .sessions
            .begin(&from.prekeys, parties, &theirs, one_time, now, after, rng)
            .unwrap();
    }

    pub(crate) fn seal(&mut self, from: &mut Side, payload: &[u8]) -> Envelope {
        let recipient = if from.name == "alice" { "bob" } else { "alice" };
        let parties = Parties { sender: from.name, recipient };
        let sealed = from.sessions.encrypt(parties, self.now, payload, &mut self.rng).unwrap();
        assert_eq!(Some(sealed.session), from.sessions.sending());
        from.sessions = sealed.sessions;
        Envelope {
            sender: from.name.to_owned(),
            recipient: recipient.to_owned(),
            header: sealed.header,
            trailer: sealed.trailer,
            ciphertext: sealed.ciphertext,
        }
    }

    /// Opens and keeps what follows from it, one-time prekeys included.
    pub(crate) fn open(
        &mut self,
        to: &mut Side,
        envelope: &Envelope,
    ) -> Result<Vec<u8>, Decrypt4Error> {
        let opened = self.try_open(to, envelope)?;
        to.sessions = opened.sessions;
        if let Some(id) = opened.used_one_time {
            to.prekeys = to.prekeys.without_one_time(id);
        }
        Ok(opened.payload.to_vec())
    }

    pub(crate) fn try_open(
        &mut self,
        to: &Side,
        envelope: &Envelope,
    ) -> Result<Opened4, Decrypt4Error> {
        let parties = Parties { sender: &envelope.sender, recipient: &envelope.recipient };
        let Envelope { header, trailer, ciphertext, .. } = envelope;
        let message = Message4::parse(header, trailer, ciphertext)?;
        let (now, rng) = (self.now, &mut self.rng);
        to.sessions.decrypt(&to.prekeys, parties, &message, now, rng)
    }

    /// A message there and one back; both sides send on one session afterwards.
    pub(crate) fn converse(&mut self, a: &mut Side, b: &mut Side) -> SessionId {
        for n in 0..4_u8 {
            let (from, to) = if n % 2 == 0 { (&mut *a, &mut *b) } else { (&mut *b, &mut *a) };
            let message = self.seal(from, &[n]);
            assert_eq!(self.open(to, &message).unwrap(), [n]);
        }
        assert_eq!(a.sessions.sending(), b.sessions.sending());
        assert!(a.sessions.is_answered() && b.sessions.is_answered());
        a.sessions.sending().unwrap()
    }
}

impl Side {
    /// What a relay gives to those who ask.
    pub(crate) fn published(&self, now: u64) -> VerifiedV4 {
        let bundle = self.prekeys.local_keys().bundle().verify().unwrap();
        VerifiedV4::verify(&self.prekeys.v4(self.name), &bundle, self.name, now).unwrap()
    }
}

impl Envelope {
    /// When the session began, as the trailer says.
    pub(crate) fn begun_ms(&self) -> u64 {
        u64::from_be_bytes(self.trailer[10..18].try_into().unwrap())
    }

    pub(crate) fn has_handshake(&self) -> bool {
        self.trailer[1] == 1
    }
}

fn identity(prekeys: &Prekeys) -> stvor_protocol::IdentityKey {
    prekeys.local_keys().identity_key().clone()
}
