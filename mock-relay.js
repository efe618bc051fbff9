'use strict';
// The development relay as a child process: the bundled `stvor mock-relay`.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const check = require('./lib/arguments.js');
const { disposable } = require('./lib/disposable.js');
const { StvorError, invalidArgument } = require('./lib/errors.js');
const { binaryPath } = require('./platform.js');

const OPTIONS = ['port', 'host', 'verbose', 'tokenPrefixes'];

async function startMockRelay(options) {
  const args = relayArguments(check.options('options', options, OPTIONS));
  const verbose = args.includes('--verbose');
  // Its stdin is the leash: it ends when the pipe closes, however this process dies.
  const child = spawn(binaryPath(), args, {
    stdio: ['pipe', 'pipe', verbose ? 'inherit' : 'pipe'],
    windowsHide: true,
  });
  const { port, url } = await listening(child);
  return new MockRelay(child, port, url);
}

class MockRelay {
  #child;
  #closing;

  constructor(child, port, url) {
    this.#child = child;
    this.port = port;
    this.url = url;
    this.httpUrl = url.replace(/^ws/, 'http');
  }

  async close() {
    await (this.#closing ??= stop(this.#child));
  }
}
disposable(MockRelay, 'close');

function relayArguments({ port = 0, host, verbose, tokenPrefixes }) {
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw invalidArgument('port', 'an integer from 0 to 65535', port);
  }
  const args = ['mock-relay', '--output', 'json', '--exit-on-stdin-close', '--port', String(port)];
  for (const address of list('host', host)) args.push('--host', address);
  for (const prefix of list('tokenPrefixes', tokenPrefixes)) args.push(`--token-prefix=${prefix}`);
  if (check.boolean('verbose', verbose, false)) args.push('--verbose');
  return args;
}

function list(name, value = []) {
  const values = Array.isArray(value) ? value : [value];
  if (values.every((item) => typeof item === 'string')) return values;
  throw invalidArgument(name, 'a string or an array of strings', value);
}

/** Waits for the line that says where it listens; rejects with its own words if it ends before. */
function listening(child) {
  return new Promise((resolve, reject) => {
    let output = '';
    let complaint = '';
    child.stdout.setEncoding('utf8');
    child.stdout.on('data', (text) => {
      output += text;
      const end = output.indexOf('\n');
      if (end >= 0) resolve(JSON.parse(output.slice(0, end)));
    });
    child.stderr?.setEncoding('utf8').on('data', (text) => (complaint += text));
    child.on('error', (error) => reject(startFailure(error.message, error)));
    child.on('close', (code) => reject(startFailure(complaint.trim().replace(/^stvor: /, '') || `it ended with code ${code}`)));
  });
}

function startFailure(reason, cause) {
  return new StvorError(
    'RELAY_UNAVAILABLE',
    `The mock relay did not start: ${reason}`,
    'Choose another port, or leave it out for a free one.',
    true,
    cause === undefined ? {} : { cause },
  );
}

async function stop(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.stdin.end();
  child.kill('SIGTERM');
  await exit;
}

const load = async () => module.exports;

module.exports = { startMockRelay, load };
