import type { PipelineId } from '../pipeline/ids.ts';
import { runKey } from '../pipeline/ids.ts';
import type { Status } from '../pipeline/status.ts';
import type { BuildSpec, Json } from '../providers/provider.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';

export interface NewPipeline {
  id: PipelineId;
  knot: string;
  rkey: string;
  /** `repoDid`: its own DID, from knots that send it. */
  repo: { did: string; name: string; repoDid?: string | undefined };
  kind: string;
  commit: string;
  branch: string;
  /** `branch` names a tag. */
  tag?: boolean | undefined;
  /** Of one with jobs that a newer push cancels: a TID that says when it happened. */
  stamp?: string | undefined;
  title: string;
  /** When the trigger happened, by the knot's clock brought to ours. */
  happenedAt?: Date | null;
  jobs: NewJob[];
}

export interface NewJob {
  name: string;
  provider: string | null;
  spec: BuildSpec | null;
  refusal: string | null;
  /** A newer push to the same branch cancels it. */
  supersede?: boolean | undefined;
}

/**
 * Writes down a planned pipeline, its jobs and their first attempts. Done twice it changes nothing. The disk is waited
 * for: the workflow that is started next needs these rows, and a crash of the database must not take them from it.
 */
export async function insertPipeline(sql: Sql, pipeline: NewPipeline): Promise<void> {
  const { id, knot, rkey, repo, kind, commit, branch, title } = pipeline;
  const jobs = pipeline.jobs.map((job, position) => ({ ...job, position, run_key: runKey(id, job.name, 1) }));
  await sql`
    with pipeline as (
      insert into pipelines (id, knot, rkey, did, repo, kind, commit, branch, title, happened_at, repo_did, tag, stamp)
      values (${id}, ${knot}, ${rkey}, ${repo.did}, ${repo.name}, ${kind}, ${commit}, ${branch}, ${title},
        ${pipeline.happenedAt ?? null}, ${repo.repoDid ?? null}, ${pipeline.tag ?? false}, ${pipeline.stamp ?? null})
      on conflict do nothing
    ), planned as (
      select * from jsonb_to_recordset(${jsonText(jobs)}::text::jsonb)
        as job(name text, provider text, spec jsonb, refusal text, position int, run_key text, supersede boolean)
    ), job as (
      insert into jobs (pipeline, name, position, provider, spec, refusal, supersede)
      select ${id}, name, position, provider, spec, refusal, coalesce(supersede, false) from planned
      on conflict do nothing
    )
    insert into attempts (pipeline, job, attempt, run_key)
    select ${id}, name, 1, run_key from planned where refusal is null
    on conflict do nothing`;
}

export interface JobRow {
  name: string;
  provider: string | null;
  refusal: string | null;
  attempt: number;
  epoch: number;
  status: Status | null;
  error: string | null;
  exitCode: number | null;
  /** What the last run of the workflow left. */
  state: Json;
  /** The database was restored, and what happened to the job since is still to be found. */
  lost: boolean;
  build: string | null;
  url: string | null;
}

export interface PipelineRow {
  id: PipelineId;
  knot: string;
  rkey: string;
  did: string;
  repo: string;
  kind: string;
  commit: string;
  branch: string;
  title: string;
  createdAt: Date;
  jobs: JobRow[];
}

export async function loadPipeline(sql: Sql, id: string): Promise<PipelineRow | undefined> {
  const [row] = await sql<Omit<PipelineRow, 'jobs'>[]>`
    select id, knot, rkey, did, repo, kind, commit, branch, title, created_at as "createdAt"
    from pipelines where id = ${id}`;
  if (!row) return undefined;
  const jobs = await sql<JobRow[]>`
    select name, provider, refusal, jobs.attempt, epoch, status, error, exit_code as "exitCode", state,
      exists (select from restored where restored.pipeline = jobs.pipeline and restore is distinct from jobs.restored) as lost,
      attempts.build, (select url from builds where builds.build = attempts.build and builds.provider = jobs.provider limit 1)
    from jobs left join attempts on attempts.pipeline = jobs.pipeline and job = name and attempts.attempt = jobs.attempt
    where jobs.pipeline = ${id} order by position`;
  return { ...row, jobs };
}

/** What the last status of an attempt says is wrong. */
export async function errorOf(
  sql: Sql,
  { pipeline, job, attempt }: { pipeline: string; job: string; attempt: number },
): Promise<string | undefined> {
  const [row] = await sql<{ error: string | null }[]>`
    select error from jobs where pipeline = ${pipeline} and name = ${job} and attempt = ${attempt}`;
  return row?.error ?? undefined;
}

/** The run of a pipeline that was given out last; 0 when it was never opened again. */
export async function presentEpoch(sql: Sql, pipeline: string): Promise<number> {
  const [row] = await sql<[{ epoch: number }]>`
    select coalesce(max(epoch), 0) as epoch from reopenings where pipeline = ${pipeline}`;
  return row.epoch;
}

/**
 * The epoch in which an ended pipeline is to be opened again. One that was given out and that no run has claimed yet
 * is given out again, so that a start which was lost in a crash is simply made once more.
 */
export async function nextEpoch(sql: Sql, pipeline: string, because: string): Promise<number> {
  const [row] = await sql<[{ epoch: number }]>`
    with waiting as (
      select epoch from reopenings where pipeline = ${pipeline} and token is null order by epoch limit 1
    ), opened as (
      insert into reopenings (pipeline, epoch, because)
      select ${pipeline}, 1 + greatest(
        (select coalesce(max(epoch), 0) from reopenings where pipeline = ${pipeline}),
        (select coalesce(max(epoch), 0) from jobs where pipeline = ${pipeline})
      ), ${because}
      where not exists (select from waiting)
      returning epoch
    )
    select epoch from waiting union all select epoch from opened`;
  return row.epoch;
}

/**
 * Gives an epoch to the run that asks first; asked again with the same token, it is still that run's.
 * False when it belongs to another run.
 */
export async function claimEpoch(sql: Sql, pipeline: string, epoch: number, token: string): Promise<boolean> {
  const rows = await sql`
    update reopenings set token = ${token}
    where pipeline = ${pipeline} and epoch = ${epoch} and coalesce(token, ${token}) = ${token} returning 1`;
  return rows.length > 0;
}
