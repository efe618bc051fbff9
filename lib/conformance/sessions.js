'use strict';
// Rules of the session store: what was saved last is what is loaded, byte for byte, for each user and peer.

const { randomBytes } = require('node:crypto');
const { appears, assertPerUser, broken, instances, isNothing, isState, shown } = require('./broken.js');
const { OBJECT_NAMES, confusableNames, confusablePairs } = require('./names.js');
const { bytesOf } = require('./subject.js');

const store = 'sessions';
const ROUNDS = 10;

/** A state without bytes that text could lose: only one rule is about those. */
function state(label) {
  return Buffer.from(`${label};${randomBytes(60).toString('hex')}`);
}

/** The sessions of one new user, and a peer. */
async function begin(subject) {
  const user = subject.name('alice');
  return { user, peer: subject.name('bob'), sessions: await subject.store(store, user) };
}

async function unknown(subject) {
  const { peer, sessions } = await begin(subject);
  const loaded = await sessions.load(peer);
  if (!isNothing(loaded)) broken(`load of a peer that was never saved has returned ${typeof loaded}, not null`);
}

async function binary(subject) {
  const { sessions } = await begin(subject);
  const states = {
    'every byte value': Buffer.from(Array.from({ length: 256 }, (_, i) => i)),
    'no bytes': Buffer.alloc(0),
    'zeros': Buffer.alloc(64),
    'what is not UTF-8': Buffer.from('fffe80c0c1f5ff00', 'hex'),
    'quotes and backslashes': Buffer.from('\\x41\\000\'"`\r\n\t\u001a'),
    '1 MiB': randomBytes(2 ** 20),
  };
  for (const [label, saved] of Object.entries(states)) {
    const peer = subject.name('bob');
    await sessions.save(peer, Buffer.from(saved));
    await appears(() => sessions.load(peer), (loaded) => !isNothing(loaded));
    const loaded = bytesOf(await sessions.load(peer));
    if (loaded === undefined) broken(`load has returned neither bytes nor base64 for ${label}`);
    if (!loaded.equals(saved)) broken(`${label}: ${saved.length} bytes were saved, ${loaded.length} others loaded`);
  }
}

/** Saves and loads in turn, by every instance, until another state comes back: `{ when, what }`. */
async function firstWrong(subject) {
  const { user, peer, sessions } = await begin(subject);
  const readers = await Promise.all((await instances(subject)).map((instance) => instance.store(store, user)));
  for (let round = 1; round <= ROUNDS; round += 1) {
    const saved = state(`round ${round}`);
    await sessions.save(peer, Buffer.from(saved));
    for (const [i, reader] of readers.entries()) {
      const when = await appears(() => reader.load(peer), (loaded) => isState(loaded, saved));
      if (when !== 'at once') return { when, what: `save ${round}${i === 0 ? '' : ', loaded by another instance'}` };
    }
  }
  return undefined;
}

async function awaited(subject) {
  const wrong = await firstWrong(subject);
  if (wrong?.when === 'late') broken(`${wrong.what}: the state came only after save had resolved`);
}

async function fresh(subject) {
  const wrong = await firstWrong(subject);
  if (wrong?.when === 'never') broken(`${wrong.what}: load has returned an older state, or none`);
}

async function copies(subject) {
  const { peer, sessions } = await begin(subject);
  const saved = state('saved');
  const given = Buffer.from(saved);
  await sessions.save(peer, given);
  const before = await sessions.load(peer);
  if (!isState(before, saved)) return;
  given.fill(0);
  if (!isState(await sessions.load(peer), saved)) broken("the store keeps the caller's buffer, which the caller uses again");
  const loaded = await sessions.load(peer);
  if (loaded instanceof Uint8Array) loaded.fill(0);
  if (!isState(await sessions.load(peer), saved)) broken("load gives out the store's own buffer");
}

async function separatePeers(subject) {
  const { sessions } = await begin(subject);
  const names = [...confusableNames(subject.name('peer').slice(-8)), ...(subject.singleUser ? [] : OBJECT_NAMES)];
  await assertApart(names.map((name) => ({ name: shown(name), sessions, peer: name })));
}

async function separateUsers(subject) {
  await assertPerUser(subject, store);
  const pairs = confusablePairs(subject.name('u').slice(-8));
  const places = pairs.map(async ([user, peer]) => {
    return { name: `${shown(peer)} of user ${shown(user)}`, sessions: await subject.store(store, user), peer };
  });
  const peer = subject.name('carol');
  for (const user of [subject.name('alice'), subject.name('bob')]) {
    places.push({ name: `the peer of user ${shown(user)}`, sessions: await subject.store(store, user), peer });
  }
  await assertApart(await Promise.all(places));
}

/** Saves a state of its own in every place, then loads all. */
async function assertApart(places) {
  const states = places.map(({ name }) => state(name));
  const saves = await Promise.allSettled(places.map(({ sessions, peer }, i) => sessions.save(peer, states[i])));
  const refused = saves.findIndex(({ status }) => status === 'rejected');
  if (refused >= 0) broken(`save for ${places[refused].name} was rejected: ${saves[refused].reason?.message}`);
  const found = await Promise.all(
    places.map(({ sessions, peer }, i) => appears(() => sessions.load(peer), (loaded) => isState(loaded, states[i]))),
  );
  const lost = found.indexOf('never');
  if (lost < 0) return;
  const loaded = await places[lost].sessions.load(places[lost].peer);
  const other = states.findIndex((saved) => isState(loaded, saved));
  broken(other < 0 ? `${places[lost].name} was not found again` : `${places[lost].name} and ${places[other].name} share a record`);
}

async function conflict(subject) {
  const { user, peer, sessions } = await begin(subject);
  const other = await (await subject.reopened()).store(store, user);
  await sessions.save(peer, state('first'));
  await other.load(peer);
  const newer = state('newer');
  await sessions.save(peer, newer);
  await assertConflict('a save over a state that another instance has written meanwhile', () => other.save(peer, state('outdated')));
  if (!isState(await sessions.load(peer), newer)) broken('the outdated state is in the store now');
  await other.load(peer);
  const next = state('next');
  await other.save(peer, next);
  if (!isState(await sessions.load(peer), next)) broken('after loading again, the save has no effect');
  const unseen = subject.name('carol');
  await sessions.save(unseen, state('first'));
  await assertConflict('a first save of a record that another instance has made meanwhile', () => other.save(unseen, state('second')));
}

async function assertConflict(what, save) {
  try {
    await save();
  } catch (error) {
    if (error?.code === 'STORAGE_CONFLICT') return;
    broken(`${what} was rejected with ${error?.code ?? error?.message}, not with code STORAGE_CONFLICT`);
  }
  broken(`${what} was accepted`);
}

async function saveMany(subject) {
  const { user, peer, sessions } = await begin(subject);
  const peers = [peer, subject.name('carol'), subject.name('dave')];
  await sessions.saveMany([]);
  for (const label of ['first', 'second']) {
    const states = peers.map((name) => state(`${label} ${name}`));
    await sessions.saveMany(peers.map((name, i) => [name, states[i]]));
    for (const [i, name] of peers.entries()) {
      if (!isState(await sessions.load(name), states[i])) broken(`row ${i + 1} of ${peers.length} was not saved`);
    }
  }
  if (!subject.canReopen || subject.oneWriter) return;
  const other = await (await subject.reopened()).store(store, user);
  const kept = await Promise.all(peers.map((name) => other.load(name)));
  await sessions.save(peers[1], state('meanwhile'));
  const rows = [...peers, subject.name('eve')].map((name) => [name, state('outdated')]);
  await assertConflict('saveMany with one outdated row', () => other.saveMany(rows));
  if (!isState(await sessions.load(peers[0]), bytesOf(kept[0]))) broken('of rows with a conflict among them, some were saved');
  if (!isNothing(await sessions.load(rows[3][0]))) broken('of rows with a conflict among them, a new one was saved');
}

module.exports = [
  {
    rule: 'sessions-unknown',
    title: 'load of what was never saved returns null',
    mend: 'Return null or undefined; an empty Buffer would be a record.',
    run: unknown,
  },
  {
    rule: 'sessions-binary',
    title: 'every byte comes back as it was saved',
    mend: 'Keep bytes in a binary column (bytea, BLOB), or as base64 or hex; no text encoding holds them all.',
    run: binary,
  },
  {
    rule: 'sessions-save-awaited',
    title: 'a state is there when save resolves',
    mend: 'Await the write, and return its promise: after save the SDK tells the world that the step was taken.',
    run: awaited,
  },
  {
    rule: 'sessions-fresh',
    title: 'load returns what was saved last',
    mend: 'Replace what is there (INSERT … ON CONFLICT DO UPDATE), and read from where save writes, not from a cache or replica.',
    run: fresh,
  },
  {
    rule: 'sessions-copies',
    title: 'a state is a copy',
    mend: 'Copy with Buffer.from(state) on the way in and on the way out.',
    run: copies,
  },
  {
    rule: 'sessions-separate-peers',
    title: 'peers whose ids look alike have records of their own',
    mend: 'Compare ids byte by byte: no change of case, no trimming, no Unicode normalisation, escape what separates them in keys, 256 bytes long.',
    run: separatePeers,
  },
  {
    rule: 'sessions-separate-users',
    title: 'users have records of their own',
    mend: "Key rows by the user's id, the last argument, and the peer's, as two columns; or give a function (userId) => adapters.",
    needs: ['users'],
    run: separateUsers,
  },
  {
    rule: 'sessions-conflict',
    title: 'a save never rolls back what another process has written',
    mend: "Keep a version in each row and update WHERE version = the one last loaded or written; where no row fits, reject with an error of code 'STORAGE_CONFLICT'. "
      + 'Where one process at a time serves a user, give oneWriter: true.',
    needs: ['reopen', 'writers'],
    run: conflict,
  },
  {
    rule: 'sessions-save-many',
    title: 'saveMany writes all rows or none',
    mend: 'Write the rows in one transaction, or leave saveMany out.',
    needs: ['saveMany'],
    run: saveMany,
  },
].map((rule) => ({ store, ...rule }));
