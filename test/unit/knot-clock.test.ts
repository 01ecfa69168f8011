import { expect, test } from 'vitest';
import { advance, isEarly, position, rewound, skewOf, startOf } from '../../src/ingest/knot-clock.ts';
import { eventsUrl, knotNameProblem } from '../../src/ingest/knot-url.ts';

const now = Date.UTC(2026, 10, 20, 12);
const ns = (ms: number): bigint => BigInt(ms) * 1_000_000n;
const hour = 3_600_000;

test('the skew of a knot is what its Date says, and nothing when that is rounding, or is not there', () => {
  expect(skewOf(new Date(now + hour).toUTCString(), now)).toBe(hour);
  expect(skewOf(new Date(now - hour).toUTCString(), now)).toBe(-hour);
  expect(skewOf(new Date(now).toUTCString(), now + 1_400)).toBe(0);
  expect(skewOf(undefined, now)).toBe(0);
  expect(skewOf('yesterday', now)).toBe(0);
});

test('a stream moves on with its events, never back, and never into the future of its knot', () => {
  const clock = { now, skew: 0 };
  const reached = ns(now - 1_000);
  expect(advance(reached, ns(now), clock)).toBe(ns(now));
  expect(advance(reached, ns(now - 2_000), clock)).toBe(reached);
  expect(advance(reached, undefined, clock)).toBe(reached);
  expect(advance(reached, ns(now + hour), clock)).toBe(reached);
  expect(advance(reached, ns(now + hour), { now, skew: hour })).toBe(ns(now + hour));
});

test('the cursor that is kept is never later than our own clock', () => {
  expect(position(ns(now - 1), now)).toBe(ns(now - 1));
  expect(position(ns(now + hour), now)).toBe(ns(now));
});

test('reading starts an hour before the choice, by the clock of the knot if that is behind', () => {
  const choice = new Date(now - 2 * hour);
  expect(startOf(choice, { now, skew: 0 })).toBe(ns(now - 3 * hour));
  expect(startOf(choice, { now, skew: hour })).toBe(ns(now - 3 * hour));
  expect(startOf(choice, { now, skew: -hour })).toBe(ns(now - 4 * hour));
  expect(startOf(new Date(now + hour), { now, skew: 0 })).toBe(ns(now - hour));
  expect(startOf(new Date(0), { now, skew: 0 })).toBe(1n);
});

test('an event is early when it is of more than 10 minutes before the choice, by the clock of the knot', () => {
  const choice = new Date(now);
  const minutes = (count: number): bigint => ns(now - count * 60_000);
  expect(isEarly(minutes(11), choice, 0)).toBe(true);
  expect(isEarly(minutes(9), choice, 0)).toBe(false);
  expect(isEarly(minutes(11), choice, -5 * 60_000)).toBe(false);
  expect(isEarly(minutes(9), choice, 5 * 60_000)).toBe(true);
  expect(isEarly(undefined, choice, 0)).toBe(false);
});

test('a rewound cursor is never 0, which would mean none', () => {
  expect(rewound(ns(now), 5_000)).toBe(ns(now - 5_000));
  expect(rewound(5n, 5_000)).toBe(1n);
});

test.each(['knot1.tangled.sh', 'localhost:6000', '127.0.0.1:5555', 'Knot.Example', '[::1]:5555'])(
  '%s is a knot',
  (name) => {
    expect(knotNameProblem(name)).toBeUndefined();
    expect(new URL(eventsUrl(name, 5n, false)).search).toBe('?cursor=5');
  },
);

test.each([
  '',
  'knot.example/',
  'knot.example/path',
  'https://knot.example',
  'user@knot.example',
  'user:pass@knot.example:80',
  'knot.example?x=1',
  'knot.example#x',
  'knot.example:0',
  'knot.example:65536',
  'knot.example:',
  'knot .example',
  'knot.example\n',
  '-knot.example',
  'k%2f.example',
  '[::1',
  '1.2.3.4.5.300',
  'a'.repeat(300),
])('%j is no knot', (name) => {
  expect(knotNameProblem(name)).toContain('is not the name of a knot');
});
