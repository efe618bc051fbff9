// Signal's own library: the ratchet with its post-quantum additions, over in-memory stores that
// keep records as objects, which is the cheapest that its store interfaces allow.
import * as signal from '@signalapp/libsignal-client';

export const name = 'libsignal';

/** Everything one user keeps. */
class Party extends signal.SessionStore {
  sessions = new Map();
  identity = signal.IdentityKeyPair.generate();
  constructor(user) {
    super();
    this.address = signal.ProtocolAddress.new(user, 1);
    this.identities = new Identities(this.identity);
    this.prekeys = new Prekeys();
  }
  async saveSession(address, record) {
    this.sessions.set(address.name(), record);
  }
  async getSession(address) {
    return this.sessions.get(address.name()) ?? null;
  }
  async getExistingSessions(addresses) {
    return addresses.map((address) => this.sessions.get(address.name()));
  }

  /** Signed prekey and KEM prekey as published. Without a one-time prekey: as few operations as possible. */
  bundle({ oneTimePrekey = false } = {}) {
    const signed = signal.PrivateKey.generate();
    const signature = this.identity.privateKey.sign(signed.getPublicKey().serialize());
    const kem = signal.KEMKeyPair.generate();
    const kemSignature = this.identity.privateKey.sign(kem.getPublicKey().serialize());
    this.prekeys.signed = signal.SignedPreKeyRecord.new(1, 0, signed.getPublicKey(), signed, signature);
    this.prekeys.kem = signal.KyberPreKeyRecord.new(1, 0, kem, kemSignature);
    const key = this.identity.publicKey;
    const oneTime = oneTimePrekey ? this.prekeys.addOneTime() : [null, null];
    return signal.PreKeyBundle.new(1, 1, ...oneTime, 1, signed.getPublicKey(), signature, key, 1, kem.getPublicKey(), kemSignature);
  }
  establish(peer, bundle) {
    return signal.processPreKeyBundle(bundle, peer.address, this.address, this, this.identities);
  }
  async encrypt(peer, text) {
    return (await signal.signalEncrypt(text, peer.address, this.address, this, this.identities)).serialize();
  }
  decrypt(peer, bytes) {
    const message = signal.SignalMessage.deserialize(bytes);
    return signal.signalDecrypt(message, peer.address, this.address, this, this.identities);
  }
  decryptFirst(peer, bytes) {
    const message = signal.PreKeySignalMessage.deserialize(bytes);
    const stores = [this, this.identities, this.prekeys, this.prekeys, this.prekeys];
    return signal.signalDecryptPreKey(message, peer.address, this.address, ...stores);
  }
}

class Identities extends signal.IdentityKeyStore {
  constructor(pair) {
    super();
    this.pair = pair;
    this.known = new Map();
  }
  async getIdentityKey() {
    return this.pair.privateKey;
  }
  async getIdentityKeyPair() {
    return this.pair;
  }
  async getLocalRegistrationId() {
    return 1;
  }
  async saveIdentity(address, key) {
    this.known.set(address.name(), key);
    return signal.IdentityChange.NewOrUnchanged;
  }
  async isTrustedIdentity() {
    return true;
  }
  async getIdentity(address) {
    return this.known.get(address.name()) ?? null;
  }
}

class Prekeys {
  /** Returns id and public key. The prekey stays after use, so that every set-up has one. */
  addOneTime() {
    const key = signal.PrivateKey.generate();
    this.oneTime = signal.PreKeyRecord.new(1, key.getPublicKey(), key);
    return [1, key.getPublicKey()];
  }
  async getPreKey() {
    if (!this.oneTime) throw new Error('no one-time prekey is published');
    return this.oneTime;
  }
  async getSignedPreKey() {
    return this.signed;
  }
  async getKyberPreKey() {
    return this.kem;
  }
  async savePreKey() {}
  async removePreKey() {}
  async saveSignedPreKey() {}
  async saveKyberPreKey() {}
  async markKyberPreKeyUsed() {}
}

/** Two users who have both been heard, so that no message carries the handshake any more. */
async function conversation() {
  const [alice, bob] = [new Party('alice'), new Party('bob')];
  await alice.establish(bob, bob.bundle());
  await bob.decryptFirst(alice, await alice.encrypt(bob, Buffer.from('hello')));
  await alice.decrypt(bob, await bob.encrypt(alice, Buffer.from('hello')));
  return [alice, bob];
}

export async function oneWay(text) {
  const [alice, bob] = await conversation();
  return async (n) => {
    for (let i = 0; i < n; i++) await bob.decrypt(alice, await alice.encrypt(bob, text));
  };
}

export async function pingPong(text) {
  let [sender, receiver] = await conversation();
  return async (n) => {
    for (let i = 0; i < n; i++) {
      await receiver.decrypt(sender, await sender.encrypt(receiver, text));
      [sender, receiver] = [receiver, sender];
    }
  };
}

/** From keys and a published bundle to the first message read; the keys are made outside the timing. */
export const setUp = (text) => setUpWith(text, { oneTimePrekey: false });

export const setUpWithOneTimePrekey = (text) => setUpWith(text, { oneTimePrekey: true });

async function setUpWith(text, options) {
  const parties = [new Party('alice'), new Party('bob')];
  const [alice, bob] = parties;
  const bundle = bob.bundle(options);
  return async (n) => {
    for (let i = 0; i < n; i++) {
      for (const party of parties) party.sessions.clear();
      await alice.establish(bob, bundle);
      await bob.decryptFirst(alice, await alice.encrypt(bob, text));
    }
  };
}
