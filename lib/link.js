'use strict';
// The facade's side of one native app: sends by number, events in batches, process lifetime.

const native = require('../platform.js').binding();
const { clientNotReady, fromNative } = require('./errors.js');
const { DecryptedMessage } = require('./message.js');

/** Kinds of event in the flat array of `takeEvents`; src/events.rs writes it. */
const MESSAGE = 0;
const SENT = 1;
const FAILED = 2;
const ERROR = 3;

/** How long a client's first message waits at most for sends under way. */
const FIRST_MESSAGE_HOLD_MS = 250;
const LONGEST_DELAY_MS = 2 ** 31 - 1;

/** Links with a connected client. Holds them, and with them their apps, until they disconnect. */
const connected = new Set();

class Link {
  #native;
  #numbers = 0;
  #sends = new Map();
  #inboxes = new Map();
  #ready = new Set();
  #holding;
  #keepAlive;

  /** Opens the app; rejects with a StvorError. */
  static async open(config) {
    const link = new Link();
    // The addon must not keep an app alive that nobody holds: it closes when collected.
    const reference = new WeakRef(link);
    const wake = () => reference.deref()?.#drain();
    link.#native = await native.NativeApp.open(config, wake);
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
      const client = await this.#native.connect(userId, number);
      this.#stayAlive();
      return { client, number };
    } catch (error) {
      this.detach(number);
      throw error;
    }
  }

  /** Forgets a client; the process may end when none is left. */
  detach(number) {
    this.#inboxes.delete(number);
    if (this.#inboxes.size === 0) this.#mayEnd();
  }

  /** Enqueues a message at once; the promise settles with the addon's answer. */
  send(client, to, content, timeoutMs, waitForRecipient) {
    return new Promise((resolve, reject) => {
      const number = (this.#numbers += 1);
      this.#sends.set(number, { resolve, reject });
      try {
        client.send(number, to, content, timeoutMs, waitForRecipient);
      } catch (error) {
        this.#sends.delete(number);
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
        case MESSAGE: {
          const inbox = this.#inboxes.get(events[at + 1]);
          if (inbox !== undefined) {
            inbox.push(messageAt(events, at));
            this.#ready.add(inbox);
          }
          at += 6;
          break;
        }
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
      }
    }
    // Later than the continuations of the sends that were settled above.
    if (this.#ready.size > 0) setImmediate(() => this.#deliver());
  }

  #take(number) {
    const send = this.#sends.get(number);
    this.#sends.delete(number);
    return send;
  }

  /**
   * Hands messages on to the handlers.
   *
   * A client's very first message waits, briefly, for sends under way in the app: a program that
   * opens with sends then sees their results before what they caused.
   */
  #deliver() {
    const busy = this.#sends.size > 0;
    for (const inbox of this.#ready) {
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

function messageAt(events, at) {
  const [id, senderId, content] = [events[at + 2], events[at + 3], events[at + 4]];
  return new DecryptedMessage(id, senderId, content, new Date(events[at + 5]));
}

module.exports = { Link };
