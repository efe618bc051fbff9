#!/usr/bin/env node
'use strict';

// Runs the bundled `stvor` binary in our place: arguments, output, signals and exit code pass through.
//
// Its stdin is a pipe that only we hold: servers end when it closes, so however we are killed, none
// is left behind.

const { spawn, spawnSync } = require('node:child_process');
const { existsSync } = require('node:fs');
const { join } = require('node:path');
const { binaryPath } = require('../platform.js');

/** Commands that run until they are told to stop. */
const servers = new Set(['mock-relay']);

const [command, ...rest] = process.argv.slice(2);
const args = command === undefined ? [] : [command, ...(servers.has(command) ? ['--exit-on-stdin-close'] : []), ...rest];

const child = spawn(find(), args, { stdio: ['pipe', 'inherit', 'inherit'] });

const signals = process.platform === 'win32' ? ['SIGINT', 'SIGBREAK'] : ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
const forward = (signal) => child.kill(signal);
for (const signal of signals) process.on(signal, forward);

// npx that is killed outright takes nobody with it: without a parent we have nobody to serve.
if (process.env.npm_command === 'exec') {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || child.kill('SIGTERM'), 500).unref();
}

child.on('error', (error) => fail(`stvor: cannot run ${child.spawnfile}: ${error.message}`));
child.on('exit', (code, signal) => {
  if (signal === null) process.exit(code);
  for (const name of signals) process.off(name, forward);
  process.kill(process.pid, signal);
});

/** The binary's path. A checkout in which nothing has been built yet is set up first. */
function find() {
  try {
    return binaryPath();
  } catch (error) {
    const setup = join(__dirname, '..', 'scripts', 'setup.mjs');
    if (!existsSync(setup)) fail([error.message, error.action].filter(Boolean).join(' '));
    const { status } = spawnSync(process.execPath, [setup], { stdio: ['ignore', 2, 2] });
    if (status !== 0) process.exit(status ?? 1);
    return binaryPath();
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
