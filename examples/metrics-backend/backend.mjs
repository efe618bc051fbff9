// Verifies the metrics that apps send to POST /api/metrics/attest, and keeps an audit log of all decisions:
// one JSON object a line, only ever appended to. The handler is a plain (request, response): it runs under
// node:http, and in Express as app.use(await metricsHandler({ … })).
//
//   STVOR_APP_TOKENS=stvor_mine,stvor_other AUDIT_LOG=audit.jsonl PORT=3000 node backend.mjs
import { createHash, timingSafeEqual } from 'node:crypto';
import { appendFile, readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { verifyAttestation } from '@stvor/sdk';

const MAX_BODY = 16 * 1024;

/** `tokens`: the AppTokens you have given out. `auditLog`: the path of the log, which is also the only state. */
export async function metricsHandler({ tokens, auditLog }) {
  const known = tokens.map((token) => ({ token, hash: sha256(token) }));
  const sessions = await readSessions(auditLog);
  let writing = Promise.resolve();

  /** One after another: what is judged by the log is in the log before the next is judged. */
  const inTurn = (step) => {
    const done = writing.then(step);
    writing = done.catch(() => {});
    return done;
  };

  async function judge({ appToken, attestation } = {}) {
    const hash = sha256(typeof appToken === 'string' ? appToken : '');
    const owner = known.find((one) => timingSafeEqual(one.hash, hash));
    if (owner === undefined) return { valid: false, reason: 'Unknown AppToken' };
    const key = `${hash.toString('hex')}:${attestation?.sessionId}`;
    const last = sessions.get(key);
    const verdict = verifyAttestation(attestation, owner.token, {
      lastSequenceNumber: last?.sequenceNumber ?? -1,
      lastMetrics: last?.metrics,
    });
    const at = new Date().toISOString();
    const entry = { at, app: hash.toString('hex').slice(0, 16), ...verdict };
    if (verdict.valid) Object.assign(entry, { key, attestation });
    await appendFile(auditLog, `${JSON.stringify(entry)}\n`, { flush: true });
    if (verdict.valid) sessions.set(key, attestation);
    return verdict;
  }

  return async (request, response, next) => {
    if (request.method !== 'POST' || request.url.split('?')[0] !== '/api/metrics/attest') {
      return next ? next() : answer(response, 404, { error: 'Not found' });
    }
    try {
      const body = request.body ?? JSON.parse(await read(request));
      const verdict = await inTurn(() => judge(body ?? {}));
      answer(response, verdict.valid ? 200 : 403, verdict);
    } catch (error) {
      const status = error instanceof SyntaxError ? 400 : error instanceof RangeError ? 413 : 500;
      answer(response, status, { valid: false, reason: 'Not read' });
    }
  };
}

/** The last attestation of each session, from the log. A line that was cut short by a crash decides nothing. */
async function readSessions(auditLog) {
  const text = await readFile(auditLog, 'utf8').catch((error) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  const sessions = new Map();
  for (const line of text.split('\n').filter(Boolean)) {
    try {
      const { valid, key, attestation } = JSON.parse(line);
      if (valid) sessions.set(key, attestation);
    } catch {
      // Not answered either, so its sender sends the same number again.
    }
  }
  if (text !== '' && !text.endsWith('\n')) await appendFile(auditLog, '\n');
  return sessions;
}

async function read(request) {
  const chunks = [];
  let length = 0;
  for await (const chunk of request) {
    length += chunk.length;
    if (length > MAX_BODY) throw new RangeError('body too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function sha256(text) {
  return createHash('sha256').update(text).digest();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { STVOR_APP_TOKENS = 'stvor_dev_test123', AUDIT_LOG = 'audit.jsonl', PORT = '3000' } = process.env;
  const handler = await metricsHandler({ tokens: STVOR_APP_TOKENS.split(','), auditLog: AUDIT_LOG });
  const server = createServer(handler).listen(Number(PORT), '127.0.0.1', () => {
    console.log(`Metrics backend on http://127.0.0.1:${server.address().port}`);
  });
}
