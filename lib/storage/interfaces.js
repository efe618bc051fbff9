'use strict';
// The documentation's four interfaces, and how a store is called.

/** For each store: its methods, with the number of parameters that takes the user's id. */
const METHODS = {
  identity: { getIdentityKeyPair: 1 },
  sessions: { save: 3, load: 2 },
  replay: { checkAndMark: 3 },
  tofu: { storeFingerprint: 3, verifyFingerprint: 3 },
};
const STORES = Object.keys(METHODS);

/** Whether a store tells users apart: all its methods take the user's id, or it says so. */
function takesUser(name, store) {
  return store.perUser === true || Object.entries(METHODS[name]).every(([method, count]) => store[method].length >= count);
}

/** How long one call of a store may take. src/stores.rs has the same. */
const LIMIT_MS = 10_000;

/** What `call` of a store gives. Rejects when that takes too long; `name` says what was called. */
async function answered(name, call) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${name} did not answer within ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    return await Promise.race([(async () => call())(), late]);
  } finally {
    clearTimeout(timer);
  }
}

module.exports = { METHODS, STORES, answered, takesUser };
