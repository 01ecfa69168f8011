import type { PipelineId } from '../pipeline/ids.ts';
import type { Status } from '../pipeline/status.ts';
import type { Sql } from './db.ts';

/** What a pipeline is as a whole. `parked`: a job of it waits for the operator; `empty`: it has no jobs. */
export type PipelineState = 'parked' | 'running' | 'pending' | 'failed' | 'timeout' | 'cancelled' | 'success' | 'empty';

export interface ListedJob {
  name: string;
  attempt: number;
  /** Null before anything was published of it. */
  status: Status | null;
  error: string | null;
  /** The class of the failure for which it waits for the operator. */
  parked: string | null;
}

export interface ListedPipeline {
  id: PipelineId;
  knot: string;
  rkey: string;
  did: string;
  repo: string;
  kind: string;
  branch: string;
  commit: string;
  title: string;
  createdAt: Date;
  /** The same in microseconds since 1970: a place in the list. */
  place: string;
  state: PipelineState;
  jobs: ListedJob[];
}

export interface PipelineFilter {
  ids?: readonly string[] | undefined;
  did?: string | undefined;
  repo?: string | undefined;
  branch?: string | undefined;
  /** `open`: what has not ended. */
  state?: PipelineState | 'open' | undefined;
  /** The class of the failure for which a job of it waits. */
  cause?: string | undefined;
  since?: Date | undefined;
  before?: Date | undefined;
  /** Only what comes after this one in the list. */
  after?: { place: string; id: string } | undefined;
}

/** Pipelines as they are now, newest first. */
export async function listPipelines(sql: Sql, filter: PipelineFilter, limit: number): Promise<ListedPipeline[]> {
  const { ids, did, repo, branch, state, cause, since, before, after } = filter;
  const open = state === 'open' || state === 'parked' || state === 'running' || state === 'pending';
  const red = state === 'failed' || state === 'timeout' || state === 'cancelled';
  const one = state !== undefined && state !== 'open';
  return await sql<ListedPipeline[]>`
    select id, knot, rkey, did, repo, kind, branch, commit, title, created_at as "createdAt",
      (extract(epoch from created_at) * 1000000)::bigint::text as place, whole.state, whole.jobs
    from pipelines, lateral (
      select case
          when bool_or(parked is not null) then 'parked'
          when bool_or(status = 'running') then 'running'
          when bool_or(coalesce(status, 'pending') = 'pending') then
            case when bool_or(status in ('success', 'failed', 'timeout', 'cancelled')) then 'running' else 'pending' end
          when bool_or(status = 'failed') then 'failed'
          when bool_or(status = 'timeout') then 'timeout'
          when bool_or(status = 'cancelled') then 'cancelled'
          when count(*) > 0 then 'success'
          else 'empty'
        end as state,
        coalesce(jsonb_agg(jsonb_build_object(
          'name', name, 'attempt', attempt, 'status', status, 'error', error, 'parked', parked
        ) order by position), '[]') as jobs
      from jobs where pipeline = pipelines.id
    ) whole
    where true
      ${ids ? sql`and id = any(${[...ids]}::text[])` : sql``}
      ${did === undefined ? sql`` : sql`and did = ${did}`}
      ${repo === undefined ? sql`` : sql`and repo = ${repo}`}
      ${branch === undefined ? sql`` : sql`and branch = ${branch}`}
      ${open ? sql`and id in (select pipeline from jobs where status is null or status in ('pending', 'running'))` : sql``}
      ${red ? sql`and id in (select pipeline from jobs where status = ${state})` : sql``}
      ${one ? sql`and whole.state = ${state}` : sql``}
      ${cause === undefined ? sql`` : sql`and id in (select pipeline from jobs where parked = ${cause})`}
      ${since ? sql`and created_at >= ${since}` : sql``}
      ${before ? sql`and created_at < ${before}` : sql``}
      ${after ? sql`and (created_at, id) < ('epoch'::timestamptz + ${after.place}::text::bigint * interval '1 microsecond', ${after.id})` : sql``}
    order by created_at desc, id desc
    limit ${limit}`;
}
