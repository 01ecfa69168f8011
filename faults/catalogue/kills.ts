import type { Fault, Point, World } from '../contract.ts';
import { type Draws, rolls } from '../random.ts';
import { ciCalls, temporalCalls } from './calls.ts';
import { pause } from './during.ts';
import { type LinkKind, type Moment, patienceMs, waitAt } from './points.ts';
import { adopted, adoption, statements } from './statements.ts';

/** Mostly as quick as a process manager; now and then longer than a lease. */
const restartMs = (roll: Draws): number => (roll.chance(0.12) ? roll.whole(11_000, 14_000) : roll.whole(100, 3_000));

/** Kills a process at a place in a conversation: what it said is lost, or its answer is. */
async function killAt(world: World, fault: string, kind: LinkKind, point: Point, moment: Moment, roll: Draws) {
  const down = restartMs(roll);
  const { when, what } = point;
  const hit = await waitAt(
    world,
    kind,
    when,
    moment,
    roll,
    ({ member, what: text }) => {
      member.kill(down);
      const from = Date.now();
      const about = `${when} ${moment.name} (${text.slice(0, 120)}), gone for ${down} ms`;
      world.disturbed({ fault, target: member.name, from, to: from + down, about });
      return 'drop';
    },
    what,
  );
  if (!hit) return 0;
  await pause(world, down);
  return 1;
}

const kill: Fault = {
  name: 'kill',
  about: 'A process is killed at a random moment, now and then both of a role.',
  weight: 4,
  lasts: () => 3_000,
  async run(world, dice) {
    const roll = rolls(dice);
    const { role } = roll.of(world.members);
    const both = roll.chance(0.2);
    const one = roll.of(world.members.filter((member) => member.role === role));
    const down = restartMs(roll);
    const killed = world.members.filter((member) => member.alive && (member === one || (both && member.role === role)));
    for (const member of killed) {
      member.kill(down);
      const from = Date.now();
      const about = `at a random moment, gone for ${down} ms`;
      world.disturbed({ fault: 'kill', target: member.name, from, to: from + down, about });
    }
    if (killed.length > 0) await pause(world, down);
    return killed.length;
  },
};

const killWhen = (
  name: string,
  about: string,
  weight: number,
  when: Point['when'],
  kind: LinkKind,
  moments: readonly Moment[],
): Fault => ({
  name,
  about,
  weight,
  lasts: () => patienceMs,
  async run(world, dice) {
    const roll = rolls(dice);
    const what = kind === 'postgres' ? 'write' : 'call';
    return killAt(world, name, kind, { when, what }, roll.of(moments), roll);
  },
});

/** The same, and now and then at the commit of a transaction that has several statements. */
const killAtCommit = (name: string, about: string, when: Point['when']): Fault => ({
  ...killWhen(name, about, 5, when, 'postgres', statements),
  async run(world, dice) {
    const roll = rolls(dice);
    if (roll.chance(0.1)) return killAt(world, name, 'postgres', { when, what: 'commit' }, adopted, roll);
    const moment = roll.of([...statements, ...adoption]);
    return killAt(world, name, 'postgres', { when, what: 'write' }, moment, roll);
  },
});

export const kills: readonly Fault[] = [
  kill,
  killAtCommit('kill-before-commit', 'A process is killed when it has sent a statement that never arrives.', 'before'),
  killAtCommit(
    'kill-after-commit',
    'A process is killed when its statement was carried out, before it knows.',
    'after',
  ),
  killWhen(
    'kill-before-call',
    'A worker is killed as it calls the CI, which hears nothing.',
    2,
    'before',
    'ci',
    ciCalls,
  ),
  killWhen(
    'kill-after-call',
    'A worker is killed when the CI has done what it asked, before it knows.',
    3,
    'after',
    'ci',
    ciCalls,
  ),
  killWhen(
    'kill-before-signal',
    'A process is killed as it calls Temporal, which hears nothing.',
    2,
    'before',
    'temporal',
    temporalCalls,
  ),
  killWhen(
    'kill-after-signal',
    'A process is killed when Temporal has done what it asked, before it knows.',
    3,
    'after',
    'temporal',
    temporalCalls,
  ),
];
