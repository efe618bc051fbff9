// Clients that have only wire 3: they speak the mock relay's frames, know no `v4` and no features.
import { once } from 'node:events';
import { CryptoSessionManager } from '@stvor/sdk';
import { decryptMessage, ecSign, ecVerify, encryptMessage, establishSession, generateKeyPair } from '@stvor/sdk/ratchet';
import WebSocket from 'ws';
import { Queue } from './collect.mjs';
import { TOKEN } from './relays.mjs';

const text = (bytes) => bytes.toString('base64url');
const bytes = (text) => Buffer.from(text, 'base64url');

/** Sessions as version 3.0.0 keeps them: one for each peer. */
async function ratchetSessions() {
  const [identity, prekey] = [generateKeyPair(), generateKeyPair()];
  const sessions = new Map();
  return {
    keys: {
      identityKey: text(identity.publicKey),
      signedPreKey: text(prekey.publicKey),
      signedPreKeySignature: text(ecSign(prekey.publicKey, identity)),
      oneTimePreKey: '',
    },
    async meet(peer, { identityKey, signedPreKey, signedPreKeySignature }) {
      if (!ecVerify(bytes(signedPreKey), bytes(signedPreKeySignature), bytes(identityKey))) throw new Error(`${peer}'s keys are not signed`);
      sessions.set(peer, establishSession(identity, prekey, bytes(identityKey), bytes(signedPreKey)));
    },
    has: (peer) => sessions.has(peer),
    encrypt(peer, content) {
      const { ciphertext, header } = encryptMessage(sessions.get(peer), content);
      return { ciphertext: text(ciphertext), header: text(header) };
    },
    decrypt: (peer, { ciphertext, header }) => decryptMessage(sessions.get(peer), bytes(ciphertext), bytes(header)).toString(),
  };
}

/** Those of {@link CryptoSessionManager}, which can also read what both sides sent first. */
async function managedSessions(user) {
  const manager = new CryptoSessionManager(user);
  await manager.initialize();
  return {
    keys: manager.getPublicKeys(),
    meet: (peer, { v4, ...keys }) => manager.establishSession(peer, keys),
    has: (peer) => manager.hasSession(peer),
    encrypt: (peer, content) => manager.encryptForPeer(peer, content),
    decrypt: (peer, { ciphertext, header }) => manager.decryptFromPeer(peer, ciphertext, header),
  };
}

export const wire3Sessions = { 'the ratchet by itself': ratchetSessions, CryptoSessionManager: managedSessions };

/**
 * A connected client: `send(to, text)` waits for the recipient's keys and the relay's answer, `inbox` gets
 * `{ from, content }`, `errors` what could not be read, `frames` every message that came. `back()` connects anew.
 */
export async function wire3Client(t, relay, user, sessionsOf = ratchetSessions) {
  const sessions = await sessionsOf(user);
  const client = { user, inbox: new Queue(), errors: new Queue(), frames: [], known: new Map() };
  const waiting = { keys: new Map(), answers: new Map() };
  let [ws, sent] = [undefined, 0];

  const keysOf = async (peer) => client.known.get(peer) ?? new Promise((resolve) => waiting.keys.set(peer, resolve));
  const meet = async (peer) => {
    const keys = await keysOf(peer);
    if (!sessions.has(peer)) await sessions.meet(peer, keys);
  };
  const read = async (frame) => {
    client.frames.push(frame);
    try {
      await meet(frame.from);
      client.inbox.push({ from: frame.from, content: sessions.decrypt(frame.from, frame.payload) });
    } catch (error) {
      client.errors.push(error);
    }
  };
  const onFrame = (frame) => {
    if (frame.type === 'announce' && frame.user !== user) {
      client.known.set(frame.user, frame.pub);
      waiting.keys.get(frame.user)?.(frame.pub);
    }
    if (frame.type === 'message') return read(frame);
    if (frame.type === 'ack' || frame.type === 'queued') waiting.answers.get(frame.id)?.(frame.type);
  };
  client.back = async () => {
    ws = new WebSocket(relay.url, { headers: { authorization: `Bearer ${TOKEN}` } });
    let reading = Promise.resolve();
    ws.on('message', (data) => (reading = reading.then(() => onFrame(JSON.parse(data)))));
    await once(ws, 'open');
    ws.send(JSON.stringify({ type: 'announce', user, pub: sessions.keys }));
    ws.ping();
    await once(ws, 'pong'); // the relay has read the announcement
  };
  client.leave = async () => {
    ws.close();
    await once(ws, 'close');
  };
  client.send = async (to, content) => {
    await meet(to);
    const id = `${user}-${(sent += 1)}`;
    const answered = new Promise((resolve) => waiting.answers.set(id, resolve));
    ws.send(JSON.stringify({ type: 'message', id, to, from: user, payload: sessions.encrypt(to, content) }));
    return answered;
  };
  await client.back();
  t.after(() => ws.terminate());
  return client;
}
