import type { Limiter, Priority } from '../providers/provider.ts';
import { steadyNow } from '../steady.ts';
import type { Sql } from './db.ts';

const ranks: Record<Priority, number> = { cancel: 0, create: 1, read: 2, log: 3 };

/**
 * What share of the budget a kind of call may fill, counting itself and what is more important. So many creates leave
 * room for a cancel, and reads never crowd out creates.
 */
const shares: Record<Priority, number> = { cancel: 1, create: 0.9, read: 0.9, log: 0.8 };

/** Reads alone take no more than this. */
const readShare = 0.3;

/**
 * A rate budget shared by all processes: at most `limit` calls in any `windowMs`. A call is given the first free time
 * and keeps it until it is a window old, so that a retry of the same call does not queue again.
 */
export const limiter = (sql: Sql, { limit, windowMs }: { limit: number; windowMs: number }): Limiter => ({
  async reserve(bucket, key, priority) {
    const rank = ranks[priority];
    const most = Math.max(1, Math.floor(limit * shares[priority]));
    const own = priority === 'read' || priority === 'log' ? Math.max(1, Math.floor(limit * readShare)) : most;
    // A wait, not a time: our clock need not agree with the database's.
    const [slot] = await sql<[{ waitMs: number }]>`
      select extract(epoch from reserve_slot(
        ${bucket}, ${key}, ${rank}::smallint, ${most}, ${own}, ${windowMs} * interval '1 millisecond'
      ) - clock_timestamp())::float8 * 1000 as "waitMs"`;
    return new Date(steadyNow() + slot.waitMs);
  },

  async block(bucket, until) {
    const lap = sql`clock_timestamp() + ${until.getTime() - steadyNow()} * interval '1 millisecond'`;
    await sql`
      insert into budgets (bucket, blocked_until) values (${bucket}, ${lap})
      on conflict (bucket) do update set blocked_until = greatest(budgets.blocked_until, excluded.blocked_until)`;
  },
});
