'use strict';
// The messages of one client on their way to its handlers: one after another, in order.

const { StvorError } = require('./errors.js');
const { handler, warn } = require('./arguments.js');

/** Handled messages are cut off the queue this many at a time: cutting costs its whole length. */
const FORGET_AFTER = 1_024;

class Inbox {
  #messageHandlers = new Set();
  #errorHandlers = new Set();
  /** Messages in order of arrival, of which the first `#taken` are done with. */
  #waiting = [];
  #taken = 0;
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
    if (!this.#closed) this.#waiting.push(message);
  }

  /** Hands waiting messages to the handlers, each only after the handlers of the one before. */
  async run() {
    if (this.#running) return;
    this.#running = true;
    while (this.#messageHandlers.size > 0 && this.#taken < this.#waiting.length) {
      const pending = this.#call(this.#next());
      if (pending !== undefined) await this.#settle(pending);
    }
    this.#running = false;
  }

  #next() {
    const message = this.#waiting[this.#taken];
    this.#taken += 1;
    this.#delivered = true;
    if (this.#taken === this.#waiting.length || this.#taken === FORGET_AFTER) {
      this.#waiting.splice(0, this.#taken);
      this.#taken = 0;
    }
    return message;
  }

  /** Calls every handler; returns the promises that there are to wait for, if any. */
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
    return pending;
  }

  async #settle(pending) {
    if (pending.length > 1) {
      for (const { reason } of (await Promise.allSettled(pending)).filter(({ status }) => status === 'rejected')) {
        this.report(handlerFailed(reason));
      }
      return;
    }
    try {
      await pending[0]; // the common case, without what allSettled allocates
    } catch (reason) {
      this.report(handlerFailed(reason));
    }
  }

  /** Gives an error to the error handlers, or, without any, prints each kind of it once. */
  report(error) {
    if (this.#closed) return error.code === 'HANDLER_FAILED' ? this.#warnOnce(error) : undefined;
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
    this.#waiting = [];
    this.#taken = 0;
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

module.exports = { Inbox };
