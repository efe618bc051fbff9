'use strict';
// Rules of the fingerprint store: the first fingerprint of a peer stays.

const { assertPerUser, broken, equal, isNothing, shown } = require('./broken.js');
const { OBJECT_NAMES, confusableNames, confusablePairs } = require('./names.js');
const { fingerprint } = require('./subject.js');

const store = 'tofu';

async function begin(subject) {
  const user = subject.name('alice');
  return { user, peer: subject.name('bob'), tofu: await subject.store(store, user) };
}

async function answers(subject) {
  const { peer, tofu } = await begin(subject);
  const [right, wrong] = [fingerprint(peer), fingerprint('another')];
  const before = await tofu.verifyFingerprint(peer, right);
  if (!isNothing(before)) broken(`for a peer never seen, verifyFingerprint has returned ${String(before)}, not null`);
  await tofu.storeFingerprint(peer, right);
  const [same, other] = [await tofu.verifyFingerprint(peer, right), await tofu.verifyFingerprint(peer, wrong)];
  if (same !== true) broken(`for the stored fingerprint, verifyFingerprint has returned ${String(same)}, not true`);
  if (other !== false) broken(`for another fingerprint, verifyFingerprint has returned ${String(other)}, not false`);
}

async function immutable(subject) {
  const { peer, tofu } = await begin(subject);
  const [first, second] = [fingerprint(peer), fingerprint('another')];
  await tofu.storeFingerprint(peer, first);
  await tofu.storeFingerprint(peer, first);
  // Refusing is as good as ignoring.
  await tofu.storeFingerprint(peer, second).catch(() => {});
  if ((await tofu.verifyFingerprint(peer, second)) === true) broken('a second fingerprint has replaced the first');
  if ((await tofu.verifyFingerprint(peer, first)) !== true) broken('storing a second fingerprint has removed the first');
}

async function replace(subject) {
  const { peer, tofu } = await begin(subject);
  const [first, second] = [fingerprint(peer), fingerprint('another')];
  await tofu.storeFingerprint(peer, first);
  await tofu.replaceFingerprint(peer, second);
  const verified = [await tofu.verifyFingerprint(peer, first), await tofu.verifyFingerprint(peer, second)];
  if (!equal(verified, [false, true])) broken('replaceFingerprint has not replaced the fingerprint');
  const unseen = subject.name('carol');
  await tofu.replaceFingerprint(unseen, first);
  if ((await tofu.verifyFingerprint(unseen, first)) !== true) broken('replaceFingerprint of a peer never seen has stored nothing');
}

async function shared(subject) {
  const { user, peer, tofu } = await begin(subject);
  await tofu.storeFingerprint(peer, fingerprint(peer));
  const other = await (await subject.reopened()).store(store, user);
  if ((await other.verifyFingerprint(peer, fingerprint(peer))) !== true) broken('another instance does not know the fingerprint');
}

async function separatePeers(subject) {
  const { tofu } = await begin(subject);
  const names = [...confusableNames(subject.name('peer').slice(-8)), ...(subject.singleUser ? [] : OBJECT_NAMES)];
  await assertApart(names.map((peer) => ({ name: shown(peer), tofu, peer })));
}

async function separateUsers(subject) {
  await assertPerUser(subject, store);
  const peer = subject.name('carol');
  const pairs = [...confusablePairs(subject.name('u').slice(-8)), [subject.name('alice'), peer], [subject.name('bob'), peer]];
  const places = pairs.map(async ([user, id]) => {
    return { name: `${shown(id)} of user ${shown(user)}`, tofu: await subject.store(store, user), peer: id };
  });
  await assertApart(await Promise.all(places));
}

/** Stores a fingerprint of its own in every place, then verifies all. */
async function assertApart(places) {
  for (const { name, tofu, peer } of places) {
    await tofu.storeFingerprint(peer, fingerprint(name)).catch((error) => broken(`${name}: ${error?.message}`));
  }
  for (const { name, tofu, peer } of places) {
    const verified = await tofu.verifyFingerprint(peer, fingerprint(name));
    if (verified !== true) broken(`${name} shares a fingerprint with another`);
  }
}

module.exports = [
  {
    rule: 'tofu-answers',
    title: 'verifyFingerprint has three answers: true, false, and null for a peer never seen',
    mend: 'Return null where nothing is stored, else whether it is equal. False would refuse every new peer.',
    run: answers,
  },
  {
    rule: 'tofu-immutable',
    title: 'storeFingerprint never replaces a fingerprint',
    mend: 'Insert only where nothing is (INSERT … ON CONFLICT DO NOTHING); have replaceFingerprint for what the application accepts.',
    run: immutable,
  },
  {
    rule: 'tofu-replace',
    title: 'replaceFingerprint replaces a fingerprint',
    mend: 'Store the fingerprint whatever was there (INSERT … ON CONFLICT DO UPDATE), or leave replaceFingerprint out.',
    needs: ['replaceFingerprint'],
    run: replace,
  },
  {
    rule: 'tofu-shared',
    title: 'a fingerprint that one instance has stored is known to the others',
    mend: 'Keep fingerprints in the database, not in the memory of one process.',
    needs: ['reopen'],
    run: shared,
  },
  {
    rule: 'tofu-separate-peers',
    title: 'peers whose ids look alike have fingerprints of their own',
    mend: 'Compare ids byte by byte: no change of case, no trimming, no Unicode normalisation, escape what separates them in keys.',
    run: separatePeers,
  },
  {
    rule: 'tofu-separate-users',
    title: 'users have fingerprints of their own',
    mend: "Key rows by the user's id, the last argument, and the peer's, as two columns; or give a function (userId) => adapters.",
    needs: ['users'],
    run: separateUsers,
  },
].map((rule) => ({ store, ...rule }));
