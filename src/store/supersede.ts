import { createHash } from 'node:crypto';
import { shareOfPipelineId } from '../pipeline/share.ts';
import type { PipelineId } from '../pipeline/ids.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';

/** A job that a newer push to its branch has made superfluous. */
export interface Superseded {
  /** The older pipeline, whose job it is. */
  old: PipelineId;
  job: string;
  /** The newest pipeline of the branch that has a job of this name. */
  by: PipelineId;
  branch: string;
}

/**
 * Cancels what this pipeline makes superfluous, and of its own jobs those that a newer pipeline does: only between pushes
 * to the same branch of the same repository, and jobs of one name whose files both ask for it. Each attempt is cancelled
 * once, whoever finds it first, and however often this is done. Call it when the pipeline is written down: of two that
 * come at the same time, the later one sees both.
 */
export async function supersede(sql: Sql, pipeline: PipelineId): Promise<Superseded[]> {
  const found = await superfluous(sql, pipeline);
  return found.length === 0 ? [] : await cancelEach(sql, found);
}

/**
 * What is open of older pushes, and of this one if there is a newer one. Newer is what has the later stamp. However many
 * pushes there were: the open jobs are looked at, of which there are few, and one end of an index.
 */
const superfluous = (sql: Sql, pipeline: PipelineId) => sql<Superseded[]>`
  with mine as materialized (
    select pipelines.id, knot, did, repo, branch, stamp, name as job, ${isOpen(sql, sql`jobs`)} as open
    from pipelines join jobs on jobs.pipeline = pipelines.id and jobs.supersede
    where pipelines.id = ${pipeline} and stamp is not null
  ), open as materialized (
    select pipeline, name from jobs where supersede and ${isOpen(sql, sql`jobs`)}
  )
  select other.id as old, job, mine.id as by, mine.branch
  from open join pipelines other on other.id = open.pipeline
  join mine on other.did = mine.did and other.repo = mine.repo and other.branch = mine.branch and other.knot = mine.knot
    and (other.stamp, other.id) < (mine.stamp, mine.id) and open.name = mine.job
  union all
  select mine.id, job, newest.id, mine.branch
  from mine cross join lateral (
    select other.id from pipelines other
    where other.did = mine.did and other.repo = mine.repo and other.branch = mine.branch and other.knot = mine.knot
      and other.stamp is not null and (other.stamp, other.id) > (mine.stamp, mine.id)
      and exists (select from jobs where jobs.pipeline = other.id and jobs.name = mine.job and jobs.supersede)
    order by other.stamp desc, other.id desc limit 1
  ) newest
  where mine.open`;

/** Jobs are locked in the order in which statuses lock them, and judged as they are then. */
async function cancelEach(sql: Sql, found: Superseded[]): Promise<Superseded[]> {
  const rows = found.map(({ old, job, by, branch }) => ({
    old,
    job,
    by,
    branch,
    id: commandId(`${by}/${old}/${job}`),
    share: shareOfPipelineId(old),
    reason: `Superseded by ${by}, a newer push to ${branch}.`,
  }));
  return await sql<Superseded[]>`
    with asked as (
      select * from jsonb_to_recordset(${jsonText(rows)}::text::jsonb)
        as asked(old text, job text, by text, branch text, id text, share smallint, reason text)
    ), locked as materialized (
      select jobs.pipeline, jobs.name from jobs join asked on asked.old = jobs.pipeline and asked.job = jobs.name
      where ${isOpen(sql, sql`jobs`)} order by jobs.pipeline, jobs.name for update of jobs
    ), latest as (
      select locked.*, (
        select max(attempt) from attempts where attempts.pipeline = locked.pipeline and job = locked.name
      ) as attempt from locked
    ), marked as (
      update jobs set superseded = latest.attempt from latest
      where jobs.pipeline = latest.pipeline and jobs.name = latest.name and jobs.superseded is distinct from latest.attempt
      returning jobs.pipeline, jobs.name
    ), cancelled as (
      insert into commands (id, share, pipeline, kind, job, by, reason)
      select asked.id, asked.share, asked.old, 'cancel', asked.job, 'a newer push', asked.reason
      from asked join marked on marked.pipeline = asked.old and marked.name = asked.job
      on conflict do nothing returning id, share
    ), told as (
      select pg_notify('inbox', share || ' commands') from (select distinct share from cancelled) shares
    )
    select asked.old, asked.job, asked.by, asked.branch from asked join cancelled on cancelled.id = asked.id
    where (select count(*) from told) >= 0`;
}

/** The same each time. It is the id of a Temporal update too, which may not be long. */
const commandId = (what: string): string =>
  `supersede/${what.length <= 400 ? what : createHash('sha256').update(what).digest('hex')}`;

const isOpen = (sql: Sql, job: ReturnType<Sql>) =>
  sql`(${job}.status is null or ${job}.status in ('pending', 'running'))`;
