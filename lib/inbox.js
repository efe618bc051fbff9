'use strict';
// The messages of one client on their way to its handlers: one after another, in order.

const { StvorError } = require('./errors.js');
const { handler, warn } = require('./arguments.js');

/** Messages that may wait for a first handler, or for a handler that does not finish. */
const MAX_WAITING = 10_000;

class Inbox {
  #messageHandlers = new Set();
  #errorHandlers = new Set();
  #waiting = [];
  #running = false;
  #closed = false;
  #delivered = false;
  #holdUntil;
  #warned = new Set();

  /** Milliseconds left of the `most` that a client's first message may be held back; then 0. */
  holdTime(most) {
    if (this.#delivered) return 0;
    const now = performance.now();
    this.#holdUntil ??= now + most;
    return Math.max(0, this.#holdUntil - now);
  }

  /** Adds a handler in either documented form and returns the function that removes it. */
  onMessage(callback) {
    handler('handler', callback);
    const call = callback.length >= 2
      ? (message) => callback(message.senderId, message.content, message)
      : (message) => callback(message);
    this.#messageHandlers.add(call);
    if (this.#waiting.length > 0) setImmediate(() => this.run());
    return () => void this.#messageHandlers.delete(call);
  }

  /** Adds an error handler and returns the function that removes it. */
  onError(callback) {
    handler('handler', callback);
    const call = (error) => callback(error);
    this.#errorHandlers.add(call);
    return () => void this.#errorHandlers.delete(call);
  }

  /** Takes a message in; `run` hands it on. */
  push(message) {
    if (this.#closed) return;
    if (this.#waiting.length >= MAX_WAITING) return this.report(overflow(message.senderId));
    this.#waiting.push(message);
  }

  /** Hands waiting messages to the handlers, each only after the handlers of the one before. */
  async run() {
    if (this.#running) return;
    this.#running = true;
    let done = 0;
    while (done < this.#waiting.length && this.#messageHandlers.size > 0 && !this.#closed) {
      const message = this.#waiting[done];
      done += 1;
      this.#delivered = true;
      const pending = this.#call(message);
      if (pending === undefined) continue;
      this.#waiting.splice(0, done);
      done = 0;
      await pending;
    }
    this.#waiting.splice(0, done);
    this.#running = false;
  }

  /** Calls every handler; returns what there is to wait for, if anything. */
  #call(message) {
    let pending;
    for (const call of [...this.#messageHandlers]) {
      if (!this.#messageHandlers.has(call)) continue;
      try {
        const result = call(message);
        if (typeof result?.then === 'function') (pending ??= []).push(result);
      } catch (error) {
        this.report(handlerFailed(error));
      }
    }
    return pending && this.#settle(pending);
  }

  async #settle(pending) {
    for (const outcome of await Promise.allSettled(pending)) {
      if (outcome.status === 'rejected') this.report(handlerFailed(outcome.reason));
    }
  }

  /** Gives an error to the error handlers, or, without any, prints each kind of it once. */
  report(error) {
    if (this.#closed) return;
    if (this.#errorHandlers.size === 0) return this.#warnOnce(error);
    for (const call of [...this.#errorHandlers]) {
      try {
        Promise.resolve(call(error)).catch((thrown) => this.#warnOnce(handlerFailed(thrown)));
      } catch (thrown) {
        this.#warnOnce(handlerFailed(thrown));
      }
    }
  }

  #warnOnce(error) {
    if (this.#warned.has(error.code)) return;
    this.#warned.add(error.code);
    const cause = error.cause === undefined ? '' : ` ${causeText(error.cause)}`;
    const text = `${error.message}${cause} Further ones are not printed: subscribe with client.onError().`;
    warn(text, error.code);
  }

  /** No handler is called any more; what waits is dropped. */
  close() {
    this.#closed = true;
    this.#waiting.length = 0;
  }
}

function causeText(cause) {
  try {
    return String(cause?.stack ?? cause);
  } catch {
    return 'The cause cannot be printed.';
  }
}

function handlerFailed(cause) {
  return new StvorError(
    'HANDLER_FAILED',
    'A message handler failed.',
    'Catch errors inside the handler: the message counts as handled.',
    false,
    { cause },
  );
}

function overflow(peerId) {
  return new StvorError(
    'DELIVERY_FAILED',
    `Message from ${peerId} dropped: ${MAX_WAITING} others wait for a handler.`,
    'Subscribe with client.onMessage() right after connect(), and let handlers finish.',
    false,
    { peerId },
  );
}

module.exports = { Inbox };
