'use strict';

const check = require('./arguments.js');
const { encodeContent } = require('./content.js');
const { clientNotReady, fromNative, invalidArgument } = require('./errors.js');
const { disposable } = require('./disposable.js');
const { safetyNumber } = require('./safety-number.js');

/** Only this package makes clients: the constructor takes nothing else. */
const MADE_BY_APP = Symbol('made by app');

const SEND_OPTIONS = ['timeout', 'waitForRecipient', 'receipt'];

class StvorFacadeClient {
  #userId;
  #link;
  #number;
  #native;
  #inbox;
  #changes;
  #onLeave;
  #afterwards;
  #disconnecting;

  constructor(token, parts = {}) {
    if (token !== MADE_BY_APP) throw clientNotReady();
    this.#userId = parts.userId;
    this.#link = parts.link;
    this.#number = parts.number;
    this.#native = parts.native;
    this.#inbox = parts.inbox;
    this.#changes = parts.changes;
    this.#onLeave = parts.onLeave;
    this.#afterwards = parts.afterwards;
  }

  // Everything up to the first await runs at once, so calls enqueue in the order they are made.
  async send(to, content, options) {
    try {
      check.userId('to', to);
      const { kind, bytes } = encodeContent('content', content);
      const how = sendOptions(options);
      this.#assertConnected();
      return await this.#link.send(this.#native, to, kind, bytes, how);
    } catch (error) {
      throw fromNative(error);
    }
  }

  onMessage(handler) {
    return this.#inbox.onMessage(handler);
  }

  onReceipt(handler) {
    return this.#inbox.onReceipt(handler);
  }

  onError(handler) {
    return this.#inbox.onError(handler);
  }

  onIdentityChange(handler) {
    return this.#changes.on(handler);
  }

  async safetyNumber(peerId) {
    try {
      check.userId('peerId', peerId);
      this.#assertConnected();
      return safetyNumber(await this.#native.safetyNumber(peerId), peerId);
    } catch (error) {
      throw fromNative(error);
    }
  }

  async waitForUser(userId, timeout) {
    try {
      check.userId('userId', userId);
      if (userId === this.#userId) throw invalidArgument('userId', 'another user than the one who waits', userId);
      const timeoutMs = check.milliseconds('timeout', timeout, check.DEFAULT_TIMEOUT_MS);
      this.#assertConnected();
      return await this.#native.waitForUser(userId, timeoutMs);
    } catch (error) {
      throw fromNative(error);
    }
  }

  getUserId() {
    return this.#userId;
  }

  fingerprint() {
    return this.#native.fingerprint();
  }

  disconnect() {
    if (this.#disconnecting === undefined) {
      this.#disconnecting = this.#disconnect();
      this.#onLeave(this.#disconnecting);
    }
    return this.#disconnecting;
  }

  async #disconnect() {
    this.#inbox.close();
    try {
      await this.#native.disconnect();
    } finally {
      this.#link.detach(this.#number, this.#userId);
      await this.#afterwards?.();
    }
  }

  #assertConnected() {
    if (this.#disconnecting !== undefined) throw clientNotReady();
  }
}
disposable(StvorFacadeClient);

/** The options of a send as the addon takes them. */
function sendOptions(value) {
  const { timeout, waitForRecipient, receipt } = check.options('options', value, SEND_OPTIONS);
  return {
    timeoutMs: check.milliseconds('timeout', timeout, undefined, 1),
    waitForRecipient: check.boolean('waitForRecipient', waitForRecipient, true),
    receipt: check.boolean('receipt', receipt, false),
  };
}

module.exports = { MADE_BY_APP, StvorFacadeClient };
