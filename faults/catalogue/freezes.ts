import type { Fault, Member, Point, Scale, World } from '../contract.ts';
import { type Draws, rolls } from '../random.ts';
import { creates } from './calls.ts';
import { pause } from './during.ts';
import { type LinkKind, type Moment, patienceMs, waitAt } from './points.ts';
import { adopted, adoption, statements } from './statements.ts';

/** Stops a process now; the returned function waits until it goes on. It goes on at once when the run ends. */
function stop(world: World, fault: string, member: Member, ms: number, where: string): () => Promise<void> {
  member.freeze(ms);
  const from = Date.now();
  return async () => {
    await pause(world, ms);
    // A second, shorter stop ends the first.
    if (world.signal.aborted) member.freeze(0);
    world.disturbed({ fault, target: member.name, from, to: Date.now(), about: `stopped ${where} for ${ms} ms` });
  };
}

/** What is on its way goes on: the process is stopped before the bytes pass. */
async function stopAt(
  world: World,
  fault: string,
  kind: LinkKind,
  { when, what }: Point,
  moment: Moment,
  { freeze }: Scale,
  roll: Draws,
): Promise<number> {
  let end: (() => Promise<void>) | undefined;
  await waitAt(
    world,
    kind,
    when,
    moment,
    roll,
    ({ member, what: text }) => {
      end = stop(world, fault, member, freeze, `${when} ${moment.name} (${text.slice(0, 120)})`);
      return 'pass';
    },
    what,
  );
  await end?.();
  return end ? 1 : 0;
}

const freeze: Fault = {
  name: 'freeze',
  about: 'A process is stopped for longer than every lease, and then goes on.',
  weight: 1,
  alone: 'freeze',
  heavy: true,
  lasts: (scale) => scale.freeze,
  async run(world, dice, scale) {
    const member = rolls(dice).of(world.members.filter(({ alive }) => alive));
    await stop(world, 'freeze', member, scale.freeze, 'at a random moment')();
    return 1;
  },
};

const inTransaction: Fault = {
  name: 'freeze-in-transaction',
  about: 'A process is stopped between an INSERT and its COMMIT, or between a statement and its answer.',
  weight: 2,
  alone: 'freeze',
  heavy: true,
  lasts: (scale) => patienceMs + scale.freeze,
  async run(world, dice, scale) {
    const roll = rolls(dice);
    const [point, moment] = roll.of<() => [Point, Moment]>([
      // The INSERT has its answer, the process never asks for the COMMIT.
      () => [{ when: 'after', what: 'write' }, roll.of(adoption)],
      () => [{ when: 'before', what: 'commit' }, adopted],
      () => [{ when: 'before', what: 'write' }, roll.of(statements)],
      () => [{ when: 'after', what: 'write' }, roll.of(statements)],
    ])();
    return stopAt(world, 'freeze-in-transaction', 'postgres', point, moment, scale, roll);
  },
};

const inPost: Fault = {
  name: 'freeze-in-post',
  about: 'A worker is stopped in the middle of creating a build.',
  weight: 2,
  alone: 'freeze',
  heavy: true,
  lasts: (scale) => patienceMs + scale.freeze,
  async run(world, dice, scale) {
    const roll = rolls(dice);
    const when = roll.of(['before', 'after'] as const);
    return stopAt(world, 'freeze-in-post', 'ci', { when, what: 'call' }, creates, scale, roll);
  },
};

export const freezes: readonly Fault[] = [freeze, inTransaction, inPost];
