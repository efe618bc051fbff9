'use strict';

const check = require('./arguments.js');
const { clientNotReady, fromNative } = require('./errors.js');
const { MADE_BY_APP, StvorFacadeClient } = require('./client.js');
const { disposable } = require('./disposable.js');
const { IdentityChanges, identityChange } = require('./identity.js');
const { Inbox } = require('./inbox.js');
const { Link } = require('./link.js');
const { Logger, logToStderr } = require('./logger.js');
const { Attestations } = require('./metrics.js');
const { Storage } = require('./adapters.js');

class StvorApp {
  #link;
  /** For each user `{ client: Promise, leaving?: Promise }`. */
  #users = new Map();
  #closing;
  #changes = new IdentityChanges();
  #attestations;
  #warn;

  constructor(token, link, metrics) {
    if (token !== MADE_BY_APP) throw clientNotReady();
    this.#link = link;
    this.#attestations = new Attestations(link.native, metrics);
    this.#warn = metrics.warn;
  }

  async connect(userId) {
    try {
      check.userId('userId', userId);
      if (this.#closing !== undefined) throw clientNotReady();
      const known = this.#users.get(userId);
      const user = known === undefined || known.leaving ? this.#enter(userId, known) : known;
      return await user.client;
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Connects a user, after the same user's earlier client has left. */
  #enter(userId, earlier) {
    const user = {};
    const forget = () => this.#users.get(userId) === user && this.#users.delete(userId);
    const onLeave = (leaving) => {
      user.leaving = leaving;
      leaving.then(forget, forget);
    };
    const changes = new IdentityChanges(this.#changes);
    const entering = () => enter(this.#link, userId, { changes, warn: this.#warn, onLeave });
    user.client = Promise.resolve(earlier?.leaving).then(entering);
    user.client.catch(forget);
    this.#users.set(userId, user);
    return user;
  }

  async disconnect(userId) {
    if (userId === undefined) return (this.#closing ??= this.#close());
    check.userId('userId', userId);
    const user = this.#users.get(userId);
    if (user === undefined) return;
    // Noted at once: a connect() right after this one waits and gets a new client.
    user.leaving ??= user.client.then((client) => client.disconnect(), () => {});
    await user.leaving;
  }

  async #close() {
    const clients = await Promise.allSettled([...this.#users.values()].map((user) => user.client));
    await Promise.allSettled(clients.map(({ value }) => value?.disconnect()));
    await this.#attestations.sendLast();
    await this.#link.close();
  }

  isReady() {
    return this.#closing === undefined && this.#link.native.isReady();
  }

  async trust(peerId, fingerprint) {
    try {
      check.userId('peerId', peerId);
      const expected = check.fingerprint('fingerprint', fingerprint);
      if (this.#closing !== undefined) throw clientNotReady();
      await this.#link.native.trust(peerId, expected);
    } catch (error) {
      throw fromNative(error);
    }
  }

  onIdentityChange(handler) {
    return this.#changes.on(handler);
  }

  getMetrics() {
    return this.#link.native.metrics();
  }

  prometheus() {
    return this.#link.native.prometheus();
  }

  createAttestation() {
    return this.#attestations.create();
  }

  flushMetrics(options) {
    return this.#attestations.flush(options);
  }

  sendMetricsAttestation(options) {
    return this.#attestations.flush(options);
  }
}
disposable(StvorApp);

async function enter(link, userId, { changes, warn, onLeave, afterwards }) {
  const inbox = new Inbox(warn);
  const { client: native, number } = await link.connect(userId, inbox);
  inbox.open(
    (count) => native.handled(count),
    (wanted) => native.wantReceipts(wanted),
    (change, report) => changes.give(identityChange(native, userId, change), report),
  );
  const parts = { userId, link, number, native, inbox, changes, onLeave, afterwards };
  return new StvorFacadeClient(MADE_BY_APP, parts);
}

/** Reaches the relay as `config` says. Resolves to the link, and what becomes of metrics. */
async function open(config) {
  const native = check.config(config);
  const { storageAdapters, productionMode: production = false } = config;
  const backendUrl = check.backendUrl(config.backendUrl, production);
  const warn = check.warner(config);
  const logging = Logger.check(config);
  check.warnAboutConfig(config, warn);
  const storage = await Storage.open(storageAdapters, { production, warn, warnOnce: check.warnOnce(warn, config) });
  check.productionRelay(config);
  logToStderr(warn);
  return [await Link.open(native, storage, Logger.of(logging, warn)), { backendUrl, production, warn }];
}

async function createApp(config) {
  try {
    return new StvorApp(MADE_BY_APP, ...await open(config));
  } catch (error) {
    throw fromNative(error);
  }
}

/** One user with an app of its own, which the client's `disconnect` closes too. */
async function connect(options) {
  try {
    const { userId, ...config } = check.object('options', options);
    check.userId('userId', userId);
    const [link, metrics] = await open(config);
    const close = async () => {
      await new Attestations(link.native, metrics).sendLast();
      await link.close();
    };
    try {
      const parts = { changes: new IdentityChanges(), warn: metrics.warn, onLeave: () => {}, afterwards: close };
      return await enter(link, userId, parts);
    } catch (error) {
      await link.close();
      throw error;
    }
  } catch (error) {
    throw fromNative(error);
  }
}

const Stvor = Object.freeze({ init: createApp, createApp, connect });

module.exports = { Stvor, StvorApp, createApp };
