#!/usr/bin/env node
'use strict';

// Runs the bundled `stvor` binary in our place: arguments, output, signals and exit code pass through.
//
// Its stdin is a pipe that only we hold: servers end when it closes, so however we are killed, none
// is left behind.

const { execFileSync, spawn, spawnSync } = require('node:child_process');
const { existsSync, readFileSync } = require('node:fs');
const { basename, join } = require('node:path');
const { binaryPath } = require('../platform.js');

/** Commands that run until they are told to stop. */
const servers = new Set(['mock-relay']);

const [command, ...rest] = process.argv.slice(2);
const args = command === undefined ? [] : [command, ...(servers.has(command) ? ['--exit-on-stdin-close'] : []), ...rest];

// Both before the start: who reads the server's first line may end us, or npx, at once.
const starter = process.env.npm_command === 'exec' ? npxPid() : undefined;
const signals = process.platform === 'win32' ? ['SIGINT', 'SIGBREAK'] : ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
const forward = (signal) => child.kill(signal);
for (const signal of signals) process.on(signal, forward);

const child = spawn(find(), args, { stdio: ['pipe', 'inherit', 'inherit'] });

// Without npx, that started us, we have nobody to serve. Killed outright, it cannot tell us.
if (starter !== undefined) setInterval(() => isRunning(starter) || child.kill('SIGTERM'), 500).unref();

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

/** npx is our parent, or the parent of the shell in between. */
function npxPid() {
  const parent = process.ppid;
  try {
    const [, name, grandparent] =
      process.platform === 'linux'
        ? /^\d+ \((.*)\) \S (\d+)/.exec(readFileSync(`/proc/${parent}/stat`, 'utf8'))
        : /^(?=.*?(\S+)$)\s*(\d+)/m.exec(execFileSync('ps', ['-o', 'ppid=,comm=', '-p', String(parent)], { encoding: 'utf8' }));
    return /^-?(ba|da|z)?sh$/.test(basename(name)) ? Number(grandparent) : parent;
  } catch {
    return parent;
  }
}

function isRunning(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
