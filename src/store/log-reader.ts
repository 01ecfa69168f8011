import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { pipelineId } from '../pipeline/ids.ts';
import type { Status } from '../pipeline/status.ts';
import type { AttemptKey } from './builds.ts';
import type { Sql } from './db.ts';

/** Where a log stands. */
export interface LogState {
  /** How many entries are here. */
  entries: number;
  /** The last epoch of which everything is here; -1 when that is true of none. */
  complete: number;
  /** How many step ids were given out. */
  steps: number;
  /** The attempt has ended, or a later one has begun. */
  ended: boolean;
  /** It has ended, and all that there will be of its log is here. */
  over: boolean;
  /** When the log became too old and was taken away. */
  removedAt: Date | null;
  /** The last status of the attempt that was published, its error, and its `createdAt`. */
  status: Status | null;
  error: string | null;
  shownAt: Date | null;
}

/** Some entries of a log in their order, as JSON lines without a line end after the last. */
export interface LogPage {
  text: Buffer;
  /** Where the next page begins. */
  next: number;
}

export interface LogRead {
  state: LogState;
  /** Absent when nothing is there from this place on, yet or for ever. */
  page?: LogPage;
}

/**
 * The log of a job: of the attempt that was asked for, or else of the one that its last status is about.
 * Undefined when there is no such job, or when it has never had that attempt. Names are tried in their order.
 */
export async function findLog(
  sql: Sql,
  { knot, rkey, jobs, attempt }: { knot: string; rkey: string; jobs: readonly string[]; attempt?: number | undefined },
): Promise<AttemptKey | undefined> {
  const pipeline = pipelineId(knot, rkey);
  const [row] = await sql<{ name: string; attempt: number }[]>`
    select name, attempt from jobs where pipeline = ${pipeline} and name = any(${[...jobs]}::text[])
    order by array_position(${[...jobs]}::text[], name) limit 1`;
  if (!row || (attempt !== undefined && (attempt < 1 || attempt > row.attempt))) return undefined;
  return { pipeline, job: row.name, attempt: attempt ?? row.attempt };
}

/** A job of a release that kept no logs has no row of one; nor has one whose log is about to begin. Ms. */
const patience = 120_000;
/** Chunks of a log that is followed are small; so many of them at most go into one page. */
const chunksOfPage = 64;

/**
 * Where a log stands, and its entries from a place on, which must be 0 or the `next` of an earlier page: about
 * `mostBytes` of them, at least one chunk. One statement, so that "over" means that nothing comes after what is there.
 * Undefined when there is no such job.
 */
export async function readLog(
  sql: Sql,
  key: AttemptKey,
  from: number,
  mostBytes: number,
): Promise<LogRead | undefined> {
  const { pipeline, job, attempt } = key;
  const rows = await sql<(LogState & { n: number | null; count: number; bytes: number; data: Uint8Array })[]>`
    with fate as materialized (
      select jobs.attempt > ${attempt} or (jobs.attempt = ${attempt} and jobs.rank = 2) as ended,
        own.epoch, own.status, own.error, own.shown_at
      from jobs left join lateral (
        select jobs.epoch, jobs.status, jobs.error, jobs.shown_at where jobs.attempt = ${attempt}
        union all (
          select epoch, status, error, created_at from statuses
          where jobs.attempt > ${attempt} and pipeline = ${pipeline} and job = ${job} and attempt = ${attempt} and not resend
          order by epoch desc, rank desc, id desc limit 1
        )
      ) own on true
      where jobs.pipeline = ${pipeline} and jobs.name = ${job}
    ), log as materialized (
      select * from logs where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}
    )
    select coalesce(log.entries, 0)::float8 as entries, coalesce(log.steps, 0) as steps,
      coalesce(log.complete, -1) as complete, fate.ended,
      case
        when log.removed_at is not null then true
        when not fate.ended then false
        when log.pipeline is not null then log.complete >= coalesce(fate.epoch, 0)
        else coalesce(fate.shown_at, '-infinity') < clock_timestamp() - ${patience} * interval '1 millisecond'
      end as over,
      log.removed_at as "removedAt", fate.status, fate.error, fate.shown_at as "shownAt",
      chunk.n::float8 as n, chunk.count, chunk.bytes, chunk.data
    from fate left join log on true left join (
      select n, count, data, bytes, sum(bytes) over (order by n) - bytes as before from (
        select n, count, data, bytes from log_chunks
        where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt} and n >= ${from}
        order by n limit ${chunksOfPage}
      ) next
    ) chunk on chunk.before = 0 or chunk.before + chunk.bytes <= ${mostBytes}
    order by chunk.n`;
  const [first] = rows;
  if (!first) return undefined;
  const { n: _n, count: _count, bytes: _bytes, data: _data, ...state } = first;
  // Entries of a log that was removed are left for a moment.
  if (first.n !== from || state.removedAt) return { state };
  const texts = await Promise.all(rows.map(decompress));
  const next = rows.reduce((at, { count }) => at + count, from);
  return { state, page: { text: joined(texts), next } };
}

const inflate = promisify(zstdDecompress);

/** In one step: the length is known. A chunk is at most some 256 KiB; what says more is not one of ours. */
const decompress = ({ bytes, data }: { bytes: number; data: Uint8Array }): Promise<Buffer> =>
  inflate(data, { chunkSize: Math.max(64, bytes + 1), maxOutputLength: 64 * 1024 * 1024 });

const newline = Buffer.from('\n');

const joined = (texts: Buffer[]): Buffer =>
  texts.length === 1 && texts[0]
    ? texts[0]
    : Buffer.concat(texts.flatMap((text, n) => (n === 0 ? [text] : [newline, text])));
