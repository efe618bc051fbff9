'use strict';

const check = require('./arguments.js');
const { clientNotReady } = require('./errors.js');

/** Only this package makes safety numbers: the constructor takes nothing else. */
const MADE_BY_CLIENT = Symbol('made by client');

/** What two people compare. Everything in it may be shown. */
class SafetyNumber {
  #native;

  constructor(token, native, peerId) {
    if (token !== MADE_BY_CLIENT) throw clientNotReady();
    this.#native = native;
    this.peerId = peerId;
    this.fingerprint = native.fingerprint();
    this.digits = native.text().replaceAll(' ', '');
    Object.freeze(this);
  }

  get bytes() {
    return this.#native.bytes();
  }

  matches(scanned) {
    return this.#native.matches(check.bytes('scanned', scanned));
  }

  toQR() {
    return this.#native.svg();
  }

  toString() {
    return this.#native.text();
  }
}

/** The facade's object for one of the addon. */
function safetyNumber(native, peerId) {
  return new SafetyNumber(MADE_BY_CLIENT, native, peerId);
}

module.exports = { SafetyNumber, safetyNumber };
