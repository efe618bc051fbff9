// Messages and bundles of wire 4 as a relay sees them: taken apart, altered, put together again, made up.
// docs/PROTOCOL.md, "Trailer", "Handshake", "The v4 field of a bundle".
import { createHash } from 'node:crypto';
import { ecSign } from '@stvor/sdk/ratchet';

/** Where the fields of a message stand: part, offset, length. Negative ones count from the part's end. */
const PLACES = {
  'ratchet key': ['header', 0, 65],
  'previous chain length': ['header', 65, 4],
  counter: ['header', 69, 4],
  nonce: ['header', 73, 12],
  version: ['trailer', 0, 1],
  flags: ['trailer', 1, 1],
  timestamp: ['trailer', 2, 8],
  'begun time': ['trailer', 10, 8],
  'session id': ['trailer', 18, 8],
  'identity key': ['trailer', 26, 33],
  'signed prekey': ['trailer', 59, 33],
  'signed prekey id': ['trailer', 92, 4],
  'KEM key id': ['trailer', 96, 4],
  'one-time prekey id': ['trailer', 100, 4],
  'signature length': ['trailer', 104, 1],
  signature: ['trailer', 105, -1088],
  'KEM ciphertext': ['trailer', -1088, 1088],
  ciphertext: ['ciphertext', 0, -16],
  tag: ['ciphertext', -16, 16],
};

/** What of a handshake names its session: from the identity key to the one-time prekey's id. */
const NAME = [26, 104];

/** A frame's message in its parts, as Buffers. */
export function parts({ payload }) {
  const [header, trailer = ''] = payload.header.split('.');
  const bytes = (text) => Buffer.from(text, 'base64url');
  return { header: bytes(header), trailer: bytes(trailer), ciphertext: bytes(payload.ciphertext) };
}

/** The frame with these parts in the place of its own. */
export function withParts(frame, changes) {
  const { header, trailer, ciphertext } = { ...parts(frame), ...changes };
  const text = (bytes) => bytes.toString('base64url');
  return { ...frame, payload: { ciphertext: text(ciphertext), header: `${text(header)}.${text(trailer)}` } };
}

function field(parts, name) {
  const [part, offset, length] = PLACES[name];
  const from = offset < 0 ? parts[part].length + offset : offset;
  return parts[part].subarray(from, length < 0 ? parts[part].length + length : from + length);
}

/** A field of a frame's message, as a Buffer. */
export const fieldOf = (frame, name) => field(parts(frame), name);

/** A copy of the frame with another value in a field: what `change` makes of it, as a Buffer, or has written to it. */
export function altered(frame, name, change = flipLastBit) {
  const copy = parts(frame);
  const bytes = field(copy, name);
  change(bytes)?.copy(bytes);
  return withParts(frame, copy);
}

function flipLastBit(bytes) {
  bytes[bytes.length - 1] ^= 1;
}

/** The frame with the session id that its handshake has, for the recipient with this bundle: anybody can compute it. */
export function renamed(frame, { identityKey }) {
  const { header, trailer } = parts(frame);
  const names = [frame.from, frame.to].map((name) => Buffer.from(name)).flatMap((name) => [varint(name.length), name]);
  const named = [Buffer.from('stvor-v4-session'), fieldOf(frame, 'begun time'), ...names, Buffer.from(identityKey, 'base64url'), header.subarray(0, 65), trailer.subarray(...NAME)];
  return altered(frame, 'session id', () => createHash('sha256').update(Buffer.concat(named)).digest().subarray(0, 8));
}

export const hasHandshake = (frame) => frame.payload.header.includes('.') && fieldOf(frame, 'flags')[0] === 1;
export const sessionOf = (frame) => fieldOf(frame, 'session id').toString('hex');
export const ratchetKeyOf = (frame) => fieldOf(frame, 'ratchet key').toString('hex');
export const payloadLength = (frame) => parts(frame).ciphertext.length - 16;

/** A text that is told from receipts by its length, see {@link carriesContent}. */
export const long = (text) => text.padEnd(1_000, '.');

/** Whether the message is that of a {@link long} text. */
export const carriesContent = (frame) => payloadLength(frame) > 900;

/** The compressed form of a public key. */
export const compressed = (point) => Buffer.concat([Buffer.from([2 + (point[64] & 1)]), point.subarray(1, 33)]);

/** Where the fields of a bundle's `v4` stand behind the user id, which is shorter than 128 bytes: offset, length. */
const V4_PLACES = {
  capabilities: [0, 4],
  'signed prekey id': [4, 4],
  'signed prekey': [8, 65],
  'KEM key id': [73, 4],
  'KEM key': [77, 1184],
  'valid from': [1261, 8],
  'valid until': [1269, 8],
  signature: [1277, Infinity],
};

function v4Field(bytes, name) {
  if (name === 'version') return bytes.subarray(0, 1);
  if (name === 'user id') return bytes.subarray(2, 2 + bytes[1]);
  const [offset, length] = V4_PLACES[name];
  return bytes.subarray(2 + bytes[1]).subarray(offset, offset + length);
}

/** A bundle with another value in a field of its `v4`; `change` as for {@link altered}. */
export function alteredV4(bundle, name, change = flipLastBit) {
  const bytes = Buffer.from(bundle.v4, 'base64url');
  const field = v4Field(bytes, name);
  change(field)?.copy(field);
  return { ...bundle, v4: bytes.toString('base64url') };
}

/** The ML-KEM-768 key in a bundle, with which anybody can make a bundle of their own. */
export const kemKeyOf = (bundle) => v4Field(Buffer.from(bundle.v4, 'base64url'), 'KEM key');

/** What a bundle looks like to whoever is not to see that its owner has wire 4. */
export const stripped = ({ v4, ...bundle }) => bundle;

/** A bundle that the owner of `identity` and `prekey` signs for `user`; times in milliseconds. */
export function bundle(user, { identity, prekey }, { kemKey, id = 1, validFrom = 0, validUntil }) {
  const text = (bytes) => bytes.toString('base64url');
  const body = Buffer.concat([Buffer.from([4]), varint(Buffer.byteLength(user)), Buffer.from(user), u32(0), u32(id), prekey.publicKey, u32(id), kemKey, u64(validFrom), u64(validUntil)]);
  const signature = ecSign(Buffer.concat([Buffer.from('stvor-v4-bundle'), identity.publicKey, body]), identity);
  return {
    identityKey: text(identity.publicKey),
    signedPreKey: text(prekey.publicKey),
    signedPreKeySignature: text(ecSign(prekey.publicKey, identity)),
    oneTimePreKey: '',
    v4: text(Buffer.concat([body, signature])),
  };
}

export function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** Lengths up to 16,383. */
const varint = (value) => Buffer.from(value < 0x80 ? [value] : [(value & 0x7f) | 0x80, value >> 7]);
