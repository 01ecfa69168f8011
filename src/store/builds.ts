import type { PipelineId } from '../pipeline/ids.ts';
import { runKey } from '../pipeline/ids.ts';
import type { BuildRef, BuildSpec } from '../providers/provider.ts';
import type { Sql } from './db.ts';
import { jsonText } from './json.ts';

export interface AttemptKey {
  pipeline: PipelineId;
  job: string;
  attempt: number;
}

/** One POST to a CI. Written before it is made. */
export interface Post {
  id: bigint;
  nonce: string;
  postedAt: Date;
  /** Since the row was written, by the database's clock. */
  ageMs: number;
  outcome: 'unknown' | 'accepted' | 'refused' | 'adopted';
  looks: number;
  ref: BuildRef | null;
  extra: boolean;
}

export interface Attempt {
  spec: BuildSpec;
  /** The provider's id of the one build of this attempt. */
  build: string | null;
  stopped: boolean;
  posts: number;
  /** The database was restored since it began, so a POST may have been made of which there is no row. */
  restored: boolean;
  /** Look at the CI before its first POST: it was restored, or its trigger is old. */
  unsure: boolean;
}

/** A first POST for a trigger that is older than this, ms, is made only after a look at what the CI has. */
export const oldTriggerMs = 10 * 60_000;

const isRestored = (sql: Sql, pipeline: string) => sql`exists (select from restored where pipeline = ${pipeline})`;
const isOld = (sql: Sql, pipeline: string) => sql`(
  select coalesce(happened_at, created_at) < clock_timestamp() - ${oldTriggerMs} * interval '1 ms'
  from pipelines where id = ${pipeline}
)`;

/** Makes the row of an attempt after the first, which a command may have asked for; the first row stays. */
export async function giveAttempt(
  sql: Sql,
  { pipeline, job, attempt }: AttemptKey,
  command: string | undefined,
): Promise<void> {
  await sql`
    insert into attempts (pipeline, job, attempt, run_key, command)
    values (${pipeline}, ${job}, ${attempt}, ${runKey(pipeline, job, attempt)}, ${command ?? null})
    on conflict do nothing`;
}

/** The attempt and its POSTs, oldest first. A later attempt's row is made when it is first asked for. */
export async function loadAttempt(
  sql: Sql,
  { pipeline, job, attempt }: AttemptKey,
  command?: string,
): Promise<{ attempt: Attempt; posts: Post[] } | undefined> {
  if (attempt > 1) await giveAttempt(sql, { pipeline, job, attempt }, command);
  const [[found], posts] = await Promise.all([
    sql<(Attempt & { spec: BuildSpec | null })[]>`
      select spec, build, cancel_asked_at is not null as stopped, posts, ${isRestored(sql, pipeline)} as restored,
        posts = 0 and (${isRestored(sql, pipeline)} or (attempts.attempt = 1 and ${isOld(sql, pipeline)})) as unsure
      from attempts join jobs on jobs.pipeline = attempts.pipeline and name = job
      where attempts.pipeline = ${pipeline} and job = ${job} and attempts.attempt = ${attempt}`,
    sql<
      (Omit<Post, 'ref'> & {
        build: string | null;
        number: bigint | null;
        url: string | null;
        data: BuildRef['data'];
      })[]
    >`
      select id, nonce, posted_at as "postedAt", outcome, looks, build, number, url, data,
        extra_since is not null and cancelled_at is null as extra,
        (extract(epoch from clock_timestamp() - posted_at) * 1000)::float8 as "ageMs"
      from builds where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt} order by id`,
  ]);
  if (!found) return undefined;
  return {
    attempt: found,
    posts: posts.map(({ build, number, url, data, ...post }) => ({
      ...post,
      ref: build === null ? null : { id: build, number: number === null ? null : Number(number), url, data },
    })),
  };
}

/**
 * Writes the row for a POST that is about to be made. Undefined when another process was quicker, or somebody asked
 * to stop: then none may be made.
 */
export async function openPost(
  sql: Sql,
  { pipeline, job, attempt }: AttemptKey,
  post: { provider: string; nonce: string; posts: number },
): Promise<{ id: bigint; postedAt: Date } | undefined> {
  const [row] = await sql<{ id: bigint; postedAt: Date }[]>`
    with mine as (
      update attempts set posts = posts + 1
      where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}
        and posts = ${post.posts} and build is null and cancel_asked_at is null
      returning 1
    )
    insert into builds (pipeline, job, attempt, provider, nonce)
    select ${pipeline}, ${job}, ${attempt}, ${post.provider}, ${post.nonce} from mine
    returning id, posted_at as "postedAt"`;
  return row;
}

/**
 * The same for the first POST of an attempt, which is nearly every one: the row and what to build, in one statement.
 * Undefined when there is anything else to consider; nothing was written then.
 */
export async function openFirstPost(
  sql: Sql,
  { pipeline, job, attempt }: AttemptKey,
  nonce: string,
): Promise<{ id: bigint; postedAt: Date; spec: BuildSpec } | undefined> {
  const [row] = await sql<{ id: bigint; postedAt: Date; spec: BuildSpec }[]>`
    with mine as (
      update attempts set posts = 1
      from jobs
      where attempts.pipeline = ${pipeline} and job = ${job} and attempts.attempt = ${attempt}
        and posts = 0 and build is null and cancel_asked_at is null
        and not ${isRestored(sql, pipeline)} and not ${isOld(sql, pipeline)}
        and jobs.pipeline = attempts.pipeline and jobs.name = job and spec is not null
      returning spec, provider
    ), post as (
      insert into builds (pipeline, job, attempt, provider, nonce)
      select ${pipeline}, ${job}, ${attempt}, provider, ${nonce} from mine
      returning id, posted_at
    )
    select id, posted_at as "postedAt", spec from post, mine`;
  return row;
}

/** The latest builds that webhooks named as this job's: a few, since anybody in the organisation may name some. */
export async function toldBuilds(sql: Sql, { pipeline, job }: AttemptKey, provider: string): Promise<BuildRef[]> {
  const rows = await sql<{ ref: BuildRef }[]>`
    select ref from (
      select distinct on (build) id, ref from deliveries
      where (knot, rkey) = (select knot, rkey from pipelines where id = ${pipeline})
        and provider = ${provider} and job = ${job} and ref is not null and rebuilt_from is null
      order by build, id
    ) as told order by id desc limit 5`;
  return rows.map(({ ref }) => ref);
}

/** The CI said no: this POST has made nothing. */
export async function refusePost(sql: Sql, id: bigint): Promise<void> {
  await sql`update builds set outcome = 'refused' where id = ${id} and outcome = 'unknown'`;
}

/** Another search found nothing. */
export async function lookedInVain(sql: Sql, id: bigint): Promise<void> {
  await sql`update builds set looks = looks + 1, looked_at = clock_timestamp() where id = ${id}`;
}

/**
 * Ties a build to its attempt, by compare-and-set: the first one stays for ever. True when this build is the
 * attempt's. One that comes second, or after a stop, is an extra that has to be cancelled.
 */
export async function bindBuild(
  sql: Sql,
  { pipeline, job, attempt }: AttemptKey,
  post: bigint,
  ref: BuildRef,
): Promise<boolean> {
  const [row] = await sql<{ mine: boolean }[]>`
    with mine as (
      update attempts set build = ${ref.id}, bound_at = coalesce(bound_at, clock_timestamp())
      where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}
        and (build = ${ref.id} or (build is null and cancel_asked_at is null))
      returning 1
    )
    update builds set outcome = 'accepted', build = ${ref.id}, number = ${ref.number}, url = ${ref.url},
      data = ${jsonText(ref.data)}::text::jsonb,
      extra_since = case when exists (select from mine) then null else coalesce(extra_since, clock_timestamp()) end
    where id = ${post} and not exists (
      select from builds other where other.provider = builds.provider and other.build = ${ref.id} and other.id <> builds.id
    )
    returning exists (select from mine) as mine`;
  if (row) return row.mine;
  const [bound] = await sql<{ mine: boolean }[]>`
    select build = ${ref.id} as mine from attempts
    where pipeline = ${pipeline} and job = ${job} and attempt = ${attempt}`;
  return bound?.mine ?? false;
}

/** The extra build was cancelled at the CI. */
export async function extraCancelled(sql: Sql, provider: string, build: string): Promise<void> {
  await sql`
    update builds set extra_since = coalesce(extra_since, clock_timestamp()), cancelled_at = clock_timestamp()
    where provider = ${provider} and build = ${build}`;
}

/** Forbids further POSTs for an attempt. Returns its build, if it has one. */
export async function forbidPosts(sql: Sql, { pipeline, job, attempt }: AttemptKey): Promise<string | null> {
  const [row] = await sql<{ build: string | null }[]>`
    insert into attempts (pipeline, job, attempt, run_key, cancel_asked_at)
    values (${pipeline}, ${job}, ${attempt}, ${runKey(pipeline, job, attempt)}, clock_timestamp())
    on conflict (pipeline, job, attempt) do update
    set cancel_asked_at = coalesce(attempts.cancel_asked_at, clock_timestamp())
    returning build`;
  return row?.build ?? null;
}

/** What a provider keeps about a build has changed. */
export async function saveRef(sql: Sql, provider: string, ref: BuildRef): Promise<void> {
  await sql`
    update builds set number = ${ref.number}, url = ${ref.url}, data = ${jsonText(ref.data)}::text::jsonb
    where provider = ${provider} and build = ${ref.id}`;
}

/** Makes a build that a person started from one of ours an attempt of its own. Returns that attempt; the first one stays. */
export async function adoptBuild(
  sql: Sql,
  { pipeline, job, attempt }: AttemptKey,
  provider: string,
  ref: BuildRef,
  rebuiltFrom: string,
): Promise<number> {
  return sql.begin(async (tx) => {
    const [known] = await tx<{ attempt: number }[]>`
      select attempt from builds where provider = ${provider} and build = ${ref.id} and outcome = 'adopted'`;
    if (known) return known.attempt;
    await tx`
      insert into attempts (pipeline, job, attempt, run_key, adopted_from, build, bound_at)
      values (${pipeline}, ${job}, ${attempt}, ${runKey(pipeline, job, attempt)}, ${rebuiltFrom}, ${ref.id}, clock_timestamp())`;
    await tx`
      insert into builds (pipeline, job, attempt, provider, nonce, outcome, build, number, url, data)
      values (${pipeline}, ${job}, ${attempt}, ${provider}, ${`adopted:${provider}:${ref.id}`}, 'adopted',
        ${ref.id}, ${ref.number}, ${ref.url}, ${jsonText(ref.data)}::text::jsonb)`;
    return attempt;
  });
}

export interface KnownBuild {
  job: string;
  provider: string;
  ref: BuildRef;
}

/** The one build of an attempt, if it has one. */
export async function boundBuild(
  sql: Sql,
  { pipeline, job, attempt }: AttemptKey,
): Promise<{ provider: string; ref: BuildRef } | undefined> {
  const [row] = await sql<
    { provider: string; build: string; number: bigint | null; url: string | null; data: BuildRef['data'] }[]
  >`
    select builds.provider, builds.build, number, url, data
    from attempts join builds on builds.pipeline = attempts.pipeline and builds.build = attempts.build
    where attempts.pipeline = ${pipeline} and attempts.job = ${job} and attempts.attempt = ${attempt} limit 1`;
  if (!row) return undefined;
  const { provider, build, number, url, data } = row;
  return { provider, ref: { id: build, number: number === null ? null : Number(number), url, data } };
}

/** The builds of a pipeline with these ids. */
export async function knownBuilds(sql: Sql, pipeline: string, builds: string[]): Promise<KnownBuild[]> {
  const rows = await sql<
    {
      job: string;
      provider: string;
      build: string;
      number: bigint | null;
      url: string | null;
      data: BuildRef['data'];
    }[]
  >`
    select job, provider, build, number, url, data from builds where pipeline = ${pipeline} and build = any(${builds}::text[])`;
  return rows.map(({ job, provider, build, number, url, data }) => ({
    job,
    provider,
    ref: { id: build, number: number === null ? null : Number(number), url, data },
  }));
}
