//! The JSON object, field by field in the original's order.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use super::bytes::{exactly, number};
use crate::fingerprint::hex;
use crate::skipped::SkippedMessageKeys;

/// A session as written. Byte strings become arrays of numbers.
#[derive(Serialize)]
pub(super) struct SavedRef<'a> {
    #[serde(rename = "myIK")]
    pub(super) my_ik: &'a [u8],
    #[serde(rename = "peerIK")]
    pub(super) peer_ik: &'a [u8],
    pub(super) rk: &'a [u8],
    pub(super) sck: &'a [u8],
    pub(super) rck: &'a [u8],
    pub(super) mrk: PairRef<'a>,
    pub(super) trpk: Option<&'a [u8]>,
    pub(super) sc: u32,
    pub(super) rc: u32,
    pub(super) psc: u32,
    pub(super) sk: SkippedRef<'a>,
    pub(super) ipc: u8,
    pub(super) pspk: Option<&'a [u8]>,
    pub(super) mspk: Option<PairRef<'a>>,
}

#[derive(Serialize)]
pub(super) struct PairRef<'a> {
    #[serde(rename = "pub")]
    pub(super) public: &'a [u8],
    #[serde(rename = "priv")]
    pub(super) private: &'a [u8],
}

/// `"<ratchet key hex>:<number>"` to message key, oldest first.
pub(super) struct SkippedRef<'a>(pub(super) Option<&'a SkippedMessageKeys>);

impl SavedRef<'_> {
    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Enough for every field at its longest, so that no half-written copy is left behind.
        let capacity = 3072 + 300 * self.sk.0.map_or(0, SkippedMessageKeys::len);
        let mut json = Zeroizing::new(Vec::with_capacity(capacity));
        #[expect(
            clippy::expect_used,
            reason = "numbers, arrays and strings; a Vec takes them all"
        )]
        serde_json::to_writer(&mut *json, self).expect("a session is JSON");
        json
    }
}

impl Serialize for SkippedRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (ratchet_key, counter, message_key) in self.0.iter().flat_map(|keys| keys.iter()) {
            let name = format!("{}:{counter}", hex(ratchet_key));
            map.serialize_entry(&name, &message_key.as_bytes()[..])?;
        }
        map.end()
    }
}

/// A session as read: lengths are right, nothing else is known yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    #[serde(rename = "myIK", deserialize_with = "point")]
    pub(super) my_ik: [u8; 65],
    #[serde(rename = "peerIK", deserialize_with = "point")]
    pub(super) peer_ik: [u8; 65],
    #[serde(deserialize_with = "exactly")]
    pub(super) rk: Zeroizing<[u8; 32]>,
    #[serde(deserialize_with = "exactly")]
    pub(super) sck: Zeroizing<[u8; 32]>,
    #[serde(deserialize_with = "exactly")]
    pub(super) rck: Zeroizing<[u8; 32]>,
    pub(super) mrk: Pair,
    #[serde(deserialize_with = "point_or_null")]
    pub(super) trpk: Option<[u8; 65]>,
    pub(super) sc: u32,
    pub(super) rc: u32,
    pub(super) psc: u32,
    #[serde(deserialize_with = "skipped")]
    pub(super) sk: Vec<SkippedKey>,
    #[serde(deserialize_with = "flag")]
    pub(super) ipc: bool,
    #[serde(deserialize_with = "point_or_null")]
    pub(super) pspk: Option<[u8; 65]>,
    #[serde(deserialize_with = "Option::deserialize")] // null, but not absent
    pub(super) mspk: Option<Pair>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    #[serde(rename = "pub", deserialize_with = "point")]
    pub(super) public: [u8; 65],
    #[serde(rename = "priv", deserialize_with = "number")]
    pub(super) private: Zeroizing<[u8; 32]>,
}

pub(super) struct SkippedKey {
    pub(super) ratchet_key: [u8; 65],
    pub(super) counter: u32,
    pub(super) message_key: Zeroizing<[u8; 32]>,
}

/// `exactly`, in a type of its own so that it can stand within another.
#[derive(Deserialize)]
#[serde(transparent)]
struct Exactly<const N: usize>(#[serde(deserialize_with = "exactly")] Zeroizing<[u8; N]>);

fn point<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 65], D::Error> {
    Ok(*exactly(deserializer)?)
}

fn point_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<[u8; 65]>, D::Error> {
    Ok(Option::<Exactly<65>>::deserialize(deserializer)?.map(|point| *point.0))
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match u8::deserialize(deserializer)? {
        0 => Ok(false),
        1 => Ok(true),
        other => {
            Err(D::Error::invalid_value(serde::de::Unexpected::Unsigned(other.into()), &"0 or 1"))
        }
    }
}

fn skipped<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SkippedKey>, D::Error> {
    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<SkippedKey>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of skipped message keys")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut keys = Vec::new();
            while let Some((name, message_key)) = map.next_entry::<String, Exactly<32>>()? {
                let (ratchet_key, counter) = parse_name(&name)
                    .ok_or_else(|| A::Error::custom("not the name of a skipped message key"))?;
                keys.push(SkippedKey { ratchet_key, counter, message_key: message_key.0 });
            }
            Ok(keys)
        }
    }

    deserializer.deserialize_map(InOrder)
}

/// `"<130 hex digits>:<number>"`, lower case, without leading zeros: as written, nothing else.
fn parse_name(name: &str) -> Option<([u8; 65], u32)> {
    let (digits, number) = name.split_once(':')?;
    let mut ratchet_key = [0; 65];
    if digits.len() != 2 * ratchet_key.len() {
        return None;
    }
    for (byte, pair) in ratchet_key.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    let counter = number.parse().ok()?;
    (format!("{}:{counter}", hex(&ratchet_key)) == name).then_some((ratchet_key, counter))
}
