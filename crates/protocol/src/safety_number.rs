//! The safety number of two users: what people compare to know that nobody stands between them.
//!
//! Each user has a digest over id and identity key, iterated so that a search for another key with
//! the same digits costs more. Both digests, the smaller first, make the number, so both sides see
//! the same. Pure, and costs some 2 ms a user: never on a path that a peer can make us take often.
//! Spec: docs/PROTOCOL.md, "Safety number".

use std::fmt;

use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;

use crate::codec::Write as _;
use crate::keys::IdentityKey;

/// Begins the input of the first hash, and so separates these hashes from all others.
const LABEL: &[u8] = b"stvor-safety-number-v1";

/// Hashes for each user. As many as Signal's numeric fingerprint has: it adds 12 bits to the 100
/// that 30 digits have.
const ITERATIONS: u32 = 5200;

/// First byte of the form for QR codes.
const VERSION: u8 = 1;

/// Bytes of a digest that become digits, five at a time.
const CHUNK: usize = 5;
const CHUNKS: usize = 6;

/// Bytes of a digest that stand in a QR code.
const HALF: usize = 32;

/// Length of [`SafetyNumber::to_bytes`].
pub const SAFETY_NUMBER_LENGTH: usize = 1 + 2 * HALF;

/// The number that two users have in common. Not secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SafetyNumber {
    lower: [u8; HALF],
    upper: [u8; HALF],
}

impl SafetyNumber {
    /// The number of two users, each an id and an identity key, in either order.
    pub fn new(one: (&str, &IdentityKey), other: (&str, &IdentityKey)) -> Self {
        let (one, other) = (half(one.0, one.1), half(other.0, other.1));
        let (lower, upper) = if one <= other { (one, other) } else { (other, one) };
        Self { lower, upper }
    }

    /// 60 decimal digits, to be read aloud in groups of five.
    pub fn digits(&self) -> String {
        let chunks = |half: &[u8; HALF]| {
            let chunks = half.chunks_exact(CHUNK).take(CHUNKS);
            chunks.map(|chunk| format!("{:05}", number(chunk) % 100_000)).collect::<String>()
        };
        chunks(&self.lower) + &chunks(&self.upper)
    }

    /// What stands in a QR code: a version and both digests. The same on both sides.
    pub fn to_bytes(&self) -> [u8; SAFETY_NUMBER_LENGTH] {
        let mut bytes = [VERSION; SAFETY_NUMBER_LENGTH];
        bytes[1..=HALF].copy_from_slice(&self.lower);
        bytes[1 + HALF..].copy_from_slice(&self.upper);
        bytes
    }

    /// Whether `scanned`, read from the other side's QR code, is this number. In constant time.
    pub fn matches(&self, scanned: &[u8]) -> bool {
        self.to_bytes().ct_eq(scanned).into()
    }
}

/// Groups of five digits, with spaces between them.
impl fmt::Display for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, digit) in self.digits().chars().enumerate() {
            let gap = if at > 0 && at % 5 == 0 { " " } else { "" };
            write!(f, "{gap}{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SafetyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafetyNumber({self})")
    }
}

/// The first bytes of a user's digest.
fn half(user_id: &str, identity: &IdentityKey) -> [u8; HALF] {
    let key = identity.as_bytes();
    let mut first = LABEL.to_vec();
    first.put_field(user_id.as_bytes());
    first.put(key);
    let mut digest = Sha512::digest(&first);
    for _ in 1..ITERATIONS {
        digest = Sha512::new().chain_update(digest).chain_update(key).finalize();
    }
    let mut half = [0; HALF];
    half.copy_from_slice(&digest[..HALF]);
    half
}

fn number(chunk: &[u8]) -> u64 {
    chunk.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}
