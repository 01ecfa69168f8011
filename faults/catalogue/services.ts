import type { Fault } from '../contract.ts';
import { rolls } from '../random.ts';
import { signalCalls, startCalls } from './calls.ts';
import { booked, during, pause } from './during.ts';
import { type Moment, patienceMs, waitAt } from './points.ts';

/** Starting takes a while on a machine that has much to do, ms. */
const startMs = 8_000;

/** Temporal's deadline is 10 s (src/ingest/engine.ts): its answer, or the question, comes a little after that. */
const late = (name: string, about: string, moment: Moment): Fault => ({
  name,
  about,
  weight: 1,
  lasts: () => patienceMs + 14_000,
  async run(world, dice) {
    const roll = rolls(dice);
    const when = roll.of(['before', 'after', 'after'] as const);
    const ms = roll.whole(10_500, 14_000);
    const hit = await waitAt(world, 'temporal', when, moment, roll, ({ link, what }) => {
      const from = Date.now();
      const which = when === 'before' ? 'the call' : 'the answer';
      world.disturbed({
        fault: name,
        target: link.name,
        from,
        to: from + ms,
        about: `${what}: ${which} ${ms} ms late`,
      });
      return ms;
    });
    if (hit) await pause(world, ms);
    return hit ? 1 : 0;
  },
});

export const temporalFaults: readonly Fault[] = [
  {
    name: 'temporal-kill',
    about: 'Temporal is killed, and started again at once.',
    weight: 2,
    alone: 'temporal',
    heavy: true,
    lasts: () => startMs,
    async run(world, dice) {
      const ms = rolls(dice).whole(0, 500);
      return booked(
        world,
        { fault: 'temporal-kill', target: 'temporal', about: `killed, started after ${ms} ms` },
        () => world.temporal.restart(ms),
      );
    },
  },
  {
    name: 'temporal-away',
    about: 'Temporal is away for ten minutes (scaled).',
    weight: 1,
    alone: 'temporal',
    heavy: true,
    lasts: (scale) => scale.temporalAway + startMs,
    async run(world, _dice, { temporalAway: ms }) {
      return booked(world, { fault: 'temporal-away', target: 'temporal', about: `away for ${ms} ms` }, () =>
        world.temporal.restart(ms),
      );
    },
  },
  late('temporal-start-late', 'Temporal starts a workflow, and its answer comes too late.', startCalls),
  late('temporal-signal-late', 'Temporal takes a signal, and its answer comes too late.', signalCalls),
];

export const postgresFaults: readonly Fault[] = [
  {
    name: 'postgres-restart',
    about: 'PostgreSQL is stopped and started again.',
    weight: 1,
    alone: 'postgres',
    heavy: true,
    lasts: () => 4_000 + startMs,
    async run(world, dice) {
      const ms = rolls(dice).whole(200, 4_000);
      const about = `stopped, started after ${ms} ms`;
      return booked(world, { fault: 'postgres-restart', target: 'postgres', about }, () =>
        world.postgres.restart('fast', ms),
      );
    },
  },
  {
    name: 'postgres-crash',
    about: 'PostgreSQL is killed, and recovers.',
    weight: 1,
    alone: 'postgres',
    heavy: true,
    lasts: () => 2_000 + startMs,
    async run(world, dice) {
      const ms = rolls(dice).whole(0, 2_000);
      const about = `killed, started after ${ms} ms`;
      return booked(world, { fault: 'postgres-crash', target: 'postgres', about }, () =>
        world.postgres.restart('immediate', ms),
      );
    },
  },
  {
    name: 'postgres-cut',
    about: 'PostgreSQL ends connections in the middle of something.',
    weight: 3,
    alone: 'postgres',
    lasts: () => 1_000,
    async run(world) {
      let ended = 0;
      await booked(world, { fault: 'postgres-cut', target: 'postgres', about: 'connections ended' }, async () => {
        ended = await world.postgres.terminate();
      });
      return ended;
    },
  },
  {
    name: 'postgres-disk-full',
    about: 'Every INSERT fails: the disk is full.',
    weight: 1,
    alone: 'postgres',
    heavy: true,
    lasts: () => 6_000,
    async run(world, dice) {
      const ms = rolls(dice).whole(2_000, 6_000);
      await during(
        world,
        { fault: 'postgres-disk-full', target: 'postgres', about: `for ${ms} ms`, ms },
        () => world.postgres.diskFull(true),
        () => world.postgres.diskFull(false),
      );
      return 1;
    },
  },
];
