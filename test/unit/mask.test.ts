import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { secretMask } from '../../src/activities/mask.ts';

const token = 'bkua_0123456789abcdef/+~';
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const mask = (secrets: readonly string[]) => secretMask(() => secrets)();
const hide = (text: string, ...secrets: string[]): string => mask(secrets.length > 0 ? secrets : [token])(text);

describe('a mask', () => {
  test.each<[what: string, text: string, shown: string]>([
    ['a secret', `token=${token};`, 'token=***;'],
    ['a secret twice', `${token} ${token}`, '*** ***'],
    ['its base64', `x ${base64(token)} y`, 'x *** y'],
    ['its base64 without padding', `x ${base64('secret-1').replaceAll('=', '')}.`, 'x ***.'],
    ['its url-safe base64', base64('ab?>ab?>ab?>').replaceAll('/', '_').replaceAll('+', '-'), '***'],
    ['its percent-encoding', encodeURIComponent(token), '***'],
    [
      'a secret with codes of colours inside',
      `a \x1b[31mbkua_0123\x1b[0m456789abcdef/+~\x1b[1m b`,
      'a \x1b[31m***\x1b[0m\x1b[1m b',
    ],
    ['a secret between codes of colours', `\x1b[31m${token}\x1b[0m`, '\x1b[31m***\x1b[0m'],
    ['text with codes and no secret', '\x1b[31mred\x1b[0m', '\x1b[31mred\x1b[0m'],
    ['secrets that overlap', 'abcdefgh', '***'],
  ])('hides %s', (_what, text, shown) => {
    expect(hide(text, token, 'secret-1', 'ab?>ab?>ab?>', 'abcdef', 'cdefgh')).toBe(shown);
  });

  test('hides a secret inside of longer base64, wherever it stands there', () => {
    for (const before of ['', 'u', 'us', 'user:']) {
      const text = base64(`${before}${token}:after`);
      const shown = hide(text);
      expect(shown).toContain('***');
      const rest = shown.split('***').map((part) => Buffer.from(part, 'base64').toString());
      for (const part of rest) expect(part).not.toContain(token.slice(3, 12));
    }
  });

  test('hides each line of a secret of several lines', () => {
    const key = '-----BEGIN KEY-----\nMIIEowIBAAKCAQEA\nx9y8\n-----END KEY-----\n';
    expect(key.split('\n').map((line) => hide(line, key))).toEqual(['***', '***', '***', '***', '']);
  });

  test('prefers the longer of two secrets', () => {
    expect(hide('password1234', 'password', 'password1234')).toBe('***');
    expect(hide('password12', 'password', 'password1234')).toBe('***12');
  });

  test('ignores values so short that they would hide words', () => {
    expect(hide('abc or ab', 'abc', 'ab', '', ' ')).toBe('abc or ab');
  });

  test('remembers what was secret before', () => {
    let now = ['old-secret'];
    const masks = secretMask(() => now);
    expect(masks()('old-secret new-secret')).toBe('*** new-secret');
    now = ['new-secret'];
    expect(masks()('old-secret new-secret')).toBe('*** ***');
    now = [];
    expect(masks()('old-secret new-secret')).toBe('*** ***');
  });

  test('hides what may be the first half of a secret where text was cut', () => {
    expect(mask([token])(`x ${token.slice(0, 9)}`, true)).toBe('x ***');
    expect(mask([token])(`x ${base64(token).slice(0, 9)}`, true)).toBe('x ***');
    expect(mask([token])(`x ${token.slice(0, 9)}`)).toBe(`x ${token.slice(0, 9)}`);
  });
});

const code = fc.constantFrom('\x1b[0m', '\x1b[1;31m', '\x1b[38;5;200m', '\x1b[m');
const secret = fc.string({ minLength: 4, maxLength: 30, unit: fc.constantFrom(...'abcDE012+/=~?>'.split('')) });
const filler = fc.string({ maxLength: 20, unit: fc.constantFrom(...'xyz XYZ789-'.split('')) });
// oxlint-disable-next-line no-control-regex -- codes of colours
const sgr = /\x1b\[[0-9;]*m/g;
const plain = (text: string): string => text.replaceAll(sgr, '');
const codesOf = (text: string): string[] => text.match(sgr) ?? [];

describe('whatever the secrets are, and wherever they stand', () => {
  test('none is seen, and nothing else is lost', () => {
    fc.assert(
      fc.property(
        fc.array(secret, { minLength: 1, maxLength: 4 }),
        fc.array(fc.tuple(filler, fc.nat(), fc.constantFrom<'as it is' | 'base64'>('as it is', 'base64')), {
          maxLength: 6,
        }),
        fc.array(fc.tuple(fc.nat(), code), { maxLength: 8 }),
        (secrets, parts, codes) => {
          let text = parts
            .map(([before, n, form]) => {
              const value = secrets[n % secrets.length] ?? '';
              return before + (form === 'base64' ? base64(value) : value);
            })
            .join('');
          for (const [n, added] of codes) {
            const at = n % (text.length + 1);
            // not inside of another code
            if (plain(text.slice(0, at)).includes('\x1b')) continue;
            text = text.slice(0, at) + added + text.slice(at);
          }
          const shown = mask(secrets)(text);
          for (const value of secrets) {
            expect(plain(shown)).not.toContain(value);
            expect(plain(shown)).not.toContain(base64(value));
          }
          expect(codesOf(shown)).toEqual(codesOf(text));
          // what stands between the stars is a part of what there was, in its order
          let from = 0;
          for (const piece of plain(shown).split('***')) {
            const at = plain(text).indexOf(piece, from);
            expect(at).toBeGreaterThanOrEqual(0);
            from = at + piece.length;
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});
