import { parsePipelineId } from '../pipeline/ids.ts';
import type { Sql } from './db.ts';

/** A webhook that came and was kept. */
export interface ListedDelivery {
  id: number;
  provider: string;
  event: string;
  /** The CI's own id of the build that it tells of. */
  build: string;
  /** Its number there, when the build is in our books. */
  number: number | null;
  rebuiltFrom: string | null;
  /** `new`: waits for dispatch; `done`: carried to its pipeline; `foreign`: none of ours. */
  state: 'new' | 'done' | 'foreign';
  /** Why it was foreign, or why it still waits. */
  reason: string | null;
  /** Where it went, or is to go; null when it leads nowhere. */
  pipeline: string | null;
  job: string | null;
  receivedAt: Date;
  settledAt: Date | null;
  tries: number;
  /** From its arrival to the end of its dispatch, ms. */
  tookMs: number | null;
}

export interface DeliveryFilter {
  /** The CI's id of a build, or its number there. */
  build?: string | undefined;
  pipeline?: string | undefined;
  state?: ListedDelivery['state'] | undefined;
  provider?: string | undefined;
  since?: Date | undefined;
  /** Only what came before this one. */
  after?: number | undefined;
}

/** Webhooks that came, newest first. */
export async function listDeliveries(sql: Sql, filter: DeliveryFilter, limit: number): Promise<ListedDelivery[]> {
  const { build, pipeline, state, provider, since, after } = filter;
  const { knot, rkey } = parsePipelineId(pipeline ?? '') ?? { knot: '', rkey: '' };
  const number = build !== undefined && /^\d{1,18}$/.test(build) ? build : null;
  const ofPipeline = sql`id in (
    select deliveries.id from deliveries join builds using (provider, build) where builds.pipeline = ${pipeline ?? ''}
    union all
    select id from deliveries where knot = ${knot} and rkey = ${rkey}
  )`;
  const ofBuild = sql`build in (
    select ${build ?? ''} union select build from builds where number = ${number}::bigint and build is not null
  )`;
  return await sql<ListedDelivery[]>`
    with found as (
      select * from deliveries
      where true
        ${build === undefined ? sql`` : sql`and ${ofBuild}`}
        ${pipeline === undefined ? sql`` : sql`and ${ofPipeline}`}
        ${state === undefined ? sql`` : sql`and state = ${state}`}
        ${provider === undefined ? sql`` : sql`and provider = ${provider}`}
        ${since ? sql`and received_at >= ${since}` : sql``}
        ${after === undefined ? sql`` : sql`and id < ${after}`}
      order by id desc limit ${limit}
    )
    select found.id::float8 as id, found.provider, found.event, found.build, known.number::float8 as number,
      found.rebuilt_from as "rebuiltFrom", found.state, found.reason,
      coalesce(known.pipeline, origin.pipeline, jobs.pipeline) as pipeline,
      coalesce(known.job, origin.job, jobs.name) as job,
      found.received_at as "receivedAt", found.settled_at as "settledAt", found.tries,
      (extract(epoch from found.settled_at - found.received_at) * 1000)::float8 as "tookMs"
    from found
    left join builds known on known.provider = found.provider and known.build = found.build
    left join builds origin on origin.provider = found.provider and origin.build = found.rebuilt_from
    left join pipelines on pipelines.knot = found.knot and pipelines.rkey = found.rkey
    left join jobs on jobs.pipeline = pipelines.id and jobs.name = found.job and found.rebuilt_from is null
    order by found.id desc`;
}
