'use strict';
// Structured values in CBOR (RFC 8949), and back with the types that they had.
//
// A library reads and writes the bytes; which value has which form is decided here. Own enumerable
// properties with string keys, elements and entries travel; holes of arrays arrive as undefined,
// objects without a prototype as ordinary ones, and what occurs twice arrives twice. Everything
// whose meaning would be lost is refused: instances of classes, functions, symbols, cycles.
// What is read may come from a malicious peer: its depth is bounded, its size is the message's.

const { isDate, isMap, isSet, isTypedArray } = require('node:util').types;
const { decode, encode, Token, Tokenizer, Type } = require('./cborg.js');
const { StvorError } = require('./errors.js');
const { MAX_CONTENT_BYTES } = require('../platform.js').binding();

/** Containers in one another. Protobuf has the same bound; who goes through a value by recursion is safe with it. */
const MAX_DEPTH = 100;
/** Longer names of properties are cut in error messages. */
const MAX_NAME_LENGTH = 40;

const EPOCH_DATE = 1;
const POSITIVE_BIGNUM = 2;
const NEGATIVE_BIGNUM = 3;
const SET = 258;
const MAP = 259;
/** RFC 8746, the little-endian forms: what every supported platform has in memory. */
const TYPED_ARRAYS = {
  Uint8Array: 64,
  Uint8ClampedArray: 68,
  Uint16Array: 69,
  Uint32Array: 70,
  BigUint64Array: 71,
  Int8Array: 72,
  Int16Array: 77,
  Int32Array: 78,
  BigInt64Array: 79,
  Float16Array: 84,
  Float32Array: 85,
  Float64Array: 86,
};

/** The bytes of a value; `name` is what errors call it. */
function encodeStructured(name, value) {
  const tokens = new Walk(name).start(value);
  // The library would choose forms by itself: it is given the ones chosen here for a stand-in.
  return encode({}, { typeEncoders: { Object: () => tokens } });
}

/** One way through a value to send. */
class Walk {
  #name;
  /** The containers that hold the present value, and the way from each to the next. */
  #containers = [];
  #steps = [];
  #left = MAX_CONTENT_BYTES;

  constructor(name) {
    this.#name = name;
  }

  start(value) {
    try {
      return this.tokens(value);
    } catch (error) {
      if (error instanceof StvorError) throw error;
      throw this.#refused('threw when it was read', { cause: error }); // a getter or a Proxy
    }
  }

  /** What the library writes for a value: tokens, in arrays of any depth. */
  tokens(value) {
    this.#spend(1);
    switch (typeof value) {
      case 'string':
        this.#spend(value.length);
        return new Token(Type.string, value);
      case 'number':
        return number(value);
      case 'bigint':
        return this.#bigint(value);
      case 'boolean':
        return new Token(value ? Type.true : Type.false, value);
      case 'undefined':
        return new Token(Type.undefined, undefined);
      case 'object':
        return value === null ? new Token(Type.null, null) : this.#object(value);
      default:
        throw this.#refused(`is a ${typeof value}`);
    }
  }

  #bigint(value) {
    const magnitude = (value < 0n ? -1n - value : value).toString(16);
    const bytes = Buffer.from(magnitude.length % 2 === 0 ? magnitude : `0${magnitude}`, 'hex');
    this.#spend(bytes.length);
    return tagged(value < 0n ? NEGATIVE_BIGNUM : POSITIVE_BIGNUM, new Token(Type.bytes, bytes));
  }

  #object(value) {
    if (isTypedArray(value)) return this.#typedArray(value);
    const distance = prototypes(value);
    if (distance < 2) return this.#within(value, () => this.#properties(value));
    if (distance === 2) {
      if (Array.isArray(value)) return this.#within(value, () => this.#elements(value));
      if (isDate(value)) return tagged(EPOCH_DATE, new Token(Type.float, value.getTime() / 1000));
      if (isMap(value)) return tagged(MAP, this.#within(value, () => this.#entries(value)));
      if (isSet(value)) return tagged(SET, this.#within(value, () => this.#members(value)));
    }
    throw this.#refused(`is ${instance(value)}`);
  }

  #typedArray(value) {
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    this.#spend(bytes.length);
    const token = new Token(Type.bytes, bytes);
    // A Buffer is the plain byte string, so that it comes back as one.
    return Buffer.isBuffer(value) ? token : tagged(TYPED_ARRAYS[value[Symbol.toStringTag]], token);
  }

  #properties(object) {
    const keys = Object.keys(object);
    const tokens = keys.map((key) => [this.tokens(key), this.#at(() => propertyStep(key), object[key])]);
    return [new Token(Type.map, keys.length), tokens];
  }

  #elements(array) {
    const tokens = [];
    for (let i = 0; i < array.length; i += 1) tokens.push(this.#at(() => `[${i}]`, array[i]));
    return [new Token(Type.array, tokens.length), tokens];
  }

  #entries(map) {
    const tokens = [];
    for (const [key, value] of map) {
      const keyTokens = this.#at(() => `.keys()[${tokens.length}]`, key);
      tokens.push([keyTokens, this.#at(() => `.values()[${tokens.length}]`, value)]);
    }
    return [new Token(Type.map, tokens.length), tokens];
  }

  #members(set) {
    const tokens = [];
    for (const member of set) tokens.push(this.#at(() => `.values()[${tokens.length}]`, member));
    return [new Token(Type.array, tokens.length), tokens];
  }

  #at(step, value) {
    this.#steps.push(step);
    const tokens = this.tokens(value);
    this.#steps.pop();
    return tokens;
  }

  #within(container, tokens) {
    if (this.#containers.includes(container)) throw this.#refused('contains itself');
    if (this.#containers.length === MAX_DEPTH) throw this.#refused(`is nested more than ${MAX_DEPTH} deep`);
    this.#containers.push(container);
    const written = tokens();
    this.#containers.pop();
    return written;
  }

  /** Ends early for what cannot fit: every value takes a byte at least. */
  #spend(bytes) {
    this.#left -= bytes;
    if (this.#left < 0) throw payloadTooLarge();
  }

  #refused(problem, details) {
    const path = this.#name + this.#steps.map((step) => step()).join('');
    return new StvorError(
      'INVALID_ARGUMENT',
      `${path} ${problem}, which cannot be sent.`,
      'Send strings, bytes, numbers, bigints, booleans, null, undefined, Dates, and arrays, plain objects, Maps and Sets of them.',
      false,
      details,
    );
  }
}

/** Integers in the form for integers, except -0, which has none there. */
function number(value) {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) return new Token(Type.float, value);
  return new Token(value < 0 ? Type.negint : Type.uint, value);
}

const tagged = (tag, tokens) => [new Token(Type.tag, tag), tokens];

/** How many prototypes there are: 0 or 1 for plain objects and 2 for arrays, also those of another realm. */
function prototypes(value) {
  let count = 0;
  for (let next = Object.getPrototypeOf(value); next !== null; next = Object.getPrototypeOf(next)) count += 1;
  return count;
}

function instance(value) {
  const name = Object.getPrototypeOf(value)?.constructor?.name;
  return typeof name === 'string' && name !== '' ? `an instance of ${clipped(name)}` : 'an instance of a class';
}

function propertyStep(key) {
  return /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(key) ? `.${clipped(key)}` : `[${JSON.stringify(clipped(key))}]`;
}

function clipped(name) {
  return name.length > MAX_NAME_LENGTH ? `${name.slice(0, MAX_NAME_LENGTH)}...` : name;
}

function payloadTooLarge() {
  return new StvorError(
    'PAYLOAD_TOO_LARGE',
    `The content is larger than ${MAX_CONTENT_BYTES} bytes.`,
    'Send it in parts, or send a reference to it.',
  );
}

/** The value that `bytes` stand for. Throws for everything that `encodeStructured` would not have written. */
function decodeStructured(bytes) {
  return decode(bytes, { ...READING, tokenizer: new BoundedTokenizer(bytes, READING), tags });
}

const READING = { allowIndefinite: false, rejectDuplicateMapKeys: true, strict: true };

/** Counts what is open, gives byte strings as Buffers, and keeps what the library would drop of a text. */
class BoundedTokenizer extends Tokenizer {
  /** For each open container and tag, the outermost first, how many items are still to come. */
  #open = [];

  next() {
    const start = this.pos();
    const token = super.next();
    this.#count(token);
    if (Type.equals(token.type, Type.bytes)) {
      const { buffer, byteOffset, byteLength } = token.value;
      return new Token(Type.bytes, Buffer.from(buffer, byteOffset, byteLength), token.encodedLength);
    }
    if (Type.equals(token.type, Type.string) && hasByteOrderMark(this.data, start)) {
      return new Token(Type.string, `\ufeff${token.value}`, token.encodedLength);
    }
    return token;
  }

  #count({ type, value }) {
    const open = this.#open;
    if (open.length > 0) open[open.length - 1] -= 1;
    if (Type.equals(type, Type.array)) open.push(value);
    else if (Type.equals(type, Type.map)) open.push(2 * value);
    else if (Type.equals(type, Type.tag)) open.push(1);
    // A Map and a Set take two levels, the tag's and the container's.
    if (open.length > 2 * MAX_DEPTH) throw new RangeError('nested too deep');
    while (open[open.length - 1] === 0) open.pop();
  }
}

/** Whether the text whose head is at `start` begins with U+FEFF, which the library's decoder takes away. */
function hasByteOrderMark(data, start) {
  const minor = data[start] & 31;
  const at = start + 1 + (minor < 24 ? 0 : 1 << (minor - 24));
  return data[at] === 0xef && data[at + 1] === 0xbb && data[at + 2] === 0xbf;
}

const tags = {
  [EPOCH_DATE]: (content) => new Date(milliseconds(content())),
  [POSITIVE_BIGNUM]: (content) => magnitude(content()),
  [NEGATIVE_BIGNUM]: (content) => -1n - magnitude(content()),
  [SET]: (content) => {
    const members = content();
    if (!Array.isArray(members)) throw new TypeError('not a set');
    return complete(new Set(members), members);
  },
  [MAP]: (content) => {
    const entries = content.entries();
    return complete(new Map(entries), entries);
  },
};
for (const [name, tag] of Object.entries(TYPED_ARRAYS)) {
  tags[tag] = (content) => {
    const { buffer, byteOffset, byteLength } = byteString(content());
    // A copy of its own: elements of several bytes have to be aligned.
    return new globalThis[name](buffer.slice(byteOffset, byteOffset + byteLength));
  };
}

/** The whole number of milliseconds that was written as `seconds`. Far from 1970, rounding may be off by one. */
function milliseconds(seconds) {
  if (typeof seconds !== 'number') throw new TypeError('not a number');
  const near = Math.round(seconds * 1000);
  return [near, near - 1, near + 1].find((ms) => ms / 1000 === seconds) ?? near;
}

function byteString(value) {
  if (!Buffer.isBuffer(value)) throw new TypeError('not a byte string');
  return value;
}

function magnitude(value) {
  return BigInt(`0x0${byteString(value).toString('hex')}`);
}

/** A collection in which every item has found its place, none twice. */
function complete(collection, items) {
  if (collection.size !== items.length) throw new TypeError('an item occurs twice');
  return collection;
}

module.exports = { encodeStructured, decodeStructured, MAX_DEPTH };
