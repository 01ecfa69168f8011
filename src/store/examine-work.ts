import type { Sql } from './db.ts';

/** What waits, what is stuck, and what takes room. Nothing here writes. */

export interface Waiting {
  /** `triggers`, `deliveries`, `commands`, or `statuses` that should be out. */
  kind: string;
  count: number;
  /** How long the oldest has waited beyond its time, ms; 0 when there is none. */
  oldestMs: number;
}

/** What came in and is not carried on yet, and what should have gone out. What is held on purpose does not count. */
export async function waitingWork(sql: Sql): Promise<Waiting[]> {
  return await sql<Waiting[]>`
    select kind, count(at)::int as count,
      coalesce(greatest(0, extract(epoch from clock_timestamp() - min(at)))::float8 * 1000, 0) as "oldestMs"
    from (values (1, 'triggers'), (2, 'deliveries'), (3, 'commands'), (4, 'statuses')) as kinds (n, kind)
    left join (
      select 'triggers' as kind, case state when 'held' then hold_until else received_at end as at
      from triggers where state = 'new' or (state = 'held' and hold_until < clock_timestamp())
      union all select 'deliveries', received_at from deliveries where state = 'new'
      union all select 'commands', received_at from commands where state = 'new' and kind <> 'watch'
      union all select 'statuses', created_at from statuses where state = 'due' and created_at < clock_timestamp()
    ) waiting using (kind)
    group by n, kind order by n`;
}

export interface ParkedCause {
  cause: string;
  jobs: number;
  /** One of them, to look at. */
  pipeline: string;
}

/** What waits for the operator, by cause. */
export async function parkedJobs(sql: Sql): Promise<ParkedCause[]> {
  return await sql<ParkedCause[]>`
    select parked as cause, count(*)::int as jobs, min(pipeline) as pipeline
    from jobs where parked is not null and status in ('pending', 'running') group by parked order by jobs desc, cause`;
}

export interface QuarantineFacts {
  total: number;
  /** Of the last seven days. */
  recent: number;
  source: string | null;
  reason: string | null;
}

/** What PostgreSQL refused, with the latest of it. */
export async function quarantineFacts(sql: Sql): Promise<QuarantineFacts> {
  const [row] = await sql<[QuarantineFacts]>`
    select count(*)::int as total,
      count(*) filter (where received_at > clock_timestamp() - interval '7 days')::int as recent,
      (array_agg(source order by id desc))[1] as source, (array_agg(reason order by id desc))[1] as reason
    from quarantine`;
  return row;
}

export interface StorageFacts {
  logs: number;
  /** Compressed. */
  logBytes: number;
  /** How long ago the oldest log was begun that is still kept, ms; null when there is none. */
  oldestLogMs: number | null;
  /** How long ago the oldest webhook was settled that still has its contents. */
  oldestDeliveryMs: number | null;
}

export async function storageFacts(sql: Sql): Promise<StorageFacts> {
  const age = (of: string) => sql`extract(epoch from clock_timestamp() - min(${sql(of)}))::float8 * 1000`;
  const [row] = await sql<[StorageFacts]>`
    select logs.count as logs, logs.bytes as "logBytes", logs.oldest as "oldestLogMs",
      deliveries.oldest as "oldestDeliveryMs"
    from
      (select count(*)::int as count, coalesce(sum(stored), 0)::float8 as bytes, ${age('created_at')} as oldest
        from logs where removed_at is null) logs,
      (select ${age('settled_at')} as oldest from deliveries where seen is not null) deliveries`;
  return row;
}
