'use strict';
// Log events of an app on their way to its logger.

const native = require('../platform.js').binding();
const check = require('./arguments.js');
const { invalidArgument } = require('./errors.js');

/** Least to most verbose; src/logs.rs has the same. */
const LEVELS = ['error', 'warn', 'info', 'debug', 'trace'];
const METHODS = ['error', 'warn', 'info', 'debug'];

class Logger {
  #native;
  #write;
  #warn;
  #warned = false;

  /** What a configuration asks for: `{ write, level }`, or undefined without a logger. */
  static check({ logger, logLevel }) {
    const level = LEVELS.indexOf(check.oneOf('logLevel', logLevel, LEVELS, 'info'));
    return logger === undefined ? undefined : { write: writing(logger), level };
  }

  /** The logger that was asked for, listening. */
  static of(asked, warn) {
    return asked && new Logger(asked, warn);
  }

  constructor({ write, level }, warn) {
    this.#write = write;
    this.#warn = warn;
    // The addon must not keep a logger alive whose app nobody holds.
    const reference = new WeakRef(this);
    this.#native = new native.NativeLogger(level, () => reference.deref()?.#drain());
  }

  /** By which the addon knows whose events it gets. */
  get number() {
    return this.#native.number;
  }

  /** Hands over what has come, and listens no longer. */
  close() {
    this.#native.close();
    this.#drain();
  }

  #drain() {
    const events = this.#native.take();
    for (let at = 0; at < events.length; at += 3) this.#give(events[at], events[at + 1], events[at + 2]);
  }

  /** Whatever the logger does, the SDK goes on. */
  #give(level, message, fields) {
    try {
      const result = this.#write(level, message, fields);
      if (typeof result?.then === 'function') result.then(undefined, () => this.#failed());
    } catch {
      this.#failed();
    }
  }

  #failed() {
    if (this.#warned) return;
    this.#warned = true;
    this.#warn('The logger threw. Its events go on, and are lost where it does.', 'STVOR_LOGGER_FAILED');
  }
}

/** A logger as a function of level, message and fields. */
function writing(logger) {
  if (typeof logger === 'function') return logger;
  const isObject = typeof logger === 'object' && logger !== null;
  if (!isObject || METHODS.some((name) => typeof logger[name] !== 'function')) {
    throw invalidArgument('logger', `a function, or an object with the methods ${METHODS.join(', ')}`, logger);
  }
  // console.trace prints stacks.
  return (level, message, fields) => logger[level === 'trace' ? 'debug' : level](message, fields);
}

/** Prints events on stderr for the rest of the process, if the environment says so. */
function logToStderr(warn) {
  const wanted = process.env.STVOR_LOG;
  if (wanted === undefined || wanted === '') return;
  const level = LEVELS.indexOf(wanted.toLowerCase());
  if (level >= 0) native.logToStderr(level);
  else warn(`STVOR_LOG is not one of ${LEVELS.join(', ')}, and has no effect.`, 'STVOR_LOG');
}

module.exports = { Logger, logToStderr };
