import { expect, test } from 'vitest';
import { FATES, type Fate, fateOf, scripts } from '../../faults/sims/ci/fates.ts';
import { logWriter } from '../../faults/sims/ci/logs.ts';
import type { Build, Job } from '../../sim/buildkite/index.ts';
import { buildkite, create } from '../support/buildkite.ts';

const secrets = ['a-secret-of-the-author', 'another one, with spaces'];
// oxlint-disable-next-line no-control-regex -- codes of colours
const withoutColours = (text: string): string => text.replaceAll(/\x1b\[[0-9;]*m/g, '');

async function someBuild(): Promise<Build> {
  const sim = await buildkite();
  await create(sim, { meta_data: { 'tack:workflow': 'ci.yml' } });
  return sim.build(1);
}

const numbered = (build: Build, number: number): Build => ({ ...build, number });

test('what becomes of a build follows from the seed and its number, in the shares that are told', async () => {
  const build = await someBuild();
  const counts: Partial<Record<Fate, number>> = {};
  for (let n = 1; n <= 10_000; n++) {
    const fate = fateOf(1, numbered(build, n));
    counts[fate] = (counts[fate] ?? 0) + 1;
  }
  for (const [fate, share] of Object.entries(FATES)) {
    expect(Math.abs((counts[fate as Fate] ?? 0) - share * 100), fate).toBeLessThan(share * 20 + 60);
  }
  const all = (seed: number): unknown[] =>
    Array.from({ length: 100 }, (_, n) => scripts(100)(seed)(numbered({ ...build, id: `${n}` }, n), 'create'));
  expect(all(7)).toEqual(all(7));
  expect(all(7)).not.toEqual(all(8));
});

test('each script leads to an end by itself', async () => {
  const build = await someBuild();
  const ends = new Set<string>();
  for (let n = 1; n <= 2_000; n++) {
    const script = scripts(100)(1)(numbered(build, n), 'create');
    const last = script && 'steps' in script ? script.steps.at(-1) : undefined;
    if (typeof last === 'object' && 'to' in last && typeof last.to === 'string') ends.add(last.to);
    else throw new Error(`build ${n} has no end`);
  }
  expect(ends).toEqual(new Set(['passed', 'failed', 'canceled', 'skipped', 'not_run']));
});

test('a build that no list shows for longer than all looks together lasts until sweeps can find it', async () => {
  const build = await someBuild();
  const endOf = (n: number, lag: number): number => {
    const script = scripts(100, () => lag)(1)(numbered(build, n), 'create');
    const last = script && 'steps' in script ? script.steps.at(-1) : undefined;
    return typeof last === 'object' ? (last.after ?? 0) : 0;
  };
  for (let n = 1; n <= 200; n++) {
    expect(endOf(n, 9_000)).toBe(endOf(n, 0));
    expect(endOf(n, 20_000)).toBe(endOf(n, 0) + 80_000);
  }
});

test('a log holds each secret in each way, and only grows', async () => {
  const build = await someBuild();
  const [known] = build.jobs;
  if (!known) throw new Error('the build has no job');
  const lengths: number[] = [];
  for (let n = 1; n <= 100; n++) {
    const job: Job = { ...known, state: 'running', startedAt: 10_000 };
    const write = logWriter(1, 1_000, secrets);
    let before: Buffer = Buffer.alloc(0);
    const grown = (now: number, about: Job): void => {
      const log = write(numbered(build, n), about, now);
      expect(log.subarray(0, before.length).equals(before)).toBe(true);
      before = log;
    };
    for (const now of [10_000, 10_200, 10_500, 10_501]) grown(now, job);
    const ended: Job = { ...job, state: 'failed', exitStatus: 3, finishedAt: 10_600 };
    grown(10_600, ended);
    expect(write(numbered(build, n), ended, 99_000)).toEqual(before);
    const text = before.toString();
    for (const secret of secrets) {
      expect(text).toContain(`\x07${secret} stands`);
      expect(text).toContain(`stands ${secret}\r`);
      expect(text.split(secret)).toHaveLength(5);
      expect(withoutColours(text).split(secret)).toHaveLength(6);
    }
    expect(text).toContain('exited with status 3');
    lengths.push(text.split('\n').length);
  }
  expect(Math.min(...lengths)).toBeGreaterThanOrEqual(20);
  expect(Math.max(...lengths)).toBeGreaterThan(100);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(200);
});

test('a job that has not begun has no log', async () => {
  const build = await someBuild();
  const [job] = build.jobs;
  if (!job) throw new Error('the build has no job');
  expect(logWriter(1, 1_000, secrets)(build, job, Date.now())).toHaveLength(0);
});
