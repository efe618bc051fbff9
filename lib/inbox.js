'use strict';
// What comes for one client on its way to the handlers. Messages: one after another, in order.

const { StvorError, printable } = require('./errors.js');
const { handler, warn } = require('./arguments.js');
const { messageOf } = require('./message.js');

/** Handlers that wait for nothing let the rest of the program go on after so long. */
const SLICE_MS = 10;

/** A message that is still being handled at two looks in a row is told of. */
const LOOK_EVERY_MS = 30_000;

/** Handled messages are cut off the queue this many at a time: cutting costs its whole length. */
const FORGET_AFTER = 1_024;

class Inbox {
  #messageHandlers = new Set();
  #receiptHandlers = new Set();
  #errorHandlers = new Set();
  /** Gets changes of identities. */
  #giveChange = () => {};
  /** Tells the addon how many more messages have been handled. */
  #tellHandled;
  /** Tells the addon whether receipts are wanted: it does not make what nobody is given. */
  #wantReceipts;
  /** How many have been that it was not told of. */
  #handled = 0;
  /** Until handlers could be added: what is to be done with the errors and changes that came. */
  #early = [];
  #receipts = [];
  /** Messages in order of arrival, of which the first `#taken` were given to the handlers. */
  #waiting = [];
  #taken = 0;
  #running = false;
  /** The message whose handlers are being awaited. */
  #awaited;
  /** Looks, while messages come, whether that is still the same one; stays when it has told. */
  #looking;
  #closed = false;
  #delivered = false;
  #holdUntil;
  #warn;
  #warned = new Set();

  /** `warnWith(message, code)` gets the errors that no handler gets. */
  constructor(warnWith = warn) {
    this.#warn = warnWith;
  }

  /**
   * Says that the client is connected. What has come, apart from messages, is handed on in the next
   * turn of the event loop: whoever awaited the client adds handlers before that.
   */
  open(tellHandled, wantReceipts = () => {}, giveChange = () => {}) {
    this.#tellHandled = tellHandled;
    this.#wantReceipts = wantReceipts;
    this.#giveChange = giveChange;
    setImmediate(() => {
      const early = this.#early;
      this.#early = undefined;
      for (const deal of early) deal();
      this.giveReceipts();
      if (this.#receiptHandlers.size === 0) wantReceipts(false);
    });
  }

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

  /** Adds a handler of receipts and returns the function that removes it. */
  onReceipt(callback) {
    const remove = added(this.#receiptHandlers, callback);
    this.#wantReceipts?.(true);
    return () => {
      remove();
      if (this.#receiptHandlers.size === 0) this.#wantReceipts?.(false);
    };
  }

  /** Adds an error handler and returns the function that removes it. */
  onError(callback) {
    return added(this.#errorHandlers, callback);
  }

  /** Takes a message in; `run` hands it on. */
  push(arrival) {
    if (!this.#closed) this.#waiting.push(arrival);
  }

  /** Takes a receipt in; `giveReceipts` hands it on. */
  pushReceipt(receipt) {
    if (!this.#closed) this.#receipts.push(receipt);
  }

  /** Hands waiting receipts to the handlers there are. Messages being handled do not hold them up. */
  giveReceipts() {
    if (this.#early !== undefined) return;
    for (const receipt of this.#receipts.splice(0)) {
      const { id, recipientId } = receipt; // handlers may change what they are given
      for (const call of [...this.#receiptHandlers]) {
        attempt(() => call(receipt), (thrown) => this.report(handlerFailed('receipt', thrown, `${id} of "${recipientId}"`, recipientId)));
      }
    }
  }

  /** Hands waiting messages to the handlers, each only after the handlers of the one before. */
  async run() {
    if (this.#running) return;
    this.#running = true;
    let began = performance.now();
    while (this.#messageHandlers.size > 0 && this.#taken < this.#waiting.length) {
      const arrival = this.#next();
      const message = this.#read(arrival);
      const pending = message && this.#call(message, arrival);
      if (pending !== undefined) {
        this.#awaited = arrival;
        if (this.#looking === undefined && !this.#closed) this.#look();
        await this.#settle(pending, arrival);
        this.#awaited = undefined;
      }
      this.#count();
      if (performance.now() - began > SLICE_MS) {
        await nextTurn(); // in which what was handled is told as well
        began = performance.now();
      }
    }
    this.#running = false;
  }

  /** Warns, once, of a handler that takes very long: every later message waits for it without a sign. */
  #look(last) {
    this.#looking = setTimeout(() => {
      const now = this.#awaited;
      if (now === undefined) {
        this.#looking = undefined;
      } else if (now !== last) {
        this.#look(now);
      } else {
        const what = printable(`${now.id} of "${now.senderId}"`);
        this.#warn(`A message handler has not completed for ${LOOK_EVERY_MS / 1_000} seconds, and all later messages wait for it: it was given ${what}.`, 'STVOR_HANDLER_PENDING');
      }
    }, LOOK_EVERY_MS);
    this.#looking.unref?.(); // which timers of others do not have
  }

  #next() {
    const arrival = this.#waiting[this.#taken];
    this.#taken += 1;
    this.#delivered = true;
    if (this.#taken === this.#waiting.length || this.#taken === FORGET_AFTER) {
      this.#waiting.splice(0, this.#taken);
      this.#taken = 0;
    }
    return arrival;
  }

  /** The message for the handlers, or a report that it cannot be read; it counts as handled then. */
  #read(arrival) {
    try {
      return messageOf(arrival);
    } catch {
      this.report(invalidContent(arrival.senderId));
    }
  }

  /** Calls every handler, which may change the message; returns the promises that there are to wait for, if any. */
  #call(message, arrival) {
    let pending;
    for (const call of [...this.#messageHandlers]) {
      if (!this.#messageHandlers.has(call)) continue;
      try {
        const result = call(message);
        if (typeof result?.then === 'function') (pending ??= []).push(result);
      } catch (error) {
        this.report(messageHandlerFailed(arrival, error));
      }
    }
    return pending;
  }

  async #settle(pending, arrival) {
    if (pending.length > 1) {
      for (const { reason } of (await Promise.allSettled(pending)).filter(({ status }) => status === 'rejected')) {
        this.report(messageHandlerFailed(arrival, reason));
      }
      return;
    }
    try {
      await pending[0]; // the common case, without what allSettled allocates
    } catch (reason) {
      this.report(messageHandlerFailed(arrival, reason));
    }
  }

  /** Counts a message as handled, unless the client left meanwhile: it is given again then. */
  #count() {
    if (this.#closed) return;
    this.#handled += 1;
    if (this.#handled === 1) setImmediate(() => this.#reportHandled());
  }

  /** One call for all that were handled in a turn of the event loop. */
  #reportHandled() {
    if (this.#handled > 0) this.#tellHandled(this.#handled);
    this.#handled = 0;
  }

  /** Gives an error to the error handlers, or, without any, prints each kind of it once. */
  report(error) {
    if (this.#early !== undefined) return void this.#early.push(() => this.report(error));
    if (this.#closed) return error.code === 'HANDLER_FAILED' ? this.#warnOnce(error) : undefined;
    if (this.#errorHandlers.size === 0) return this.#warnOnce(error);
    const failure = `${error.code}: "${error.message}"`; // handlers may change what they are given
    const calls = [...this.#errorHandlers];
    let failed = 0;
    for (const call of calls) {
      attempt(() => call(error), (thrown) => {
        failed += 1;
        if (failed === calls.length) this.#warnOnce(error); // nobody has dealt with it
        this.#warnOnce(handlerFailed('error', thrown, failure), 'of an error handler');
      });
    }
  }

  /** Hands a change of a peer's identity on. */
  changed(change) {
    if (this.#early !== undefined) return void this.#early.push(() => this.changed(change));
    if (!this.#closed) this.#giveChange(change, (error) => this.report(error));
  }

  #warnOnce(error, kind = error.code) {
    if (this.#warned.has(kind)) return;
    this.#warned.add(kind);
    const cause = error.cause === undefined ? '' : ` ${causeText(error.cause)}`;
    const advice = this.#errorHandlers.size === 0 ? ': subscribe with client.onError()' : '';
    this.#warn(`${error.message}${cause} Further ones are not printed${advice}.`, error.code);
  }

  /** No handler is called any more; what waits is dropped. */
  close() {
    this.#reportHandled();
    clearTimeout(this.#looking);
    this.#closed = true;
    this.#receipts = [];
    this.#waiting = [];
    this.#taken = 0;
  }
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

function causeText(cause) {
  try {
    return String(cause?.stack ?? cause);
  } catch {
    return 'The cause cannot be printed.';
  }
}

/** Adds a handler to a set of them, each time as one of its own, and returns the function that removes it. */
function added(handlers, callback) {
  handler('handler', callback);
  const call = (value) => callback(value);
  handlers.add(call);
  return () => void handlers.delete(call);
}

/** Calls a handler that nothing waits for; `failed` gets what it throws, at once or later. */
function attempt(call, failed) {
  try {
    Promise.resolve(call()).catch(failed);
  } catch (thrown) {
    failed(thrown);
  }
}

/** `of` is what the handler was given, as far as it may be printed, and `peerId` whom that concerns. */
function handlerFailed(what, cause, of, peerId) {
  const article = /^[aeiou]/.test(what) ? 'An' : 'A';
  return new StvorError(
    'HANDLER_FAILED',
    `${article} ${what} handler failed, which was given ${printable(of)}.`,
    `Catch errors inside the handler: the ${what} counts as handled.`,
    false,
    { cause, peerId },
  );
}

function messageHandlerFailed({ id, senderId }, cause) {
  return handlerFailed('message', cause, `${id} of "${senderId}"`, senderId);
}

function invalidContent(peerId) {
  return new StvorError(
    'INVALID_CONTENT',
    `A message from "${printable(peerId)}" holds a content that cannot be read, and was dropped.`,
    'The message is authentic: the sender runs another version, or a faulty one.',
    false,
    { peerId },
  );
}

module.exports = { Inbox, attempt, handlerFailed };
