import fc from 'fast-check';
import { expect, test } from 'vitest';
import { catalogue } from '../../faults/catalogue/index.ts';
import type { Action, Fault } from '../../faults/contract.ts';
import { describePlan, planOf } from '../../faults/plan.ts';
import { scaleOf } from '../../faults/settings.ts';

const byName = new Map(catalogue.map((fault) => [fault.name, fault]));
const faultOf = ({ fault }: Action): Fault => byName.get(fault) ?? expect.fail(`${fault} is in no catalogue`);
const seeds = fc.integer({ min: 1, max: 2 ** 31 });
const minutes = fc.integer({ min: 5_000, max: 900_000 });
const planFor = (seed: number, durationMs: number): Action[] =>
  planOf(seed, { durationMs, scale: scaleOf(durationMs) });

/** The most of these that go on at one moment. */
function mostAtOnce(actions: Action[], durationMs: number): number {
  const spans = actions.map((action) => [action.at, action.at + faultOf(action).lasts(scaleOf(durationMs))] as const);
  return Math.max(0, ...spans.map(([at]) => spans.filter(([from, to]) => from <= at && at < to).length));
}

test('the same seed gives the same plan, byte for byte, and another seed another one', () => {
  fc.assert(
    fc.property(seeds, minutes, (seed, ms) => {
      expect(JSON.stringify(planFor(seed, ms))).toBe(JSON.stringify(planFor(seed, ms)));
    }),
    { numRuns: 50 },
  );
  expect(planFor(1, 120_000)).not.toEqual(planFor(2, 120_000));
});

test('in two minutes or more every kind of fault is there, about one action in 1.2 s', () => {
  fc.assert(
    fc.property(seeds, fc.integer({ min: 120_000, max: 900_000 }), (seed, ms) => {
      const plan = planFor(seed, ms);
      const had = new Set(plan.map(({ fault }) => fault));
      expect(catalogue.map(({ name }) => name).filter((name) => !had.has(name))).toEqual([]);
      expect(plan.length).toBeGreaterThan(ms / 1_200 / 1.3);
      expect(plan.length).toBeLessThanOrEqual(ms / 1_200);
    }),
    { numRuns: 50 },
  );
});

test('nothing overlaps with its own group, and of what is heavy there are never more than two', () => {
  fc.assert(
    fc.property(seeds, minutes, (seed, ms) => {
      const plan = planFor(seed, ms);
      const groups = Map.groupBy(
        plan.filter((action) => faultOf(action).alone !== undefined),
        (action) => faultOf(action).alone,
      );
      for (const group of groups.values()) expect(mostAtOnce(group, ms)).toBe(1);
      expect(
        mostAtOnce(
          plan.filter((action) => faultOf(action).heavy),
          ms,
        ),
      ).toBeLessThanOrEqual(2);
    }),
    { numRuns: 50 },
  );
});

test('nothing begins in the last five seconds, and what lasts long ends before the pushes do', () => {
  fc.assert(
    fc.property(seeds, minutes, (seed, ms) => {
      for (const action of planFor(seed, ms)) {
        const lasts = faultOf(action).lasts(scaleOf(ms));
        expect(action.at).toBeGreaterThanOrEqual(0);
        expect(action.at).toBeLessThanOrEqual(ms - 5_000);
        if (lasts > 12_000) expect(action.at + lasts).toBeLessThanOrEqual(ms);
        if (lasts >= 30_000) expect(action.at).toBeLessThanOrEqual(ms / 2);
      }
    }),
    { numRuns: 50 },
  );
});

test('a plan is in the order of time, and each action has dice in 0 to 1', () => {
  const plan = planFor(7, 300_000);
  expect(plan.map(({ at }) => at)).toEqual(plan.map(({ at }) => at).toSorted((a, b) => a - b));
  for (const { dice } of plan) {
    expect(dice).toHaveLength(8);
    for (const die of dice) expect(die >= 0 && die <= 1).toBe(true);
  }
});

test('what is frequent in the catalogue is frequent in a long plan', () => {
  const plans = [1, 2, 3, 4, 5].map((seed) => planFor(seed, 3_600_000));
  const inAll = (name: string): number => plans.flat().filter(({ fault }) => fault === name).length;
  expect(inAll('kill-before-commit')).toBeGreaterThan(1.5 * inAll('kill-before-call'));
  const times = (name: string): number => plans[0]?.filter(({ fault }) => fault === name).length ?? 0;
  // Heavy kinds may take a tenth of the time each, however long it is.
  for (const { name, heavy, lasts } of catalogue) {
    if (!heavy || times(name) === 1) continue;
    expect(times(name) * lasts(scaleOf(3_600_000)), name).toBeLessThanOrEqual(360_000);
  }
});

test('with names only these are planned, and not without a pause', () => {
  const plan = planOf(1, { durationMs: 120_000, scale: scaleOf(120_000), only: ['kill', 'reset'] });
  expect(new Set(plan.map(({ fault }) => fault))).toEqual(new Set(['kill', 'reset']));
  expect(plan.length).toBeLessThanOrEqual(48);
  expect(plan.length).toBeGreaterThan(40);
});

test('a name that is none is refused, with the one that was meant and all that there are', () => {
  const plan = (only: string[]) => () => planOf(1, { durationMs: 60_000, scale: scaleOf(60_000), only });
  expect(plan(['kill-before-comit'])).toThrow(/"kill-before-comit" \(did you mean kill-before-commit\?\)/);
  expect(plan(['kill', 'xyz'])).toThrow(/no fault "xyz"; there are: kill, .*log-reader/);
});

test('a plan can be read: a line for each action, with its time and its dice', () => {
  const plan = planFor(1, 60_000);
  const lines = describePlan(plan).trimEnd().split('\n');
  expect(lines).toHaveLength(plan.length);
  expect(lines[0]).toMatch(/^ +\d+\.\d{3} s  [a-z0-9-]+ +0(\.\d+)?/);
});
