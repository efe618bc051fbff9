// What the documents say is true: the README's programs run, links lead somewhere, the table of errors is
// complete, and the worked example of the protocol is what this package computes.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { STVOR_ERRORS } from '@stvor/sdk';
import { startMockRelay } from '@stvor/sdk/mock-relay';
import { decryptMessage, deserializeSession, x3dhSymmetric } from '@stvor/sdk/ratchet';
import { program, root } from '../scripts/cargo.mjs';

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
    assert.equal(stderr, '');
    if (expected[0][1] instanceof RegExp) assert.match(stdout, expected[0][1]);
    else assert.equal(stdout, expected[0][1]);
  }

  const local = (code) => code.replaceAll('ws://localhost:4444', relay.url);

  for (const { code, line } of blocks(readme, 'js')) {
    test(`line ${line} runs and prints what it should`, async () => {
      const file = `readme-${line}.${/^import /m.test(code) ? 'mjs' : 'cjs'}`;
      writeFileSync(join(directory, file), local(code));
      await runs(code, file);
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

describe('the worked example of docs/PROTOCOL.md', () => {
  const example = blocks(read('docs/PROTOCOL.md').split('## 15. Worked example')[1], 'text').map((block) => block.code).join('\n');
  /** The hexadecimal that follows a label, also where it goes on in the next lines. */
  const hex = (label, nth = 0) => {
    const found = [...example.matchAll(new RegExp(`^${label} +((?:[0-9a-f]{2,}\\s+)+)`, 'gm'))][nth];
    return Buffer.from(found[1].replace(/\s/g, ''), 'hex');
  };
  const pair = (label) => {
    const [privateKey, publicKey] = [new RegExp(`^${label} +private ([0-9a-f]+)$`, 'm'), new RegExp(`^${label} +private .*\\n +public +([0-9a-f]+)\\n +([0-9a-f]+)$`, 'm')]
      .map((pattern) => Buffer.from(pattern.exec(example).slice(1).join(''), 'hex'));
    return { publicKey, privateKey };
  };
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
