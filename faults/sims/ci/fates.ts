import type { Build, JobOutcome, JobPlan, Script, ScriptRule, Step } from '../../../sim/buildkite/index.ts';
import type { Scripts } from '../../contract.ts';
import { looksMs } from '../../settings.ts';
import { drawn } from '../dice.ts';

/** What becomes of builds, and how often: the parts make 100. */
export const FATES = {
  passes: 70,
  fails: 12,
  'fails early': 5,
  'times out': 4,
  'is cancelled': 3,
  blocks: 2,
  'never runs': 2,
  'is slow': 2,
} as const;
export type Fate = keyof typeof FATES;

/** Of what jobs a build consists; each build has the first one to three. */
const PLANS: readonly JobPlan[] = [
  { name: ':hammer: Build', key: 'build', command: 'make' },
  { name: ':test_tube: Test', key: 'test', command: 'make test' },
  { name: 'Lint', key: 'lint', command: 'make lint' },
];
const EXITS = [1, 2, 101, 127, 137, 255] as const;

/** The number of a build by which everything about it is drawn. Its id is another one in each run. */
export const nameOf = (build: Readonly<Build>): string =>
  `${build.org}/${build.pipeline}/${build.metaData['tack:workflow'] ?? ''}/${build.number}`;

export function fateOf(seed: number, build: Readonly<Build>): Fate {
  let left = drawn(seed, nameOf(build), 'fate') * 100;
  for (const [fate, share] of Object.entries(FATES)) {
    left -= share;
    if (left < 0) return fate as Fate;
  }
  return 'passes';
}

/** True for a build that is `running` at some time. */
export const runs = (seed: number, build: Readonly<Build>): boolean => fateOf(seed, build) !== 'never runs';

/** By then a second build was met by a sweep, or by the look after a restore that came in between, ms. */
const SWEPT = 60_000;

/**
 * What a new build does. `paceMs` is about how long it stays in a state, and `lag` how long the lists do not know it now,
 * ms. Builds take a second in a run and minutes in production, where looks take half of one: one that no list shows for
 * longer than all looks may be made again, and lasts until that can be found out.
 */
export const scripts =
  (paceMs: number, lag: () => number = () => 0): Scripts =>
  (seed) =>
  (build): Script => {
    const draw = (about: string): number => drawn(seed, nameOf(build), about);
    const jobs = PLANS.slice(0, 1 + Math.floor(draw('jobs') * PLANS.length));
    const last = jobs.at(-1)?.key ?? 'build';
    const failed: JobOutcome = { state: 'failed', exitStatus: EXITS[Math.floor(draw('exit') * EXITS.length)] ?? 1 };
    const after = (step: string, paces = 1): number => Math.round(paceMs * paces * (0.5 + draw(step)));
    const run: Step[] = ['scheduled', { to: 'running', after: after('running') }];
    const steps: Record<Fate, () => Step[]> = {
      passes: () => [...run, { to: 'passed', after: after('end') }],
      fails: () => [...run, { to: 'failed', jobs: { [last]: failed }, after: after('end') }],
      'fails early': () => [
        ...run,
        { to: 'failing', jobs: { build: failed }, after: after('failing') },
        { to: 'failed', jobs: {}, after: after('end') },
      ],
      'times out': () => [
        ...run,
        { to: 'failed', jobs: { [last]: { state: 'timed_out', exitStatus: -1 } }, after: after('end') },
      ],
      'is cancelled': () => [
        ...run,
        { to: 'canceling', after: after('canceling') },
        { to: 'canceled', after: after('end') },
      ],
      blocks: () => [
        ...run,
        { to: 'blocked', after: after('blocked') },
        { to: 'unblocked', after: after('unblocked', 4) },
        { to: 'passed', after: after('end') },
      ],
      'never runs': () => ['scheduled', { to: draw('why') < 0.5 ? 'skipped' : 'not_run', after: after('end') }],
      'is slow': () => [...run, { to: 'passed', after: after('end', 10) }],
    };
    const planned = steps[fateOf(seed, build)]();
    return { jobs, steps: lag() > looksMs ? lasting(planned, lag() + SWEPT) : planned };
  };

/** The same, with an end that comes so much later, ms. */
function lasting(steps: Step[], ms: number): Step[] {
  const end = steps.at(-1);
  return typeof end === 'object' ? [...steps.slice(0, -1), { ...end, after: (end.after ?? 0) + ms }] : steps;
}

/** What follows when a job is retried: it passes more often than not. */
export const retries =
  (seed: number): ScriptRule =>
  (build) => ['running', drawn(seed, nameOf(build), 'retry', build.jobs.length) < 0.75 ? 'passed' : 'failed'];
