import { newTid } from '../forges/tangled/tid.ts';
import { type PipelineId, parsePipelineId } from '../pipeline/ids.ts';
import { rankOf, type Status } from '../pipeline/status.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';

/** A status that a pipeline wants to show for one of its jobs. */
export interface StatusEntry {
  job: string;
  attempt: number;
  epoch: number;
  status: Status;
  error?: string;
  exitCode?: number;
  /** What the pipeline knows about the job, kept for the day that it is opened again. */
  state?: unknown;
  /** The class of the failure for which the job waits for the operator. */
  parked?: string;
  /** How the end of the attempt was first learnt. */
  learnt?: 'webhook' | 'read' | 'self';
}

/** A status as readers of `/events` get it. */
export interface ShownStatus {
  /** Nanoseconds; in commit order, and never the same twice. */
  cursor: bigint;
  rkey: string;
  knot: string;
  pipelineRkey: string;
  job: string;
  status: Status;
  error: string | null;
  exitCode: number | null;
  /** RFC 3339 in UTC, with milliseconds. */
  createdAt: string;
}

export interface Published {
  published: number;
  /** The first time (database clock) at which one of them may be shown; null when all of them were. */
  withheldUntil: Date | null;
}

/**
 * Puts statuses into the outbox, at most once for each (job, attempt, epoch, status, error). One that is below the
 * job's latest (attempt, epoch, rank), or says the same, is left out. `createdAt` is database time and at least a
 * second after the job's last one, since appviews keep whole seconds; until that time the status is withheld.
 *
 * One statement without a transaction around it, and no caller may put one there: the clock row is locked until the
 * commit, and whoever froze in between would stop everybody. Jobs that do not exist are left out.
 */
export async function publishStatuses(sql: Sql, pipeline: PipelineId, entries: StatusEntry[]): Promise<Published> {
  const total: Published = { published: 0, withheldUntil: null };
  for (const wave of waves(entries)) {
    const { published, withheldUntil } = await publishWave(sql, pipeline, wave);
    total.published += published;
    if (withheldUntil && (!total.withheldUntil || withheldUntil < total.withheldUntil)) {
      total.withheldUntil = withheldUntil;
    }
  }
  return total;
}

/** Entries of one job go one after the other, in their order; those of different jobs together. */
function waves(entries: StatusEntry[]): StatusEntry[][] {
  const seen = new Map<string, number>();
  const waves: StatusEntry[][] = [];
  for (const entry of entries) {
    const wave = seen.get(entry.job) ?? 0;
    seen.set(entry.job, wave + 1);
    (waves[wave] ??= []).push(entry);
  }
  return waves;
}

/*
 * An end that was withheld until now, and that nobody has released yet, goes before what comes after it.
 *
 * Other writers may commit between this statement's snapshot and its locks. So what decides is read from the job's
 * row, of which a lock gives the newest version, and the clock is read after the locks are held. A withheld status
 * that the snapshot does not show yet stays due here, and `releaseStatuses` skips it.
 */
async function publishWave(sql: Sql, pipeline: PipelineId, entries: StatusEntry[]): Promise<Published> {
  const { knot, rkey } = partsOf(pipeline);
  const rows = entries.map(({ exitCode, ...entry }, n) => ({
    ...entry,
    n,
    exit_code: exitCode,
    rank: rankOf(entry.status),
    rkey: newTid(),
  }));
  const [answer] = await sql<[Published]>`
    with entry as (
      select * from jsonb_to_recordset(${jsonText(rows)}::text::jsonb) as entry(
        n int, job text, attempt int, epoch int, rank smallint, status text, error text, exit_code int, state jsonb, rkey text,
        parked text, learnt text
      )
    ), locked as materialized (
      select name, attempt, epoch, rank, status, error, shown_at from jobs
      where pipeline = ${pipeline} and name = any(${entries.map((entry) => entry.job)}::text[])
      order by name for update
    ), latest as materialized (
      select *, date_trunc('milliseconds', clock_timestamp()) as now from locked
    ), heard as materialized (
      select entry.*, latest.now,
        (entry.attempt, entry.epoch, entry.status, coalesce(entry.error, ''))
          is distinct from (latest.attempt, latest.epoch, latest.status, coalesce(latest.error, '')) as news,
        case
          when latest.shown_at > latest.now and latest.rank < 2 then latest.shown_at
          else greatest(latest.now, latest.shown_at + interval '1 second')
        end as created_at
      from entry join latest on latest.name = entry.job
      where (entry.attempt, entry.epoch, entry.rank) >= (latest.attempt, latest.epoch, latest.rank)
    ), late as materialized (
      select statuses.id, row_number() over (order by statuses.created_at, statuses.id) as n
      from statuses join heard on heard.job = statuses.job and heard.news
      where statuses.pipeline = ${pipeline} and statuses.state = 'due' and statuses.rank = 2
        and statuses.created_at <= heard.now
    ), ready as (
      select count(*) + (select count(*) from late) as n from heard where news and created_at <= now
    ), tick as (
      update clock
      set last = greatest((extract(epoch from clock_timestamp()) * 1000000000)::bigint, clock.last + 1) + ready.n - 1
      from ready where ready.n > 0
      returning clock.last - ready.n as base
    ), written as (
      insert into statuses
        (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, error, exit_code, rkey, created_at, state, cursor)
      select ${pipeline}, ${knot}, ${rkey}, job, attempt, epoch, rank, status, error, exit_code, heard.rkey, created_at,
        case when created_at <= now then 'sent' else 'due' end,
        case when created_at <= now
          then base + (select count(*) from late) + row_number() over (partition by created_at <= now order by n) end
      from heard left join tick on true
      where news
      on conflict (pipeline, job, attempt, epoch, status, md5(coalesce(error, ''))) where not resend do nothing
      returning job, created_at, cursor
    ), released as (
      update statuses set state = 'sent', cursor = tick.base + late.n from late, tick
      where statuses.id = late.id and statuses.state = 'due'
      returning statuses.cursor
    ), shown as (
      update jobs set attempt = heard.attempt, epoch = heard.epoch, rank = heard.rank, status = heard.status,
        error = heard.error, exit_code = heard.exit_code, state = coalesce(heard.state, jobs.state),
        parked = heard.parked, shown_at = written.created_at
      from heard join written on written.job = heard.job
      where jobs.pipeline = ${pipeline} and jobs.name = heard.job
    ), noted as (
      update jobs set state = coalesce(heard.state, jobs.state), parked = heard.parked from heard
      where jobs.pipeline = ${pipeline} and jobs.name = heard.job and heard.job not in (select job from written)
    ), learnt as (
      update attempts set learnt = heard.learnt, ended_at = clock_timestamp() from heard
      where attempts.pipeline = ${pipeline} and attempts.job = heard.job and attempts.attempt = heard.attempt
        and heard.rank = 2 and heard.learnt is not null and attempts.learnt is null
    ), overtaken as (
      update statuses set state = 'skipped' from written
      where statuses.pipeline = ${pipeline} and statuses.job = written.job
        and statuses.state = 'due' and statuses.rank < 2
    )
    select count(*)::int as published, min(created_at) filter (where cursor is null) as "withheldUntil",
      (select pg_notify('statuses', '') from (
        select cursor from written where cursor is not null union all select cursor from released
      ) sent limit 1)
    from written`;
  return { published: answer.published, withheldUntil: answer.withheldUntil };
}

export interface Released {
  released: number;
  skipped: number;
  /** When the next withheld status is due (database clock); null when there is none. */
  nextAt: Date | null;
  /** The same in ms from now, so that our clock need not agree with the database's. */
  nextInMs: number | null;
}

/** How many withheld statuses one statement releases at most. */
export const releaseBatch = 500;

/**
 * Shows the withheld statuses whose time has come, in the order of their times. One that is no end and was overtaken
 * meanwhile is skipped. Any number of processes may do this at once.
 */
export async function releaseStatuses(sql: Sql): Promise<Released> {
  // Whoever changes a withheld status holds its job's row; `skip locked` leaves it to them, or to the next round.
  const [answer] = await sql<[Released]>`
    with locked as materialized (
      select pipeline, name, attempt, epoch, status, error from jobs
      where (pipeline, name) in (
        select pipeline, job from statuses where state = 'due' and created_at <= statement_timestamp()
        order by created_at limit ${releaseBatch}
      )
      for update skip locked
    ), due as materialized (
      select statuses.id, statuses.created_at,
        statuses.rank = 2
          or (statuses.attempt, statuses.epoch, statuses.status, coalesce(statuses.error, ''))
            is not distinct from (locked.attempt, locked.epoch, locked.status, coalesce(locked.error, '')) as show
      from statuses join locked on locked.pipeline = statuses.pipeline and locked.name = statuses.job
      where statuses.state = 'due' and statuses.created_at <= statement_timestamp()
    ), ready as (
      select count(*) as n from due where show
    ), tick as (
      update clock
      set last = greatest((extract(epoch from clock_timestamp()) * 1000000000)::bigint, clock.last + 1) + ready.n - 1
      from ready where ready.n > 0
      returning clock.last - ready.n as base
    ), numbered as (
      select id, show, case when show then base + row_number() over (partition by show order by created_at, id) end as cursor
      from due left join tick on true
    ), moved as (
      update statuses set state = case when numbered.show then 'sent' else 'skipped' end, cursor = numbered.cursor
      from numbered where statuses.id = numbered.id and statuses.state = 'due'
      returning statuses.cursor
    ), next as (
      select min(created_at) as at from statuses where state = 'due' and id not in (select id from due)
    )
    select next.at as "nextAt",
      -- greatest() alone would make 0 of nothing
      case when next.at is not null then greatest(0, extract(epoch from next.at - clock_timestamp()) * 1000)::float8 end
        as "nextInMs",
      (select count(cursor)::int from moved) as released,
      (select count(*) - count(cursor) from moved)::int as skipped,
      (select pg_notify('statuses', '') from moved where cursor is not null limit 1)
    from next`;
  const { released, skipped, nextAt, nextInMs } = answer;
  return { released, skipped, nextAt, nextInMs };
}

/**
 * Shows the latest status of each job once more: a new rkey, the same `createdAt`. Once per job for ever, because it is
 * there for appviews that had not heard of the pipeline when they got the first one, and lost it.
 * A latest status that is still withheld needs no second showing.
 */
export async function resendStatuses(sql: Sql, pipeline: PipelineId): Promise<{ resent: number }> {
  const { knot, rkey } = partsOf(pipeline);
  const names = await sql<{ name: string }[]>`
    select name from jobs where pipeline = ${pipeline} and status is not null and not exists (
      select from statuses where statuses.pipeline = jobs.pipeline and job = jobs.name and resend
    )`;
  if (names.length === 0) return { resent: 0 };
  const jobs = names.map(({ name }) => ({ name, rkey: newTid() }));
  const [answer] = await sql<[{ resent: number }]>`
    with locked as materialized (
      select name, attempt, epoch, rank, status, error, exit_code, shown_at from jobs
      where pipeline = ${pipeline} and name = any(${jobs.map((job) => job.name)}::text[])
      order by name for update
    ), again as materialized (
      select locked.*, fresh.rkey, row_number() over (order by locked.name) as n
      from locked join jsonb_to_recordset(${jsonText(jobs)}::text::jsonb) as fresh(name text, rkey text) on fresh.name = locked.name
      where shown_at <= clock_timestamp()
    ), ready as (
      select count(*) as n from again
    ), tick as (
      update clock
      set last = greatest((extract(epoch from clock_timestamp()) * 1000000000)::bigint, clock.last + 1) + ready.n - 1
      from ready where ready.n > 0
      returning clock.last - ready.n as base
    ), written as (
      insert into statuses (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, error, exit_code, rkey,
        created_at, state, cursor, resend)
      select ${pipeline}, ${knot}, ${rkey}, name, attempt, epoch, rank, status, error, exit_code, again.rkey,
        shown_at, 'sent', base + n, true
      from again cross join tick
      on conflict (pipeline, job) where resend do nothing
      returning id
    )
    select count(*)::int as resent, (select pg_notify('statuses', '') from written limit 1) from written`;
  return { resent: answer.resent };
}

/**
 * The statuses after a cursor, oldest first. A reader may ask for hundreds of thousands, so there is nothing here that
 * no frame holds, and times come as text: parsing and printing them takes longer than all the rest.
 */
export const statusesAfter = (sql: Sql, cursor: bigint, limit: number): Promise<ShownStatus[]> =>
  sql<ShownStatus[]>`
    select cursor, rkey, knot, pipeline_rkey as "pipelineRkey", job, status, error, exit_code as "exitCode",
      to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as "createdAt"
    from statuses where cursor > ${cursor} order by cursor limit ${limit}`;

/** The cursor of the newest status; 0 when there is none. */
export async function newestCursor(sql: Sql): Promise<bigint> {
  const [row] = await sql<[{ newest: bigint }]>`select coalesce(max(cursor), 0) as newest from statuses`;
  return row.newest;
}

function partsOf(pipeline: PipelineId): { knot: string; rkey: string } {
  const parts = parsePipelineId(pipeline);
  if (!parts) throw new Error(`"${pipeline}" is not a pipeline id; it should read pipeline/<knot>/<rkey>`);
  return parts;
}
