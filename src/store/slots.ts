import type { Limiter, Priority } from '../providers/provider.ts';
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
    const window = `${windowMs} milliseconds`;
    await sql`insert into budgets (bucket) values (${bucket}) on conflict do nothing`;
    return sql.begin(async (tx) => {
      const [budget] = await tx<{ blocked: Date }[]>`
        select greatest(blocked_until, clock_timestamp()) as blocked from budgets where bucket = ${bucket} for update`;
      const [slot] = await tx<{ at: Date }[]>`
        with stale as (
          delete from slots where bucket = ${bucket} and at < clock_timestamp() - ${window}::interval
        ), free as (
          select greatest(
            ${budget?.blocked ?? new Date()}::timestamptz,
            (select at + ${window}::interval from slots
              where bucket = ${bucket} and priority <= ${rank} and key <> ${key} order by at desc offset ${most - 1} limit 1),
            (select at + ${window}::interval from slots
              where bucket = ${bucket} and priority = ${rank} and key <> ${key} order by at desc offset ${own - 1} limit 1)
          ) as at
        )
        insert into slots (bucket, key, priority, at) select ${bucket}, ${key}, ${rank}, at from free
        on conflict (bucket, key) do update set at = case
          when slots.at > clock_timestamp() - ${window}::interval then greatest(slots.at, ${budget?.blocked ?? new Date()}::timestamptz)
          else excluded.at end
        returning at`;
      return slot?.at ?? new Date();
    });
  },

  async block(bucket, until) {
    await sql`
      insert into budgets (bucket, blocked_until) values (${bucket}, ${until})
      on conflict (bucket) do update set blocked_until = greatest(budgets.blocked_until, excluded.blocked_until)`;
  },
});
