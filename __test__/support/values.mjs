// Values of every type that messages carry, by name.

const numbers = [
  0, -0, 1, -1, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 2 ** 53, -(2 ** 53), 2 ** 64,
  0.1, -1.5, 1e-7, 65_504, 65_520, 3.4e38, 2 ** -24, 2 ** -14, -(2 ** -25), Number.MIN_VALUE, -Number.MIN_VALUE, Number.MAX_VALUE, NaN, Infinity, -Infinity,
];
const bigints = [0n, 1n, -1n, 5n, -256n, 2n ** 53n, 2n ** 64n - 1n, 2n ** 64n, -(2n ** 64n), 3n ** 500n, -(3n ** 500n)];
const texts = ['', 'a', 'Привет, мир', '🔐'.repeat(50), '\ufeffmarked', '\ufeff', `\ufeff\ufeff${'x'.repeat(300)}`, 'a\0b', 'x'.repeat(70_000)];
const dates = [0, 1, -1, 1001, 1_700_000_000_123, 8.64e15, -8.64e15, -4_452_421_679_370_596];
const typedArrays = [
  new Uint8Array([0, 255]), new Uint8ClampedArray([1]), new Uint16Array([1, 65_535]), new Uint32Array([2 ** 32 - 1]), new BigUint64Array([2n ** 64n - 1n]),
  new Int8Array([-1]), new Int16Array([-2]), new Int32Array([-3]), new BigInt64Array([-4n]), new Float32Array([1.5, NaN]), new Float64Array([0.1, -0]), new Float64Array(0),
];
const prototypeKeys = JSON.parse('{ "__proto__": { "polluted": true }, "constructor": 1, "toString": 2, "": 3, "0": 4 }');

const many = (type, list) => list.map((value) => [`${type} ${Object.is(value, -0) ? '-0' : String(value).slice(0, 20)}`, value]);

export const values = [
  ['undefined', undefined],
  ['null', null],
  ['true', true],
  ['false', false],
  ...many('number', numbers),
  ...many('bigint', bigints),
  ...texts.map((text, i) => [`text ${i}`, text]),
  ...dates.map((ms) => [`Date ${ms}`, new Date(ms)]),
  ...typedArrays.map((array) => [`${array.constructor.name} of ${array.length}`, array]),
  ['Buffer', Buffer.from([1, 2, 3])],
  ['empty array', []],
  ['array with undefined and null', [undefined, null, [undefined]]],
  ['empty object', {}],
  ['object with undefined', { a: undefined }],
  ['object with every key that an object has anyway', prototypeKeys],
  ['nested objects and arrays', { id: 7, user: { name: 'Alice', tags: ['a', { b: [null] }] }, at: new Date(5), total: 12.5, count: 3n }],
  ['empty Map', new Map()],
  ['Map with keys of every kind', new Map([[1, 'number'], ['1', 'text'], [1n, 'bigint'], [NaN, 0], [undefined, 0], [{ a: 1 }, new Map([[[], new Set()]])]])],
  ['empty Set', new Set()],
  ['Set with members of every kind', new Set([1, '1', 1n, NaN, undefined, [1], { a: 1 }])],
];
