'use strict';
// The calls on one user's sessions: one at a time, so that a late one overwrites nothing.

/**
 * From when on a call is overdue. The addon waits for ten seconds and begins to count a little before the call is made:
 * what it asks next must find the call overdue, and not wait behind it.
 */
const PATIENCE_MS = 9_500;

/** A call was not made because an earlier one, which the message names, does not settle. */
class Overdue extends Error {
  constructor(name) {
    super(`${name} of before has not answered for 10 seconds, and until it does the user's sessions are left alone`);
  }
}

class Turns {
  #last = Promise.resolve();
  /** The call under way: `{ name, since }`. */
  #current;

  /** Makes a call when those before it are over, however they ended. Rejects at once, and keeps nothing, while one is overdue. */
  async take(name, call) {
    const { name: before, since } = this.#current ?? { since: Infinity };
    if (performance.now() - since >= PATIENCE_MS) throw new Overdue(before);
    const turn = this.#last.then(() => this.#make(name, call));
    this.#last = turn.then(() => {}, () => {});
    return turn;
  }

  async #make(name, call) {
    this.#current = { name, since: performance.now() };
    try {
      return await call();
    } finally {
      this.#current = undefined;
    }
  }
}

module.exports = { Overdue, Turns };
