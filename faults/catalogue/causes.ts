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

/** Does something as long as it is waited for, a few times: much of it comes too early or too late. */
const tries =
  (act: (world: World, roll: Draws) => Promise<unknown>): Cause =>
  async (world, roll, waiting) => {
    for (let left = 6; left > 0 && waiting(); left -= 1) {
      if (world.pushes.length > 0) await act(world, roll);
      await pause(world, 700);
    }
    return undefined;
  };

const newest = (world: World, roll: Draws) => roll.of(world.pushes.slice(-1));

export const cancels = tries((world, roll) => world.ask('cancel', newest(world, roll).id, undefined));

/** Somebody reads the log of a job that has just begun. */
export const readsLog = tries((world, roll) => {
  const { knot, rkey, jobs } = newest(world, roll);
  return world.readers.readLog({ knot, rkey, job: roll.of(jobs) }, patienceMs, false);
});

export const reruns = tries((world, roll) => {
  const { id, jobs } = older(world, roll);
  return world.ask('rerun', id, roll.of(jobs));
});

/** A person rebuilds one of our builds at the CI. */
export const rebuilds = tries((world, roll) => world.ci.person('rebuild', roll.real()));

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
