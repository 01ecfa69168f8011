import { stringify } from 'yaml';
import type { CiPerson, Fault, World } from '../contract.ts';
import { type Draws, rolls } from '../random.ts';
import { older, recent } from './causes.ts';
import { pause } from './during.ts';

/** Does something once, and books it; `act` says to what, or undefined when there was nothing that it could be done to. */
const once = (
  fault: Pick<Fault, 'name' | 'about' | 'weight'>,
  act: (world: World, roll: Draws) => Promise<{ target: string; about: string } | undefined>,
): Fault => ({
  ...fault,
  lasts: () => 1_000,
  async run(world, dice) {
    const from = Date.now();
    const done = await act(world, rolls(dice));
    if (done) world.disturbed({ fault: fault.name, ...done, from, to: Date.now() });
    return done ? 1 : 0;
  },
});

/** Of one job, or of all. */
const someJob = (roll: Draws, jobs: readonly string[]): string | undefined =>
  roll.chance(0.6) ? roll.of(jobs) : undefined;

const atCi = (name: string, about: string, weight: number, what: CiPerson): Fault =>
  once({ name, about, weight }, async (world, roll) => {
    const done = await world.ci.person(what, roll.real());
    return done === undefined ? undefined : { target: 'ci', about: done };
  });

export const peopleFaults: readonly Fault[] = [
  once(
    { name: 'reset', about: 'A workflow is reset to its first task, or to its last.', weight: 2 },
    async (world, roll) => {
      const to = roll.of(['first', 'last'] as const);
      // Only what runs can be reset, and many have ended.
      for (let tries = 5; tries > 0; tries -= 1) {
        const { id } = recent(world, roll);
        if (await world.reset(id, to)) return { target: id, about: `to its ${to} workflow task` };
      }
      return undefined;
    },
  ),
  once(
    { name: 'person-cancel', about: 'A person cancels a pipeline, or one job of it.', weight: 3 },
    async (world, roll) => {
      const { id, jobs } = recent(world, roll);
      const job = someJob(roll, jobs);
      await world.ask('cancel', id, job);
      return { target: id, about: `cancels ${job ?? 'all jobs'}` };
    },
  ),
  once(
    {
      name: 'person-rerun',
      about: 'A person runs a job again, sometimes twice at once, sometimes before its end.',
      weight: 3,
    },
    async (world, roll) => {
      const { id, jobs } = roll.chance(0.5) ? recent(world, roll) : older(world, roll);
      const job = someJob(roll, jobs);
      const times = roll.chance(0.2) ? 2 : 1;
      for (let n = 0; n < times; n += 1) await world.ask('rerun', id, job);
      return { target: id, about: `runs ${job ?? 'all jobs'} again, ${times === 1 ? 'once' : 'twice at once'}` };
    },
  ),
  once(
    { name: 'person-retry', about: 'A person says that a parked job may go on.', weight: 1 },
    async (world, roll) => {
      const { id, jobs } = recent(world, roll);
      const job = someJob(roll, jobs);
      await world.ask('retry', id, job);
      return { target: id, about: `lets ${job ?? 'all jobs'} go on` };
    },
  ),
  once(
    {
      name: 'supersede',
      about: 'A person pushes several times in a row to a branch where a newer push cancels the older ones.',
      weight: 3,
    },
    async (world, roll) => {
      const repo = roll.whole(0, supersededIn - 1);
      const times = roll.whole(2, 5);
      const branch = roll.of(['next', 'trunk']);
      for (let n = 0; n < times; n += 1) {
        // A file that does not ask for it is left alone by all others.
        const asks = roll.chance(0.85);
        await world.push({ repo, branch, files: [{ name: 'superseded.yml', raw: file(asks) }] }, [
          { name: 'superseded.yml', expect: 'build', ...(asks ? { supersede: true as const } : {}) },
        ]);
        await pause(world, roll.whole(0, 1_500));
      }
      return { target: 'knots', about: `${times} pushes to ${branch} of repository ${repo}` };
    },
  ),
  atCi('person-ci-rebuild', 'A person rebuilds a build at the CI.', 2, 'rebuild'),
  atCi('person-ci-cancel', 'A person cancels a build at the CI.', 2, 'cancel'),
  atCi('person-ci-retry', 'A person runs a failed job again at the CI.', 2, 'retry-job'),
];

/** The first so many repositories are served. */
const supersededIn = 4;

const file = (asks: boolean): string =>
  stringify({ tack: { buildkite: { pipeline: 'app' } }, ...(asks ? { whorl: { supersede: true } } : {}) });

const manyReaders = 1_000;

export const readerFaults: readonly Fault[] = [
  {
    name: 'reader-stall',
    about: 'A reader of /events takes nothing for a while.',
    weight: 1,
    lasts: () => 9_000,
    async run(world, dice) {
      const roll = rolls(dice);
      const ms = roll.whole(2_000, 9_000);
      const from = Date.now();
      await world.readers.wild(roll.whole(0, manyReaders), 'stall', ms);
      await pause(world, ms);
      world.disturbed({ fault: 'reader-stall', target: 'readers', from, to: Date.now(), about: `for ${ms} ms` });
      return 1;
    },
  },
  once(
    { name: 'reader-jump', about: 'A reader of /events breaks off, and comes back at a random cursor.', weight: 2 },
    async (world, roll) => {
      await world.readers.wild(roll.whole(0, manyReaders), 'jump', 0);
      return { target: 'readers', about: 'at a random cursor' };
    },
  ),
  once(
    { name: 'log-reader', about: 'Somebody reads the log of a job, to its end or not.', weight: 3 },
    async (world, roll) => {
      const { knot, rkey, jobs } = recent(world, roll);
      const job = roll.of(jobs);
      const leaves = roll.chance(0.4);
      const ms = roll.whole(4_000, 20_000);
      await world.readers.readLog({ knot, rkey, job }, ms, leaves);
      return { target: 'readers', about: `${rkey} ${job}, for ${ms} ms${leaves ? ', leaves in the middle' : ''}` };
    },
  ),
];
