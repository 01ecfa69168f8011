import { expect, test } from 'vitest';
import { advance, missingMs, placeOf, subscribeUrl } from '../../src/ingest/jetstream-place.ts';

const now = Date.UTC(2026, 10, 20, 12);
const ns = (ms: number): bigint => BigInt(ms) * 1_000_000n;
const second = 1_000;
const minute = 60 * second;
const hour = 60 * minute;

test.each([
  ['there is none', undefined, { problem: 'there is no cursor' }],
  ['it is zero', 0n, { problem: 'the cursor is no time' }],
  ['it is negative', -5n, { problem: 'the cursor is no time' }],
  ['it counts frames', 123_456n, { problem: 'the cursor is no time' }],
  ['it is in milliseconds', BigInt(now), { problem: 'the cursor is no time' }],
  ['it is in microseconds', ns(now) / 1_000n, { problem: 'the cursor is no time' }],
  ['it is of tomorrow', ns(now + 24 * hour), { problem: 'the cursor is in the future' }],
  ['our clock was set back a little', ns(now + 10 * second), { at: ns(now) }],
  ['it is of yesterday', ns(now - 24 * hour), { at: ns(now - 24 * hour) }],
])('a stored cursor leads somewhere or says why not: %s', (_about, position, place) => {
  expect(placeOf(position, now)).toEqual(place);
});

test('a stream moves on with its frames: never back, never beyond our clock, and not by a time that no clock shows', () => {
  const reached = ns(now - hour);
  expect(advance(reached, ns(now - minute), now)).toBe(ns(now - minute));
  expect(advance(reached, ns(now - 2 * hour), now)).toBe(reached);
  // a host whose clock is ahead
  expect(advance(reached, ns(now + minute), now)).toBe(ns(now));
  // one wrong time among old frames must not skip the rest of them
  expect(advance(reached, ns(now + 11 * minute), now)).toBe(reached);
});

test('what may be missing is what lies between the cursor and the first frame, but nothing after the connection', () => {
  expect(missingMs(ns(now - hour), ns(now - minute), now)).toBe(59 * minute);
  expect(missingMs(ns(now - hour), ns(now + hour), now)).toBe(hour);
  expect(missingMs(ns(now - minute), ns(now - hour), now)).toBeLessThan(0);
});

test('a host is asked for the three collections from a microsecond on, whatever else its address says', () => {
  const url = new URL(subscribeUrl('wss://jetstream.example:8443/subscribe?key=secret', ns(now) + 999n));
  expect(url.origin + url.pathname).toBe('wss://jetstream.example:8443/subscribe');
  expect(url.searchParams.get('key')).toBe('secret');
  expect(url.searchParams.get('cursor')).toBe(`${now}000`);
  expect(url.searchParams.getAll('wantedCollections')).toEqual([
    'sh.tangled.spindle.member',
    'sh.tangled.repo',
    'sh.tangled.repo.collaborator',
  ]);
});
