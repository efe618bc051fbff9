'use strict';
// Rules of the identity store: one P-256 key pair for each user, made once, the same for ever.

const { createECDH } = require('node:crypto');
const { assertPerUser, broken, equal, instances } = require('./broken.js');
const { bytesOf } = require('./subject.js');

const CALLS_AT_ONCE = 16;
const store = 'identity';

async function answerFor(subject, userId) {
  const bound = await subject.store(store, userId);
  const answer = await bound.getIdentityKeyPair();
  return { publicKey: bytesOf(answer?.publicKey), privateKey: bytesOf(answer?.privateKey) };
}

/** The identity as texts. Whether it is one is the business of one rule. */
async function ask(subject, userId) {
  const { publicKey, privateKey } = await answerFor(subject, userId);
  return { publicKey: publicKey?.toString('hex'), privateKey: privateKey?.toString('hex') };
}

async function shape(subject) {
  const { publicKey, privateKey } = await answerFor(subject, subject.name('alice'));
  if (publicKey?.length !== 65 || publicKey[0] !== 4) broken('publicKey is not an uncompressed point of 65 bytes');
  if (privateKey?.length !== 32) broken('privateKey is not 32 bytes');
  const ecdh = createECDH('prime256v1');
  try {
    ecdh.setPrivateKey(privateKey);
  } catch {
    broken('privateKey is not a scalar of P-256');
  }
  if (!ecdh.getPublicKey().equals(publicKey)) broken('publicKey does not belong to privateKey');
}

async function stable(subject) {
  const user = subject.name('alice');
  const first = await ask(subject, user);
  for (let call = 2; call <= 3; call += 1) {
    if (!equal(await ask(subject, user), first)) broken(`call ${call} has returned another identity than the first`);
  }
  const [, second] = await instances(subject);
  if (second !== undefined && !equal(await ask(second, user), first)) broken('after reopening, the identity is another one');
}

async function madeOnce(subject) {
  const user = subject.name('alice');
  const all = await instances(subject);
  const calls = Array.from({ length: CALLS_AT_ONCE }, (_, i) => ask(all[i % all.length], user));
  const answers = await Promise.all(calls);
  const kept = await Promise.all(all.map((instance) => ask(instance, user)));
  const again = await ask(subject, user);
  // Identities that change with every call are the business of the rule before.
  if (kept.some((pair) => !equal(pair, again))) return;
  const others = answers.filter((pair) => !equal(pair, again)).length;
  if (others > 0) broken(`${others} of ${CALLS_AT_ONCE} first calls at once have returned an identity that was not kept`);
}

async function separateUsers(subject) {
  await assertPerUser(subject, store);
  const [alice, bob] = [await ask(subject, subject.name('alice')), await ask(subject, subject.name('bob'))];
  if (equal(alice, bob)) broken('two users have the same identity');
}

module.exports = [
  {
    rule: 'identity-shape',
    title: 'getIdentityKeyPair returns a P-256 key pair',
    mend: 'Return { publicKey, privateKey }: 65 bytes uncompressed and 32 bytes, as generateKeyPair() makes them.',
    run: shape,
  },
  {
    rule: 'identity-stable',
    title: 'getIdentityKeyPair always returns the same',
    mend: 'Generate only when nothing is stored, store before returning, and read what is stored ever after.',
    run: stable,
  },
  {
    rule: 'identity-made-once',
    title: 'first calls at once agree on one identity',
    mend: 'Insert only where nothing is (INSERT … ON CONFLICT DO NOTHING), then return what is stored, not what was generated.',
    run: madeOnce,
  },
  {
    rule: 'identity-separate-users',
    title: 'every user has an identity of their own',
    mend: "Key rows by the user's id, the last argument, or give a function (userId) => adapters.",
    needs: ['users'],
    run: separateUsers,
  },
].map((rule) => ({ store, ...rule }));
