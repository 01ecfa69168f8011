import type { CiFault, Fault, Scale, World } from '../contract.ts';
import { type Draws, rolls } from '../random.ts';
import { during, pause } from './during.ts';

/** Puts faults on at the CI for a while. How often the first of them acted. */
async function whileOn(world: World, fault: string, ms: number, about: string, ...faults: CiFault[]): Promise<number> {
  const numbers: number[] = [];
  let acted = 0;
  await during(
    world,
    { fault, target: 'ci', about, ms },
    async () => {
      for (const each of faults) numbers.push(await world.ci.on(each));
    },
    async () => {
      // The first is the last to go off, so that its count is complete.
      for (let number = numbers.at(-1); number !== undefined; number = numbers.at(-1)) {
        acted = await world.ci.off(number);
        numbers.pop();
      }
    },
  );
  return acted;
}

interface Condition extends Pick<Fault, 'name' | 'about' | 'weight' | 'alone'> {
  /** For how long, ms. */
  ms: [from: number, to: number];
  faults(roll: Draws, scale: Scale): CiFault[];
}

/** A state that the CI is in for a while, and for as long again if nobody came to meet it. */
const condition = ({ ms: [from, to], faults, ...fault }: Condition): Fault => ({
  ...fault,
  lasts: () => to,
  async run(world, dice, scale) {
    const roll = rolls(dice);
    const ms = roll.whole(from, to);
    const on = faults(roll, scale);
    const about = `for ${ms} ms: ${JSON.stringify(on)}`;
    for (let rounds = 2; rounds > 0 && !world.signal.aborted; rounds -= 1) {
      const acted = await whileOn(world, fault.name, ms, about, ...on);
      if (acted > 0) return acted;
    }
    return 0;
  },
});

/** A part of all that it could meet, never none and seldom all. */
const some = (roll: Draws, least = 0.2, most = 0.9): number => least + roll.real() * (most - least);

const conditions: readonly Condition[] = [
  {
    name: 'webhooks-lost',
    about: 'Some webhooks never arrive.',
    weight: 3,
    ms: [3_000, 8_000],
    faults: (roll) => [{ kind: 'webhooks-lost', share: some(roll) }],
  },
  {
    name: 'webhooks-all-lost',
    about: 'No webhook arrives for a while.',
    weight: 1,
    ms: [8_000, 15_000],
    faults: () => [{ kind: 'webhooks-lost', share: 1 }],
  },
  {
    name: 'webhooks-doubled',
    about: 'Webhooks come twice.',
    weight: 2,
    ms: [3_000, 8_000],
    faults: (roll) => [{ kind: 'webhooks-doubled', share: some(roll, 0.5, 1) }],
  },
  {
    name: 'webhooks-reordered',
    about: 'Webhooks overtake each other.',
    weight: 2,
    ms: [3_000, 8_000],
    faults: (roll) => [{ kind: 'webhooks-reordered', share: some(roll, 0.3, 0.7) }],
  },
  {
    name: 'webhooks-early',
    about: 'The first webhooks of a build come before the answer that made it.',
    weight: 2,
    ms: [3_000, 8_000],
    faults: (roll) => [{ kind: 'webhooks-early', share: some(roll) }],
  },
  {
    name: 'webhooks-late',
    about: 'Webhooks are late by minutes (scaled).',
    weight: 2,
    ms: [3_000, 8_000],
    faults: (roll, { webhookLate: ms }) => [{ kind: 'webhooks-late', ms, share: some(roll) }],
  },
  {
    name: 'webhooks-old-secret',
    about: 'Webhooks are signed with the secret that was replaced.',
    weight: 1,
    ms: [3_000, 8_000],
    faults: () => [{ kind: 'webhooks-old-secret' }],
  },
  {
    name: 'create-answer-lost',
    about: 'A build is created, and the answer is lost; so with cancels and retries.',
    weight: 3,
    ms: [2_000, 6_000],
    faults: (roll) => [{ kind: 'answer-lost', share: some(roll) }],
  },
  {
    name: 'create-500-accepted',
    about: 'The CI answers 500 and has done it all the same.',
    weight: 3,
    ms: [2_000, 6_000],
    faults: (roll) => [{ kind: 'accepted-500', share: some(roll) }],
  },
  {
    name: 'create-slow',
    about: 'The CI takes long to answer a create, sometimes longer than anybody waits.',
    weight: 2,
    ms: [3_000, 8_000],
    faults: (roll) => [{ kind: 'slow-create', ms: roll.whole(3_000, 15_000), share: some(roll) }],
  },
  {
    name: 'ci-429-storm',
    about: 'The CI says that the rate limit is used up.',
    weight: 2,
    alone: 'ci-storm',
    ms: [3_000, 8_000],
    faults: (roll) => [{ kind: 'storm-429', resetS: roll.whole(1, 5), share: some(roll, 0.4, 1) }],
  },
  {
    name: 'ci-5xx-storm',
    about: 'The CI answers 500, 502 and 503.',
    weight: 2,
    alone: 'ci-storm',
    ms: [3_000, 8_000],
    faults: (roll) => [{ kind: 'storm-5xx', share: some(roll, 0.4, 1) }],
  },
  {
    name: 'ci-index-lag',
    about: "The CI's search does not know what was created just now, while answers are lost.",
    weight: 2,
    ms: [6_000, 12_000],
    faults: (roll, { indexLag: ms }) => [
      { kind: 'index-lag', ms },
      { kind: 'answer-lost', share: some(roll, 0.2, 0.6) },
    ],
  },
];

const forged: Fault = {
  name: 'webhooks-forged',
  about: "Webhooks that are not the CI's: unsigned, stale, of another's build, too large, garbage.",
  weight: 2,
  lasts: () => 6_000,
  async run(world, dice) {
    const roll = rolls(dice);
    let answered = 0;
    for (let left = roll.whole(3, 8); left > 0 && !world.signal.aborted; left -= 1) {
      const from = Date.now();
      const { what, status } = await world.ci.forge(roll.real());
      const about = `${what}, answered ${status || 'not at all'}`;
      world.disturbed({ fault: 'webhooks-forged', target: 'webhooks', from, to: Date.now(), about });
      if (status > 0) answered += 1;
      await pause(world, roll.whole(50, 400));
    }
    return answered;
  },
};

export const ciFaults: readonly Fault[] = [...conditions.map(condition), forged];
