// Awaiting what handlers are called with, and what calls reject with.
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { StvorError } from '@stvor/sdk';

/** A queue that can be awaited: `push` puts in, `next` and `take` wait for what is still to come. */
export class Queue {
  #items = [];
  #waiting = [];

  push(item) {
    const waiter = this.#waiting.shift();
    if (waiter) waiter(item);
    else this.#items.push(item);
  }

  /** The next item. */
  next() {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The next `count` items. */
  async take(count) {
    const items = [];
    while (items.length < count) items.push(await this.next());
    return items;
  }

  /** How many have come and were not taken. */
  get size() {
    return this.#items.length;
  }
}

/** The messages of a client, as they come. */
export function messagesOf(client) {
  const queue = new Queue();
  client.onMessage((message) => queue.push(message));
  return queue;
}

/** The errors of a client, as they come. */
export function errorsOf(client) {
  const queue = new Queue();
  client.onError((error) => queue.push(error));
  return queue;
}

/** The process's warnings from now to the end of the test. */
export function warnings(t) {
  const queue = new Queue();
  const listener = (warning) => queue.push(warning);
  process.on('warning', listener);
  t.after(() => process.off('warning', listener));
  return queue;
}

/** What a promise rejects with: a StvorError. */
export async function rejection(promise) {
  const error = await promise.then(() => assert.fail('it resolved'), (error) => error);
  assert.ok(error instanceof StvorError, `not a StvorError: ${inspect(error)}`);
  return error;
}
