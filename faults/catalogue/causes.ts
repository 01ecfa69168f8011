/*
 * What makes rare moments happen while something waits for them: without it most of them would not come in time.
 */
import type { CiFault, World } from '../contract.ts';
import type { Draws } from '../random.ts';
import { patienceMs, type Cause } from './points.ts';

/** One of the pipelines that were pushed lately. */
export const recent = (world: World, roll: Draws) => roll.late(world.pushes.slice(-20));

/** One that has most likely ended, once there are enough. */
export const older = (world: World, roll: Draws) =>
  roll.late(world.pushes.slice(0, Math.max(1, world.pushes.length - 15)));

export const cancels: Cause = async (world, roll) => {
  await world.ask('cancel', recent(world, roll).id, undefined);
  return undefined;
};

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

/** Somebody reads the log of a job that has just begun. */
export const readsLog: Cause = async (world, roll) => {
  const { knot, rkey, jobs } = recent(world, roll);
  await world.readers.readLog({ knot, rkey, job: roll.of(jobs) }, patienceMs, false);
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

/** Then searches find nothing for a while, though the build is there. */
export const losesAnswersAndLags = whileCi({ kind: 'answer-lost', share: 0.5 }, { kind: 'index-lag', ms: 6_000 });
