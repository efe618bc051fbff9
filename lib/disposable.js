'use strict';

/** Makes `await using` end in `method`, where the runtime knows it (Node.js 18.18 and later do). */
function disposable(target, method = 'disconnect') {
  if (typeof Symbol.asyncDispose !== 'symbol') return target;
  const value = async function asyncDispose() {
    await this[method]();
  };
  const prototype = typeof target === 'function' ? target.prototype : target;
  Object.defineProperty(prototype, Symbol.asyncDispose, { value, writable: true, configurable: true });
  return target;
}

module.exports = { disposable };
