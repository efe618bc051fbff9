'use strict';
// How rules say that they are broken, and what they have in common.

const { isDeepStrictEqual } = require('node:util');
const { bytesOf } = require('./subject.js');

/** A rule is broken; the message says what was seen. */
class Broken extends Error {}

function broken(message) {
  throw new Broken(message);
}

/** How long a value may take to appear before it counts as lost rather than late. */
const SETTLING_MS = 1_000;
const POLL_MS = 10;

/** Waits until `read()` gives what is expected: 'at once', 'late' or 'never'. */
async function appears(read, isExpected) {
  if (isExpected(await read())) return 'at once';
  for (const deadline = Date.now() + SETTLING_MS; Date.now() < deadline; ) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    if (isExpected(await read())) return 'late';
  }
  return 'never';
}

/** Whether `load` has returned exactly these bytes, in any of its forms. */
function isState(loaded, expected) {
  const bytes = bytesOf(loaded);
  return bytes !== undefined && bytes.equals(expected);
}

function isNothing(value) {
  return value === null || value === undefined;
}

/** Names of the same length and content look alike in a message: as JSON, with what does not print escaped. */
function shown(name) {
  const text = name.length > 60 ? `${name.slice(0, 20)}…${name.slice(-20)}` : name;
  return JSON.stringify(text).replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** The subject and, where it can be reopened, another instance on the same data. */
async function instances(subject) {
  return subject.canReopen ? [subject, await subject.reopened()] : [subject];
}

/** Fails for a store that does not say that it keeps users apart. */
async function assertPerUser(subject, store) {
  if (await subject.isPerUser(store)) return;
  broken(`the methods of ${store} do not take the user's id`);
}

const equal = isDeepStrictEqual;

module.exports = { Broken, appears, assertPerUser, broken, equal, instances, isNothing, isState, shown };
