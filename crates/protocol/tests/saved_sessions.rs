//! Saved sessions that are not what they seem are refused rather than trusted.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use hmac::{Hmac, KeyInit, Mac};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};
use sha2::Sha256;
use stvor_protocol::{LocalKeys, SavedSessionError, Session};

/// A session in each state, and an established one with skipped keys of two chains.
struct Saved {
    pending: Value,
    initiated: Value,
    established: Value,
}

fn saved() -> Saved {
    let mut rng = ChaCha20Rng::seed_from_u64(7);
    let (a, b) = (LocalKeys::generate(&mut rng), LocalKeys::generate(&mut rng));
    let pending = Session::establish(&a, &b.bundle().verify().unwrap(), &mut rng).unwrap();
    let theirs = Session::establish(&b, &a.bundle().verify().unwrap(), &mut rng).unwrap();
    let first = pending.encrypt(b"first", &mut rng).unwrap();
    let initiated = first.session;

    // Numbers 0 and 1 of A's first chain, and 0 of its second, stay on their way to B.
    let second = initiated.encrypt(b"second", &mut rng).unwrap();
    let third = second.session.encrypt(b"third", &mut rng).unwrap();
    let theirs = theirs.decrypt(&third.header, &third.ciphertext, &mut rng).unwrap().session;
    let answer = theirs.encrypt(b"answer", &mut rng).unwrap();
    let ours = third.session.decrypt(&answer.header, &answer.ciphertext, &mut rng).unwrap();
    let late = ours.session.encrypt(b"late", &mut rng).unwrap();
    let next = late.session.encrypt(b"next", &mut rng).unwrap();
    let established =
        answer.session.decrypt(&next.header, &next.ciphertext, &mut rng).unwrap().session;
    assert_eq!(established.skipped_count(), 3);

    let value = |session: &Session| serde_json::from_slice(&session.serialize()).unwrap();
    Saved {
        pending: value(&pending),
        initiated: value(&initiated),
        established: value(&established),
    }
}

fn bytes(byte: u8, count: usize) -> Value {
    json!(vec![byte; count])
}

fn load(value: &Value) -> Result<Session, SavedSessionError> {
    // serde_json sorts keys; the order matters for skipped keys only, which stay as they are.
    Session::deserialize(value.to_string().as_bytes())
}

/// `change` makes a loadable session one that is refused.
fn assert_refused(
    value: &Value,
    what: &str,
    expected: SavedSessionError,
    change: impl FnOnce(&mut Value),
) {
    assert!(load(value).is_ok(), "{what}: loads unchanged");
    let mut changed = value.clone();
    change(&mut changed);
    assert_eq!(load(&changed).err(), Some(expected), "{what}");
}

#[test]
fn each_field_is_checked() {
    use SavedSessionError::{Key, Malformed, State, TooManySkippedKeys};
    let Saved { pending, initiated, established } = saved();
    let zeros = bytes(0, 32);
    let no_point = bytes(4, 65);

    for field in pending.as_object().unwrap().keys() {
        assert_refused(&pending, field, Malformed, |v| {
            v.as_object_mut().unwrap().remove(field);
        });
        assert_refused(&established, field, Malformed, |v| v[field] = json!("text"));
    }
    assert_refused(&pending, "unknown field", Malformed, |v| v["extra"] = json!(0));
    assert_refused(&pending, "long root key", Malformed, |v| v["rk"] = bytes(1, 33));
    assert_refused(&pending, "short root key", Malformed, |v| v["rk"] = bytes(1, 31));
    assert_refused(&pending, "byte of 256", Malformed, |v| v["rk"][0] = json!(256));
    assert_refused(&pending, "negative counter", Malformed, |v| v["sc"] = json!(-1));
    assert_refused(&pending, "counter of 2^32", Malformed, |v| v["sc"] = json!(1_u64 << 32));
    assert_refused(&pending, "flag of 2", Malformed, |v| v["ipc"] = json!(2));
    assert_refused(&pending, "long private key", Malformed, |v| {
        v["mrk"]["priv"] = bytes(1, 33);
    });

    for field in ["myIK", "peerIK"] {
        assert_refused(&pending, field, Key { field }, |v| v[field] = no_point.clone());
    }
    assert_refused(&pending, "pspk", Key { field: "pspk" }, |v| v["pspk"] = no_point.clone());
    assert_refused(&initiated, "trpk", Key { field: "trpk" }, |v| v["trpk"] = no_point.clone());
    assert_refused(&established, "trpk", Key { field: "trpk" }, |v| v["trpk"] = no_point.clone());
    assert_refused(&established, "mrk", Key { field: "mrk" }, |v| v["mrk"]["priv"] = json!([]));
    assert_refused(&established, "mrk of another", Key { field: "mrk" }, |v| {
        v["mrk"]["priv"] = pending["mrk"]["priv"].clone();
    });
    assert_refused(&pending, "mspk of another", Key { field: "mspk" }, |v| {
        v["mspk"]["priv"] = pending["mrk"]["priv"].clone();
    });

    assert_refused(&pending, "the same identity", State, |v| v["peerIK"] = v["myIK"].clone());
    assert_refused(&pending, "the same prekey", State, |v| {
        v["pspk"] = v["mspk"]["pub"].clone();
    });
    for value in [&pending, &initiated, &established] {
        assert_refused(value, "no root key", State, |v| v["rk"] = zeros.clone());
    }
    assert_refused(&pending, "used but pending", State, |v| v["sc"] = json!(1));
    assert_refused(&pending, "without prekeys", State, |v| v["mspk"] = Value::Null);
    assert_refused(&pending, "chain before its start", State, |v| v["sck"] = v["rk"].clone());
    assert_refused(&pending, "ratchet key before its chain", State, |v| {
        v["trpk"] = v["pspk"].clone();
    });
    assert_refused(&initiated, "nothing sent", State, |v| v["sc"] = json!(0));
    assert_refused(&initiated, "received nothing yet", State, |v| v["rc"] = json!(1));
    assert_refused(&initiated, "prekeys left over", State, |v| {
        v["pspk"] = pending["pspk"].clone();
        v["mspk"] = pending["mspk"].clone();
    });
    assert_refused(&established, "nothing received", State, |v| v["rc"] = json!(0));
    assert_refused(&established, "no sending chain", State, |v| v["sck"] = zeros.clone());
    assert_refused(&established, "no receiving chain", State, |v| v["rck"] = zeros.clone());
    assert_refused(&established, "no ratchet key", State, |v| v["trpk"] = Value::Null);

    let point: Vec<u8> = serde_json::from_value(pending["pspk"].clone()).unwrap();
    let point = hex::encode(point);
    let key = bytes(7, 32);
    let with = |name: String| {
        let key = key.clone();
        move |v: &mut Value| v["sk"][name] = key
    };
    for name in
        ["", "0", ":0", &format!("{point}:"), &format!("{point}:01"), &format!("{point}:-1")]
    {
        assert_refused(&established, name, Malformed, with(name.to_owned()));
    }
    let name = format!("{}:0", point.to_uppercase());
    assert_refused(&established, "upper case", Malformed, with(name));
    let name = format!("{}:0", "04".repeat(65));
    assert_refused(&established, "no point", Key { field: "sk" }, with(name));
    assert_refused(&initiated, "skipped before receiving", State, with(format!("{point}:0")));
    let current: Vec<u8> = serde_json::from_value(established["trpk"].clone()).unwrap();
    let name = format!("{}:{}", hex::encode(current), established["rc"]);
    assert_refused(&established, "skipped ahead of its chain", State, with(name));
    assert_refused(&established, "too many", TooManySkippedKeys, |v| {
        for number in 1000..2000 {
            v["sk"][format!("{point}:{number}")] = bytes(7, 32);
        }
    });
}

/// A session of the original that has taken a forgery: chains and keys that anybody can compute.
#[test]
fn chains_that_descend_from_zeros_are_refused() {
    let Saved { pending, established, .. } = saved();
    let hmac = |key: &[u8; 32], input: u8| -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.chain_update([input]).finalize().into_bytes().into()
    };
    let chain_key = |steps: u32| (0..steps).fold([0; 32], |key, _| hmac(&key, 1));

    for steps in [1, 8, 256, 4096] {
        assert_refused(&established, "receiving", SavedSessionError::State, |v| {
            v["sk"] = json!({});
            v["rc"] = json!(steps);
            v["rck"] = json!(chain_key(steps));
        });
        assert_refused(&established, "sending", SavedSessionError::State, |v| {
            v["sc"] = json!(steps);
            v["sck"] = json!(chain_key(steps));
        });
        let point: Vec<u8> = serde_json::from_value(pending["pspk"].clone()).unwrap();
        assert_refused(&established, "skipped", SavedSessionError::State, |v| {
            let name = format!("{}:{steps}", hex::encode(&point));
            v["sk"][name] = json!(hmac(&chain_key(steps), 2));
        });
    }
}

#[test]
fn what_is_not_json_is_refused() {
    let text = saved().pending.to_string();
    for json in ["", "null", "[]", "{}", &text[..text.len() - 1], &format!("{text}x")] {
        let outcome = Session::deserialize(json.as_bytes());
        assert_eq!(outcome.err(), Some(SavedSessionError::Malformed), "{json}");
    }
    let twice = text.replacen('{', r#"{"ipc":0,"#, 1);
    let outcome = Session::deserialize(twice.as_bytes());
    assert_eq!(outcome.err(), Some(SavedSessionError::Malformed), "field twice");
}
