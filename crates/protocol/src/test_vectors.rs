//! Reading the recorded vectors in unit tests.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

/// Bytes that stand as hex in the vectors.
pub(crate) struct Hex(Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl std::ops::Deref for Hex {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Hex {
    pub(crate) fn array<const N: usize>(&self) -> &[u8; N] {
        self.0.as_slice().try_into().unwrap()
    }
}

pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

/// `kdf.json`: the building blocks one by one.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kdf {
    pub(crate) root_kdf: Vec<RootKdf>,
    pub(crate) chain_kdf: Vec<ChainKdf>,
    pub(crate) chain_sequences: Vec<ChainSequence>,
    pub(crate) x3dh_kdf: Vec<X3dhKdf>,
    pub(crate) aead: Vec<Aead>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RootKdf {
    pub(crate) root_key: Hex,
    pub(crate) dh_output: Hex,
    pub(crate) new_root_key: Hex,
    pub(crate) chain_key: Hex,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChainKdf {
    pub(crate) chain_key: Hex,
    pub(crate) next_chain_key: Hex,
    pub(crate) message_key: Hex,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChainSequence {
    pub(crate) start: Hex,
    pub(crate) message_keys: Vec<Hex>,
    pub(crate) final_chain_key: Hex,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct X3dhKdf {
    pub(crate) ikm: Hex,
    pub(crate) shared_secret: Hex,
}

#[derive(Deserialize)]
pub(crate) struct Aead {
    pub(crate) key: Hex,
    pub(crate) nonce: Hex,
    pub(crate) aad: Hex,
    pub(crate) plaintext: Hex,
    pub(crate) ciphertext: Hex,
}

pub(crate) fn kdf() -> Kdf {
    parse(include_str!("../tests/vectors/v3.0.0/kdf.json"))
}
