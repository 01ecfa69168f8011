import fc from 'fast-check';

/** JSON text that stands in a document as it is: what no value of ours could be written as. */
export class Raw {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

const nested =
  (open: string, close: string, middle = '') =>
  (depth: number): Raw =>
    new Raw(open.repeat(depth) + middle + close.repeat(depth));

/** Mostly shallow: what is deep is slow to make, and one depth is as bad as the next. */
const depth = fc.oneof(
  { weight: 60, arbitrary: fc.constantFrom(1, 2, 5, 40) },
  { weight: 2, arbitrary: fc.constantFrom(500, 1_400, 2_600, 4_000, 8_000) },
  { weight: 1, arbitrary: fc.constantFrom(20_000, 60_000) },
);

const long = fc.oneof(
  { weight: 40, arbitrary: fc.constantFrom(80, 81, 256, 257, 512, 513) },
  { weight: 2, arbitrary: fc.constantFrom(2_704, 8_192, 65_536) },
);

/** Texts that have broken parsers before. */
export const texts: readonly string[] = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  'x\udfff',
  '\ufeff',
  '\u202e',
  '\r\nX: y',
  '\x1b[2J\x1b]0;x\x07',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'null',
  '../../etc/passwd',
  '%00%2e%2e',
  '-1',
  '0',
  '+1',
  '1e400',
  'NaN',
  '9223372036854775807',
  '9223372036854775808',
  '-9223372036854775808',
  '9'.repeat(40),
  'zzzzzzzzzzzzz',
  '2222222222222',
  'did:plc:hgnnks5sjbyfk5sxbc2v77gh',
  'did:web:' + 'a'.repeat(500),
  'at://did:plc:a/sh.tangled.repo/x',
  '127.0.0.1:5555',
  '[::1]:80',
  'https://a:b@c/',
  'sh.tangled.pipeline',
  'refs/heads/',
  '0'.repeat(40),
  'f'.repeat(40),
  '-271821-04-20T00:00:00.000Z',
  '+275760-09-13T00:00:00.000Z',
  '0000-00-00',
  '2026-11-20 09:58:00 UTC',
  'Thu, 01 Jan 1970 00:00:00 GMT',
  '🧵'.repeat(120),
  'é'.repeat(199) + '🧵🧵',
  'a'.repeat(199) + '🧵',
  'a'.repeat(399) + '🧵',
];

const text = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...texts) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  {
    weight: 1,
    arbitrary: fc.tuple(long, fc.constantFrom('a', '\ud83e', 'é', '🧵', '%')).map(([n, one]) => one.repeat(n)),
  },
);

const number = fc.constantFrom<unknown>(
  0,
  -1,
  1,
  0.5,
  255,
  256,
  65_536,
  2 ** 31,
  -(2 ** 31) - 1,
  2 ** 53,
  2 ** 63,
  1e20,
  -1e300,
  Number.MIN_VALUE,
  new Raw('-0'),
  new Raw('1e999'),
  new Raw('-1e999'),
  new Raw('9'.repeat(400)),
  new Raw('9223372036854775807'),
  new Raw('9223372036854775808'),
  new Raw('1795220930422551000'),
  new Raw('0.' + '1'.repeat(300)),
  new Raw('1E-5'),
);

const broken = fc.constantFrom<unknown>(
  new Raw(''),
  new Raw('undefined'),
  new Raw('NaN'),
  new Raw('01'),
  new Raw("'a'"),
  new Raw('"\\ud800"'),
  new Raw('"\\u0000"'),
  new Raw('"\\x41"'),
  new Raw('"\u0001"'),
  new Raw('{"a":1,"a":2}'),
  new Raw('{"__proto__":{"polluted":1}}'),
  new Raw('{"constructor":{"prototype":{"polluted":1}}}'),
  new Raw('{"toString":1,"valueOf":2,"toJSON":3,"then":4}'),
  new Raw('[,]'),
  new Raw('/**/1'),
);

/** A value for any place of a JSON document that should not be there. */
export const hostileValue: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 10, arbitrary: text },
  { weight: 5, arbitrary: number },
  { weight: 4, arbitrary: fc.constantFrom<unknown>(null, true, false, [], {}, [[]], [null], { a: {} }) },
  { weight: 3, arbitrary: broken },
  { weight: 2, arbitrary: fc.oneof(depth.map(nested('[', ']')), depth.map(nested('{"a":', '}', '1'))) },
  { weight: 1, arbitrary: fc.constantFrom(100, 1_000, 10_000).map((n) => new Raw(`[${'{},'.repeat(n)}{}]`)) },
);

/** A name for a key that should not be one. */
export const hostileKey: fc.Arbitrary<string> = fc.constantFrom(
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  'then',
  'toJSON',
  'length',
  '',
  '\0',
  '\ud800',
  'a'.repeat(300),
  'CREATED',
  'Nsid',
  'tack:knot',
  '0',
);
