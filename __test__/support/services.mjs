// The real PostgreSQL and Redis that stores are tested against: those that DATABASE_URL and REDIS_URL name or that
// listen where they usually do, else private ones, started from the installed programs and gone afterwards.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import pg from 'pg';
import { createClient } from 'redis';

const execute = promisify(execFile);
const PROBE_MS = 2_000;
/** Another process may take a port that was free a moment ago. */
const ATTEMPTS = 5;

/** Running services: `{ databaseUrl, redisUrl, close() }`. `close()` stops those that were started here. */
export async function services() {
  const [database, redis] = await Promise.all([postgres(), redisServer()]);
  return {
    databaseUrl: database.url,
    redisUrl: redis.url,
    async close() {
      await Promise.all([database.stop?.(), redis.stop?.()]);
    },
  };
}

async function postgres() {
  const url = process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1:5432/postgres';
  return (await answersAsPostgres(url)) ? { url } : startPostgres();
}

async function redisServer() {
  const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379';
  return (await answersAsRedis(url)) ? { url } : startRedis();
}

async function answersAsPostgres(connectionString) {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: PROBE_MS });
  client.on('error', () => {});
  try {
    await client.connect();
    await client.query('SELECT 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}

async function answersAsRedis(url) {
  const client = createClient({ url, socket: { connectTimeout: PROBE_MS, reconnectStrategy: false } });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.ping()) === 'PONG';
  } catch {
    return false;
  } finally {
    if (client.isOpen) client.destroy();
  }
}

/** A new PostgreSQL in a temporary directory: `{ url, stop() }`. */
export async function startPostgres() {
  const bin = await found(postgresBin, 'postgresql');
  const directory = mkdtempSync(join(tmpdir(), 'stvor-postgres-'));
  const user = await unprivileged();
  if (user.uid !== undefined) chownSync(directory, user.uid, user.gid);
  const data = join(directory, 'data');
  await execute(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'], { cwd: directory, ...user });
  return started(directory, async (port) => {
    const args = ['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', `unix_socket_directories=${directory}`];
    const child = spawn(join(bin, 'postgres'), args, { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'], ...user });
    await printed(child, child.stderr, /ready to accept connections/);
    return { child, signal: 'SIGINT', url: `postgres://postgres@127.0.0.1:${port}/postgres` };
  });
}

/** A new Redis that keeps nothing on disk: `{ url, stop() }`. */
export async function startRedis() {
  const server = await found(redisBin, 'redis-server');
  const directory = mkdtempSync(join(tmpdir(), 'stvor-redis-'));
  return started(directory, async (port) => {
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', directory];
    const child = spawn(server, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await printed(child, child.stdout, /Ready to accept connections/i);
    return { child, signal: 'SIGTERM', url: `redis://127.0.0.1:${port}` };
  });
}

/** Starts a server on a free port; `start(port)` rejects if the server ends. */
async function started(directory, start, attempts = ATTEMPTS) {
  try {
    const { child, signal, url } = await start(await freePort());
    const remove = () => rmSync(directory, { recursive: true, force: true });
    const abandon = () => {
      child.kill('SIGQUIT');
      remove();
    };
    process.once('exit', abandon);
    const stop = async () => {
      process.removeListener('exit', abandon);
      const ended = child.exitCode !== null || child.signalCode !== null ? undefined : once(child, 'exit');
      child.ref();
      child.kill(signal);
      await ended;
      remove();
    };
    return { url, stop };
  } catch (error) {
    if (attempts > 1) return started(directory, start, attempts - 1);
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
}

/** Waits for a line of a child's; rejects with what it has said if it ends before. Neither keeps this process alive. */
async function printed(child, stream, wanted) {
  const lines = [];
  const failed = new Promise((_, reject) => {
    child.once('error', reject);
    child.once('close', (code) => reject(new Error(`ended with ${code}:\n${lines.join('\n')}`)));
  });
  const ready = new Promise((resolve) => {
    createInterface({ input: stream }).on('line', (line) => {
      lines.push(line);
      if (wanted.test(line)) resolve();
    });
  });
  await Promise.race([ready, failed]);
  failed.catch(() => {});
  child.unref();
  stream.unref?.();
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A program, installed first where that is possible. */
async function found(find, packageName) {
  if (find() === undefined) await install(packageName);
  const program = find();
  if (program === undefined) throw new Error(`${packageName} is not installed, and nothing listens where it usually does.`);
  return program;
}

async function install(packageName) {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return;
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // Other tests may be installing at the same time.
  const apt = (...args) => execute('apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...args], { env, maxBuffer: 2 ** 26 });
  await apt('update');
  await apt('install', '-y', '--no-install-recommends', packageName);
}

/** Where the programs of the newest PostgreSQL are. */
function postgresBin() {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : [];
  const newestFirst = versions.sort((a, b) => Number(b) - Number(a)).map((version) => `/usr/lib/postgresql/${version}/bin`);
  return [...newestFirst, ...onPath()].find((directory) => existsSync(join(directory, 'initdb')) && existsSync(join(directory, 'postgres')));
}

function redisBin() {
  return onPath().map((directory) => join(directory, 'redis-server')).find((program) => existsSync(program));
}

function onPath() {
  return [...(process.env.PATH ?? '').split(':'), '/usr/bin', '/usr/local/bin', '/opt/homebrew/bin'];
}

/** Whom to run PostgreSQL as, which refuses to run as root. */
async function unprivileged() {
  if (process.getuid?.() !== 0) return {};
  const idOf = async (flag, name) => Number((await execute('id', [flag, name])).stdout);
  const name = (await idOf('-u', 'postgres').then(() => 'postgres', () => 'nobody'));
  return { uid: await idOf('-u', name), gid: await idOf('-g', name) };
}

/** Removes a schema that a test has made. */
export async function dropSchema(connectionString, schema) {
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query(`DROP SCHEMA IF EXISTS "${schema}" CASCADE`);
  await client.end();
}
