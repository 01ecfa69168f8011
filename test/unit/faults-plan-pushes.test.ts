import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PushedJob } from '../../faults/evidence.ts';
import { pushesOf, repositories, times } from '../../faults/pushes.ts';
import { pipelines } from '../../faults/settings.ts';
import { planJob } from '../../src/pipeline/plan.ts';
import { planners } from '../../src/providers/planners.ts';

const known = planners({ buildkite: { org: 'acme' } });

/** What Whorl's own planner makes of a file. */
function meaning(name: string, raw: string): PushedJob['expect'] {
  const job = planJob(name, raw, known);
  if (job.refusal !== undefined) return 'refused';
  if (job.provider === 'fake') return 'fake';
  const { org, pipeline } = job.target as { org: string; pipeline: string };
  return pipelines.includes(`${org}/${pipeline}`) ? 'build' : 'parks';
}

test('each file leads to what its push says that it leads to', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000_000 }), (seed) => {
      for (const { files } of pushesOf(seed, 40)) {
        expect(new Set(files.map(({ name }) => name)).size).toBe(files.length);
        for (const { name, raw, expect: expected } of files) expect(meaning(name, raw), raw).toBe(expected);
      }
    }),
    { numRuns: 50 },
  );
});

test('the same seed gives the same pushes, also when there are more of them', () => {
  expect(pushesOf(5, 300)).toEqual(pushesOf(5, 300));
  expect(pushesOf(5, 300).slice(0, 20)).toEqual(pushesOf(5, 20));
  expect(pushesOf(5, 20)).not.toEqual(pushesOf(6, 20));
});

test('pushes are as many of each kind as was wished', () => {
  const pushes = pushesOf(1, 10_000);
  const share = (count: number, all: number): number => Math.round((count / all) * 100);
  const of = (jobs: number): number => share(pushes.filter(({ files }) => files.length === jobs).length, pushes.length);
  expect([of(1), of(2), of(3)].map((part) => Math.round(part / 5) * 5)).toEqual([50, 30, 20]);
  const strange = pushes.filter(({ repo }) => repositories[repo]?.served === false);
  expect(share(strange.length, pushes.length)).toBeCloseTo(8, -0.5);
  const files = pushes.flatMap((push) => push.files);
  const kind = (expected: string): number =>
    share(files.filter(({ expect: its }) => its === expected).length, files.length);
  expect(kind('build')).toBeGreaterThan(80);
  expect(kind('fake')).toBeGreaterThan(8);
  expect(kind('refused')).toBeGreaterThan(3);
  expect(kind('parks')).toBeGreaterThan(0);
});

test('pushes come in the time that they are given, at random and in bursts', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 400 }), (seed, count) => {
      const at = times(seed, count, 120_000);
      expect(at).toHaveLength(count);
      expect(at).toEqual(at.toSorted((a, b) => a - b));
      expect(at[0]).toBe(0);
      expect(at.at(-1)).toBe(count === 1 ? 0 : 120_000);
    }),
    { numRuns: 100 },
  );
  const at = times(1, 300, 120_000);
  const gaps = at.slice(1).map((when, n) => when - (at[n] ?? 0));
  expect(gaps.filter((gap) => gap < 30).length).toBeGreaterThan(50);
  expect(Math.max(...gaps)).toBeGreaterThan(1_500);
});
