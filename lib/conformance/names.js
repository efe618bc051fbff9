'use strict';
// Names that different users may have, and that careless encoding takes for one another.

/** Pairs and groups of names, all different; `unique` makes them this run's. */
function confusableNames(unique) {
  const templates = [
    ...['bob', 'Bob', 'BOB', 'bob ', ' bob', 'bob  ', 'bob\t', 'bob\n'],
    ...['a:b', 'a/b', 'a\\b', 'a_b', 'a-b', 'a.b', 'a b', 'a+b', 'a%20b', 'a%3Ab', 'a|b', 'a,b', 'a#b', 'a\u001fb'],
    ...["o'neil", "o''neil", 'o"neil', 'o`neil', '*', '?', '[a-z]', '{a}', '%', '_', '$1', '${x}', '../x', './x'],
    ...['caf\u00e9', 'cafe\u0301', 'cafe', 'stra\u00dfe', 'strasse', '\ufb01', 'fi', 'i', '\u0131', '\u0130', 'K', '\u212a'],
    ...['\u{1f510}', '\u{1f511}', '\ufffd', '\u200b', '\u202e', '\u5b57', '\u8a9e'],
    ...['0', '00', '1', '1.0', '1e0', 'null', 'undefined', 'true', '[]', '{}'],
  ];
  return [...templates.map((text) => `${unique}${text}`), ...longNames(unique)];
}

/** Of 255 and 256 bytes, the longest there are; they differ in their last bytes only. */
function longNames(unique) {
  const body = unique.padEnd(252, 'x');
  return [`${body}yyya`, `${body}yyyb`, `${body}yyy`, `${body}\u{1f510}`, `${body}\u{1f511}`];
}

/** Names that objects have of their own: for a user whose peers nobody else has. */
const OBJECT_NAMES = ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'length'];

/** Pairs of user and peer that are the same text when they are joined. No user is in two of them. */
function confusablePairs(unique) {
  const separated = [':', '/', '_', '-', '.', '|', ' '].flatMap((separator, i) => [
    [`${unique}${i}a`, `b${separator}c`],
    [`${unique}${i}a${separator}b`, 'c'],
  ]);
  return [...separated, [`${unique}x`, 'yz'], [`${unique}xy`, 'z']];
}

module.exports = { OBJECT_NAMES, confusableNames, confusablePairs };
