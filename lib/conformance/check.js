'use strict';
// Runs the rules on adapters, with any test runner or none.

const check = require('../arguments.js');
const { StvorError, invalidArgument } = require('../errors.js');
const { METHODS, STORES } = require('../storage/interfaces.js');
const { Subject } = require('./subject.js');
const { Broken } = require('./broken.js');

const OPTIONS = ['reopen', 'only', 'singleUser', 'oneWriter', 'timeout'];
const DEFAULT_TIMEOUT_MS = 30_000;

const RULES = [
  { store: undefined, rule: 'methods-present', title: 'every store has its methods', mend: 'Add what is missing.', run: methodsPresent },
  ...require('./identity.js'),
  ...require('./sessions.js'),
  ...require('./replay.js'),
  ...require('./tofu.js'),
];

/** The rules as separate cases: `{ rule, name, run }`, where `run()` rejects for a broken rule. */
function adapterCases(adapters, options) {
  const given = check.options('options', options, OPTIONS);
  const stores = storesOf(given.only);
  const timeout = check.milliseconds('timeout', given.timeout, DEFAULT_TIMEOUT_MS, 1);
  const subject = subjectOf(adapters, given);
  const rules = RULES.filter(({ store }) => store === undefined || stores.includes(store));
  return rules.map((rule) => ({
    rule: rule.rule,
    name: rule.title,
    run: () => runRule(rule, subject, stores, timeout),
  }));
}

/** Runs every rule; resolves to a report, or rejects with `STORAGE_NONCONFORMING`, which lists all that are broken. */
async function checkAdapters(adapters, options) {
  const report = { passed: [], skipped: [] };
  const failures = [];
  for (const { rule, run } of adapterCases(adapters, options)) {
    try {
      const skipped = await run();
      if (skipped === undefined) report.passed.push(rule);
      else report.skipped.push({ rule, why: skipped.skipped });
    } catch (error) {
      failures.push(...error.failures);
    }
  }
  if (failures.length > 0) throw nonconforming(failures, report);
  return report;
}

async function runRule(rule, subject, stores, timeout) {
  try {
    const why = await reasonToSkip(rule, subject);
    if (why !== undefined) return { skipped: why };
    await within(timeout, rule.run(subject, stores));
    return undefined;
  } catch (cause) {
    const seen = cause instanceof Broken ? cause.message : `the store has failed: ${cause?.message ?? String(cause)}`;
    const failure = { rule: rule.rule, message: `${rule.title}: ${seen}`, action: rule.mend };
    if (!(cause instanceof Broken)) failure.cause = cause;
    throw nonconforming([failure]);
  }
}

async function reasonToSkip({ store, needs = [] }, subject) {
  if (store === undefined) return undefined;
  if ((await missingOf(subject, store)).length > 0) return `${store} lacks methods`;
  for (const need of needs) {
    if (need === 'users') {
      if (subject.singleUser) return 'singleUser is given';
    } else if (need === 'reopen') {
      if (!subject.canReopen) return 'reopen is not given';
    } else if (need === 'writers') {
      if (subject.oneWriter) return 'oneWriter is given';
    } else if (!(await subject.store(store, subject.name('any'))).has(need)) return `${store} has no ${need}`;
  }
  return undefined;
}

async function methodsPresent(subject, stores) {
  const missing = [];
  for (const store of stores) missing.push(...(await missingOf(subject, store)));
  if (missing.length > 0) throw new Broken(`missing: ${missing.join(', ')}`);
}

async function missingOf(subject, store) {
  const given = (await subject.of(subject.name('any')))?.[store];
  if (given === null || given === undefined) return [store];
  return Object.keys(METHODS[store]).filter((method) => typeof given[method] !== 'function').map((method) => `${store}.${method}`);
}

function within(timeout, work) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Broken(`nothing after ${timeout} ms`)), timeout);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function nonconforming(failures, report) {
  const lines = failures.map(({ rule, message, action }) => `  ${rule}: ${message}. ${action}`);
  const error = new StvorError(
    'STORAGE_NONCONFORMING',
    `The stores break ${failures.length === 1 ? 'a rule' : `${failures.length} rules`}:\n${lines.join('\n')}\n`,
    failures[0].action,
    false,
    failures.length === 1 && failures[0].cause !== undefined ? { cause: failures[0].cause } : {},
  );
  return Object.assign(error, { failures }, report);
}

function storesOf(only = STORES) {
  if (Array.isArray(only) && only.length > 0 && only.every((name) => STORES.includes(name))) return only;
  throw invalidArgument('only', `an array of ${STORES.join(', ')}`, only);
}

function subjectOf(adapters, given) {
  if (typeof adapters !== 'function') check.object('adapters', adapters);
  if (given.reopen !== undefined) check.handler('reopen', given.reopen);
  return new Subject(adapters, {
    reopen: given.reopen,
    singleUser: check.boolean('singleUser', given.singleUser, false),
    oneWriter: check.boolean('oneWriter', given.oneWriter, false),
  });
}

module.exports = { adapterCases, checkAdapters };
