// Structured contents by themselves: which values travel, and what is done with bytes that nobody honest writes.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { runInNewContext } from 'node:vm';
import { program } from './support/child.mjs';
import { mockRelay } from './support/relays.mjs';
import { values } from './support/values.mjs';

const { encodeStructured, decodeStructured, MAX_DEPTH } = createRequire(import.meta.url)('../lib/structured.js');

const carried = (value) => decodeStructured(Buffer.from(encodeStructured('content', value)));
const refused = (problem) => ({ name: 'StvorError', code: 'INVALID_ARGUMENT', message: `${problem}, which cannot be sent.`, retryable: false });

test('a program that sends text and bytes loads no CBOR', async (t) => {
  const relay = await mockRelay(t);
  const { code, lines, stderr } = await program(t, { type: 'commonjs', code: `
    const { createApp } = require('@stvor/sdk');
    (async () => {
      const app = await createApp({ appToken: 'stvor_test', relayUrl: ${JSON.stringify(relay.url)} });
      const [alice, bob] = [await app.connect('alice'), await app.connect('bob')];
      const received = new Promise((resolve) => bob.onMessage(resolve));
      await alice.send('bob', 'text');
      await received;
      const loaded = () => Object.keys(require.cache).some((path) => path.endsWith('cborg.js'));
      console.log(loaded());
      await alice.send('bob', { a: 1 });
      console.log(loaded());
      await app.disconnect();
    })();` }).ended;
  assert.deepEqual([code, lines, stderr], [0, ['false', 'true'], '']);
});

describe('a value arrives as what it was', () => {
  for (const [name, value] of values) {
    test(name, () => {
      assert.deepStrictEqual(carried(value), value);
      assert.deepStrictEqual(carried([{ value }, new Map([[value, new Set([value])]])]), [{ value }, new Map([[value, new Set([value])]])]);
    });
  }

  test('an invalid Date', () => {
    const date = carried(new Date(NaN));
    assert.ok(date instanceof Date && Number.isNaN(date.getTime()));
  });

  test('every millisecond that a Date can have, near and far', () => {
    const far = 8.64e15;
    for (const from of [-far, -4452421679370596, -1e12, -500, 1e12, 4452421679370000, far - 1000]) {
      for (let ms = from; ms < from + 1000; ms += 1) assert.equal(carried(new Date(ms)).getTime(), ms);
    }
  });

  test('bytes in an object: a Buffer as a Buffer, a Uint8Array as a Uint8Array', () => {
    const { buffer, array } = carried({ buffer: Buffer.from([1]), array: new Uint8Array([1]) });
    assert.equal(Buffer.isBuffer(buffer), true);
    assert.equal(Object.getPrototypeOf(array), Uint8Array.prototype);
  });

  test('part of a typed array, at an odd offset', () => {
    const bytes = new Uint8Array([9, 9, 9, 9, 1, 0, 2, 0, 9, 9]);
    assert.deepStrictEqual(carried(new Uint16Array(bytes.buffer, 4, 2)), new Uint16Array([1, 2]));
    assert.deepStrictEqual(carried(['x', new Uint16Array([1, 2])]), ['x', new Uint16Array([1, 2])]);
  });

  test('a Float16Array, where the runtime has one', { skip: typeof Float16Array === 'undefined' }, () => {
    assert.deepStrictEqual(carried(new Float16Array([1.5])), new Float16Array([1.5]));
  });

  test('objects, arrays, Maps and Dates of another realm', () => {
    const foreign = runInNewContext('({ list: [1], map: new Map([[1, 2]]), at: new Date(5) })');
    assert.deepStrictEqual(carried(foreign), { list: [1], map: new Map([[1, 2]]), at: new Date(5) });
  });

  test('order of properties, entries and members', () => {
    assert.deepEqual(Object.keys(carried({ z: 1, a: 2, m: 3 })), ['z', 'a', 'm']);
    assert.deepEqual([...carried(new Map([['z', 1], ['a', 2]])).keys()], ['z', 'a']);
    assert.deepEqual([...carried(new Set(['z', 'a']))], ['z', 'a']);
  });
});

describe('as documented', () => {
  test('holes of an array arrive as undefined, an object without prototype as an ordinary one', () => {
    assert.deepStrictEqual(carried([1, , 3]), [1, undefined, 3]); // eslint-disable-line no-sparse-arrays
    assert.deepStrictEqual(carried(Object.assign(Object.create(null), { a: 1 })), { a: 1 });
  });

  test('what occurs twice arrives twice', () => {
    const shared = { a: 1 };
    const [first, second] = carried([shared, shared]);
    assert.deepStrictEqual(first, second);
    assert.notEqual(first, second);
  });

  test('inherited, symbol and non-enumerable properties stay behind; getters are read', () => {
    const object = { get total() { return 2; }, [Symbol('s')]: 1 };
    Object.defineProperty(object, 'hidden', { value: 1, enumerable: false });
    assert.deepStrictEqual(carried(object), { total: 2 });
  });

  test('a lone surrogate is U+FFFD', () => assert.equal(carried(['a\ud800b'])[0], 'a\ufffdb'));
});

describe('what cannot be carried is INVALID_ARGUMENT and named by its path', () => {
  class Account { #secret = 1; }
  class Registry extends Map {}
  const cycle = { list: [] };
  cycle.list.push({ back: cycle });
  const cases = [
    [() => {}, 'content is a function'],
    [{ user: { save() {} } }, 'content.user.save is a function'],
    [[1, Symbol('s')], 'content[1] is a symbol'],
    [{ 'full name': [() => {}] }, 'content["full name"][0] is a function'],
    [new Map([['k', { f() {} }]]), 'content.values()[0].f is a function'],
    [new Map([[() => {}, 1]]), 'content.keys()[0] is a function'],
    [new Set([1, () => {}]), 'content.values()[1] is a function'],
    [{ ['x'.repeat(50)]: () => {} }, `content.${'x'.repeat(40)}... is a function`],
    [{ account: new Account() }, 'content.account is an instance of Account'],
    [new Registry(), 'content is an instance of Registry'],
    [new (class extends Array {})(), 'content is an instance of a class'],
    [Object.create(new Account()), 'content is an instance of Account'],
    [Promise.resolve('x'), 'content is an instance of Promise'],
    [new WeakMap(), 'content is an instance of WeakMap'],
    [new URL('https://example.com'), 'content is an instance of URL'],
    [/x/, 'content is an instance of RegExp'],
    [new TypeError('x'), 'content is an instance of TypeError'],
    [new Number(5), 'content is an instance of Number'],
    [new ArrayBuffer(2), 'content is an instance of ArrayBuffer'],
    [new DataView(new ArrayBuffer(2)), 'content is an instance of DataView'],
    [cycle, 'content.list[0].back contains itself'],
    [{ get a() { throw new Error('no'); } }, 'content threw when it was read'],
  ];
  for (const [value, problem] of cases) {
    test(problem, () => assert.throws(() => encodeStructured('content', value), refused(problem)));
  }

  test('what a getter throws is the cause', () => {
    const cause = new Error('no');
    assert.throws(() => encodeStructured('content', { get a() { throw cause; } }), { cause });
  });

  test('more than a hundred containers in one another', () => {
    const nested = (depth, wrap) => (depth === 0 ? 1 : wrap(nested(depth - 1, wrap)));
    for (const wrap of [(inner) => [inner], (inner) => ({ inner }), (inner) => new Map([[inner, inner === 1]]), (inner) => new Set([inner])]) {
      const deepest = nested(MAX_DEPTH, wrap);
      assert.deepStrictEqual(carried(deepest), deepest);
      assert.throws(() => encodeStructured('content', wrap(deepest)), { code: 'INVALID_ARGUMENT', message: /nested more than 100 deep, which/ });
    }
  });

  test('what is too large is PAYLOAD_TOO_LARGE, without being written first', () => {
    const limit = 720 << 10;
    const doubled = (times, value) => (times === 0 ? value : doubled(times - 1, [value, value]));
    const tooLarge = ['x'.repeat(limit), new Uint8Array(limit), 1n << BigInt(limit * 8), new Array(2 ** 32 - 1), doubled(60, 1)];
    for (const value of tooLarge) {
      assert.throws(() => encodeStructured('content', [value]), { code: 'PAYLOAD_TOO_LARGE', message: `The content is larger than ${limit} bytes.` });
    }
  });
});

describe('bytes that nobody honest writes', () => {
  const hostile = {
    'nothing': '',
    'more than one value': '0000',
    'a value cut off': '8261',
    'a head cut off': '78',
    'an array that promises more than there is': '9b001fffffffffffff',
    'a byte string that promises more than there is': '5b001fffffffffffff',
    'a text that promises more than there is': '7affffffff',
    'a map that promises more than there is': 'bb001fffffffffffff',
    'arrays a million deep': '81'.repeat(700_000) + '00',
    'maps a million deep': 'a100'.repeat(350_000) + '00',
    'Sets in Sets': 'd9010281'.repeat(150_000) + '00',
    'tags in tags': 'c1'.repeat(700_000) + '00',
    'indefinite lengths': '9f01ff',
    'an indefinite text': '7f6161ff',
    'a break for a value': 'a16161ff',
    'a longer form than needed': '1801',
    'a key that is no text in an object': 'a10102',
    'a key twice': 'a2616101616102',
    'a key twice in a Map': 'd90103a201010102',
    'a member twice in a Set': 'd90102820101',
    'a Set of a text': 'd90102626162',
    'a Map of an array': 'd90103820102',
    'a Date of a text': 'c16130',
    'a bigint of a number': 'c205',
    'a bigint of a text': 'c26131',
    'a Float64Array of three bytes': 'd85643010203',
    'a Uint16Array of an array': 'd845820102',
    'a regular expression': 'd9524d82622e2a6167',
    'an error': 'd81b82654572726f726178',
    'a shared reference': 'd81c81d81d00',
    'a record of another library': 'd9dfff8301',
    'a simple value without meaning': 'f8ff',
  };
  for (const [name, hex] of Object.entries(hostile)) {
    test(`${name}: refused`, () => assert.throws(() => decodeStructured(Buffer.from(hex, 'hex'))));
  }

  test('a key named __proto__ is a property like any other', () => {
    const object = decodeStructured(Buffer.from('a1695f5f70726f746f5f5fa168706f6c6c75746564f5', 'hex'));
    assert.equal(Object.getPrototypeOf(object), Object.prototype);
    assert.deepEqual(Object.keys(object), ['__proto__']);
    assert.equal(object.polluted, undefined);
    assert.equal({}.polluted, undefined);
  });

  test('a bigint of 700 KiB takes no longer than reading it', () => {
    const digits = 'ff'.repeat(700 << 10);
    const start = performance.now();
    assert.equal(decodeStructured(Buffer.from(`c25a000af000${digits}`, 'hex')), (1n << 5_734_400n) - 1n);
    assert.ok(performance.now() - start < 2_000);
  });

  test('random changes of an honest value: read or refused, and nothing else', () => {
    const honest = Buffer.from(encodeStructured('content', values.map(([, value]) => value)));
    let seed = 1;
    const random = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    for (let round = 0; round < 5_000; round += 1) {
      const bytes = Buffer.from(honest.subarray(0, random(4) === 0 ? random(honest.length) : honest.length));
      for (let change = 0; change <= random(3); change += 1) bytes[random(bytes.length + 1)] = random(256);
      try {
        decodeStructured(bytes);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }
  });
});
