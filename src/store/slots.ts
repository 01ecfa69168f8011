import type { Limiter, Priority } from '../providers/provider.ts';
import { steadyNow } from '../steady.ts';
import { relaxed, type Sql } from './db.ts';

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

  async told(bucket, { limit, remaining, resetAt }) {
    const lap = resetAt === null ? null : resetAt.getTime() - Date.now();
    await sql`
      update budgets set allowed = ${limit}, remaining = ${remaining}, told_at = clock_timestamp(),
        resets_at = clock_timestamp() + ${lap}::float8 * interval '1 millisecond'
      from ${relaxed(sql)} where bucket = ${bucket}`;
  },
});

export interface Budget {
  /** Calls in a window and what is left of them, as the CI last said; null when it never did. */
  allowed: number | null;
  remaining: number | null;
  /** How long ago it said so, and in how many ms the window ends; negative: it has ended. */
  toldAgoMs: number | null;
  resetsInMs: number | null;
  /** For how long nothing may be asked, because the CI refused; 0 or less: it may. */
  blockedMs: number;
}

/** What is known of the rate limit of a token; undefined when it was never used. */
export async function readBudget(sql: Sql, bucket: string): Promise<Budget | undefined> {
  const [row] = await sql<Budget[]>`
    select allowed, remaining,
      extract(epoch from clock_timestamp() - told_at)::float8 * 1000 as "toldAgoMs",
      extract(epoch from resets_at - clock_timestamp())::float8 * 1000 as "resetsInMs",
      greatest(0, extract(epoch from greatest(blocked_until, '1970-01-01') - clock_timestamp()))::float8 * 1000 as "blockedMs"
    from budgets where bucket = ${bucket}`;
  return row;
}
