import type { PipelineId } from '../pipeline/ids.ts';
import type { Sql } from './db.ts';

/** A pipeline in which jobs wait for the operator, for one cause. */
export interface ParkedPipeline {
  pipeline: PipelineId;
  did: string;
  repo: string;
  title: string;
  /** The jobs that this cause parked, in their order. */
  jobs: string[];
  /** Others of its jobs are parked for another cause. */
  others: boolean;
  /** Since when the first of them waits. */
  since: Date;
  /** What the first of them waits for, as Tangled shows it. */
  why: string;
}

/** What one cause keeps waiting, the longest first. */
export const parkedFor = (sql: Sql, cause: string): Promise<ParkedPipeline[]> =>
  sql<ParkedPipeline[]>`
    select pipelines.id as pipeline, did, repo, title, jobs, others, since, why
    from (
      select pipeline, array_agg(name order by position) filter (where parked = ${cause}) as jobs,
        bool_or(parked <> ${cause}) as others, min(shown_at) filter (where parked = ${cause}) as since,
        coalesce((array_agg(error order by shown_at, position) filter (where parked = ${cause}))[1], '') as why
      from jobs
      where parked is not null and pipeline in (select pipeline from jobs where parked = ${cause})
      group by pipeline
    ) waiting join pipelines on pipelines.id = waiting.pipeline
    order by since, pipelines.id`;

/** How many pipelines each cause keeps waiting now. */
export const parkedCauses = (sql: Sql): Promise<{ cause: string; pipelines: number }[]> =>
  sql<{ cause: string; pipelines: number }[]>`
    select parked as cause, count(distinct pipeline)::int as pipelines from jobs where parked is not null
    group by parked order by pipelines desc, parked`;
