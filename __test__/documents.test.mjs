// What the documents say is true: the README's programs run, links lead somewhere, the table of errors is
// complete, the worked example of wire 3 is what this package computes, and that of wire 4 what its
// description says (that the package reads it is tested beside the code).
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { createDecipheriv, createECDH, createHash, createHmac, ECDH, hkdfSync } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { STVOR_ERRORS } from '@stvor/sdk';
import { startMockRelay } from '@stvor/sdk/mock-relay';
import { decryptMessage, deserializeSession, ecVerify, x3dhSymmetric } from '@stvor/sdk/ratchet';
import { program, root } from '../scripts/cargo.mjs';
import { withoutMemoryWarnings } from './support/child.mjs';

const run = promisify(execFile);
const read = (path) => readFileSync(join(root, path), 'utf8');
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
];

/** Blocks of a language in a document: the code, and the line of the document where it begins. */
function blocks(text, language) {
  const found = text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'));
  return [...found].map((match) => ({ code: match[1], line: text.slice(0, match.index).split('\n').length }));
}

describe('the programs of the README', () => {
  const readme = read('README.md');
  const directory = mkdtempSync(join(tmpdir(), 'stvor-readme-'));
  let relay;

  /** What each prints, by a line that is in it and in no other. */
  const prints = {
    "'Hello! 🔐'": 'delivered\nalice: Hello! 🔐\n',
    "'Hello from CommonJS!'": 'carol: Hello from CommonJS!\n',
    "'Hello from TypeScript!'": /^\d{4}-\d\d-\d\dT\S+Z erin: Hello from TypeScript!\n$/,
    'startMockRelay': 'false true\n',
    "'text arrives as a string'": /^true grace text arrives as a string true\n.*<Buffer ff 00>.*\ngrace: ff00\n$/,
    "'Hello?'": 'true false\n',
    'items: new Map': /^\{\n  id: 7n,\n  placed: 1970-01-01T00:00:00\.000Z,\n  items: Map\(1\) \{ 'tea' => 2 \},\n  tags: Set\(1\) \{ 'gift' \},\n  note: undefined\n\}\ncontent\.customer\.save is a function, which cannot be sent\.\n$/,
    "'Keep this.'": "received [ 'Keep this.' ]\nvictor 2\n",
    'readOverThePhone =': 'delivered\n',
    'there.matches': 'true true\n',
    "'stvor.db'": 'received by quentin\n',
    'decryptMessage(toAlice': '85 Hello! established\n',
    'kim.encryptForPeer': 'Hello!\n',
  };

  before(async () => {
    relay = await startMockRelay();
    mkdirSync(join(directory, 'node_modules', '@stvor'), { recursive: true });
    symlinkSync(root, join(directory, 'node_modules', '@stvor', 'sdk'), 'junction');
  });
  after(async () => {
    await relay.close();
    rmSync(directory, { recursive: true });
  });

  async function runs(code, file) {
    const expected = Object.entries(prints).filter(([line]) => code.includes(line));
    assert.equal(expected.length, 1, 'a program of the README needs its output stated here');
    const { stdout, stderr } = await run(process.execPath, [file], { cwd: directory });
    assert.equal(withoutMemoryWarnings(stderr), '');
    if (expected[0][1] instanceof RegExp) assert.match(stdout, expected[0][1]);
    else assert.equal(stdout, expected[0][1]);
  }

  const local = (code) => code.replaceAll('ws://localhost:4444', relay.url);

  for (const { code, line } of blocks(readme, 'js')) {
    test(`line ${line} runs and prints what it should`, async () => {
      const file = `readme-${line}.${/^import /m.test(code) ? 'mjs' : 'cjs'}`;
      writeFileSync(join(directory, file), local(code));
      await runs(code, file);
      if (code.includes('productionMode')) await runs(code, file); // and once more, on what is kept
    });
  }

  for (const { code, line } of blocks(readme, 'ts')) {
    test(`line ${line} compiles, runs and prints what it should`, async () => {
      writeFileSync(join(directory, `readme-${line}.mts`), local(code));
      const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')];
      const options = ['--module', 'NodeNext', '--target', 'ES2022', '--strict', ...types];
      execFileSync(process.execPath, [program('typescript/bin/tsc'), ...options, `readme-${line}.mts`], { cwd: directory, stdio: 'inherit' });
      await runs(code, `readme-${line}.mjs`);
    });
  }

  test('are all of those whose output is stated here', () => {
    const code = [...blocks(readme, 'js'), ...blocks(readme, 'ts')].map((block) => block.code);
    for (const line of Object.keys(prints)) assert.equal(code.filter((one) => one.includes(line)).length, 1, line);
  });
});

test('the README lists every error code', () => {
  const table = [...read('README.md').matchAll(/^\| `([A-Z_]+)` \|/gm)].map((match) => match[1]);
  assert.deepEqual(table.sort(), Object.keys(STVOR_ERRORS).sort());
});

test('the changelog names every error code that the original does not have', () => {
  const [added] = /^- Error codes .*?\.$/ms.exec(read('CHANGELOG.md'));
  assert.deepEqual([...added.matchAll(/`([A-Z_]+)`/g)].map((match) => match[1]), Object.keys(STVOR_ERRORS).slice(9));
});

for (const document of documents) {
  test(`the links of ${document} lead somewhere`, () => {
    const text = read(document).replace(/^```.*?^```$/gms, '');
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]).filter((link) => !/^[a-z]+:/.test(link));
    for (const link of links) {
      const [path, anchor] = link.split('#');
      const target = path === '' ? join(root, document) : resolve(root, dirname(document), path);
      assert.ok(existsSync(target), link);
      if (anchor !== undefined) assert.ok(anchors(readFileSync(target, 'utf8')).has(anchor), link);
    }
  });
}

/** The anchors of headings, as GitHub makes them. */
function anchors(text) {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map((match) => match[1]);
  return new Set(headings.map((heading) => heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replaceAll(' ', '-')));
}

/** The worked example under a heading of the protocol: its text, and what follows a label in it. */
function workedExample(heading) {
  const section = read('docs/PROTOCOL.md').split(`\n## ${heading}\n`)[1].split('\n## ')[0];
  const text = blocks(section, 'text').map((block) => block.code).join('\n');
  /** The hexadecimal that follows a label, also where it goes on in the next lines. */
  const hex = (label, nth = 0) => {
    const escaped = label.replace(/[()]/g, '\\$&');
    const found = [...text.matchAll(new RegExp(`^${escaped} +((?:[0-9a-f]{2,}\\s+)+)`, 'gm'))][nth];
    return Buffer.from(found[1].replace(/\s/g, ''), 'hex');
  };
  const pair = (label) => {
    const [privateKey, publicKey] = [new RegExp(`^${label} +private ([0-9a-f]+)$`, 'm'), new RegExp(`^${label} +private .*\\n +public +([0-9a-f]+)\\n +([0-9a-f]+)$`, 'm')]
      .map((pattern) => Buffer.from(pattern.exec(text).slice(1).join(''), 'hex'));
    return { publicKey, privateKey };
  };
  return { text, hex, pair };
}

describe('the worked example of wire 3', () => {
  const { text: example, hex, pair } = workedExample('15. Worked example');
  const [alice, bob] = ['alice', 'bob'].map((name) => ({ identity: pair(`${name} identity`), prekey: pair(`${name} signed prekey`), ratchet: pair(`${name} ratchet`) }));

  test('agrees on the secret', () => {
    assert.deepEqual(x3dhSymmetric(alice.identity, alice.prekey, bob.identity.publicKey, bob.prekey.publicKey), hex('SK'));
    assert.deepEqual(x3dhSymmetric(bob.identity, bob.prekey, alice.identity.publicKey, alice.prekey.publicKey), hex('SK'));
  });

  /** A saved session in which nothing was sent or received. */
  const saved = (ours, theirs, changes) => {
    const half = ({ publicKey, privateKey }) => ({ pub: [...publicKey], priv: [...privateKey] });
    const none = new Array(32).fill(0);
    return JSON.stringify({
      myIK: [...ours.identity.publicKey], peerIK: [...theirs.identity.publicKey],
      rk: [...hex('SK')], sck: none, rck: none, mrk: half(ours.ratchet), trpk: null,
      sc: 0, rc: 0, psc: 0, sk: {}, ipc: 0, pspk: [...theirs.prekey.publicKey], mspk: half(ours.prekey), ...changes,
    });
  };

  test('is read by bob', () => {
    const session = deserializeSession(saved(bob, alice, {}));
    assert.equal(decryptMessage(session, hex('ciphertext'), hex('header')).toString(), 'hello');
  });

  test('is answered to alice', () => {
    const begun = { rk: [...hex('RK')], sck: [...hex('CKs afterwards')], trpk: [...bob.prekey.publicKey], sc: 1, pspk: null, mspk: null };
    const session = deserializeSession(saved(alice, bob, begun));
    assert.equal(decryptMessage(session, hex('ciphertext', 1), hex('header', 1)).toString(), 'hi');
  });

  test('travels as base64url', () => {
    assert.ok(example.includes(`payload.header        ${hex('header').toString('base64url')}\n`));
    assert.ok(example.includes(`payload.ciphertext    ${hex('ciphertext').toString('base64url')}\n`));
  });
});

describe('the worked example of wire 4', () => {
  const { text: example, hex, pair } = workedExample('32. Worked example of wire 4');
  const wire3 = workedExample('15. Worked example');
  const [alice, bob] = ['alice', 'bob'].map((name) => ({
    identity: wire3.pair(`${name} identity`), prekey: wire3.pair(`${name} signed prekey`), ratchet: wire3.pair(`${name} ratchet`),
  }));
  const [begun, sealed, answered] = [1767225600000n, 1767225600250n, 1767225600700n];
  const [seq, answersSeq] = [begun * 4096n, (begun + 300n) * 4096n];

  const u32 = (value) => Buffer.from([value >>> 24, value >>> 16, value >>> 8, value]);
  const u64 = (value) => { const bytes = Buffer.alloc(8); bytes.writeBigUInt64BE(value); return bytes; };
  /** Behind its length, a varint. */
  const field = (bytes) => {
    const length = [];
    for (let rest = bytes.length; ; rest >>= 7) {
      length.push(rest < 0x80 ? rest : (rest & 0x7f) | 0x80);
      if (rest < 0x80) return Buffer.concat([Buffer.from(length), Buffer.from(bytes)]);
    }
  };
  const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();
  const hkdf = (salt, ikm, info, length) => Buffer.from(hkdfSync('sha256', ikm, salt, info, length));
  const dh = ({ privateKey }, publicKey) => { const ecdh = createECDH('prime256v1'); ecdh.setPrivateKey(privateKey); return ecdh.computeSecret(publicKey); };
  const compressed = ({ publicKey }) => ECDH.convertKey(publicKey, 'prime256v1', null, null, 'compressed');
  const rootStep = (root, secret) => { const output = hkdf(root, secret, 'stvor-rk', 64); return [output.subarray(0, 32), output.subarray(32)]; };
  const messageKey = (chain) => createHmac('sha256', chain).update('\x02').digest();
  const nonce = (first) => Buffer.from(Array.from({ length: 12 }, (_, at) => first + at));
  const users = Buffer.concat([field('alice'), field('bob')]);
  const oneTime = pair('bob one-time prekey');
  const padded = (...parts) => { const payload = Buffer.concat(parts); return Buffer.concat([payload, Buffer.alloc(32 - payload.length)]); };
  const handshake = Buffer.concat([
    compressed(alice.identity), compressed(alice.prekey), u32(1), u32(1), u32(7),
    Buffer.from([hex('alice SPK signature').length]), hex('alice SPK signature'), hex('KEM ciphertext'),
  ]);
  const open = (key, header, ad, ciphertext) => {
    const decipher = createDecipheriv('aes-256-gcm', key, header.subarray(73)).setAAD(ad).setAuthTag(ciphertext.subarray(-16));
    return Buffer.concat([decipher.update(ciphertext.subarray(0, -16)), decipher.final()]);
  };
  const ad = (header, sender, recipient, trailer) => sha256('stvor-v4-ad', header, field(sender), field(recipient), field(trailer));
  const id = (sender, recipient, number) => sha256('stvor-v4-id', field(sender), field(recipient), u64(number)).subarray(0, 16);

  test('has keys made of its labels, and signatures that verify', () => {
    assert.deepEqual(oneTime.privateKey, sha256('stvor example: bob one-time prekey'));
    const ecdh = createECDH('prime256v1');
    ecdh.setPrivateKey(oneTime.privateKey);
    assert.deepEqual(oneTime.publicKey, ecdh.getPublicKey());
    assert.deepEqual(hex('bob KEM seed'), Buffer.concat(['d', 'z'].map((half) => sha256(`stvor example: bob kem ${half}`))));
    for (const [user, name] of [[alice, 'alice'], [bob, 'bob']]) {
      assert.ok(ecVerify(user.prekey.publicKey, hex(`${name} SPK signature`), user.identity.publicKey));
    }
  });

  test('names the session', () => {
    assert.deepEqual(sha256(handshake), hex('handshake, SHA-256'));
    const named = [u64(begun), users, bob.identity.publicKey, alice.ratchet.publicKey, handshake.subarray(0, 78)];
    assert.deepEqual(sha256('stvor-v4-session', ...named).subarray(0, 8), hex('session id'));
  });

  test('derives the keys', () => {
    const shared = x3dhSymmetric(alice.identity, alice.prekey, bob.identity.publicKey, bob.prekey.publicKey);
    assert.deepEqual(dh(alice.ratchet, bob.identity.publicKey), hex('DH(EK_A, IK_B)'));
    assert.deepEqual(dh(alice.ratchet, oneTime.publicKey), hex('DH(EK_A, OPK_B)'));
    assert.deepEqual(dh(bob.prekey, alice.ratchet.publicKey), hex('DH(EK_A, SPK_B)'));
    const secrets = [Buffer.alloc(32, 0xff), shared, hex('DH(EK_A, IK_B)'), hex('DH(EK_A, OPK_B)'), hex('KEM secret')];
    assert.deepEqual(hkdf(hex('transcript'), Buffer.concat(secrets), 'stvor-v4-root', 32), hex('SK'));
    assert.deepEqual(rootStep(hex('SK'), hex('DH(EK_A, SPK_B)')), [hex('RK'), hex('CKs')]);
    assert.deepEqual(messageKey(hex('CKs')), hex('MK of message 0'));
    assert.deepEqual(rootStep(hex('RK'), dh(bob.ratchet, alice.ratchet.publicKey)), [hex('RK after his turn'), hex('CKs', 1)]);
    assert.deepEqual(messageKey(hex('CKs', 1)), hex('MK of message 0', 1));
  });

  test('seals a first message', () => {
    const trailer = Buffer.concat([Buffer.from([4, 1]), u64(sealed), u64(begun), hex('session id'), handshake]);
    assert.deepEqual(trailer.subarray(0, 26), hex('trailer, 26 bytes'));
    const header = Buffer.concat([alice.ratchet.publicKey, u32(0), u32(0), nonce(0)]);
    assert.deepEqual(header, hex('header'));
    assert.deepEqual(ad(header, 'alice', 'bob', trailer), hex('AD'));
    const payload = padded(Buffer.from([1]), u64(seq), Buffer.from([1, 0, 0]), field('hello'));
    assert.deepEqual(payload, hex('payload'));
    assert.deepEqual(id('alice', 'bob', seq), hex('message id'));
    assert.deepEqual(open(hex('MK of message 0'), header, hex('AD'), hex('ciphertext')), payload);
    assert.equal(`${header.toString('base64url')}.${trailer.toString('base64url')}`.length, 1802);
  });

  test('seals an answer with a receipt', () => {
    const trailer = Buffer.concat([Buffer.from([4, 0]), u64(answered), u64(begun), hex('session id')]);
    assert.deepEqual(trailer, hex('trailer'));
    const header = Buffer.concat([bob.ratchet.publicKey, u32(0), u32(0), nonce(12)]);
    assert.deepEqual(header, hex('header', 1));
    assert.deepEqual(ad(header, 'bob', 'alice', trailer), hex('AD', 1));
    const payload = padded(Buffer.from([3]), u64(seq), Buffer.from([0]), u64(answersSeq), Buffer.from([1, 0, 0]), field('hi'));
    assert.deepEqual(payload, hex('payload', 1));
    assert.deepEqual(id('bob', 'alice', answersSeq), hex('message id', 1));
    assert.deepEqual(open(hex('MK of message 0', 1), header, hex('AD', 1), hex('ciphertext', 1)), payload);
    assert.ok(example.includes(`payload.header        ${header.toString('base64url')}.${trailer.toString('base64url')}\n`));
  });
});
