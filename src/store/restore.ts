import type { PipelineId } from '../pipeline/ids.ts';
import { shareOfPipelineId } from '../pipeline/share.ts';
import type { Ended } from '../pipeline/traced.ts';
import { type AttemptKey, forbidPosts, giveAttempt } from './builds.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';

export interface Restore {
  epoch: number;
  beganAt: Date;
  /** How new what was restored is. */
  contentAt: Date;
}

/** How the closed workflow of a pipeline left each job. */
export type Ends = Record<string, Ended>;

/** The newest time that anything in this database was written at, as far as it tells; undefined when it is empty. */
export async function contentTime(sql: Sql): Promise<Date | undefined> {
  const [row] = await sql<[{ at: Date | null }]>`
    select least(clock_timestamp(), greatest(
      (select max(updated_at) from cursors),
      (select max(expires_at) - interval '10 seconds' from leases where expires_at < 'infinity'),
      (select max(received_at) from triggers),
      (select max(received_at) from deliveries),
      (select max(created_at) from statuses)
    )) as at`;
  return row.at ?? undefined;
}

export interface InUse {
  /** Names of roles that are connected to this database. */
  roles: string[];
  /** Leases that have not run out yet. */
  leases: number;
}

/** Who still works on this database. */
export async function inUse(sql: Sql): Promise<InUse> {
  const [row] = await sql<[InUse]>`
    select
      array(
        select distinct application_name from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and application_name like 'whorl-%' order by 1
      ) as roles,
      (select count(*)::int from leases where owner is not null and expires_at > clock_timestamp()) as leases`;
  return row;
}

/** The restore that has not come to its end. Until it has, no role may start. */
export async function unfinishedRestore(sql: Sql): Promise<Restore | undefined> {
  const [row] = await sql<Restore[]>`
    select epoch, begun_at as "beganAt", content_at as "contentAt" from restores where finished_at is null`;
  return row;
}

/** Throws when a restore was begun and not finished: then Temporal and this database do not agree yet. */
export async function checkRestored(sql: Sql): Promise<void> {
  const open = await unfinishedRestore(sql);
  if (!open) return;
  throw new Error(
    `this database is being restored since ${open.beganAt.toISOString()}: run \`whorl restore\` (again) to its end`,
  );
}

/** Begins a restore, or goes on with the one that was begun. */
export async function beginRestore(sql: Sql, contentAt: Date): Promise<Restore> {
  await sql`
    insert into restores (content_at) select ${contentAt}::timestamptz
    where not exists (select from restores where finished_at is null) on conflict do nothing`;
  const open = await unfinishedRestore(sql);
  if (!open) throw new Error('the restore was finished by somebody else meanwhile');
  return open;
}

export async function finishRestore(sql: Sql, { epoch }: Restore): Promise<void> {
  await sql`update restores set finished_at = clock_timestamp() where epoch = ${epoch} and finished_at is null`;
}

/**
 * Cuts what could mistake the old for the new. Done twice it does no harm.
 *
 * - Whoever was frozen since before the disaster holds an epoch of a lease that would be given out again.
 * - Readers have seen later cursors than the last one here.
 * - What was withheld and is no end was overtaken long ago. An end is shown once more, under the same key.
 * - What people asked for may have been carried out; done twice it would be wrong.
 * - Records may have been missed.
 *
 * @returns how many commands were refused
 */
export async function cutOff(sql: Sql, { epoch }: Restore): Promise<number> {
  const [row] = await sql<[{ refused: number }]>`
    with one as (
      update leases set epoch = leases.epoch + 1000000, owner = null, expires_at = '-infinity' returning 1
    ), two as (
      update clock set last = greatest(last, (extract(epoch from clock_timestamp()) * 1000000000)::bigint)
    ), three as (
      update statuses set state = 'skipped' where state = 'due' and rank < 2
    ), four as (
      update commands set state = 'refused', settled_at = clock_timestamp(),
        result = 'The database was restored, and this may have been done before: look at it, and ask again if need be.'
      where state = 'new' and kind <> 'reopen'
        and received_at < (select begun_at from restores where epoch = ${epoch})
      returning kind
    ), five as (
      update accounts set due_at = clock_timestamp() where due_at > clock_timestamp() and due_at < 'infinity'
    )
    select (select count(*)::int from four where kind <> 'watch') as refused`;
  return row.refused;
}

/**
 * What people asked for, and were answered, may have been in a workflow alone, which is gone: the attempt of a rerun is given
 * out here, and the attempt that a cancel was for is to stop. Done twice it does no harm.
 *
 * What is asked of a pipeline is done one after the other, so a cancel that was done after a rerun was for the attempt of
 * that rerun. When it was asked for says nothing: it may have waited for its pipeline to begin.
 */
export async function keepAnswered(sql: Sql): Promise<void> {
  // The answer names each attempt: "build.yml: attempt 2, test.yml: attempt 3".
  const given = await sql<(AttemptKey & { command: string })[]>`
    select jobs.pipeline, jobs.name as job, commands.id as command, answer.attempt::int
    from commands join jobs on jobs.pipeline = commands.pipeline,
      substring(split_part(', ' || commands.result, ', ' || jobs.name || ': attempt ', 2) from '^([0-9]{1,6})(?:,|$)')
        as answer (attempt)
    where commands.kind = 'rerun' and commands.state = 'done' and answer.attempt is not null and not exists (
      select from attempts where attempts.pipeline = jobs.pipeline and attempts.job = jobs.name and command = commands.id
    )
    order by commands.settled_at`;
  for (const { command, ...key } of given) await giveAttempt(sql, key, command);

  const cancelled = await sql<AttemptKey[]>`
    with cancelled as (
      select jobs.pipeline, jobs.name as job, jobs.attempt as shown, jobs.rank, max(commands.settled_at) as at
      from commands join jobs on jobs.pipeline = commands.pipeline and jobs.name = coalesce(commands.job, jobs.name)
      where commands.kind = 'cancel' and commands.state = 'done' group by jobs.pipeline, jobs.name
    )
    select of.pipeline, of.job, of.attempt
    from cancelled, lateral (
      select * from attempts where attempts.pipeline = cancelled.pipeline and attempts.job = cancelled.job
      order by attempt desc limit 1
    ) of
    where (rank < 2 or shown < attempt) and cancel_asked_at is null
      and (attempt = 1 or at >= coalesce((select settled_at from commands where id = of.command), created_at))`;
  for (const key of cancelled) await forbidPosts(sql, key);
}

/** Notes pipelines of which Temporal or the CI may know more than this database. */
export async function noteRestored(
  sql: Sql,
  { epoch }: Restore,
  pipelines: readonly { pipeline: string; ends?: Ends | undefined }[],
): Promise<void> {
  await sql`
    insert into restored (pipeline, restore, ends)
    select pipeline, ${epoch}, ends
    from jsonb_to_recordset(${jsonText(pipelines)}::text::jsonb) as given (pipeline text, ends jsonb)
    on conflict (pipeline) do update set restore = excluded.restore,
      ends = case when restored.restore = excluded.restore then coalesce(excluded.ends, restored.ends) else excluded.ends end`;
}

/** Notes the pipelines that are not at an end here, and those that began at most so long before the backup, ms. */
export async function noteUnfinished(sql: Sql, { epoch, contentAt }: Restore, lookBackMs: number): Promise<void> {
  await sql`
    insert into restored (pipeline, restore)
    select id, ${epoch} from pipelines
    where created_at >= ${contentAt}::timestamptz - ${lookBackMs} * interval '1 ms'
      or exists (select from jobs where pipeline = id and (status is null or status in ('pending', 'running')))
      or exists (
        select from jobs join attempts on attempts.pipeline = jobs.pipeline and attempts.job = jobs.name
        where jobs.pipeline = id and attempts.attempt > jobs.attempt
      )
    on conflict (pipeline) do update set restore = excluded.restore,
      ends = case when restored.restore = excluded.restore then restored.ends end`;
}

export interface Noted {
  /** Pipelines that are here, and are opened again. */
  known: string[];
  /** Pipelines that come again with their trigger, from their knot. */
  missing: number;
}

export async function noted(sql: Sql, { epoch }: Restore): Promise<Noted> {
  const rows = await sql<{ pipeline: string; known: boolean }[]>`
    select pipeline, pipelines.id is not null as known from restored left join pipelines on id = pipeline
    where restore = ${epoch} order by pipeline`;
  const known = rows.flatMap((row) => (row.known ? [row.pipeline] : []));
  return { known, missing: rows.length - known.length };
}

/** Asks dispatch to open these again, once for each restore. */
export async function askToReopen(sql: Sql, { epoch }: Restore, pipelines: readonly string[]): Promise<void> {
  const rows = pipelines.map((pipeline) => ({ pipeline, share: shareOfPipelineId(pipeline) }));
  await sql`
    insert into commands (id, share, pipeline, kind, by)
    select 'restore/' || ${epoch}::int || '/' || pipeline, share, pipeline, 'reopen', 'whorl restore'
    from jsonb_to_recordset(${jsonText(rows)}::text::jsonb) as given (pipeline text, share smallint)
    on conflict do nothing`;
}

/** A trigger that came while it was away, or a job of one: what is needed to find its builds. */
export interface LostJob {
  job: string;
  /** None of its builds is older. */
  since: Date;
  /** The restore after which it was not searched for yet; null when there was none. */
  restore: number | null;
  end: Ended | null;
}

/** The jobs of a pipeline whose builds are to be looked for: those not looked for since the last restore. */
export const lostJobs = (sql: Sql, pipeline: PipelineId): Promise<LostJob[]> =>
  sql<LostJob[]>`
    select jobs.name as job, restored.restore, restored.ends -> jobs.name as end,
      least(pipelines.created_at, pipelines.happened_at, restores.content_at) as since
    from restored
    join restores on restores.epoch = restored.restore
    join pipelines on pipelines.id = restored.pipeline
    join jobs on jobs.pipeline = pipelines.id
    where restored.pipeline = ${pipeline} and jobs.restored is distinct from restored.restore
    order by jobs.position`;

/** The same for one job, whether it was looked for or not. */
export async function lostJob(sql: Sql, pipeline: PipelineId, job: string): Promise<LostJob> {
  const [row] = await sql<LostJob[]>`
    select ${job}::text as job, restored.restore, restored.ends -> ${job}::text as end,
      least(pipelines.created_at, pipelines.happened_at, restores.content_at) as since
    from pipelines left join restored on restored.pipeline = pipelines.id
    left join restores on restores.epoch = restored.restore
    where pipelines.id = ${pipeline}`;
  if (!row) throw new Error(`There is no pipeline ${pipeline} in the database.`);
  return row;
}

/**
 * The logs that are here of a restored pipeline: for each job the attempts, with the epoch up to which they are whole (-1: not
 * at all). Undefined when the pipeline was never restored: then its workflow knows what it has brought.
 */
export async function restoredLogs(
  sql: Sql,
  pipeline: PipelineId,
): Promise<Map<string, Record<number, number>> | undefined> {
  const rows = await sql<{ job: string; attempt: number | null; complete: number | null }[]>`
    select name as job, logs.attempt, complete from restored join jobs on jobs.pipeline = restored.pipeline
    left join logs on logs.pipeline = jobs.pipeline and logs.job = name
    where restored.pipeline = ${pipeline}`;
  if (rows.length === 0) return undefined;
  const found = new Map<string, Record<number, number>>();
  for (const { job, attempt, complete } of rows) {
    const of = found.get(job) ?? {};
    if (attempt !== null) of[attempt] = complete ?? -1;
    found.set(job, of);
  }
  return found;
}
