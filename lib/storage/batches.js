'use strict';
// Writes that wait for the database are written together by the next statement: one round trip and one
// fsync for all of them. What is alone is written at once.

/** Statements under way: while one waits for the disk, the next is on its way. */
const IN_FLIGHT = 2;

class Batches {
  #write;
  #size;
  #waiting = [];
  #inFlight = 0;
  /** Keys that a statement under way writes. */
  #busy = new Set();

  /** `write(items)` resolves to the outcome of each item: `{ value }` or `{ error }`. */
  constructor(write, size) {
    this.#write = write;
    this.#size = size;
  }

  /** Resolves to the outcome of writing `item`. Items of the same `key` are written one after another. */
  add(key, item) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ key, item, resolve, reject });
      // Not at once: what is asked in the same turn belongs to the same statement.
      if (this.#inFlight < IN_FLIGHT) queueMicrotask(() => this.#next());
    });
  }

  async #next() {
    if (this.#inFlight >= IN_FLIGHT) return;
    const batch = this.#take();
    if (batch.length === 0) return;
    this.#inFlight += 1;
    try {
      const outcomes = await this.#write(batch.map(({ item }) => item));
      batch.forEach(({ resolve, reject }, i) => ('error' in outcomes[i] ? reject(outcomes[i].error) : resolve(outcomes[i].value)));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    for (const { key } of batch) this.#busy.delete(key);
    this.#inFlight -= 1;
    this.#next();
  }

  #take() {
    const batch = [];
    const rest = [];
    for (const entry of this.#waiting) {
      if (batch.length === this.#size || this.#busy.has(entry.key)) rest.push(entry);
      else {
        this.#busy.add(entry.key);
        batch.push(entry);
      }
    }
    this.#waiting = rest;
    return batch;
  }
}

module.exports = { Batches };
