'use strict';
// Metrics on their way to a backend that verifies them.

const { debuglog } = require('node:util');
const check = require('./arguments.js');
const { fromNative } = require('./errors.js');

/** How long the last attestation of an app may hold up its end. */
const LAST_MS = 2_000;

/** What attestations carry of the metrics. */
const ATTESTED = ['messagesEncrypted', 'messagesDecrypted', 'messagesRejected', 'replayAttempts', 'authFailures'];

/** Printed with NODE_DEBUG=stvor: a program that ends in order says nothing by itself. */
const debug = debuglog('stvor');

/** Attests for one app, to the backend of its configuration or of a call. */
class Attestations {
  #native;
  #backendUrl;
  #production;
  #warn;

  constructor(native, { backendUrl, production, warn }) {
    this.#native = native;
    this.#backendUrl = backendUrl;
    this.#production = production;
    this.#warn = warn;
  }

  create() {
    return JSON.parse(this.#native.createAttestation());
  }

  async flush(options) {
    try {
      const { backendUrl, timeout } = check.options('options', options, ['backendUrl', 'timeout']);
      const url = check.backendUrl(backendUrl, this.#production) ?? this.#backendUrl;
      const limit = check.milliseconds('timeout', timeout, check.DEFAULT_TIMEOUT_MS, 1);
      if (url !== undefined) return JSON.parse(await this.#native.flushMetrics(url, limit));
      this.#warn(`Metrics are not sent, for there is no backendUrl: ${this.#summary()}.`, 'STVOR_METRICS');
      return null;
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** When the app ends: never rejects, never takes long. */
  async sendLast() {
    if (this.#backendUrl === undefined) return debug('metrics: %s', this.#summary());
    try {
      await this.#native.flushMetrics(this.#backendUrl, LAST_MS);
    } catch (error) {
      debug('metrics were not sent: %s', fromNative(error).message);
    }
  }

  /** What would have been sent. */
  #summary() {
    const metrics = this.#native.metrics();
    return ATTESTED.map((name) => `${name} ${metrics[name]}`).join(', ');
  }
}

module.exports = { Attestations };
