#!/usr/bin/env python3
"""Writes sessions.json: wire 4 as docs/PROTOCOL.md describes it, by other code than ours.

Needs the Python package `cryptography`, 47 or later, on OpenSSL 3.5 or later. Alice is played here:
her bundle, her handshake, her messages and Bob's answers. All randomness comes from a counter, but
for the nonces of signatures and the KEM's ciphertexts, which the library chooses.
"""

import hashlib
import hmac
import json
import pathlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, mlkem
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NOW = 1_800_000_000_000
drawn = 0


def draw(length):
    global drawn
    drawn += 1
    return hashlib.shake_256(b"wire 4 vectors %d" % drawn).digest(length)


def be(value, length):
    return value.to_bytes(length, "big")


def field(data):
    length, out = len(data), b""
    while length >= 0x80:
        out += bytes([length & 0x7F | 0x80])
        length >>= 7
    return out + bytes([length]) + data


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hkdf(salt, ikm, info, length):
    prk, out, block = hmac.digest(salt, ikm, "sha256"), b"", b""
    for n in range(1, -(-length // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([n]), "sha256")
        out += block
    return out[:length]


class Key:
    """A key pair on P-256."""

    def __init__(self):
        order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
        self.scalar = int.from_bytes(draw(40), "big") % (order - 1) + 1
        self.private = ec.derive_private_key(self.scalar, ec.SECP256R1())
        encode = self.private.public_key().public_bytes
        x962 = serialization.Encoding.X962
        self.public = encode(x962, serialization.PublicFormat.UncompressedPoint)
        self.compressed = encode(x962, serialization.PublicFormat.CompressedPoint)

    def dh(self, public):
        theirs = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public)
        return self.private.exchange(ec.ECDH(), theirs)

    def sign(self, *parts):
        return self.private.sign(b"".join(parts), ec.ECDSA(hashes.SHA256()))


class User:
    """Long-term keys and prekeys."""

    def __init__(self, name):
        self.name = name
        self.ik, self.spk, self.opk = Key(), Key(), Key()
        self.signature = self.ik.sign(self.spk.public)
        self.seed = draw(64)
        self.kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(self.seed)
        self.kem_public = self.kem.public_key().public_bytes_raw()

    def v4(self):
        body = (
            b"\x04" + field(self.name) + be(0, 4) + be(1, 4) + self.spk.public
            + be(1, 4) + self.kem_public + be(NOW, 8) + be(NOW + 90 * 86_400_000, 8)
        )
        return body + self.ik.sign(b"stvor-v4-bundle", self.ik.public, body)

    def saved(self):
        """Saved prekeys: one set, the one-time prekey with id 1."""
        current = be(1, 4) + be(NOW, 8) + be(self.spk.scalar, 32) + field(self.signature) + self.seed
        return b"\x01" + current + b"\0" + be(2, 4) + b"\x01" + be(1, 4) + be(self.opk.scalar, 32)

    def json(self):
        return {
            "user": self.name.decode(),
            "identityKey": be(self.ik.scalar, 32).hex(),
            "prekeys": self.saved().hex(),
            "publicIdentityKey": self.ik.public.hex(),
            "signedPrekey": self.spk.public.hex(),
            "signedPrekeySignature": self.signature.hex(),
            "v4": self.v4().hex(),
        }


def x3dh(us, them):
    lower = us.ik.public < them.ik.public
    mine, theirs = us.ik.dh(them.spk.public), us.spk.dh(them.ik.public)
    dh1, dh2 = (mine, theirs) if lower else (theirs, mine)
    return hkdf(bytes(32), dh1 + dh2 + us.spk.dh(them.spk.public), b"X3DH", 32)


def root_step(root, dh):
    out = hkdf(root, dh, b"stvor-rk", 64)
    return out[:32], out[32:]


class Chain:
    def __init__(self, key):
        self.key, self.n = key, 0

    def step(self):
        message_key = hmac.digest(self.key, b"\x02", "sha256")
        self.key, self.n = hmac.digest(self.key, b"\x01", "sha256"), self.n + 1
        return message_key


class Message:
    def __init__(self, sender, recipient, ratchet, pn, chain, trailer, plaintext):
        n, nonce = chain.n, draw(12)
        self.header = ratchet.public + be(pn, 4) + be(n, 4) + nonce
        self.trailer, self.plaintext = trailer, plaintext
        ad = sha256(b"stvor-v4-ad", self.header, field(sender), field(recipient), field(trailer))
        self.ciphertext = AESGCM(chain.step()).encrypt(nonce, plaintext, ad)

    def json(self):
        return {name: value.hex() for name, value in vars(self).items()}


def case(note, with_one_time, names):
    alice, bob = User(names[0]), User(names[1])
    ek, begun = Key(), NOW + 5
    secret, ciphertext = mlkem.MLKEM768PublicKey.from_public_bytes(bob.kem_public).encapsulate()
    handshake = (
        alice.ik.compressed + alice.spk.compressed + be(1, 4) + be(1, 4)
        + be(1 if with_one_time else 0, 4) + bytes([len(alice.signature)]) + alice.signature
        + ciphertext
    )
    users = field(alice.name) + field(bob.name)
    session = sha256(
        b"stvor-v4-session", be(begun, 8), users, bob.ik.public, ek.public, handshake[:78]
    )[:8]
    transcript = sha256(
        b"stvor-v4-transcript", be(begun, 8), users, bob.ik.public, bob.spk.public, bob.kem_public,
        field(bob.opk.public if with_one_time else b""), ek.public, field(handshake),
    )
    secrets = [b"\xff" * 32, x3dh(alice, bob), ek.dh(bob.ik.public)]
    secrets += [ek.dh(bob.opk.public)] if with_one_time else []
    root = hkdf(transcript, b"".join(secrets) + secret, b"stvor-v4-root", 32)
    root, chain_key = root_step(root, ek.dh(bob.spk.public))
    chain = Chain(chain_key)

    def trailer(time, with_handshake):
        rest = be(begun, 8) + session + (handshake if with_handshake else b"")
        return b"\x04" + bytes([with_handshake]) + be(time, 8) + rest

    def say(ratchet, pn, chain, time, with_handshake, text, to_bob=True):
        sender, recipient = (alice, bob) if to_bob else (bob, alice)
        time = trailer(NOW + time, with_handshake)
        return Message(sender.name, recipient.name, ratchet, pn, chain, time, text).json()

    first = [say(ek, 0, chain, 10 + n, True, b"first %d" % n) for n in range(3)]
    # Bob's turn, then Alice's, as docs/PROTOCOL.md has them.
    bobs = Key()
    root, bobs_chain = root_step(root, bobs.dh(ek.public))
    answer = say(bobs, 0, Chain(bobs_chain), 20, False, b"answer", to_bob=False)
    next_key = Key()
    root, next_chain = root_step(root, next_key.dh(bobs.public))
    later = [say(next_key, 3, Chain(next_chain), 30, False, b"later")]
    return {
        "note": note,
        "alice": alice.json(),
        "bob": bob.json(),
        "now": NOW + 100,
        "session": session.hex(),
        "oneTime": 1 if with_one_time else None,
        "messages": first,
        "bobsRatchetKey": be(bobs.scalar, 32).hex(),
        "bobsNonce": answer["header"][-24:],
        "answer": answer,
        "later": later,
    }


cases = [
    case("with a one-time prekey", True, (b"alice", b"bob")),
    case("without a one-time prekey", False, (b"bob", "alicé".encode())),
    case("user ids of 127 and 128 bytes", True, (b"a" * 127, b"b" * 128)),
    case("a user id of 256 bytes", False, (b"a", b"b" * 256)),
]
path = pathlib.Path(__file__).with_name("sessions.json")
path.write_text(json.dumps({"cases": cases}, indent=1, ensure_ascii=False) + "\n")
