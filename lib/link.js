'use strict';
// The facade's side of one native app: sends by number, events in batches, process lifetime.

const native = require('../platform.js').binding();
const { clientNotReady, fromNative } = require('./errors.js');

/** Kinds of event in the flat array of `takeEvents`; src/events.rs writes it. */
const MESSAGE = 0;
const SENT = 1;
const FAILED = 2;
const ERROR = 3;
const RECEIPT = 4;
const STORE = 5;
const IDENTITY = 6;

/** How long a client's first message waits at most for sends under way. */
const FIRST_MESSAGE_HOLD_MS = 250;
const LONGEST_DELAY_MS = 2 ** 31 - 1;

/** Links with a connected client. Holds them, and with them their apps, until they disconnect. */
const connected = new Set();

class Link {
  #native;
  #storage;
  #numbers = 0;
  #sends = new Map();
  /** How many of the sends wait for the recipient's handlers, and not only for the relay. */
  #receiptsAwaited = 0;
  #inboxes = new Map();
  #ready = new Set();
  #holding;
  #keepAlive;
  #logger;

  /** Opens the app; rejects with a StvorError. */
  static async open(config, storage, logger) {
    const link = new Link();
    link.#storage = storage;
    link.#logger = logger;
    // The addon must not keep an app alive that nobody holds: it closes when collected.
    const reference = new WeakRef(link);
    const wake = () => reference.deref()?.#drain();
    try {
      link.#native = await native.NativeApp.open(config, wake, logger?.number);
    } catch (error) {
      logger?.close();
      throw error;
    }
    return link;
  }

  get native() {
    return this.#native;
  }

  /** Connects a user whose events go to `inbox`. Returns the native client and its number. */
  async connect(userId, inbox) {
    const number = (this.#numbers += 1);
    this.#inboxes.set(number, inbox);
    try {
      const { choice, file } = await this.#storage.choose(userId);
      this.#native.chooseStores(userId, choice, file);
      const client = await this.#native.connect(userId, number);
      this.#stayAlive();
      return { client, number };
    } catch (error) {
      this.detach(number, userId);
      throw error;
    }
  }

  /** Forgets a client and its user; the process may end when none is left. */
  detach(number, userId) {
    this.#storage.release(userId);
    this.#inboxes.delete(number);
    if (this.#inboxes.size === 0) this.#mayEnd();
  }

  /** Enqueues a message at once; the promise settles with the addon's answer. */
  send(client, to, kind, content, options) {
    return new Promise((resolve, reject) => {
      const number = (this.#numbers += 1);
      this.#sends.set(number, { resolve, reject, receipt: options.receipt });
      if (options.receipt) this.#receiptsAwaited += 1;
      try {
        client.send(number, to, kind, content, options);
      } catch (error) {
        this.#take(number);
        reject(error);
      }
    });
  }

  /** Closes the app. Sends that the addon did not answer are rejected. */
  async close() {
    this.#mayEnd();
    await this.#native.close();
    this.#drain();
    for (const { reject } of this.#sends.values()) reject(clientNotReady());
    this.#sends.clear();
    this.#logger?.close();
  }

  /** A timer that never fires keeps the process up while somebody is connected. */
  #stayAlive() {
    connected.add(this);
    this.#keepAlive ??= setInterval(() => {}, LONGEST_DELAY_MS);
  }

  #mayEnd() {
    connected.delete(this);
    clearInterval(this.#keepAlive);
    this.#keepAlive = undefined;
  }

  #drain() {
    const events = this.#native.takeEvents();
    for (let at = 0; at < events.length; ) {
      switch (events[at]) {
        case MESSAGE:
          this.#readied(events[at + 1])?.push(arrivalAt(events, at));
          at += 7;
          break;
        case SENT:
          this.#take(events[at + 1])?.resolve({ id: events[at + 2], status: events[at + 3] });
          at += 4;
          break;
        case FAILED:
          this.#take(events[at + 1])?.reject(events[at + 2]);
          at += 3;
          break;
        case ERROR:
          this.#inboxes.get(events[at + 1])?.report(fromNative(events[at + 2]));
          at += 3;
          break;
        case RECEIPT:
          this.#readied(events[at + 1])?.pushReceipt({ id: events[at + 2], recipientId: events[at + 3] });
          at += 4;
          break;
        case STORE:
          void this.#askStore(events[at + 1], events[at + 2], events[at + 3], events[at + 4]);
          at += 5;
          break;
        case IDENTITY:
          this.#inboxes.get(events[at + 1])?.changed(changeAt(events, at));
          at += 6;
          break;
      }
    }
    // Later than the continuations of the sends that were settled above.
    if (this.#ready.size > 0) setImmediate(() => this.#deliver());
  }

  /** Lets a store answer the addon. */
  async #askStore(number, question, userId, rows) {
    const [answer, ...values] = await this.#storage.answer(question, userId, rows);
    this.#native[answer](number, ...values);
  }

  /** The inbox of a client, if there is one, whose handlers will be called. */
  #readied(number) {
    const inbox = this.#inboxes.get(number);
    if (inbox !== undefined) this.#ready.add(inbox);
    return inbox;
  }

  /** A send's promise, which is settled now. */
  #take(number) {
    const send = this.#sends.get(number);
    this.#sends.delete(number);
    if (send?.receipt) this.#receiptsAwaited -= 1;
    return send;
  }

  /**
   * Hands receipts and messages on to the handlers.
   *
   * A client's very first message waits, briefly, for sends under way in the app: a program that
   * opens with sends then sees their results before what they caused.
   */
  #deliver() {
    const busy = this.#sends.size > this.#receiptsAwaited;
    for (const inbox of this.#ready) {
      inbox.giveReceipts();
      const left = busy ? inbox.holdTime(FIRST_MESSAGE_HOLD_MS) : 0;
      if (left > 0) {
        this.#deliverIn(left);
      } else {
        this.#ready.delete(inbox);
        inbox.run();
      }
    }
  }

  #deliverIn(milliseconds) {
    this.#holding ??= setTimeout(() => {
      this.#holding = undefined;
      this.#deliver();
    }, milliseconds);
  }
}

function arrivalAt(events, at) {
  const [id, senderId, kind, payload, timestamp] = events.slice(at + 2, at + 7);
  return { id, senderId, kind, payload, timestamp };
}

function changeAt(events, at) {
  const [peerId, previousFingerprint, fingerprint, identityKey] = events.slice(at + 2, at + 6);
  return { peerId, previousFingerprint, fingerprint, identityKey };
}

module.exports = { Link };
