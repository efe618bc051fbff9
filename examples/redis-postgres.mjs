// The documentation's Redis + PostgreSQL set-up: adapters of your own in production mode. It runs as it stands, on
// local services and `npx @stvor/sdk mock-relay`. docs/STORAGE.md says where it differs from the documentation, and why.
//
// Environment, all optional: REDIS_URL, DATABASE_URL, STVOR_RELAY_URL, STVOR_APP_TOKEN, and IDENTITY_KEY, 32 bytes as
// 64 hexadecimal digits that seal the private identity keys. Without it the file identity.key is used, and made once.
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createApp, generateKeyPair } from '@stvor/sdk';
import Redis from 'redis';
import { Pool } from 'pg';

// Redis for replay protection (fast, ephemeral)
const redis = Redis.createClient({ url: process.env.REDIS_URL ?? 'redis://localhost:6379' });
redis.on('error', (error) => console.error(error.message));
await redis.connect();

// PostgreSQL for durable storage
const pg = new Pool({ connectionString: process.env.DATABASE_URL ?? 'postgres://postgres@localhost/postgres' });
pg.on('error', (error) => console.error(error.message));

await pg.query(`
  CREATE TABLE IF NOT EXISTS identities (user_id TEXT PRIMARY KEY, public_key BYTEA NOT NULL, encrypted_private_key BYTEA NOT NULL);
  CREATE TABLE IF NOT EXISTS sessions (user_id TEXT, peer_id TEXT, encrypted_state BYTEA NOT NULL, updated_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (user_id, peer_id));
  CREATE TABLE IF NOT EXISTS fingerprints (user_id TEXT, peer_id TEXT, fingerprint TEXT NOT NULL, PRIMARY KEY (user_id, peer_id));
`);

// Your KMS: here a key of 32 bytes, for ever the same, from the environment or a file.
const kmsKey = Buffer.from(process.env.IDENTITY_KEY ?? keyFile('identity.key'), 'hex');
if (kmsKey.length !== 32) throw new Error('IDENTITY_KEY, or the file identity.key, must be 64 hexadecimal digits.');

function keyFile(path) {
  if (!existsSync(path)) writeFileSync(path, randomBytes(32).toString('hex'), { flag: 'wx', mode: 0o600 });
  return readFileSync(path, 'utf8');
}

function encrypt(bytes, context) {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', kmsKey, nonce).setAAD(Buffer.from(context));
  return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(sealed, context) {
  const decipher = createDecipheriv('aes-256-gcm', kmsKey, sealed.subarray(0, 12)).setAAD(Buffer.from(context));
  decipher.setAuthTag(sealed.subarray(-16));
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
}

// Create storage adapters
const replayCache = {
  async checkAndMark(peerId, nonce, userId) {
    const key = `replay:${JSON.stringify([userId, peerId])}:${Buffer.from(nonce).toString('hex')}`;
    const marked = await redis.set(key, '1', { EX: 300, NX: true }); // 5 min TTL
    return marked === null; // null: it was there before
  },
};

const sessionStore = {
  async save(peerId, state, userId) {
    // `state` is encrypted already.
    await pg.query(
      `INSERT INTO sessions (user_id, peer_id, encrypted_state, updated_at) VALUES ($1, $2, $3, NOW())
       ON CONFLICT (user_id, peer_id) DO UPDATE SET encrypted_state = $3, updated_at = NOW()`,
      [userId, peerId, state],
    );
  },
  async load(peerId, userId) {
    const result = await pg.query('SELECT encrypted_state FROM sessions WHERE user_id = $1 AND peer_id = $2', [userId, peerId]);
    return result.rows[0]?.encrypted_state ?? null;
  },
};

const identityStore = {
  async getIdentityKeyPair(userId) {
    const made = generateKeyPair();
    await pg.query(
      'INSERT INTO identities (user_id, public_key, encrypted_private_key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
      [userId, made.publicKey, encrypt(made.privateKey, userId)],
    );
    // What is stored, not what was made: another process may have been first.
    const result = await pg.query('SELECT public_key, encrypted_private_key FROM identities WHERE user_id = $1', [userId]);
    const { public_key: publicKey, encrypted_private_key: sealed } = result.rows[0];
    return { publicKey, privateKey: decrypt(sealed, userId) };
  },
};

const tofuStore = {
  async storeFingerprint(peerId, fingerprint, userId) {
    await pg.query('INSERT INTO fingerprints (user_id, peer_id, fingerprint) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING', [userId, peerId, fingerprint]);
  },
  async verifyFingerprint(peerId, fingerprint, userId) {
    const result = await pg.query('SELECT fingerprint FROM fingerprints WHERE user_id = $1 AND peer_id = $2', [userId, peerId]);
    return result.rows[0] ? result.rows[0].fingerprint === fingerprint : null;
  },
  // app.trust() was called: the only way to change a fingerprint.
  async replaceFingerprint(peerId, fingerprint, userId) {
    await pg.query(
      'INSERT INTO fingerprints (user_id, peer_id, fingerprint) VALUES ($1, $2, $3) ON CONFLICT (user_id, peer_id) DO UPDATE SET fingerprint = $3',
      [userId, peerId, fingerprint],
    );
  },
};

// Create app with adapters
const app = await createApp({
  appToken: process.env.STVOR_APP_TOKEN ?? 'stvor_dev_test123',
  relayUrl: process.env.STVOR_RELAY_URL ?? 'ws://localhost:4444',
  storageAdapters: {
    replay: replayCache,
    sessions: sessionStore,
    identity: identityStore,
    tofu: tofuStore,
  },
  productionMode: true, // Hard-fail if adapters missing
});

const alice = await app.connect('alice@example.com');
const bob = await app.connect('bob@example.com');
bob.onMessage((from, content) => console.log(`${from}: ${content}`));
await alice.send('bob@example.com', 'Kept in PostgreSQL', { receipt: true });
console.log(`alice is ${alice.fingerprint()}`);

await app.disconnect();
await pg.end();
await redis.close();
