import { type PipelineId, parsePipelineId } from '../pipeline/ids.ts';
import { shareOfPipelineId } from '../pipeline/share.ts';
import type {
  AttemptFact,
  Books,
  CommandFact,
  DeliveryFact,
  JobFact,
  PipelineFact,
  PostFact,
  StatusFact,
  TriggerFact,
} from '../pipeline/why-facts.ts';
import type { Sql } from './db.ts';

/** Quarantine and refused frames are looked through for a key in their bytes, the latest first, so many at most. */
const asideMost = 5_000;

/** All that stands in the database about one pipeline, with the database's time. */
export async function timeline(sql: Sql, id: PipelineId): Promise<{ now: Date; books: Books }> {
  const [
    clock,
    trigger,
    pipeline,
    jobs,
    attempts,
    posts,
    statuses,
    deliveries,
    commands,
    reopenings,
    slots,
    setAside,
    knot,
  ] = await Promise.all([
    sql<[{ now: Date; dispatched: boolean }]>`
        select clock_timestamp() as now, exists (
          select from leases where source = ${`dispatch/${shareOfPipelineId(id)}`} and expires_at > clock_timestamp()
        ) as dispatched`,
    triggerOf(sql, id),
    pipelineOf(sql, id),
    jobsOf(sql, id),
    sql<AttemptFact[]>`
        select job, attempt, command, adopted_from as "adoptedFrom", build, created_at as "createdAt",
          bound_at as "boundAt", cancel_asked_at as "cancelAskedAt", learnt, ended_at as "endedAt"
        from attempts where pipeline = ${id} order by job, attempt`,
    sql<PostFact[]>`
        select job, attempt, posted_at as "postedAt", outcome, looks, looked_at as "lookedAt", build, number::text,
          url, extra_since as "extraSince", cancelled_at as "cancelledAt"
        from builds where pipeline = ${id} order by id`,
    statusesOf(sql, id),
    deliveriesOf(sql, id),
    sql<CommandFact[]>`
        select id, kind, job, by, reason, state, result, received_at as "receivedAt", due_at as "dueAt",
          settled_at as "settledAt", tries
        from commands where pipeline = ${id} and kind <> 'watch' order by seq`,
    sql<Books['reopenings']>`
        select epoch, because, created_at as at from reopenings where pipeline = ${id} order by epoch`,
    sql<Books['slots']>`
        select key, at from slots where at > clock_timestamp() and key in (
          select 'create/' || run_key from attempts where pipeline = ${id}
          union all select 'cancel/' || build from attempts where pipeline = ${id} and build is not null
        ) order by at`,
    setAsideOf(sql, id),
    knotOf(sql, id),
  ]);
  const [{ now, dispatched }] = clock;
  const rows = { jobs, attempts, posts, statuses, deliveries, commands, reopenings, slots, setAside, knot };
  return { now, books: { trigger, pipeline, dispatched, ...rows } };
}

async function triggerOf(sql: Sql, id: PipelineId): Promise<TriggerFact | undefined> {
  const { knot, rkey } = parsePipelineId(id) ?? { knot: '', rkey: '' };
  const [row] = await sql<TriggerFact[]>`
    select knot, state, reason, event_at as "eventAt", received_at as "receivedAt", settled_at as "settledAt",
      due_at as "dueAt", hold_until as "holdUntil", tries, body
    from triggers where knot = ${knot} and rkey = ${rkey} order by id limit 1`;
  return row;
}

async function pipelineOf(sql: Sql, id: PipelineId): Promise<PipelineFact | undefined> {
  const [row] = await sql<PipelineFact[]>`
    select knot, rkey, did, repo, kind, commit, branch, title, created_at as "createdAt" from pipelines where id = ${id}`;
  return row;
}

const jobsOf = (sql: Sql, id: PipelineId): Promise<JobFact[]> =>
  sql<JobFact[]>`
    select name, provider, refusal, jobs.attempt, epoch, status, error, exit_code as "exitCode", parked,
      state ->> 'note' as note, coalesce(state -> 'job' -> 'builds', '{}') as ends, attempts.build,
      (select url from builds where builds.build = attempts.build and builds.provider = jobs.provider limit 1)
    from jobs left join attempts on attempts.pipeline = jobs.pipeline and job = name and attempts.attempt = jobs.attempt
    where jobs.pipeline = ${id} order by position`;

/** A cursor is the time of showing, in nanoseconds. */
const statusesOf = (sql: Sql, id: PipelineId): Promise<StatusFact[]> =>
  // Each half has an index of its own.
  sql<StatusFact[]>`
    select job, attempt, epoch, status, error, created_at as "createdAt", state, resend,
      to_timestamp(cursor / 1e9) as "shownAt"
    from (
      select * from statuses where pipeline = ${id} and not resend
      union all
      select * from statuses where pipeline = ${id} and resend
    ) every order by id`;

/** Of our builds, and those that named the pipeline without being ours; per build and state of it, the first. */
const deliveriesOf = (sql: Sql, id: PipelineId): Promise<DeliveryFact[]> => {
  const { knot, rkey } = parsePipelineId(id) ?? { knot: '', rkey: '' };
  return sql<DeliveryFact[]>`
    with mine as (
      select deliveries.* from builds join deliveries
        on deliveries.build = builds.build and deliveries.provider = builds.provider
      where builds.pipeline = ${id} and deliveries.event not like 'job.%'
      union
      select * from deliveries where rkey = ${rkey} and knot = ${knot} and state = 'foreign'
      union
      select * from deliveries where share = ${shareOfPipelineId(id)} and state = 'new' and rkey = ${rkey} and knot = ${knot}
    )
    select event, build, job, state, reason, received_at as "receivedAt", due_at as "dueAt",
      settled_at as "settledAt", tries, seen ->> 'status' as status
    from mine order by id limit 500`;
};

/** A row that could not be stored has its key only in its bytes. */
const setAsideOf = (sql: Sql, id: PipelineId): Promise<Books['setAside']> => {
  const { knot = '', rkey = '' } = parsePipelineId(id) ?? {};
  const key = Buffer.from(rkey).toString('base64');
  return sql<Books['setAside']>`
    select source, reason, at, kind from (
      (select source, reason, received_at as at, bytes, 'quarantined' as kind from quarantine order by id desc limit ${asideMost})
      union all
      (select source, reason, received_at, bytes, 'refused frame' from refused_frames order by id desc limit ${asideMost})
    ) aside
    where position(decode(${key}, 'base64') in bytes) > 0
      and (position(${knot} in source) > 0 or source like 'webhook/%')
    order by at limit 20`;
};

/** Pipelines and triggers that a person may mean, ten at most: by commit (or its beginning), or by the build of a CI. */
export async function pipelinesOf(sql: Sql, text: string): Promise<PipelineId[]> {
  const commit = /^[0-9a-f]{7,40}$/.test(text);
  const rows = await sql<{ id: PipelineId }[]>`
    select id from (
      select id, created_at as at from pipelines
      where ${commit} and commit >= ${text} and commit < ${`${text}g`} and commit ^@ ${text}
      union
      select pipelines.id, pipelines.created_at from builds join pipelines on pipelines.id = builds.pipeline
      where builds.build = ${text}
      union
      select 'pipeline/' || knot || '/' || rkey, received_at from triggers
      where ${commit} and state in ('new', 'held') and position(${`"${text}`} in body::text) > 0
    ) found group by id order by max(at) desc limit 10`;
  return rows.map(({ id }) => id);
}

/** Knots on which something with this key was set aside, or of which a foreign webhook spoke. */
export async function knotsAside(sql: Sql, rkey: string): Promise<string[]> {
  const key = Buffer.from(rkey).toString('base64');
  const rows = await sql<{ knot: string | null }[]>`
    select distinct knot from (
      select knot from deliveries where rkey = ${rkey} and state = 'foreign'
      union all
      select replace(source, 'knot/', '') from quarantine
      where source like 'knot/%' and position(decode(${key}, 'base64') in bytes) > 0
      union all
      select replace(source, 'knot/', '') from refused_frames
      where source like 'knot/%' and position(decode(${key}, 'base64') in bytes) > 0
    ) found limit 10`;
  return rows.flatMap(({ knot }) => (knot === null ? [] : [knot]));
}

/** The deliveries of a build that is not in our books, the latest first. */
export const foreignDeliveries = (sql: Sql, build: string): Promise<DeliveryFact[]> =>
  sql<DeliveryFact[]>`
    select event, build, job, state, reason, received_at as "receivedAt", due_at as "dueAt",
      settled_at as "settledAt", tries, seen ->> 'status' as status
    from deliveries where build = ${build} order by id limit 100`;

/** How far the knot of a pipeline is read, for somebody who waits for something that never came. */
async function knotOf(sql: Sql, id: PipelineId): Promise<Books['knot']> {
  const [row] = await sql<NonNullable<Books['knot']>[]>`
    select to_timestamp(position / 1e9) as "upTo", exists (
      select from leases where leases.source = cursors.source and expires_at > clock_timestamp()
    ) as read
    from cursors where source = ${`knot/${parsePipelineId(id)?.knot ?? ''}`}`;
  return row;
}
