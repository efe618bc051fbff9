'use strict';
// Rules of the replay cache: a nonce is new once, for each user and peer, whoever asks.

const { assertPerUser, broken, equal, instances, shown } = require('./broken.js');
const { OBJECT_NAMES, confusableNames, confusablePairs } = require('./names.js');
const { nonce } = require('./subject.js');

const store = 'replay';
const CALLS_AT_ONCE = 32;
const NONCE_BYTES = 12;

async function begin(subject) {
  const user = subject.name('alice');
  return { user, peer: subject.name('bob'), replay: await subject.store(store, user) };
}

/** `isSeen(answer)`, also of a store whose answers are inverted: that is the business of one rule. */
async function answersOf(subject) {
  const { peer, replay } = await begin(subject);
  const unseen = await replay.checkAndMark(peer, nonce());
  return (answer) => answer !== unseen;
}

async function answers(subject) {
  const { peer, replay } = await begin(subject);
  const once = nonce();
  const [first, second] = [await replay.checkAndMark(peer, once), await replay.checkAndMark(peer, once)];
  if (first === true && second === false) broken('the answers are inverted');
  if (first !== false) broken(`a new nonce was answered with ${String(first)}, not false`);
  if (second !== true) broken(`a nonce seen before was answered with ${String(second)}, not true`);
}

async function atomic(subject) {
  const isSeen = await answersOf(subject);
  const { user, peer } = await begin(subject);
  const caches = await sharing(await Promise.all((await instances(subject)).map((one) => one.store(store, user))), isSeen);
  for (let attempt = 0; attempt < 3; attempt += 1) {
    const once = nonce();
    const calls = Array.from({ length: CALLS_AT_ONCE }, (_, i) => caches[i % caches.length].checkAndMark(peer, once));
    const unseen = (await Promise.all(calls)).filter((answer) => !isSeen(answer)).length;
    if (unseen !== 1) broken(`${CALLS_AT_ONCE} calls at once with one nonce: ${unseen} were told that it is new`);
  }
}

/** The first cache with those that know what it has marked; that all do is the business of another rule. */
async function sharing([first, ...others], isSeen) {
  const once = nonce();
  await first.checkAndMark('probe', once);
  const known = await Promise.all(others.map((cache) => cache.checkAndMark('probe', once)));
  return [first, ...others.filter((_, i) => isSeen(known[i]))];
}

async function nonces(subject) {
  const isSeen = await answersOf(subject);
  const { peer, replay } = await begin(subject);
  const seen = async (bytes) => isSeen(await replay.checkAndMark(peer, bytes));
  const base = nonce();
  const given = Buffer.from(base);
  await seen(given);
  given.fill(0);
  if (!(await seen(Buffer.from(base)))) broken('the same bytes in another Buffer count as new');
  const view = Buffer.concat([Buffer.from('before'), base, Buffer.from('after')]).subarray(6, 6 + NONCE_BYTES);
  if (!(await seen(new Uint8Array(view.buffer, view.byteOffset, NONCE_BYTES)))) broken('the same bytes in a view of other memory count as new');
  for (let i = 0; i < NONCE_BYTES; i += 1) {
    const changed = Buffer.from(base);
    changed[i] ^= 1;
    if (await seen(changed)) broken(`a nonce that differs in byte ${i + 1} of ${NONCE_BYTES} counts as seen`);
  }
  for (const [label, ...different] of lookAlikes()) {
    const again = [];
    for (const bytes of different) again.push(await seen(bytes));
    if (again.includes(true)) broken(`different nonces ${label} count as one`);
  }
}

/** Nonces that text encodings take for one another. */
function lookAlikes() {
  const filled = (...bytes) => Buffer.from(bytes.concat(Array(NONCE_BYTES - bytes.length).fill(bytes.at(-1))));
  return [
    ['that are not UTF-8', filled(0x80), filled(0x81), filled(0xff), filled(0xfe)],
    ['with zeros', filled(0), filled(0, 1), filled(1, 0), filled(1, 0, 2)],
    ['of letters in both cases', filled(0x41), filled(0x61)],
    ['with spaces', filled(0x62, 0x20), filled(0x62, 0x09), filled(0x20, 0x62)],
  ];
}

async function shared(subject) {
  const isSeen = await answersOf(subject);
  const { user, peer, replay } = await begin(subject);
  const once = nonce();
  await replay.checkAndMark(peer, once);
  const other = await (await subject.reopened()).store(store, user);
  if (!isSeen(await other.checkAndMark(peer, once))) broken('another instance does not know the nonce');
}

async function separatePeers(subject) {
  const { replay } = await begin(subject);
  const names = [...confusableNames(subject.name('peer').slice(-8)), ...(subject.singleUser ? [] : OBJECT_NAMES)];
  await assertApart(subject, names.map((peer) => ({ name: shown(peer), replay, peer })));
}

async function separateUsers(subject) {
  await assertPerUser(subject, store);
  const peer = subject.name('carol');
  const pairs = [...confusablePairs(subject.name('u').slice(-8)), [subject.name('alice'), peer], [subject.name('bob'), peer]];
  const places = pairs.map(async ([user, id]) => {
    return { name: `${shown(id)} of user ${shown(user)}`, replay: await subject.store(store, user), peer: id };
  });
  await assertApart(subject, await Promise.all(places));
}

/** Marks one nonce in every place, where it must be new each time. */
async function assertApart(subject, places) {
  const isSeen = await answersOf(subject);
  const once = nonce();
  for (const { name, replay, peer } of places) {
    if (isSeen(await replay.checkAndMark(peer, once))) broken(`a nonce of another is taken for one of ${name}`);
  }
}

async function many(subject) {
  const isSeen = await answersOf(subject);
  const { peer, replay } = await begin(subject);
  const [a, b, c] = [nonce(), nonce(), nonce()];
  await replay.checkAndMark(peer, b);
  if (!equal(await replay.checkAndMarkMany([]), [])) broken('for no rows the answer must be []');
  const given = await replay.checkAndMarkMany([[peer, a], [peer, b], [peer, c], [peer, Buffer.from(a)]]);
  if (!Array.isArray(given) || !equal(given.map(isSeen), [false, true, false, true])) {
    broken('new, seen, new, and the first again were not answered false, true, false, true');
  }
  if (!isSeen(await replay.checkAndMark(peer, c))) broken('what checkAndMarkMany has marked, checkAndMark does not know');
}

module.exports = [
  {
    rule: 'replay-answers',
    title: 'checkAndMark returns false for a new nonce and true for one seen before',
    mend: 'Return a boolean: whether the nonce was there before the call.',
    run: answers,
  },
  {
    rule: 'replay-atomic',
    title: 'of calls at once with one nonce, one is told that it is new',
    mend: 'Check and mark in one operation of the database: SET … NX, INSERT … ON CONFLICT DO NOTHING. Nothing may come between.',
    run: atomic,
  },
  {
    rule: 'replay-nonces',
    title: 'nonces are compared by all their bytes',
    mend: "Make the key of all 12 bytes, as hex: Buffer.from(nonce).toString('hex').",
    run: nonces,
  },
  {
    rule: 'replay-shared',
    title: 'a nonce that one instance has marked is seen by the others',
    mend: 'Mark in the database, not in the memory of one process: a replay may reach any of them, and after a restart.',
    needs: ['reopen'],
    run: shared,
  },
  {
    rule: 'replay-separate-peers',
    title: 'peers have nonces of their own',
    mend: "Make the peer's id part of the key as it is: no change of case, no trimming, and escape what separates it.",
    run: separatePeers,
  },
  {
    rule: 'replay-separate-users',
    title: 'users have nonces of their own',
    mend: "Make the user's id, the last argument, part of the key, or give a function (userId) => adapters.",
    needs: ['users'],
    run: separateUsers,
  },
  {
    rule: 'replay-many',
    title: 'checkAndMarkMany answers for each row, in order',
    mend: 'Answer as checkAndMark would, called for one row after another; or leave checkAndMarkMany out.',
    needs: ['checkAndMarkMany'],
    run: many,
  },
].map((rule) => ({ store, ...rule }));
