import type { Fault, World } from '../contract.ts';
import { type Draws, rolls } from '../random.ts';
import { during, pause } from './during.ts';

const anyKnot = ({ links }: World, roll: Draws): number => roll.whole(0, links.knots.length - 1);
const nameOf = (knot: number): string => `knot-${knot + 1}`;

/** A way that a knot has for a while. Its links are cut, since most ways show when somebody dials. */
const holding = (name: string, about: string, fault: 'ignore-cursor' | 'out-of-order' | 'drop-each'): Fault => ({
  name,
  about,
  weight: 1,
  alone: 'knot',
  lasts: () => 9_000,
  async run(world, dice) {
    const roll = rolls(dice);
    const knot = anyKnot(world, roll);
    const ms = roll.whole(3_000, 9_000);
    let dials = 0;
    await during(
      world,
      { fault: name, target: nameOf(knot), about: `for ${ms} ms`, ms },
      async () => {
        await world.tangled.knotFault(knot, fault);
        for (let left = roll.whole(1, 3); left > 0 && !world.signal.aborted; left -= 1) {
          world.links.knots[knot]?.cut();
          dials += 1;
          await pause(world, 700);
        }
      },
      () => world.tangled.knotFault(knot, 'off'),
    );
    return dials;
  },
});

export const streamFaults: readonly Fault[] = [
  {
    name: 'knot-replay',
    about: 'A knot sends its whole history again.',
    weight: 1,
    alone: 'knot',
    lasts: () => 1_000,
    async run(world, dice) {
      const knot = anyKnot(world, rolls(dice));
      const from = Date.now();
      await world.tangled.knotFault(knot, 'replay');
      const about = 'its whole history again';
      world.disturbed({ fault: 'knot-replay', target: nameOf(knot), from, to: Date.now(), about });
      return 1;
    },
  },
  holding('knot-ignores-cursor', 'A knot begins at its beginning, whatever it is asked for.', 'ignore-cursor'),
  holding('knot-out-of-order', 'A knot sends events against the order of their times.', 'out-of-order'),
  holding('knot-drops', 'A knot breaks the link after each frame.', 'drop-each'),
  {
    name: 'jetstream-replay',
    about: 'A jetstream sends again what it has sent, or ignores the cursor.',
    weight: 1,
    alone: 'jetstream',
    lasts: () => 3_000,
    async run(world, dice) {
      const roll = rolls(dice);
      const fault = roll.of(['replay', 'ignore-cursor'] as const);
      const ms = roll.whole(1_000, 3_000);
      await during(
        world,
        { fault: 'jetstream-replay', target: 'jetstream', about: `${fault}, for ${ms} ms`, ms },
        () => world.tangled.jetstreamFault(fault),
        () => world.tangled.jetstreamFault('off'),
      );
      return 1;
    },
  },
  {
    name: 'jetstream-drops',
    about: 'A jetstream breaks its links, again and again.',
    weight: 1,
    alone: 'jetstream',
    lasts: () => 4_000,
    async run(world, dice) {
      const roll = rolls(dice);
      const from = Date.now();
      let drops = 0;
      try {
        for (let left = roll.whole(2, 5); left > 0 && !world.signal.aborted; left -= 1) {
          await world.tangled.jetstreamFault('drop');
          drops += 1;
          await pause(world, roll.whole(200, 800));
        }
      } finally {
        const about = `${drops} times`;
        world.disturbed({ fault: 'jetstream-drops', target: 'jetstream', from, to: Date.now(), about });
      }
      return drops;
    },
  },
];
