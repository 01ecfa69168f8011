import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formsOf } from '../../faults/collect/forms.ts';
import { matcher } from '../../faults/collect/matcher.ts';
import { createScanner } from '../../faults/collect/scanner.ts';

const secret = 'tok/en "with" ümlaut+\n\\';
const named = [{ name: 'the token', value: secret }];

describe('a secret is found', () => {
  const base64 = (before: string): string => Buffer.from(`${before}${secret}after`).toString('base64');
  test.for<[form: string, text: string]>([
    ['as it is', secret],
    ['in JSON', JSON.stringify({ deep: [secret] })],
    ['in JSON inside of JSON', JSON.stringify(JSON.stringify(secret))],
    ['in a URL', `https://x/?q=${encodeURIComponent(secret)}`],
    ['in a URL with small letters', encodeURIComponent(secret).toLowerCase()],
    ['in a form', new URLSearchParams({ q: secret }).toString()],
    ['in hex', Buffer.from(secret).toString('hex')],
    ['in large hex', Buffer.from(secret).toString('hex').toUpperCase()],
    ['in base64', base64('')],
    ['in base64 behind a byte', base64('x')],
    ['in base64 behind two bytes', base64('xy')],
    ['in base64 for URLs', base64('xyz').replaceAll('+', '-').replaceAll('/', '_')],
    ['as bytes in bytes', `\\x${Buffer.from(`..${secret}`).toString('hex')}`],
  ])('%s', ([, text]) => {
    const scanner = createScanner(named);
    scanner.scan('table t', { column: [1, null, `before ${text} after`] });
    expect(scanner.sightings).toMatchObject([{ secret: 'the token', where: 'table t' }]);
    expect(scanner.sightings[0]?.around).not.toContain(secret);
  });

  test('as the name of a key, and in bytes', () => {
    const scanner = createScanner(named);
    scanner.scan('a', { [secret]: 1 });
    scanner.scan('b', Buffer.from(secret), 'in detail');
    expect(scanner.sightings.map(({ where }) => where)).toEqual(['a', 'b in detail']);
  });

  test('across every border of a stream, once', () => {
    const text = Buffer.from(`0123456789 ${secret} and more of it, which is long enough`);
    for (let size = 1; size <= text.length; size += 1) {
      const scanner = createScanner(named);
      const look = scanner.stream('log of worker-1');
      for (let at = 0; at < text.length; at += size) look(text.subarray(at, at + size));
      expect(scanner.sightings, `pieces of ${size}`).toHaveLength(1);
      expect(scanner.scanned.bytes).toEqual({ 'log of worker-1': text.length });
    }
  });
});

test('what is no secret is not found, and its bytes are counted', () => {
  const scanner = createScanner(named);
  scanner.scan('table t', [
    'tok/en',
    secret.slice(1),
    Buffer.from(secret.slice(0, -1)).toString('base64'),
    7,
    new Date(),
  ]);
  scanner.scan('table empty', '');
  expect(scanner.sightings).toEqual([]);
  expect(scanner.scanned.secrets).toBe(1);
  expect(scanner.scanned.bytes['table t']).toBeGreaterThan(50);
  expect(scanner.scanned.bytes['table empty']).toBe(0);
});

test('one secret in one place is told three times at most, and another one beside it is cut out', () => {
  const scanner = createScanner([...named, { name: 'another', value: 'another-secret' }]);
  for (let n = 0; n < 10; n += 1) scanner.scan('log', `another-secret ${secret}`);
  expect(scanner.sightings).toHaveLength(6);
  for (const { around } of scanner.sightings) expect(around).not.toContain('another-secret');
});

test('a secret that is too short to look for is refused', () => {
  expect(() => createScanner([{ name: 'short', value: 'abc' }])).toThrow('short');
});

test('the matcher finds what a search for each needle finds', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 0, maxLength: 60 });
  const needles = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 2, maxLength: 6 }), {
    minLength: 1,
    maxLength: 5,
  });
  fc.assert(
    fc.property(letters, needles, (text, wanted) => {
      const found: string[] = [];
      matcher(wanted.map((needle) => Buffer.from(needle)))(Buffer.from(text), (needle, at) =>
        found.push(`${needle} ${at}`),
      );
      const expected = wanted.flatMap((needle, n) =>
        Array.from(text).flatMap((_, at) => (text.startsWith(needle, at) ? [`${n} ${at}`] : [])),
      );
      expect(found.toSorted()).toEqual(expected.toSorted());
    }),
  );
});

test('every form of a secret is long enough not to be found by chance', () => {
  for (const form of formsOf('12345678')) expect(form.length).toBeGreaterThanOrEqual(8);
});
