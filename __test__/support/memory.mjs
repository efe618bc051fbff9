// Looks for secrets in the memory of another process. Linux only. Spec: proc_pid_maps(5), proc_pid_mem(5).
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

/** A register's worth: a key that was spilled to the stack may lie there in pieces of this length. */
const PIECE = 8;

const CHUNK = 1 << 20;

/** How a program that works with a key of 32 bytes may hold it. */
const forms = {
  'as it is': (key) => key,
  'in words of 32 bits': (key) => Buffer.from(key).swap32(),
  'combined with HMAC’s inner pad': (key) => key.map((byte) => byte ^ 0x36),
  'combined with HMAC’s outer pad': (key) => key.map((byte) => byte ^ 0x5c),
};

/**
 * Where pieces of `keys` (Buffers of 32 bytes) lie in the writable memory of a process, which has to stand still
 * meanwhile: `{ key, form, address, mapping }`. Besides whole keys and eighths of them in each form, it looks for their numbers in a
 * JSON array, which is how a saved session has them.
 */
export function findKeys(pid, keys) {
  const needles = keys.flatMap((key, index) => needlesOf(key).map((needle) => ({ ...needle, key: index })));
  const byPrefix = new Map();
  const begins = new Uint8Array(1 << 24); // whether a needle begins with these three bytes
  for (const needle of needles) {
    const prefix = needle.bytes.readUIntBE(0, 3);
    begins[prefix] = 1;
    byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), needle]);
  }
  const longest = Math.max(...needles.map(({ bytes }) => bytes.length));

  const found = [];
  let scanned = 0;
  for (const { base, bytes, fresh, mapping } of memoryOf(pid, longest - 1)) {
    scanned += fresh;
    let prefix = 0;
    for (let i = 0; i < bytes.length; i += 1) {
      prefix = ((prefix << 8) | bytes[i]) & 0xff_ff_ff;
      if (begins[prefix] === 0 || i < 2) continue;
      const from = i - 2;
      if (from >= fresh) break; // the next chunk begins with it
      for (const { bytes: wanted, key, form } of byPrefix.get(prefix)) {
        if (wanted.equals(bytes.subarray(from, from + wanted.length))) found.push({ key, form, address: (base + from).toString(16), mapping });
      }
    }
  }
  return { found, scanned };
}

function needlesOf(key) {
  const needles = [{ form: 'as numbers', bytes: Buffer.from([...key].join(',')) }];
  for (const [form, convert] of Object.entries(forms)) {
    const bytes = Buffer.from(convert(key));
    for (let at = 0; at < bytes.length; at += PIECE) needles.push({ form, bytes: bytes.subarray(at, at + PIECE) });
  }
  return needles;
}

/** Chunks of all writable mappings. The last `overlap` bytes of one come again in the next, `fresh` do not. */
function* memoryOf(pid, overlap) {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    for (const { from, to, mapping } of writable(pid)) {
      for (let base = from; base < to; base += CHUNK) {
        const bytes = Buffer.alloc(Math.min(CHUNK + overlap, to - base));
        for (let read = 0; read < bytes.length; ) read += readSync(memory, bytes, read, bytes.length - read, base + read);
        yield { base, bytes, fresh: Math.min(CHUNK, to - base), mapping };
      }
    }
  } finally {
    closeSync(memory);
  }
}

function writable(pid) {
  const lines = readFileSync(`/proc/${pid}/maps`, 'utf8').trimEnd().split('\n');
  return lines.flatMap((line) => {
    const [, from, to, mapping] = /^([0-9a-f]+)-([0-9a-f]+) rw\S+ \S+ \S+ \S+ *(.*)$/.exec(line) ?? [];
    return from === undefined ? [] : [{ from: Number.parseInt(from, 16), to: Number.parseInt(to, 16), mapping: mapping || 'anonymous' }];
  });
}

/** The flags of each mapping of a process, such as `lo` (locked) and `dd` (not dumped). Spec: proc_pid_smaps(5). */
export function mappingFlags(pid) {
  const flags = readFileSync(`/proc/${pid}/smaps`, 'utf8').matchAll(/^VmFlags: (.*)$/gm);
  return [...flags].map(([, words]) => words.trim().split(' '));
}
