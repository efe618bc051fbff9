//! Peers without a client: whoever writes what they like, in whatever wire, and lets a relay carry
//! it.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};
use stvor_protocol::{
    Content, LocalKeys, Parties, PeerKeys, PeerRecord, PrekeyBundle, Prekeys, Record, VerifiedV4,
};

/// Somebody who writes to one peer.
pub(crate) struct Stranger {
    name: String,
    keys: LocalKeys,
    prekeys: Prekeys,
    to: String,
    theirs: PeerKeys,
    /// Wire 4.
    record: PeerRecord,
    /// Wire 3.
    legacy: Record,
    random: ChaCha20Rng,
}

impl Stranger {
    /// `shown` are the keys that `to` has announced.
    pub(crate) fn new(name: &str, to: &str, shown: &Value) -> Self {
        let seed = name.bytes().fold(7, |seed: u64, byte| seed * 31 + u64::from(byte));
        let mut random = ChaCha20Rng::seed_from_u64(seed);
        let keys = LocalKeys::generate(&mut random);
        let prekeys = Prekeys::new(&keys, now_ms(), &mut random);
        let theirs = keys_in(shown, to);
        let record = PeerRecord::new(now_ms());
        let legacy = Record::new(&keys, theirs.bundle.clone(), &mut random).unwrap();
        let (name, to) = (name.to_owned(), to.to_owned());
        Self { name, keys, prekeys, to, theirs, record, legacy, random }
    }

    pub(crate) fn fingerprint(&self) -> String {
        self.keys.identity_key().fingerprint()
    }

    /// A bundle as those announce it who have only wire 3.
    pub(crate) fn announcement_of_wire3(&self) -> Value {
        let bundle = self.keys.bundle();
        let keys = json!({
            "identityKey": bundle.identity_key_base64url(),
            "signedPreKey": bundle.signed_prekey_base64url(),
            "signedPreKeySignature": bundle.signature_base64url(),
            "oneTimePreKey": "",
        });
        json!({"type": "announce", "user": self.name, "pub": keys})
    }

    /// The next message in wire 4, which begins a session if there is none.
    pub(crate) fn write(&mut self, content: Content) -> Value {
        let parties = Parties { sender: &self.name, recipient: &self.to };
        let (now_ms, random) = (now_ms(), &mut self.random);
        if self.record.sending_session().is_none() {
            let (ours, theirs) = (&self.prekeys, &self.theirs);
            let begun = self.record.begin(ours, parties, theirs, None, now_ms, None, random);
            self.record = begun.unwrap();
        }
        self.record.push(content, false).unwrap();
        let sealed = self.record.seal(parties, now_ms, random).unwrap();
        self.frame(&sealed.header, &sealed.ciphertext)
    }

    /// The same with a nonce that is always the same one, which no honest client has.
    pub(crate) fn write_with_one_nonce(&mut self, content: Content) -> Value {
        self.random = ChaCha20Rng::seed_from_u64(1);
        self.write(content)
    }

    /// The next message in wire 3.
    pub(crate) fn write_in_wire3(&mut self, text: &str) -> Value {
        let sealed = self.legacy.encrypt(text.as_bytes(), &mut self.random).unwrap();
        self.legacy = sealed.record;
        self.frame(&BASE64.encode(sealed.header), &sealed.ciphertext)
    }

    /// Reads what the peer has written in wire 3.
    pub(crate) fn read_in_wire3(&mut self, frame: &Value) -> String {
        let field = |name: &str| BASE64.decode(frame["payload"][name].as_str().unwrap()).unwrap();
        let (header, ciphertext) = (field("header"), field("ciphertext"));
        let opened = self.legacy.decrypt(&self.keys, &header, &ciphertext, &mut self.random);
        let opened = opened.unwrap();
        self.legacy = opened.record;
        String::from_utf8(opened.plaintext.to_vec()).unwrap()
    }

    fn frame(&self, header: &str, ciphertext: &[u8]) -> Value {
        let payload = json!({"header": header, "ciphertext": BASE64.encode(ciphertext)});
        json!({
            "type": "message", "id": "an id", "from": self.name, "to": self.to,
            "payload": payload, "timestamp": now_ms(),
        })
    }
}

fn keys_in(shown: &Value, user: &str) -> PeerKeys {
    let text = |field: &str| shown[field].as_str().unwrap();
    let bundle = PrekeyBundle::parse_base64url(
        text("identityKey"),
        text("signedPreKey"),
        text("signedPreKeySignature"),
    );
    let bundle = bundle.unwrap().verify().unwrap();
    let blob = BASE64.decode(text("v4")).unwrap();
    let v4 = VerifiedV4::verify(&blob, &bundle, user, now_ms()).unwrap();
    PeerKeys { bundle, v4: Some(v4) }
}

pub(crate) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    now.as_millis().try_into().unwrap()
}
