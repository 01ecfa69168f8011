import type { Sql } from './db.ts';

/** Processes that share sources count each other by rows of this kind, `ingest/<owner>`. */
const memberPrefix = 'ingest/';

export type Held = { source: string; epoch: bigint };

export interface Renewed {
  /** What this process still holds; whatever another one has taken over is missing. */
  held: Held[];
  /** How many processes are alive, this one included. */
  members: number;
  /** The place of this process among them, from 0: another one for each. */
  rank: number;
  /** When the first of the others is taken for dead, unless it renews before, ms from now. Null without others. */
  othersUntilMs: number | null;
}

/**
 * Prolongs what this process holds, and its row as a member, and counts the processes that are alive, in one statement.
 * One that is `leaving` is no member any more, so that the others count on having its share.
 */
export async function renewLeases(
  sql: Sql,
  owner: string,
  held: readonly Held[],
  ttlMs: number,
  { leaving = false } = {},
): Promise<Renewed> {
  const rows = await sql<(Omit<Renewed, 'held'> & { source: string | null; epoch: bigint | null })[]>`
    with member as (
      insert into leases (source, owner, epoch, expires_at)
      select ${memberPrefix + owner}, ${owner}, 1, clock_timestamp() + ${ttlMs} * interval '1 ms'
      where not ${leaving}::boolean
      on conflict (source) do update set owner = excluded.owner, expires_at = excluded.expires_at
    ), renewed as (
      update leases l set expires_at = clock_timestamp() + ${ttlMs} * interval '1 ms'
      from unnest(${held.map((lease) => lease.source)}::text[], ${held.map((lease) => `${lease.epoch}`)}::text[])
        as mine (source, epoch)
      where l.source = mine.source and l.epoch = mine.epoch::bigint and l.owner = ${owner}
      returning l.source, l.epoch
    ), others as (
      select count(*)::int as count, (count(*) filter (where source < ${memberPrefix + owner}))::int as rank,
        (extract(epoch from min(expires_at) - clock_timestamp()) * 1000)::double precision as until_ms
      from leases
      where source like ${`${memberPrefix}%`} and source <> ${memberPrefix + owner} and expires_at > clock_timestamp()
    )
    select others.count + 1 as members, others.rank, others.until_ms as "othersUntilMs", renewed.source, renewed.epoch from others left join renewed on true`;
  return {
    held: rows.flatMap(({ source, epoch }) => (source === null || epoch === null ? [] : [{ source, epoch }])),
    members: rows[0]?.members ?? 1,
    rank: rows[0]?.rank ?? 0,
    othersUntilMs: rows[0]?.othersUntilMs ?? null,
  };
}

/** Makes sources known, so that they can be taken. Their rows stay for good: an epoch must never come again. */
export async function addSources(sql: Sql, sources: readonly string[]): Promise<void> {
  await sql`insert into leases (source) select unnest(${[...sources]}::text[]) on conflict (source) do nothing`;
}

/** Takes over at most `limit` of these sources, of those that nobody holds (any more), with the next epoch. */
export async function takeLeases(
  sql: Sql,
  owner: string,
  sources: readonly string[],
  limit: number,
  ttlMs: number,
): Promise<Held[]> {
  return await sql<Held[]>`
    with free as materialized (
      select source from leases
      where source = any(${[...sources]}::text[]) and expires_at <= clock_timestamp()
      -- processes that start together should not all reach for the same ones
      order by random()
      limit ${limit}
      for update skip locked
    )
    update leases l
    set owner = ${owner}, epoch = l.epoch + 1, expires_at = clock_timestamp() + ${ttlMs} * interval '1 ms'
    from free where l.source = free.source
    returning l.source, l.epoch`;
}

/** Gives sources back, so that another process can have them now, and tells the others. */
export async function releaseLeases(sql: Sql, owner: string, held: readonly Held[]): Promise<void> {
  await sql`
    with released as (
      update leases l set owner = null, expires_at = '-infinity'
      from unnest(${held.map((lease) => lease.source)}::text[], ${held.map((lease) => `${lease.epoch}`)}::text[])
        as mine (source, epoch)
      where l.source = mine.source and l.epoch = mine.epoch::bigint and l.owner = ${owner}
      returning 1
    )
    select pg_notify('leases', '') where exists (select from released)`;
}

/** Tells the other processes that there is one more, so that they share anew at once. */
export async function announceMember(sql: Sql): Promise<void> {
  await sql`select pg_notify('leases', '')`;
}

/** Takes back the member row of this process, and those of processes that died a day ago or earlier. */
export async function leaveMembers(sql: Sql, owner: string): Promise<void> {
  await sql`
    with gone as (
      delete from leases
      where source = ${memberPrefix + owner}
        or (source like ${`${memberPrefix}%`} and expires_at < clock_timestamp() - interval '1 day')
      returning 1
    )
    select pg_notify('leases', '') where exists (select from gone)`;
}
