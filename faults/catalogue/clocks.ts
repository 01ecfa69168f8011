import type { Fault } from '../contract.ts';
import { type Draws, rolls } from '../random.ts';
import { during } from './during.ts';

const minute = 60_000;

/** A process has a wrong clock for a while. One at a time, because making one right ends all that was done to it. */
const wrong = (name: string, about: string, weight: number, offset: (roll: Draws) => number): Fault => ({
  name,
  about,
  weight,
  alone: 'clock',
  lasts: () => 14_000,
  async run(world, dice) {
    const roll = rolls(dice);
    const member = roll.of(world.members);
    const by = offset(roll);
    const ms = roll.whole(6_000, 14_000);
    const words = `${Math.abs(by) / minute} minutes ${by > 0 ? 'ahead' : 'back'} for ${ms} ms`;
    await during(
      world,
      { fault: name, target: member.name, about: words, ms },
      () => member.clock(by),
      () => member.clock(0),
    );
    return 1;
  },
});

export const clockFaults: readonly Fault[] = [
  wrong('clock-hour', "A process's clock is an hour ahead, or behind.", 2, (roll) => roll.of([60, -60]) * minute),
  wrong('clock-back', "A process's clock jumps back by minutes.", 1, (roll) => -roll.whole(2, 15) * minute),
];
