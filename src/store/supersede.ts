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
 * Newer is what the knot stamped later: keys of triggers are TIDs, by the knot's own clock. Times that we know less well,
 * and then ids, decide only where a key is none.
 */
const superfluous = (sql: Sql, pipeline: PipelineId) => sql<Superseded[]>`
  with mine as materialized (
    select pipelines.*, coalesce(happened_at, created_at) as at, rkey ~ ${tid} as stamped from pipelines where id = ${pipeline}
  ), pair as (
    select other.id as other, mine.id as mine, mine.branch, own.name as job,
      case when mine.stamped and other.rkey ~ ${tid} then other.rkey collate "C" > mine.rkey collate "C"
        else (coalesce(other.happened_at, other.created_at), other.id) > (mine.at, mine.id) end as other_is_newer,
      other.rkey collate "C" as rkey, coalesce(other.happened_at, other.created_at) as at,
      ${isOpen(sql, sql`own`)} as own_is_open, ${isOpen(sql, sql`their`)} as their_is_open
    from mine
    join jobs own on own.pipeline = mine.id and own.supersede
    join pipelines other on other.did = mine.did and other.repo = mine.repo and other.branch = mine.branch
      and other.knot = mine.knot and other.id <> mine.id
    join jobs their on their.pipeline = other.id and their.name = own.name and their.supersede
  )
  select other as old, job, mine as by, branch from pair where not other_is_newer and their_is_open
  union all (
    select distinct on (job) mine, job, other, branch from pair where other_is_newer and own_is_open
    order by job, rkey desc, at desc
  )`;

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

/** What a TID looks like (atproto: 13 characters of a sortable base 32, the first one small). */
const tid = '^[2-7a-j][2-7a-z]{12}$';
