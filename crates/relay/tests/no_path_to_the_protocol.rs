//! The architecture's security argument: the relay is built without anything that could decrypt.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

/// Our crates that hold keys, and what any of them would decrypt or agree on keys with.
const FORBIDDEN: [&str; 26] = [
    "stvor-protocol",
    "stvor-client",
    "aead",
    "aes",
    "aes-gcm",
    "aws-lc-rs",
    "aws-lc-sys",
    "chacha20poly1305",
    "cipher",
    "ctr",
    "curve25519-dalek",
    "ecdsa",
    "elliptic-curve",
    "ghash",
    "hkdf",
    "hmac",
    "ml-kem",
    "native-tls",
    "openssl",
    "openssl-sys",
    "p256",
    "primeorder",
    "ring",
    "rustls",
    "sha2",
    "x25519-dalek",
];

/// The lines of `cargo tree` for the relay.
fn tree(flags: &[&str]) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--package", "stvor-relay", "--edges", "normal"])
        .args(["--prefix", "none", "--format", "{p}", "--offline", "--locked"])
        .args(flags)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree to run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("text");
    tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn the_relay_depends_on_no_cryptography_but_what_websocket_brings() {
    let names = tree(&[]);
    assert!(names.contains("stvor-wire") && names.contains("tokio"), "that is the relay's tree");
    let found: Vec<_> = FORBIDDEN.iter().filter(|name| names.contains(**name)).collect();
    assert!(found.is_empty(), "the relay must not depend on {found:?}");
    // docs/RELAY.md says what they are for: the handshake, and the masks of clients' frames.
    for (name, user) in [("sha1", "tungstenite"), ("chacha20", "rand"), ("rand", "tungstenite")] {
        let users = tree(&["--invert", name, "--depth", "1"]);
        assert_eq!(users, BTreeSet::from([name.to_owned(), user.to_owned()]));
    }
}
