'use strict';
// The documentation's four interfaces.

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

module.exports = { METHODS, STORES, takesUser };
