import type { Sql } from './db.ts';

/** How much waits, how old the oldest of it is (seconds). */
export interface Waiting {
  kind: string;
  waiting: number;
  oldest: number;
}

/** A share of something that took so many seconds. */
export interface Quantiles {
  kind: 'create' | 'first_status' | 'webhook_to_status';
  count: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
}

/** What only the database knows, as numbers. */
export interface Measures {
  /** Due now: triggers, deliveries, commands. Held triggers and withheld statuses wait on purpose. */
  inbox: Waiting[];
  /** Jobs that wait for the operator, by the class of the failure. */
  parked: Waiting[];
  /** Jobs that have not ended, by status; a job without one is `none`. */
  open: { status: string; jobs: number; pipelines: number; oldest: number }[];
  /** Age of the cursor, and what its reader said last. */
  sources: { source: string; lag: number | null; waiting: number | null }[];
  /** Of the last hour: how the ends of attempts were first learnt, by the CI's organisation. */
  learnt: { org: string; how: string; ends: number }[];
  rates: { bucket: string; allowed: number | null; remaining: number | null; resetsIn: number | null }[];
  latencies: Quantiles[];
  /** Shares of dispatch that nobody has a lease of. */
  unowned: number;
}

/** The same for what grows slowly; asked more seldom. */
export interface Sizes {
  database: number;
  logs: number;
  quarantined: number;
  refused: number;
}

/** Sources, and organisations, that are told apart. */
const most = 50;

/** Latencies are of pipelines of the last quarter of an hour, and of so many of them at most. */
const sample = 500;

const age = (sql: Sql, column: string) =>
  sql`coalesce(extract(epoch from clock_timestamp() - min(${sql(column)})), 0)::float8`;

/**
 * Everything that is measured, one statement after the other, so that a scrape takes one connection. Each reads by an
 * index what is open or recent; none reads what is long over.
 */
export async function measure(sql: Sql): Promise<Measures> {
  return {
    inbox: await inbox(sql),
    parked: await sql<Waiting[]>`
      select parked as kind, count(*)::int as waiting, ${age(sql, 'shown_at')} as oldest
      from jobs where parked is not null group by parked order by waiting desc limit ${most}`,
    open: await sql<Measures['open']>`
      select coalesce(jobs.status, 'none') as status, count(*)::int as jobs, count(distinct pipeline)::int as pipelines,
        ${age(sql, 'pipelines.created_at')} as oldest
      from jobs join pipelines on pipelines.id = jobs.pipeline
      where jobs.status is null or jobs.status in ('pending', 'running') group by 1`,
    sources: await sql<Measures['sources']>`
      select source,
        greatest(0, extract(epoch from clock_timestamp()) - cursors.position / 1000000000.0)::float8 as lag,
        case when sources.state <> 'live' then extract(epoch from clock_timestamp() - sources.since)::float8
          when sources.state is not null then 0 end as waiting
      from cursors full join sources using (source)
      where cursors.source is not null or sources.updated_at > clock_timestamp() - interval '1 day'
      order by position nulls first limit ${most}`,
    learnt: await sql<Measures['learnt']>`
      with ends as materialized (
        select attempts.learnt, builds.provider, builds.data ->> 'org' as org
        from attempts join builds on builds.pipeline = attempts.pipeline and builds.job = attempts.job
          and builds.attempt = attempts.attempt and builds.build = attempts.build
        where ended_at > clock_timestamp() - interval '1 hour'
      )
      select coalesce(org, provider) as org, learnt as how, count(*)::int as ends from ends
      where learnt is not null group by 1, 2 order by ends desc limit ${most}`,
    rates: await sql<Measures['rates']>`
      select bucket, allowed, remaining, extract(epoch from resets_at - clock_timestamp())::float8 as "resetsIn"
      from budgets where told_at > clock_timestamp() - interval '1 hour' order by told_at desc limit ${most}`,
    latencies: await latencies(sql),
    unowned: (await unowned(sql)).unowned,
  };
}

const inbox = (sql: Sql): Promise<Waiting[]> => sql<Waiting[]>`
  select 'triggers' as kind, count(*)::int as waiting, ${age(sql, 'received_at')} as oldest
  from triggers where state in ('new', 'held') and state = 'new'
  union all
  select 'held', count(*)::int, ${age(sql, 'received_at')} from triggers where state in ('new', 'held') and state = 'held'
  union all
  select 'deliveries', count(*)::int, ${age(sql, 'received_at')} from deliveries where state = 'new'
  union all
  select 'commands', count(*)::int, ${age(sql, 'received_at')} from commands where state = 'new'
  union all
  select 'withheld', count(*)::int, greatest(0, ${age(sql, 'created_at')}) from statuses where state = 'due'`;

const latencies = (sql: Sql): Promise<Quantiles[]> => sql<Quantiles[]>`
  with recent as materialized (
    select pipelines.id, received_at from pipelines
    join triggers on triggers.knot = pipelines.knot and triggers.rkey = pipelines.rkey
      and triggers.nsid = 'sh.tangled.pipeline' and triggers.hold_until is null
    where pipelines.created_at > clock_timestamp() - interval '15 minutes'
    order by pipelines.created_at desc limit ${sample}
  ), ended as materialized (
    select build, ended_at from attempts
    where ended_at > clock_timestamp() - interval '15 minutes' and learnt = 'webhook'
    order by ended_at desc limit ${sample}
  ), took as (
    select 'create' as kind, extract(epoch from bound_at - received_at) as s
    from recent join attempts on attempts.pipeline = recent.id and attempt = 1 and bound_at is not null
    union all
    select 'first_status', extract(epoch from
      (select min(created_at) from statuses where statuses.pipeline = recent.id and not resend) - received_at) from recent
    union all
    select 'webhook_to_status', extract(epoch from ended_at
      - (select max(received_at) from deliveries where deliveries.build = ended.build and received_at <= ended_at)) from ended
  )
  select kind, count(s)::int as count,
    percentile_cont(0.5) within group (order by s) as p50,
    percentile_cont(0.95) within group (order by s) as p95,
    percentile_cont(0.99) within group (order by s) as p99
  from took where s is not null group by kind`;

async function unowned(sql: Sql): Promise<{ unowned: number }> {
  const [row] = await sql<[{ unowned: number }]>`
    select count(*)::int as unowned from leases where source like 'dispatch/%' and expires_at < clock_timestamp()`;
  return row;
}

export async function measureSizes(sql: Sql): Promise<Sizes> {
  const [row] = await sql<[Sizes]>`
    select pg_database_size(current_database())::float8 as database,
      (select coalesce(sum(stored), 0) from logs where removed_at is null)::float8 as logs,
      (select count(*)::int from quarantine) as quarantined,
      (select count(*)::int from refused_frames) as refused`;
  return row;
}
