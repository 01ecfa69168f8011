/*
 * What makes rare moments happen while something waits for them: without it most of them would not come in time.
 */
import type { CiFault, World } from '../contract.ts';
import type { Draws } from '../random.ts';
import { pause } from './during.ts';
import { patienceMs, type Cause } from './points.ts';

/** One of the pipelines that were pushed lately. */
export const recent = (world: World, roll: Draws) => roll.late(world.pushes.slice(-20));

/** One that has most likely ended, once there are enough. */
export const older = (world: World, roll: Draws) =>
  roll.late(world.pushes.slice(0, Math.max(1, world.pushes.length - 15)));

/** Does something to the newest pipeline, and again to the newest one then: some end before it comes to them. */
const tries =
  (act: (world: World, roll: Draws, newest: World['pushes'][number]) => Promise<unknown>): Cause =>
  async (world, roll, waiting) => {
    for (let left = 6; left > 0 && waiting(); left -= 1) {
      const newest = world.pushes.at(-1);
      if (newest) await act(world, roll, newest);
      await pause(world, 700);
    }
    return undefined;
  };

export const cancels = tries((world, _, { id }) => world.ask('cancel', id, undefined));

/** Somebody reads the log of a job that has just begun. */
export const readsLog = tries((world, roll, { knot, rkey, jobs }) =>
  world.readers.readLog({ knot, rkey, job: roll.of(jobs) }, patienceMs, false),
);

export const reruns: Cause = async (world, roll) => {
  const { id, jobs } = older(world, roll);
  await world.ask('rerun', id, roll.of(jobs));
  return undefined;
};

/** A person rebuilds one of our builds at the CI. */
export const rebuilds: Cause = async (world, roll) => {
  await world.ci.person('rebuild', roll.real());
  return undefined;
};

const whileCi =
  (...faults: CiFault[]): Cause =>
  async (world) => {
    const numbers: number[] = [];
    const off = async (): Promise<void> => {
      for (const number of numbers) await world.ci.off(number);
    };
    try {
      for (const fault of faults) numbers.push(await world.ci.on(fault));
    } catch (error) {
      await off();
      throw error;
    }
    return off;
  };

export const losesAnswers = whileCi({ kind: 'answer-lost', share: 0.5 });

/** Searches find nothing for so long that the build is created again, and then that there are two. */
export const losesAnswersAndLags = whileCi({ kind: 'answer-lost', share: 0.4 }, { kind: 'index-lag', ms: 20_000 });
