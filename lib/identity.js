'use strict';
// What is told of peers whose identity has changed: to the handlers of a client, and of its app.

const { handler } = require('./arguments.js');
const { attempt, handlerFailed } = require('./inbox.js');
const { safetyNumber } = require('./safety-number.js');

/** Handlers of identity changes. Those of a client pass on what they are given to those of its app. */
class IdentityChanges {
  #handlers = new Set();
  #passTo;

  constructor(passTo) {
    this.#passTo = passTo;
  }

  /** Adds a handler, each time as one of its own, and returns the function that removes it. */
  on(callback) {
    handler('handler', callback);
    const call = (change) => callback(change);
    this.#handlers.add(call);
    return () => void this.#handlers.delete(call);
  }

  /** Gives a change to all handlers; `report` gets what they throw. */
  give(change, report) {
    const { peerId } = change; // handlers may change what they are given
    for (const call of [...this.#handlers]) {
      attempt(() => call(change), (thrown) => report(handlerFailed('identity change', thrown, `that of "${peerId}"`, peerId)));
    }
    this.#passTo?.give(change, report);
  }
}

/** The change as handlers get it. Its safety number costs milliseconds, so it is made when read. */
function identityChange(native, userId, { peerId, previousFingerprint, fingerprint, identityKey }) {
  let number;
  return {
    peerId,
    userId,
    ...(previousFingerprint !== null && { previousFingerprint }),
    fingerprint,
    get safetyNumber() {
      return (number ??= safetyNumber(native.safetyNumberWith(peerId, identityKey), peerId));
    },
  };
}

module.exports = { IdentityChanges, identityChange };
