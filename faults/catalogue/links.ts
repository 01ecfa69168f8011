import type { Fault, Link, World } from '../contract.ts';
import { type Draws, rolls } from '../random.ts';
import { during } from './during.ts';

const linksOf = ({ members, links }: World): Link[] =>
  [
    ...members.flatMap((member) => Object.values<Link | undefined>(member.links)),
    links.webhooks,
    links.public,
    links.pds,
    ...links.knots,
  ].filter((link) => link !== undefined);

/** One over which something goes just now, if there is any. */
function anyLink(world: World, roll: Draws): Link {
  const all = linksOf(world);
  const busy = all.filter(({ open }) => open > 0);
  return roll.of(busy.length > 0 ? busy : all);
}

/** A state that a link is in for a while. Faults of links are alone, because mending one ends all that is on it. */
const condition = (
  fault: Pick<Fault, 'name' | 'about' | 'weight' | 'heavy'>,
  [from, to]: [number, number],
  on: (link: Link, roll: Draws) => string,
): Fault => ({
  ...fault,
  alone: 'link',
  lasts: () => to,
  async run(world, dice) {
    const roll = rolls(dice);
    const link = anyLink(world, roll);
    const ms = roll.whole(from, to);
    const stretch = { fault: fault.name, target: link.name, about: `for ${ms} ms`, ms };
    await during(
      world,
      stretch,
      () => {
        stretch.about = `${on(link, roll)}, for ${ms} ms`;
      },
      () => link.mend(),
    );
    return 1;
  },
});

export const linkFaults: readonly Fault[] = [
  condition(
    { name: 'link-cut', about: 'A link is cut, and sometimes takes no new connection for a while.', weight: 3 },
    [100, 4_000],
    (link, roll) => {
      const refuses = roll.chance(0.5);
      if (refuses) link.refuse();
      return `${link.cut()} connections cut${refuses ? ', new ones refused' : ''}`;
    },
  ),
  condition(
    { name: 'link-delay', about: 'A link is late in both directions.', weight: 2 },
    [3_000, 8_000],
    (link, roll) => {
      const ms = roll.whole(50, 1_500);
      link.delay(ms);
      return `${ms} ms late`;
    },
  ),
  condition(
    { name: 'link-half-open', about: 'A link stays open and passes nothing.', weight: 1, heavy: true },
    [15_000, 40_000],
    (link) => {
      const { open } = link;
      link.halfOpen();
      return `${open} connections half open`;
    },
  ),
  condition(
    { name: 'link-slow', about: 'A link passes a few kilobytes a second.', weight: 2 },
    [3_000, 8_000],
    (link, roll) => {
      const bytes = roll.whole(2_000, 50_000);
      link.slow(bytes);
      return `${bytes} bytes a second`;
    },
  ),
];
