import type { LogStep } from '../providers/provider.ts';
import type { AttemptKey } from './builds.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';
import type { LogChunk } from './log-chunks.ts';

/** Where the log of an attempt stands. */
export interface LogState {
  /** Entries that are here; the next one has this number. */
  entries: number;
  /** How much they were at the CI. */
  bytes: number;
  /** Step ids that were given out; the next step has this one. */
  steps: number;
  /** The last epoch of which all steps are known, -1 when of none. */
  listed: number;
  /** The last epoch of which everything is here, -1 when of none. */
  complete: number;
  createdAt: Date;
  /** It was removed because of its age or size: nothing is added to it any more. */
  removed: boolean;
}

/** What the CI runs within a build, or a reason of our own, and how far its log was read. `Place` is the reader's note. */
export interface StoredStep<Place> {
  /** The CI's name for it, or one of ours. */
  step: string;
  position: number;
  about: LogStep;
  place: Place;
  done: boolean;
}

/** Adds to a log what was read of one step. */
export interface Addition<Place> {
  /** The log as it was when this was made; nothing is added to any other. */
  after: Pick<LogState, 'entries'>;
  chunks: readonly LogChunk[];
  /** How much of the CI's log that is. */
  bytes: number;
  /** Step ids given out, with these. */
  steps: number;
  /** The step, with its place after these entries. It is made if it is not there. */
  step: StoredStep<Place>;
}

const columns = (sql: Sql) => sql`
  entries::float8 as entries, bytes::float8 as bytes, steps, listed, complete, created_at as "createdAt",
  removed_at is not null as removed`;

const findLog = (sql: Sql, { pipeline, job, attempt }: AttemptKey) => sql<LogState[]>`
  select ${columns(sql)} from logs where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}`;

/**
 * The log of an attempt, made if it is not there. Undefined when there is no such job. Read it before its steps: then
 * what is added to it later shows in its number of entries.
 */
export async function openLog(sql: Sql, key: AttemptKey): Promise<LogState | undefined> {
  const [found] = await findLog(sql, key);
  if (found) return found;
  await sql`
    insert into logs (pipeline, job, attempt) select pipeline, name, ${key.attempt} from jobs
    where pipeline = ${key.pipeline} and name = ${key.job} on conflict do nothing`;
  const [made] = await findLog(sql, key);
  return made;
}

/** The steps of a log, in the order of their making. */
export const stepsOf = <Place>(sql: Sql, { pipeline, job, attempt }: AttemptKey): Promise<StoredStep<Place>[]> =>
  sql<StoredStep<Place>[]>`
    select step, position, about, place, done from log_steps
    where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt} order by position, step`;

/**
 * Takes the turn to ask the CI which steps there are: at most one in `everyMs` has it, whoever asks.
 */
export async function mayList(sql: Sql, { pipeline, job, attempt }: AttemptKey, everyMs: number): Promise<boolean> {
  const rows = await sql`
    update logs set listed_at = clock_timestamp()
    where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}
      and (listed_at is null or listed_at <= clock_timestamp() - ${everyMs} * interval '1 millisecond')
    returning 1`;
  return rows.length > 0;
}

/**
 * Keeps the steps that the CI shows, and what is new of those that are here. One that has ended stays ended, so that a
 * late answer changes nothing. `listed`: these are all the steps of this epoch, and none of them runs any more.
 */
export async function saveSteps(
  sql: Sql,
  { pipeline, job, attempt }: AttemptKey,
  steps: readonly LogStep[],
  place: unknown,
  listed = -1,
): Promise<void> {
  const rows = steps.map((about, position) => ({ step: about.id, position, about }));
  await sql`
    with listed as (
      update logs set listed_at = clock_timestamp(), listed = greatest(listed, ${listed})
      where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}
    )
    insert into log_steps as known (pipeline, job, attempt, step, position, about, place)
    select ${pipeline}, ${job}, ${attempt}, step, position, about, ${jsonText(place)}::text::jsonb
    from jsonb_to_recordset(${jsonText(rows)}::text::jsonb) as shown(step text, position int, about jsonb)
    on conflict (pipeline, job, attempt, step) do update set about = excluded.about
    where not known.done and known.about ->> 'state' <> 'ended' and known.about <> excluded.about`;
}

export type Appended<Place> =
  | { added: true; log: LogState }
  /** Somebody else was quicker, or the log was removed: the state as it is now, to go on from. */
  | { added: false; log: LogState | undefined; step: StoredStep<Place> | undefined };

/**
 * Adds entries to the end of a log, by compare-and-set on their number, and moves the step's place in the same
 * statement: whoever dies, and however many bring the same log at once, each line is there once, in one order.
 */
export async function appendLog<Place>(
  sql: Sql,
  key: AttemptKey,
  { after, chunks, bytes, steps, step }: Addition<Place>,
): Promise<Appended<Place>> {
  const { pipeline, job, attempt } = key;
  let next = after.entries;
  const firsts = chunks.map(({ count }) => (next += count) - count);
  const stored = chunks.reduce((sum, { data }) => sum + data.length, 0);
  const [log] = await sql<LogState[]>`
    with mine as (
      update logs set entries = ${next}, bytes = bytes + ${bytes}, stored = stored + ${stored}, steps = greatest(steps, ${steps})
      where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}
        and entries = ${after.entries} and removed_at is null
      returning ${columns(sql)}
    ), added as (
      insert into log_chunks (pipeline, job, attempt, n, count, bytes, data)
      select ${pipeline}, ${job}, ${attempt}, chunk.n::bigint, chunk.count::int, chunk.bytes::int, decode(chunk.data, 'base64')
      from mine, unnest(
        ${firsts.map(String)}::text[],
        ${chunks.map(({ count }) => String(count))}::text[],
        ${chunks.map((chunk) => String(chunk.bytes))}::text[],
        ${chunks.map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.length).toString('base64'))}::text[]
      ) as chunk(n, count, bytes, data)
    ), moved as (
      insert into log_steps (pipeline, job, attempt, step, position, about, place, done)
      select ${pipeline}, ${job}, ${attempt}, ${step.step}, ${step.position}, ${jsonText(step.about)}::text::jsonb,
        ${jsonText(step.place)}::text::jsonb, ${step.done}
      from mine
      on conflict (pipeline, job, attempt, step) do update set place = excluded.place, done = excluded.done
    )
    select mine.*, case when ${chunks.length} > 0 then pg_notify('logs', ${noticeOf(key)}) end from mine`;
  if (log) return { added: true, log };
  // The log first: a step that is newer than the log only makes the next addition come too late as well.
  const [now] = await findLog(sql, key);
  const [moved] = await sql<StoredStep<Place>[]>`
    select step, position, about, place, done from log_steps
    where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt} and step = ${step.step}`;
  return { added: false, log: now, step: moved };
}

/** Everything of this epoch is here. Tells the readers, once. */
export async function completeLog(sql: Sql, key: AttemptKey, epoch: number): Promise<void> {
  const { pipeline, job, attempt } = key;
  await sql`
    with completed as (
      update logs set complete = ${epoch}
      where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt} and complete < ${epoch}
      returning 1
    )
    select pg_notify('logs', ${noticeOf(key)}) from completed`;
}

/** What is said on the channel `logs` when a log grew or became complete. The job is last: its name may have blanks. */
export const noticeOf = ({ pipeline, job, attempt }: AttemptKey): string => `${pipeline} ${attempt} ${job}`;
