import type { Job } from '../pipeline/job.ts';
import { type PipelineId, runKey } from '../pipeline/ids.ts';
import type { BuildRef, BuildSpec } from '../providers/provider.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';

interface JobKey {
  pipeline: PipelineId;
  job: string;
}

export interface KnownJob {
  /** Null: there is nothing to run. */
  spec: BuildSpec | null;
  /** What the last run of the workflow left. */
  state: { job: Job; attempts: number; note: string | null } | null;
  attempts: KnownAttempt[];
}

export interface KnownAttempt {
  attempt: number;
  build: string | null;
  /** A person asked for it. */
  asked: boolean;
  /** Somebody asked to stop it. */
  stopped: boolean;
}

/** A job with its attempts, oldest first. */
export async function knownJob(sql: Sql, { pipeline, job }: JobKey): Promise<KnownJob> {
  const [[found], attempts] = await Promise.all([
    sql<Omit<KnownJob, 'attempts'>[]>`select spec, state from jobs where pipeline = ${pipeline} and name = ${job}`,
    sql<KnownJob['attempts']>`
      select attempt, build, command is not null as asked, cancel_asked_at is not null as stopped from attempts where pipeline = ${pipeline} and job = ${job} order by attempt`,
  ]);
  return { spec: found?.spec ?? null, state: found?.state ?? null, attempts };
}

export interface FoundBuild {
  attempt: number;
  provider: string;
  ref: BuildRef;
  /** Of its POST, if we made it and it still says so. */
  nonce?: string | undefined;
  /** The build that a person made it from. */
  rebuiltFrom?: string | undefined;
}

/**
 * Writes down a build that was found at the CI, and ties it to its attempt. Like every binding, the first one stays; an
 * attempt that was to be stopped takes none. True when it is the attempt's build.
 */
export async function bindTraced(
  sql: Sql,
  { pipeline, job }: JobKey,
  { attempt, provider, ref, nonce, rebuiltFrom }: FoundBuild,
): Promise<boolean> {
  return sql.begin(async (tx) => {
    await tx`
      insert into attempts (pipeline, job, attempt, run_key, adopted_from)
      values (${pipeline}, ${job}, ${attempt}, ${runKey(pipeline, job, attempt)}, ${rebuiltFrom ?? null})
      on conflict do nothing`;
    const bound = await tx`
      update attempts set build = ${ref.id}, bound_at = coalesce(bound_at, clock_timestamp()), posts = greatest(posts, 1)
      where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}
        and (build = ${ref.id} or (build is null and cancel_asked_at is null))
      returning 1`;
    const mine = bound.length > 0;
    const outcome = rebuiltFrom === undefined ? 'accepted' : 'adopted';
    const known = nonce ?? `${outcome === 'adopted' ? 'adopted' : 'found'}:${provider}:${ref.id}`;
    await tx`
      insert into builds (pipeline, job, attempt, provider, nonce, outcome, build, number, url, data, extra_since)
      select ${pipeline}, ${job}, ${attempt}, ${provider}, ${known}, ${outcome}, ${ref.id}, ${ref.number}, ${ref.url},
        ${jsonText(ref.data)}::text::jsonb, case when ${mine} then null else clock_timestamp() end
      where not exists (select from builds where provider = ${provider} and build = ${ref.id})
      on conflict (nonce) do update set outcome = excluded.outcome, build = excluded.build, number = excluded.number,
        url = excluded.url, data = excluded.data, extra_since = excluded.extra_since`;
    return mine;
  });
}

/** Keeps what is known of a job now; it need not be looked for again because of this restore. */
export async function jobRecovered(
  sql: Sql,
  { pipeline, job }: JobKey,
  { state, restore }: { state: KnownJob['state']; restore: number },
): Promise<void> {
  await sql`
    update jobs set restored = ${restore}, state = coalesce(${state === null ? null : jsonText(state)}::text::jsonb, state)
    where pipeline = ${pipeline} and name = ${job}`;
}
