//! Any bytes as a handshake, and what else is in a first message: a byte that says which prekeys
//! are held, the header, when the session began, the handshake behind its length, the ciphertext.
//!
//! The session id is computed here, so that what lies behind its check is reached: prekeys by
//! their ids, the signature, the key agreement, the decapsulation. Alice's genuine messages open,
//! and nothing else. The users are those of the first case in
//! `crates/protocol/tests/vectors/wire4`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use stvor_protocol::{Decrypt4Error, IdentityKeyPair, Message4, Parties, Prekeys, Sessions};

const NOW: u64 = 1800000000100;
const DAY: u64 = 24 * 60 * 60 * 1000;
const PARTIES: Parties<'static> = Parties { sender: "alice", recipient: "bob" };

/// How much of a handshake names the session.
const NAMED: usize = 78;

const GENUINE: &[u8] = include_bytes!("../seeds/message4/first-0");

struct Bob {
    /// With the one-time prekey that Alice has used, without it, and rotated since.
    prekeys: [Prekeys; 3],
    identity: [u8; 65],
}

static BOB: LazyLock<Bob> = LazyLock::new(|| {
    let identity = IdentityKeyPair::from_bytes(include_bytes!("../keys/bob-identity"));
    let identity = identity.expect("a recorded key");
    let recorded = Prekeys::from_bytes(&identity, include_bytes!("../seeds/sessions/prekeys"))
        .expect("recorded prekeys");
    let rng = &mut ChaCha20Rng::seed_from_u64(1);
    let rotated = recorded.rotated(NOW + 8 * DAY, rng).expect("a week has passed");
    let prekeys = [recorded.clone(), recorded.without_one_time(1), rotated];
    Bob { prekeys, identity: *identity.public().as_bytes() }
});

fuzz_target!(|bytes: &[u8]| {
    let Some(first) = First::parse(bytes) else { return };
    let bob = &*BOB;
    let trailer = first.trailer(&bob.identity);
    let Ok(message) = Message4::parse(first.header, &trailer, first.ciphertext) else { return };
    let Ok(Some(claimed)) = message.sender_identity() else { return };
    assert!(message.has_handshake());

    let prekeys = &bob.prekeys[usize::from(first.held) % bob.prekeys.len()];
    let rng = &mut ChaCha20Rng::seed_from_u64(3);
    let opened = Sessions::new(claimed).decrypt(prekeys, PARTIES, &message, NOW, rng);
    match opened {
        Ok(opened) => {
            assert!(first.is_genuine(&trailer));
            assert_eq!(opened.used_one_time, Some(1));
            assert_eq!(opened.session, message.session());
        }
        // There is no session yet of which it could be a message.
        Err(error) => assert!(
            !matches!(error, Decrypt4Error::Replay | Decrypt4Error::MissingMessageKey),
            "{error:?}"
        ),
    }
});

struct First<'a> {
    held: u8,
    header: &'a [u8],
    begun: &'a [u8; 8],
    handshake: &'a [u8],
    ciphertext: &'a [u8],
}

impl<'a> First<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (&held, rest) = bytes.split_first()?;
        let (header, rest) = rest.split_at_checked(85)?;
        let (begun, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (handshake, ciphertext) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        Some(Self { held, header, begun, handshake, ciphertext })
    }

    /// As the initiator computes it, for a message sealed now.
    fn trailer(&self, recipient: &[u8; 65]) -> Vec<u8> {
        let named = &self.handshake[..self.handshake.len().min(NAMED)];
        let id = Sha256::new_with_prefix(b"stvor-v4-session")
            .chain_update(self.begun)
            .chain_update(b"\x05alice\x03bob")
            .chain_update(recipient)
            .chain_update(&self.header[..65])
            .chain_update(named)
            .finalize();
        let timestamp = (NOW - 90).to_be_bytes();
        [&[4, 1], &timestamp[..], self.begun, &id[..8], self.handshake].concat()
    }

    fn is_genuine(&self, trailer: &[u8]) -> bool {
        let length = (trailer.len() as u16).to_be_bytes();
        GENUINE == [self.header, &length, trailer, self.ciphertext].concat()
    }
}
