import { relaxed, type Sql } from './db.ts';

/*
 * What leaves after its time. Keys stay, so that nothing counts twice. Each function is one short statement that takes a
 * batch and says how many rows it found, so that a caller goes on until they are fewer than it asked for. Any number of
 * processes may run them at once, and each may die between any two.
 */

export interface Batch {
  /** How many days things are kept. */
  days: number;
  /** Rows of one statement at most. */
  limit: number;
}

export interface Swept {
  /** Rows that were looked at: as many as the limit means that there may be more. */
  found: number;
  /** Rows that went, or whose contents did. */
  removed: number;
}

const swept = (rows: readonly unknown[]): Swept => ({ found: rows.length, removed: rows.length });

/** What webhooks told. Their keys and ways stay: one that is sent again is still known. */
export async function emptyDeliveries(sql: Sql, { days, limit }: Batch): Promise<Swept> {
  return swept(
    await sql`
    update deliveries set ref = null, seen = null
    from ${relaxed(sql)} where id in (
      select id from deliveries
      where seen is not null and state <> 'new' and settled_at < clock_timestamp() - ${days} * interval '1 day'
      order by settled_at limit ${limit}
    ) and state <> 'new'
    returning 1`,
  );
}

/**
 * Statuses that were overtaken so long ago that no reader may ask for them. It walks once over all that were shown, and
 * when the time of one is over, those below it in its job go. So each stays at least as long as readers may ask for what
 * followed it. What stays for ever: each job's latest, those that stand as high as it, and what was sent once more. A
 * repeat of one that went is below the job's latest, and is not published for that.
 */
export async function removeOvertaken(sql: Sql, { days, limit }: Batch): Promise<Swept> {
  const end = sql`clock_timestamp() - ${days} * interval '1 day'`;
  const [row] = await sql<[Swept]>`
    with passed as materialized (
      select cursor, pipeline, job from statuses
      where cursor > coalesce((select position from housekeeping where kind = 'statuses'), 0)
        and cursor < (extract(epoch from ${end}) * 1000000000)::bigint
      order by cursor limit ${limit}
    ), gone as (
      delete from statuses using jobs
      where (jobs.pipeline, jobs.name) in (select pipeline, job from passed)
        and statuses.pipeline = jobs.pipeline and statuses.job = jobs.name
        and not statuses.resend and statuses.state <> 'due' and statuses.created_at < ${end}
        and (statuses.attempt, statuses.epoch, statuses.rank) < (jobs.attempt, jobs.epoch, jobs.rank)
      returning 1
    ), moved as (
      insert into housekeeping (kind, position)
      select 'statuses', max(cursor) from passed having count(*) > 0
      on conflict (kind) do update set position = greatest(housekeeping.position, excluded.position)
    )
    select (select count(*) from passed)::int as found, (select count(*) from gone)::int as removed`;
  return row;
}

/** What PostgreSQL refused. It guards against nothing: what is refused once more is kept once more. */
export async function removeQuarantined(sql: Sql, { days, limit }: Batch): Promise<Swept> {
  return swept(
    await sql`
    delete from quarantine where id in (
      select id from quarantine where received_at < clock_timestamp() - ${days} * interval '1 day'
      order by received_at limit ${limit}
    ) returning 1`,
  );
}

/** Frames that were stepped over. There are a hundred of each source at most. */
export async function removeRefused(sql: Sql, { days, limit }: Batch): Promise<Swept> {
  return swept(
    await sql`
    delete from refused_frames where id in (
      select id from refused_frames where received_at < clock_timestamp() - ${days} * interval '1 day' limit ${limit}
    ) returning 1`,
  );
}

/** Tokens that were used, some time after they have expired: until then they must not count twice. */
export async function removeTokens(sql: Sql, { limit }: Batch): Promise<Swept> {
  return swept(
    await sql`
    delete from service_tokens where (issuer, id) in (
      select issuer, id from service_tokens where expires_at < clock_timestamp() - interval '1 hour'
      order by expires_at limit ${limit}
    ) returning 1`,
  );
}

/** How streams did that nobody has read for so long. */
export async function removeSources(sql: Sql, { days, limit }: Batch): Promise<Swept> {
  return swept(
    await sql`
    delete from sources where source in (
      select source from sources where updated_at < clock_timestamp() - ${days} * interval '1 day' limit ${limit}
    ) returning 1`,
  );
}

/** What tables take on the disk with their indexes, bytes. Costs no look at their rows. */
export async function spaceOf(sql: Sql, tables: readonly string[]): Promise<number> {
  const [row] = await sql<[{ bytes: number }]>`
    select sum(pg_total_relation_size(to_regclass(name)))::float8 as bytes from unnest(${[...tables]}::text[]) as name`;
  return row.bytes;
}
