import type Crypto from 'node:crypto';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { buildkiteWebhook, type WebhookMode } from '../../src/providers/buildkite/webhook.ts';

// Everything stays as it is; the comparison is only watched.
vi.mock('node:crypto', async (original) => {
  const real = await original<typeof Crypto>();
  return { ...real, timingSafeEqual: vi.fn(real.timingSafeEqual) };
});

const compared = vi.mocked(timingSafeEqual);
beforeEach(() => void compared.mockClear());

const now = Date.UTC(2026, 0, 1);
const body = Buffer.from('{"event":"ping"}');
const secrets = ['short', 'a-much-longer-secret-than-the-other-one-of-the-pair'];

const read = (mode: WebhookMode, headers: Record<string, string>, known = secrets) =>
  buildkiteWebhook({ mode, secrets: () => known })(headers, body, now).kind;
const sign = (secret: string, seconds = now / 1000) =>
  `timestamp=${seconds},signature=${createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex')}`;

/** The lengths of what was compared, and how often. */
const lengths = () => compared.mock.calls.map(([a, b]) => [a.byteLength, b.byteLength]);
const two = [
  [32, 32],
  [32, 32],
];

describe('a secret is compared by digests of one length, with each of the pair, whatever was given:', () => {
  test.each([
    ['the first one', 'short', 'ignored'],
    ['the second one', secrets[1] ?? '', 'ignored'],
    ['nothing like it', 'x', 'refused'],
    ['its beginning', 'shor', 'refused'],
    ['all but its last letter', (secrets[1] ?? '').slice(0, -1), 'refused'],
    ['it, and more', 'short ', 'refused'],
    ['ten thousand letters', 'x'.repeat(10_000), 'refused'],
    ['none', '', 'refused'],
  ])('a token: %s', (_what, token, kind) => {
    expect(read('token', { 'x-buildkite-token': token })).toBe(kind);
    expect(lengths()).toEqual(two);
  });

  test.each([
    ['with the first one', sign('short'), 'ignored'],
    ['with the second one', sign(secrets[1] ?? ''), 'ignored'],
    ['with another', sign('x'), 'refused'],
    ['of another time', sign('short').replace(/timestamp=\d+/, 'timestamp=1767225601'), 'refused'],
    ['of long ago', sign('short', now / 1000 - 3_600), 'refused'],
    ['of the future', sign('short', now / 1000 + 3_600), 'refused'],
    ['of zeros', `timestamp=${now / 1000},signature=${'0'.repeat(64)}`, 'refused'],
  ])('a signature %s', (_what, signature, kind) => {
    expect(read('signature', { 'x-buildkite-signature': signature })).toBe(kind);
    expect(lengths()).toEqual(two);
  });
});

test.each([
  ['half a signature', `timestamp=${now / 1000},signature=${'0'.repeat(63)}`],
  ['more than one', `timestamp=${now / 1000},signature=${'0'.repeat(66)}`],
  ['no hex', `timestamp=${now / 1000},signature=${'z'.repeat(64)}`],
  ['no time', `signature=${'0'.repeat(64)}`],
  ['a time that is none', `timestamp=1e9,signature=${'0'.repeat(64)}`],
  ['a token', 'short'],
])('what has not the form of a signature is compared with nothing: %s', (_what, signature) => {
  expect(read('signature', { 'x-buildkite-signature': signature, 'x-buildkite-token': 'short' })).toBe('refused');
  expect(lengths()).toEqual([]);
});

test('without a secret nothing is genuine, neither an empty token nor a signature with an empty key', () => {
  for (const known of [[], [''], ['', '']]) {
    expect(read('token', { 'x-buildkite-token': '' }, known)).toBe('refused');
    expect(read('signature', { 'x-buildkite-signature': sign('') }, known)).toBe('refused');
  }
});

test('the secrets of the moment count: a pair that was replaced is gone at the next request', () => {
  let known = ['old'];
  const parse = buildkiteWebhook({ mode: 'token', secrets: () => known });
  const given = (token: string) => parse({ 'x-buildkite-token': token }, body, now).kind;
  expect([given('old'), given('new')]).toEqual(['ignored', 'refused']);
  known = ['new', 'old'];
  expect([given('old'), given('new')]).toEqual(['ignored', 'ignored']);
  known = ['new'];
  expect([given('old'), given('new')]).toEqual(['refused', 'ignored']);
});
