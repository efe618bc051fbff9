// A relay in the hands of a test: it sees every frame, and carries, keeps, alters and makes up what the test says.
import assert from 'node:assert/strict';
import { createApp } from '@stvor/sdk';
import { errorsOf, messagesOf } from './collect.mjs';
import { fakeRelay } from './relays.mjs';
import { carriesContent, long } from './wire4.mjs';

/**
 * Honest until told otherwise: carries messages, keeps those for absent users, shows everybody's keys to everybody.
 *
 * - `carry(frame)` is called with each message; replace it to do something else than `deliver(frame)`.
 * - `shows(user, pub, viewer)` says what `viewer` is shown for a user's keys, undefined for nothing; replace it.
 * - `deliver(frame)` gives a message to `frame.to`, or to the mailbox; `show(viewer, user, pub)` shows keys.
 * - `caught(predicate)` waits for the next message that it is true for, which is not carried.
 * - `hold()` keeps all that comes in the list that it returns; `release(list)` carries it, and what comes from then on.
 * - `cut(user)` breaks the user's connection; `back(user)` waits until they are announced on another.
 * - `frames` has every message that came.
 * - With `prekeys: true` it hands out one-time prekeys, `prekey(user)` says which; `stocked(user)` waits for some.
 */
export async function hostileRelay(t, { prekeys = false } = {}) {
  const state = { users: new Map(), catching: [], returning: new Waiting(), stocking: new Waiting(), prekeys };
  const relay = {
    frames: [],
    users: state.users,
    carry: (frame) => relay.deliver(frame),
    shows: (_user, pub) => pub,
    prekey: (user) => state.users.get(user)?.prekeys.shift(),
    deliver: (frame) => deliver(state, frame),
    show: (viewer, user, pub) => state.users.get(viewer).ws.json({ type: 'announce', user, pub }),
    caught: (predicate) => new Promise((resolve) => state.catching.push({ predicate, resolve })),
    hold: () => {
      const held = [];
      relay.carry = (frame) => void held.push(frame);
      return held;
    },
    release: (held) => {
      relay.carry = relay.deliver;
      held.forEach(relay.deliver);
    },
    cut: (user) => state.users.get(user).ws.terminate(),
    back: (user) => state.returning.wait(user),
    stocked: (user) => state.stocking.wait(user),
  };
  const apps = [];
  const ends = [];
  const { url } = await fakeRelay({ after: (end) => ends.push(end) }, { onSocket: (ws, request) => welcome(state, relay, ws, viewerOf(request)) });
  t.after(async () => {
    await Promise.all(apps.map((app) => app.disconnect())); // quicker than after the relay has gone
    for (const end of ends) await end();
  });
  return Object.assign(relay, { url, apps });
}

/** Who waits for something to happen to a user. */
class Waiting {
  #waiting = new Map();

  wait(user) {
    return new Promise((resolve) => this.#waiting.set(user, [...(this.#waiting.get(user) ?? []), resolve]));
  }

  came(user) {
    for (const resolve of this.#waiting.get(user) ?? []) resolve();
    this.#waiting.delete(user);
  }
}

/** Each client has an app of its own, and says in its token who it is: see {@link clients}. */
const viewerOf = (request) => request.headers.authorization.replace('Bearer stvor_', '');

function welcome(state, relay, ws, viewer) {
  ws.json({ type: 'handshake', status: 'ok', ...(state.prekeys && { features: ['prekeys'] }) });
  const show = (user, pub) => {
    const shown = relay.shows(user, pub, viewer);
    if (shown !== undefined && user !== viewer) ws.json({ type: 'announce', user, pub: shown });
  };
  for (const [user, { pub }] of state.users) show(user, pub);
  ws.onFrame((frame) => {
    if (frame.type === 'announce') announced(state, ws, show, frame);
    if (frame.type === 'message') came(state, relay, ws, frame);
    if (frame.type === 'prekeys') keep(state, ws, frame);
    if (frame.type === 'lookup') lookedUp(state, relay, ws, viewer, frame);
  });
}

function announced(state, ws, show, { user, pub }) {
  const known = state.users.get(user);
  state.users.set(user, { ws, show, pub, mailbox: [], prekeys: known?.prekeys ?? [] });
  for (const [other, { ws: theirs, show: showThem }] of state.users) {
    if (other !== user && theirs.readyState === 1) showThem(user, pub);
  }
  for (const frame of known?.mailbox ?? []) ws.json(frame);
  if (state.prekeys) ws.json({ type: 'prekeys', user, left: known?.prekeys.length ?? 0 });
  state.returning.came(user);
}

function came(state, relay, ws, frame) {
  relay.frames.push(frame);
  const isThere = state.users.get(frame.to)?.ws.readyState === 1;
  const at = state.catching.findIndex(({ predicate }) => predicate(frame));
  if (at >= 0) state.catching.splice(at, 1)[0].resolve(frame);
  else relay.carry(frame);
  ws.json(isThere ? { type: 'ack', id: frame.id } : { type: 'queued', id: frame.id, to: frame.to, message: 'stored' });
}

function deliver(state, frame) {
  const target = state.users.get(frame.to);
  if (target?.ws.readyState === 1) target.ws.json(frame);
  else target?.mailbox.push(frame);
}

function keep(state, ws, { user, prekeys }) {
  const { prekeys: kept } = state.users.get(user);
  kept.push(...prekeys);
  ws.json({ type: 'prekeys', user, left: kept.length });
  state.stocking.came(user);
}

function lookedUp(state, relay, ws, viewer, { user }) {
  const known = state.users.get(user);
  const pub = known && relay.shows(user, known.pub, viewer);
  if (pub === undefined) return ws.json({ type: 'unknown', user });
  ws.json({ type: 'found', user, pub, prekey: relay.prekey(user) });
}

/** A client for each name, in an app of its own: `{ alice: { app, client, inbox, errors, send } }`. */
export async function clients(relay, ...names) {
  const people = {};
  for (const name of names) people[name] = await person(relay, name);
  return people;
}

/** One such client; `config` is added to the app's. */
export async function person(relay, name, config) {
  const app = await createApp({ appToken: `stvor_${name}`, relayUrl: relay.url, ...config });
  relay.apps.push(app);
  const client = await app.connect(name);
  return { name, app, client, inbox: messagesOf(client), errors: errorsOf(client), send: (to, content, options) => client.send(to, content, options) };
}

/** Two people write to each other: each gets what is written from now on, in order, once, and nothing else. */
export async function goesOn(a, b, rounds = 2) {
  for (let round = 0; round < rounds; round += 1) {
    for (const [from, to] of [[a, b], [b, a]]) {
      await Promise.all([from.send(to.name, `${round} from ${from.name}`), from.send(to.name, { round })]);
      assert.equal(contentOf(await to.inbox.next(), from), `${round} from ${from.name}`);
      assert.deepEqual(contentOf(await to.inbox.next(), from), { round });
    }
  }
  // A message that has been handled comes after everything before it, repetitions included.
  await Promise.all([[a, b], [b, a]].map(([from, to]) => from.send(to.name, 'last', { receipt: true })));
  for (const [from, to] of [[a, b], [b, a]]) {
    assert.equal(contentOf(await to.inbox.next(), from), 'last');
    assert.equal(to.inbox.size, 0, `${to.name} got something else`);
  }
}

function contentOf({ senderId, content }, from) {
  assert.equal(senderId, from.name);
  return content;
}

/** The tests of a group run side by side, for they mostly wait; one that waits for ever fails. */
export const together = { concurrency: 8, timeout: 60_000 };

export const contentFrom = (name, to) => (frame) => frame.from === name && carriesContent(frame) && (to === undefined || frame.to === to);

/** Waits until the clock has gone on: messages of one millisecond are not told apart by their age. */
export async function tick() {
  const now = Date.now();
  while (Date.now() <= now + 1) await new Promise((resolve) => setImmediate(resolve));
}

/** People of whom the first has talked to all others, both ways: what they write brings no handshake any more. */
export async function acquainted(relay, ...names) {
  const people = await clients(relay, ...names);
  const [first, ...others] = Object.values(people);
  for (const other of others) await goesOn(first, other, 1);
  await tick();
  return people;
}

/** The next message that `from` writes, which the relay keeps; and the send. */
export async function withheld(relay, from, to, content = long('genuine')) {
  const caught = relay.caught(contentFrom(from.name, to.name));
  const sending = from.send(to.name, content);
  return { frame: await caught, sending };
}

/** `target` reports this and nothing else, and its application gets nothing. */
export async function reports(target, code, peerId) {
  const error = await target.errors.next();
  assert.deepEqual([[code].flat().includes(error.code), error.peerId, error.retryable], [true, peerId, false], `${error.code} of ${error.peerId}, not ${code} of ${peerId}`);
  assert.equal(target.inbox.size, 0);
}

export function nobodyReports(people) {
  for (const { name, errors } of Object.values(people)) assert.equal(errors.size, 0, `${name} reports something else`);
}
