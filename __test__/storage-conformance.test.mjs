// checkAdapters: stores that keep the rules pass, and a store that breaks one is told which, and how to mend it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { StvorError } from '@stvor/sdk';
import { generateKeyPair } from '@stvor/sdk/ratchet';
import { adapterCases, checkAdapters } from '@stvor/sdk/testing';
import { program } from './support/child.mjs';
import { memoryData, memoryStorage, turn } from './support/memory-storage.mjs';

/** Instances on the same data, each changed by `alter(storage, data)`. */
function altered(alter) {
  const data = memoryData();
  const open = () => {
    const storage = memoryStorage(data);
    alter(storage, data);
    return storage;
  };
  return [open(), { reopen: open }];
}

/** The rules that are broken. */
async function brokenRules(adapters, options) {
  try {
    await checkAdapters(adapters, options);
  } catch (error) {
    assert.ok(error instanceof StvorError, error?.stack);
    assert.equal(error.code, 'STORAGE_NONCONFORMING');
    return error.failures.map(({ rule }) => rule);
  }
  return [];
}

const at = (...ids) => JSON.stringify(ids);

/** Replaces a method by `make(original)`. The new one may not show by its arity that it takes the user's id. */
function change(store, method, make) {
  store[method] = make(store[method]);
  store.perUser = true;
}

/** Has every record pass through a text encoding. */
function throughText({ sessions }, encoding) {
  change(sessions, 'load', (load) => async (peerId, userId) => {
    const state = await load(peerId, userId);
    return state && Buffer.from(state.toString(encoding), encoding);
  });
}

/** Has a store see another name than a peer's, in every method that is not `except`. */
function renamePeers(store, rename) {
  for (const method of ['save', 'load', 'checkAndMark', 'storeFingerprint', 'verifyFingerprint', 'replaceFingerprint']) {
    if (store[method]) change(store, method, (original) => (peerId, ...args) => original(rename(peerId), ...args));
  }
  delete store.saveMany;
  delete store.checkAndMarkMany;
}

/** Has a store see one user only, although it takes the user's id. */
function shareUsers(store) {
  for (const [method, last] of [['save', 2], ['load', 1], ['checkAndMark', 2], ['storeFingerprint', 2], ['verifyFingerprint', 2]]) {
    if (store[method]) change(store, method, (original) => (...args) => original(...args.slice(0, last), 'everybody'));
  }
  for (const method of ['saveMany', 'checkAndMarkMany', 'replaceFingerprint']) delete store[method];
}

/** Has user and peer joined by a colon, as many a key is. */
function joinNames(store) {
  for (const [method, last] of [['save', 2], ['load', 1], ['checkAndMark', 2], ['storeFingerprint', 2], ['verifyFingerprint', 2]]) {
    if (!store[method]) continue;
    change(store, method, (original) => (peerId, ...args) => original(`${args[last - 1]}:${peerId}`, ...args.slice(0, last - 1), 'everybody'));
  }
  for (const method of ['saveMany', 'checkAndMarkMany', 'replaceFingerprint']) delete store[method];
}

const oneWriter = { oneWriter: true };

/** For each rule: stores that break it and no other, by what is wrong with them; some with options. */
const defects = {
  'methods-present': {
    'a store is missing': (storage) => delete storage.tofu,
    'a method is missing': (storage) => delete storage.sessions.load,
  },
  'identity-shape': {
    'public keys are compressed': ({ identity }) => {
      change(identity, 'getIdentityKeyPair', (original) => async (userId) => {
        const { publicKey, privateKey } = await original(userId);
        return { publicKey: publicKey.subarray(0, 33), privateKey };
      });
    },
    'the halves belong to different pairs': ({ identity }) => {
      change(identity, 'getIdentityKeyPair', (original) => async (userId) => {
        const [{ publicKey }, { privateKey }] = [await original(`${userId} again`), await original(userId)];
        return { publicKey, privateKey };
      });
    },
  },
  'identity-stable': {
    'every call generates an identity': ({ identity }) => {
      identity.getIdentityKeyPair = async (_userId) => generateKeyPair();
    },
    'every process generates an identity': ({ identity }) => {
      const made = new Map();
      identity.getIdentityKeyPair = (userId) => {
        if (!made.has(userId)) made.set(userId, generateKeyPair());
        return made.get(userId);
      };
    },
  },
  'identity-made-once': {
    'an identity is looked for, then stored': ({ identity }, data) => {
      identity.getIdentityKeyPair = async (userId) => {
        await turn();
        const stored = data.identities.get(userId);
        if (stored !== undefined) return stored;
        const made = generateKeyPair();
        await turn();
        data.identities.set(userId, made);
        return made;
      };
    },
  },
  'identity-separate-users': {
    'all users share one identity': ({ identity }) => {
      change(identity, 'getIdentityKeyPair', (original) => (_userId) => original('everybody'));
    },
    'the id of the user is not taken': ({ identity }) => {
      const { getIdentityKeyPair } = identity;
      delete identity.perUser;
      identity.getIdentityKeyPair = (...args) => getIdentityKeyPair(...args);
    },
  },
  'sessions-unknown': {
    'an empty Buffer stands for nothing': ({ sessions }) => {
      change(sessions, 'load', (load) => async (peerId, userId) => (await load(peerId, userId)) ?? Buffer.alloc(0));
      delete sessions.saveMany;
    },
  },
  'sessions-binary': {
    'bytes are kept as UTF-8': (storage) => throughText(storage, 'utf8'),
    'bytes are kept as 7-bit text': (storage) => throughText(storage, 'ascii'),
    'empty records are not kept': ({ sessions }) => {
      change(sessions, 'load', (load) => async (peerId, userId) => {
        const state = await load(peerId, userId);
        return state?.length === 0 ? null : state;
      });
    },
    'records are cut off at 64 KiB': ({ sessions }) => {
      change(sessions, 'load', (load) => async (peerId, userId) => (await load(peerId, userId))?.subarray(0, 65_536) ?? null);
    },
  },
  'sessions-save-awaited': {
    'save resolves before it has written': [({ sessions }) => {
      change(sessions, 'save', (save) => async (peerId, state, userId) => {
        const copy = Buffer.from(state);
        setTimeout(() => save(peerId, copy, userId), 5);
      });
      delete sessions.saveMany;
    }, oneWriter],
  },
  'sessions-fresh': {
    'another process reads what it has read before': [({ sessions }) => {
      const cache = new Map();
      change(sessions, 'load', (load) => async (peerId, userId) => {
        const key = at(userId, peerId);
        if (!cache.has(key)) cache.set(key, await load(peerId, userId));
        return cache.get(key) && Buffer.from(cache.get(key));
      });
      change(sessions, 'save', (save) => async (peerId, state, userId) => {
        await save(peerId, state, userId);
        cache.set(at(userId, peerId), Buffer.from(state));
      });
      delete sessions.saveMany;
    }, oneWriter],
    'the first record is never replaced': [({ sessions }, data) => {
      change(sessions, 'save', (save) => async (peerId, state, userId) => {
        if (!data.sessions.has(at(userId, peerId))) await save(peerId, state, userId);
      });
      delete sessions.saveMany;
    }, oneWriter],
  },
  'sessions-copies': {
    'the buffer of the caller is kept': [({ sessions }) => {
      const kept = new Map();
      sessions.save = async (peerId, state, userId) => void kept.set(at(userId, peerId), state);
      sessions.load = async (peerId, userId) => kept.get(at(userId, peerId)) ?? null;
      delete sessions.saveMany;
    }, { oneWriter: true, reopen: undefined }],
    'load gives out the buffer that is kept': [({ sessions }) => {
      const kept = new Map();
      sessions.save = async (peerId, state, userId) => void kept.set(at(userId, peerId), Buffer.from(state));
      sessions.load = async (peerId, userId) => kept.get(at(userId, peerId)) ?? null;
      delete sessions.saveMany;
    }, { oneWriter: true, reopen: undefined }],
  },
  'sessions-separate-peers': {
    'case is ignored': ({ sessions }) => renamePeers(sessions, (peerId) => peerId.toLowerCase()),
    'spaces at the end are ignored': ({ sessions }) => renamePeers(sessions, (peerId) => peerId.trimEnd()),
    'names are normalised': ({ sessions }) => renamePeers(sessions, (peerId) => peerId.normalize('NFC')),
    'names are cut off': ({ sessions }) => renamePeers(sessions, (peerId) => peerId.slice(0, 64)),
    'separators are replaced': ({ sessions }) => renamePeers(sessions, (peerId) => peerId.replace(/[:/]/g, '_')),
    'names are kept as Latin-1': ({ sessions }) => renamePeers(sessions, (peerId) => Buffer.from(peerId, 'latin1').toString('latin1')),
  },
  'sessions-separate-users': {
    'rows have no user': ({ sessions }) => shareUsers(sessions),
    'user and peer are joined by a colon': ({ sessions }) => joinNames(sessions),
  },
  'sessions-conflict': {
    'an outdated state is written over a newer one': ({ sessions }, data) => {
      sessions.save = async (peerId, state, userId) => {
        await turn();
        data.sessions.set(at(userId, peerId), { state: Buffer.from(state) });
      };
      delete sessions.saveMany;
    },
    'a conflict has another code': ({ sessions }) => {
      change(sessions, 'save', (save) => (...args) => save(...args).catch(() => {
        throw new Error('could not serialize access');
      }));
      delete sessions.saveMany;
    },
  },
  'sessions-save-many': {
    'rows before the one with a conflict are written': ({ sessions }) => {
      sessions.saveMany = async (userId, rows) => {
        for (const [peerId, state] of rows) await sessions.save(peerId, state, userId);
      };
    },
    'the last row is forgotten': ({ sessions }) => {
      change(sessions, 'saveMany', (saveMany) => (userId, rows) => saveMany(userId, rows.slice(0, 2)));
    },
  },
  'replay-answers': {
    'the answers are inverted': ({ replay }) => {
      change(replay, 'checkAndMark', (original) => async (peerId, nonce, userId) => !(await original(peerId, nonce, userId)));
      delete replay.checkAndMarkMany;
    },
    'the answers are not booleans': ({ replay }) => {
      change(replay, 'checkAndMark', (original) => async (peerId, nonce, userId) => Number(await original(peerId, nonce, userId)));
      delete replay.checkAndMarkMany;
    },
  },
  'replay-atomic': {
    'a nonce is looked for, then marked': ({ replay }, data) => {
      replay.checkAndMark = async (peerId, nonce, userId) => {
        await turn();
        const key = at(userId, peerId, Buffer.from(nonce).toString('hex'));
        const seen = data.nonces.has(key);
        await turn();
        data.nonces.add(key);
        return seen;
      };
      delete replay.checkAndMarkMany;
    },
  },
  'replay-nonces': {
    'nonces are compared by reference': ({ replay }, data) => {
      data.marked ??= new Map();
      replay.checkAndMark = async (peerId, nonce, userId) => {
        const place = at(userId, peerId);
        if (!data.marked.has(place)) data.marked.set(place, new Set());
        const seen = data.marked.get(place).has(nonce);
        data.marked.get(place).add(nonce);
        return seen;
      };
      delete replay.checkAndMarkMany;
    },
    'nonces are cut off': (storage) => nonceAs(storage, (nonce) => nonce.subarray(0, 8)),
    'nonces are kept as UTF-8': (storage) => nonceAs(storage, (nonce) => Buffer.from(Buffer.from(nonce).toString('utf8'))),
    'all of the memory behind a view is taken': (storage) => nonceAs(storage, (nonce) => Buffer.from(nonce.buffer)),
  },
  'replay-shared': {
    'nonces are kept by each process': ({ replay }) => Object.assign(replay, memoryStorage().replay),
  },
  'replay-separate-peers': {
    'nonces are kept for all peers together': ({ replay }) => renamePeers(replay, () => 'anybody'),
    'case is ignored': ({ replay }) => renamePeers(replay, (peerId) => peerId.toUpperCase()),
  },
  'replay-separate-users': {
    'nonces are kept for all users together': ({ replay }) => shareUsers(replay),
    'user and peer are joined by a colon': ({ replay }) => joinNames(replay),
  },
  'replay-many': {
    'what comes twice in one call is not noticed': ({ replay }) => {
      replay.checkAndMarkMany = (userId, rows) => {
        return Promise.all(rows.map(async ([peerId, nonce], i) => {
          const seen = await replay.checkAndMark(peerId, nonce, userId);
          return i < rows.length - 1 && seen;
        }));
      };
    },
  },
  'tofu-answers': {
    'a peer never seen counts as another': ({ tofu }) => {
      change(tofu, 'verifyFingerprint', (original) => async (...args) => (await original(...args)) ?? false);
    },
    'a peer never seen counts as right': ({ tofu }) => {
      change(tofu, 'verifyFingerprint', (original) => async (...args) => (await original(...args)) ?? true);
    },
  },
  'tofu-immutable': {
    'the last fingerprint replaces the first': ({ tofu }) => {
      tofu.storeFingerprint = tofu.replaceFingerprint;
    },
    'a second fingerprint removes the first': ({ tofu }, data) => {
      change(tofu, 'storeFingerprint', (original) => async (peerId, fingerprint, userId) => {
        if (!data.fingerprints.has(at(userId, peerId))) return original(peerId, fingerprint, userId);
        if (data.fingerprints.get(at(userId, peerId)) !== fingerprint) data.fingerprints.delete(at(userId, peerId));
      });
    },
    'the same fingerprint again is refused': ({ tofu }, data) => {
      change(tofu, 'storeFingerprint', (original) => async (peerId, fingerprint, userId) => {
        if (data.fingerprints.has(at(userId, peerId))) throw new Error('duplicate key');
        await original(peerId, fingerprint, userId);
      });
    },
  },
  'tofu-replace': {
    'replacing does nothing': ({ tofu }) => {
      tofu.replaceFingerprint = tofu.storeFingerprint;
    },
  },
  'tofu-shared': {
    'fingerprints are kept by each process': ({ tofu }) => Object.assign(tofu, memoryStorage().tofu),
  },
  'tofu-separate-peers': {
    'case is ignored': ({ tofu }) => renamePeers(tofu, (peerId) => peerId.toLowerCase()),
  },
  'tofu-separate-users': {
    'fingerprints are kept for all users together': ({ tofu }) => shareUsers(tofu),
  },
};

function nonceAs({ replay }, convert) {
  change(replay, 'checkAndMark', (original) => (peerId, nonce, userId) => original(peerId, convert(nonce), userId));
  delete replay.checkAndMarkMany;
}

describe('a store is told the rule that it breaks', { concurrency: 8 }, () => {
  for (const [rule, stores] of Object.entries(defects)) {
    for (const [defect, entry] of Object.entries(stores)) {
      test(`${rule}: ${defect}`, async () => {
        const [alter, extra] = [entry].flat();
        const [storage, options] = altered(alter);
        assert.deepEqual(await brokenRules(storage, { ...options, ...extra }), [rule]);
      });
    }
  }

  test('every rule has such a store', () => {
    const rules = adapterCases(memoryStorage()).map(({ rule }) => rule);
    assert.deepEqual(Object.keys(defects).sort(), [...rules].sort());
  });
});

describe('a store that keeps the rules', () => {
  /** A correct store without what is optional, for one user, as the documentation writes them. */
  function plainStorage() {
    const { identity, sessions, replay, tofu } = memoryStorage();
    return {
      identity: { getIdentityKeyPair: () => identity.getIdentityKeyPair('me') },
      sessions: { save: (peerId, state) => sessions.save(peerId, state, 'me'), load: (peerId) => sessions.load(peerId, 'me') },
      replay: { checkAndMark: (peerId, nonce) => replay.checkAndMark(peerId, nonce, 'me') },
      tofu: {
        storeFingerprint: (peerId, fingerprint) => tofu.storeFingerprint(peerId, fingerprint, 'me'),
        verifyFingerprint: (peerId, fingerprint) => tofu.verifyFingerprint(peerId, fingerprint, 'me'),
      },
    };
  }

  test('passes every rule, and the report says so', async () => {
    const [storage, options] = altered(() => {});
    const report = await checkAdapters(storage, options);
    assert.deepEqual(report, { passed: adapterCases(storage).map(({ rule }) => rule), skipped: [] });
  });

  test('passes as a function of the user', async () => {
    const made = new Map();
    const adapters = (userId) => {
      if (!made.has(userId)) made.set(userId, plainStorage());
      return made.get(userId);
    };
    const { skipped } = await checkAdapters(adapters);
    assert.deepEqual(skipped.map(({ rule }) => rule), [
      'sessions-conflict', 'sessions-save-many', 'replay-shared', 'replay-many', 'tofu-replace', 'tofu-shared',
    ]);
  });

  test('for one user passes as that, and not as a store for several', async () => {
    assert.ok((await checkAdapters(plainStorage(), { singleUser: true })).passed.includes('sessions-separate-peers'));
    assert.deepEqual(await brokenRules(plainStorage()), [
      'identity-separate-users', 'sessions-separate-users', 'replay-separate-users', 'tofu-separate-users',
    ]);
  });

  test('may return the documented forms of bytes', async () => {
    const forms = [
      (bytes) => new Uint8Array(bytes),
      (bytes) => JSON.parse(JSON.stringify(bytes)),
      (bytes) => bytes.toString('base64'),
    ];
    for (const form of forms) {
      const [storage, options] = altered(({ sessions }) => {
        change(sessions, 'load', (load) => async (...args) => {
          const state = await load(...args);
          return state && form(state);
        });
      });
      assert.deepEqual(await brokenRules(storage, options), []);
    }
  });

  test('may refuse a second fingerprint instead of ignoring it', async () => {
    const [storage, options] = altered(({ tofu }, data) => {
      change(tofu, 'storeFingerprint', (original) => async (peerId, fingerprint, userId) => {
        if ((data.fingerprints.get(at(userId, peerId)) ?? fingerprint) !== fingerprint) throw new Error('another is stored');
        await original(peerId, fingerprint, userId);
      });
    });
    assert.deepEqual(await brokenRules(storage, options), []);
  });
});

describe('checkAdapters', () => {
  test('reports every broken rule with what was seen and how to mend it', async () => {
    const [storage, options] = altered(({ tofu, replay, sessions }) => {
      tofu.storeFingerprint = tofu.replaceFingerprint;
      replay.checkAndMark = async () => { throw new Error('no connection'); };
      sessions.load = () => new Promise(() => {});
    });
    const error = await checkAdapters(storage, { ...options, timeout: 50, only: ['tofu', 'replay', 'sessions'] }).catch((one) => one);
    const failure = (rule) => error.failures.find((one) => one.rule === rule);
    assert.match(failure('tofu-immutable').message, /a second fingerprint has replaced the first/);
    assert.match(failure('tofu-immutable').action, /ON CONFLICT DO NOTHING/);
    assert.match(failure('replay-answers').message, /no connection/);
    assert.equal(failure('replay-answers').cause.message, 'no connection');
    assert.match(failure('sessions-unknown').message, /nothing after 50 ms/);
    assert.match(error.message, /tofu-immutable: .*\n.*/);
    assert.ok(error.passed.includes('tofu-answers'));
    assert.ok(!error.failures.some(({ rule }) => rule.startsWith('identity')));
  });

  test('gives its rules as cases for a test runner', async (t) => {
    const [storage, options] = altered(({ tofu }) => {
      tofu.storeFingerprint = tofu.replaceFingerprint;
    });
    const cases = adapterCases(storage, options);
    assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
    for (const { rule, name, run } of cases.filter(({ rule: one }) => one.startsWith('tofu'))) {
      await t.test(name, async () => {
        if (rule === 'tofu-immutable') await assert.rejects(run(), { code: 'STORAGE_NONCONFORMING' });
        else await run();
      });
    }
  });

  test('refuses arguments that it does not understand', async () => {
    for (const [adapters, options] of [[undefined, {}], [7, {}], [memoryStorage(), { only: ['cache'] }], [memoryStorage(), { retries: 1 }], [memoryStorage(), { reopen: 1 }]]) {
      await assert.rejects(checkAdapters(adapters, options), { code: 'INVALID_ARGUMENT' });
    }
  });

  test('leaves a process that ends by itself', async (t) => {
    const code = `
      import { checkAdapters } from '@stvor/sdk/testing';
      const never = () => new Promise(() => {});
      await checkAdapters({ replay: { checkAndMark: never } }, { only: ['replay'], timeout: 20 }).catch((error) => console.log(error.code));`;
    const { code: exitCode, lines } = await program(t, { code }).ended;
    assert.deepEqual([exitCode, lines], [0, ['STORAGE_NONCONFORMING']]);
  });
});
