import type { Fault } from '../contract.ts';
import { rolls } from '../random.ts';
import { booked, pause } from './during.ts';

const roles = ['ingest', 'worker', 'server'] as const;

/** What operators do to processes while everything goes on: they are told to stop, there are more of them, and others. */
export const fleetFaults: readonly Fault[] = [
  {
    name: 'drain',
    about: 'A process is told to stop, ends in peace, and comes back.',
    weight: 3,
    lasts: () => 6_000,
    async run(world, dice) {
      const roll = rolls(dice);
      const member = roll.of(world.members);
      const ms = roll.whole(100, 3_000);
      return booked(
        world,
        { fault: 'drain', target: member.name, about: `told to stop, started again after ${ms} ms` },
        async () => {
          const ended = await member.drain(ms);
          if (ended) await pause(world, ms);
          return ended;
        },
      );
    },
  },
  {
    name: 'replica',
    about: 'A third process of a role joins, works for a while, and is told to stop, or killed.',
    weight: 2,
    alone: 'replica',
    lasts: () => 20_000,
    async run(world, dice) {
      const roll = rolls(dice);
      const role = roll.of(roles);
      const how = roll.of(['drain', 'kill'] as const);
      const ms = roll.whole(4_000, 12_000);
      const last = how === 'kill' ? 'is killed' : 'is told to stop';
      const joined = await world.join(role);
      return booked(
        world,
        { fault: 'replica', target: joined.name, about: `joined, and ${last} after ${ms} ms` },
        async () => {
          await pause(world, ms);
          await joined.leave(how);
        },
      );
    },
  },
  {
    name: 'upgrade',
    about: 'The schema is migrated, and all processes are replaced one by one, by another release if the run has one.',
    weight: 1,
    alone: 'fleet',
    lasts: () => 29_000,
    async run(world, dice) {
      const roll = rolls(dice);
      const [present, other = present] = world.releases;
      // Forth, or back.
      const to = roll.chance(0.5) ? present : other;
      let replaced = 0;
      await world.migrate();
      for (const member of world.members.filter(({ alive }) => alive)) {
        if (world.signal.aborted) break;
        replaced += await booked(world, { fault: 'upgrade', target: member.name, about: 'replaced' }, () =>
          member.replace(to),
        );
      }
      return replaced;
    },
  },
  {
    name: 'restore',
    about: 'The database is lost: it is put back from a backup, and `whorl restore` makes that safe.',
    weight: 1,
    alone: 'postgres',
    heavy: true,
    // Everything that is open is started again after it, which is much in a long run.
    lasts: ({ temporalAway }) => Math.max(18_000, temporalAway / 3),
    async run(world, dice) {
      const roll = rolls(dice);
      const ms = roll.whole(3_000, 8_000);
      const dies = roll.chance(0.5);
      const about = `a backup of ${ms} ms before is put back${dies ? '; the restore dies, and is run again' : ''}`;
      return booked(world, { fault: 'restore', target: 'postgres', about }, async () => {
        const restore = await world.backUp();
        await pause(world, ms);
        if (world.signal.aborted) return false;
        await restore(dies);
        return true;
      });
    },
  },
];
