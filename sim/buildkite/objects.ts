import type { Build, BuildEvent, Job, JobState, Pipeline, User } from './types.ts';
import type { World } from './world.ts';

type Json = Record<string, unknown>;

/** Writes a time as one of Buildkite's two notations. */
export type TimeStyle = (ms: number | null) => string | null;

/** REST: ISO 8601 in UTC with milliseconds. */
export const restTime: TimeStyle = (ms) => (ms === null ? null : new Date(ms).toISOString());

/** Webhooks: a space, whole seconds and the word UTC, as in every recorded payload. */
export const hookTime: TimeStyle = (ms) =>
  ms === null ? null : `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`;

const graphql = (kind: string, id: string): string => Buffer.from(`${kind}---${id}`).toString('base64');

/** API address of a build, in Buildkite's own form. */
export const buildUrl = (world: World, build: Pick<Build, 'org' | 'pipeline' | 'number'>): string =>
  `${world.base}/v2/organizations/${build.org}/pipelines/${build.pipeline}/builds/${build.number}`;

/** Address of a build's page. */
export const buildPage = (world: World, build: Pick<Build, 'org' | 'pipeline' | 'number'>): string =>
  `${world.base}/${build.org}/${build.pipeline}/builds/${build.number}`;

/** Jobs that a build answers with: a retried one only if asked for. */
export const shownJobs = (build: Readonly<Build>, withRetried: boolean): Job[] =>
  build.jobs.filter((job) => withRetried || job.retriedInJobId === null);

export interface BuildParts {
  readonly jobs: boolean;
  readonly pipeline: boolean;
  readonly retried?: boolean;
  readonly counts?: boolean;
}

/** A build as REST shows it. */
export function restBuild(world: World, build: Readonly<Build>, parts: BuildParts): Json {
  const jobs = shownJobs(build, parts.retried ?? false);
  const pipeline = world.pipelines.get(`${build.org}/${build.pipeline}`);
  return {
    id: build.id,
    graphql_id: graphql('Build', build.id),
    ...common(world, build, restTime),
    env: build.env,
    author: build.author,
    cluster_id: null,
    failing_at: restTime(build.failingAt),
    ...(parts.pipeline && pipeline ? { pipeline: pipelineObject(world, pipeline, restTime) } : {}),
    ...(parts.jobs ? { jobs: jobs.map((job) => jobObject(world, build, job, restTime)) } : {}),
    ...(parts.counts ? { job_state_counts: counts(jobs) } : {}),
  };
}

/** What both worlds show of a build. */
function common(world: World, build: Readonly<Build>, time: TimeStyle): Json {
  return {
    url: buildUrl(world, build),
    web_url: buildPage(world, build),
    number: build.number,
    state: build.state,
    blocked: build.blocked,
    blocked_state: build.blockedState,
    cancel_reason: build.cancelReason,
    message: build.message,
    commit: build.commit,
    branch: build.branch,
    tag: null,
    source: build.source,
    creator: build.creator && userObject(build.creator, time),
    created_at: time(build.createdAt),
    scheduled_at: time(build.scheduledAt),
    started_at: time(build.startedAt),
    finished_at: time(build.finishedAt),
    meta_data: { ...build.metaData },
    pull_request: build.pullRequest,
    rebuilt_from: build.rebuiltFrom,
  };
}

function counts(jobs: readonly Job[]): Json {
  const states: Partial<Record<JobState, number>> = {};
  for (const job of jobs) states[job.state] = (states[job.state] ?? 0) + 1;
  return { total: jobs.length, states };
}

/** A job in the notation that `time` writes. */
export function jobObject(world: World, build: Readonly<Build>, job: Readonly<Job>, time: TimeStyle): Json {
  const url = `${buildUrl(world, build)}/jobs/${job.id}`;
  const page = `${buildPage(world, build)}#${job.id}`;
  const identity = { id: job.id, graphql_id: graphql('Job', job.id), type: job.type };
  if (job.type === 'waiter') {
    return { ...identity, ...(job.name === '' ? {} : { name: job.name }), state: job.state, web_url: page };
  }
  if (job.type === 'manual') {
    return {
      ...identity,
      label: job.name,
      step_key: job.key,
      state: job.state,
      web_url: page,
      unblocked_by: job.unblockedBy && userObject(job.unblockedBy, time),
      unblocked_at: job.unblockedBy ? time(job.finishedAt) : null,
      unblockable: job.state === 'blocked',
      unblock_url: `${url}/unblock`,
    };
  }
  const retry = job.retrySource;
  return {
    ...identity,
    name: job.name,
    step_key: job.key,
    step: { id: job.id, signature: null },
    priority: { number: 0 },
    agent_query_rules: [],
    state: job.state,
    build_url: buildUrl(world, build),
    web_url: page,
    log_url: `${url}/log`,
    raw_log_url: `${url}/log.txt`,
    artifacts_url: `${url}/artifacts`,
    command: job.type === 'script' ? job.command : null,
    soft_failed: job.softFailed,
    broken_reason: job.brokenReason,
    exit_status: job.exitStatus,
    signal: null,
    signal_reason: job.signalReason,
    artifact_paths: null,
    agent: null,
    created_at: time(job.createdAt),
    scheduled_at: time(job.scheduledAt),
    runnable_at: time(job.scheduledAt),
    started_at: time(job.startedAt),
    finished_at: time(job.finishedAt),
    expired_at: time(job.expiredAt),
    retried: job.retriedInJobId !== null,
    retried_in_job_id: job.retriedInJobId,
    retries_count: job.retriesCount || null,
    retry_source: retry && {
      job_id: retry.jobId,
      retry_type: retry.type,
      retried_by: retry.by && { name: retry.by.name, email: retry.by.email },
    },
    retry_type: retry?.type ?? null,
    parallel_group_index: job.parallel?.index ?? null,
    parallel_group_total: job.parallel?.total ?? null,
    matrix: null,
    cluster_id: null,
    cluster_queue_id: null,
    ...(job.type === 'trigger' ? { async: false, triggered_build: triggered(world, job) } : {}),
  };
}

/** The build that a trigger step has started. It is not run here: nobody but its own pipeline would know it. */
function triggered(world: World, job: Readonly<Job>): Json | null {
  const [org, pipeline] = job.triggers?.split('/') ?? [];
  if (!org || !pipeline || job.startedAt === null) return null;
  const address = { org, pipeline, number: 1 };
  return { id: job.id, number: 1, url: buildUrl(world, address), web_url: buildPage(world, address) };
}

/** A pipeline in the notation that `time` writes, with its counters. */
export function pipelineObject(world: World, pipeline: Pipeline, time: TimeStyle): Json {
  const url = `${world.base}/v2/organizations/${pipeline.org}/pipelines/${pipeline.slug}`;
  const builds = [...world.open(pipeline)];
  const jobs = builds.flatMap((build) => build.jobs);
  const inState = (items: readonly { state: string }[], state: string): number =>
    items.filter((item) => item.state === state).length;
  return {
    id: pipeline.id,
    graphql_id: graphql('Pipeline', pipeline.id),
    url,
    web_url: `${world.base}/${pipeline.org}/${pipeline.slug}`,
    name: pipeline.name,
    description: null,
    slug: pipeline.slug,
    repository: pipeline.repository,
    cluster_id: null,
    branch_configuration: null,
    default_branch: 'main',
    skip_queued_branch_builds: false,
    skip_queued_branch_builds_filter: null,
    cancel_running_branch_builds: false,
    cancel_running_branch_builds_filter: null,
    allow_rebuilds: pipeline.allowRebuilds,
    provider: {
      id: 'unknown',
      settings: { trigger_mode: 'none', repository: pipeline.repository },
      // A secret in the real thing, and sent in clear there too: whoever stores webhooks must not store this.
      webhook_url: `${world.base}/deliver/secret-${pipeline.id}`,
    },
    builds_url: `${url}/builds`,
    badge_url: `${world.base}/badge/${pipeline.id}.svg`,
    created_at: time(pipeline.createdAt),
    archived_at: null,
    env: pipeline.env,
    scheduled_builds_count: inState(builds, 'scheduled'),
    running_builds_count: inState(builds, 'running'),
    scheduled_jobs_count: inState(jobs, 'scheduled'),
    running_jobs_count: inState(jobs, 'running'),
    waiting_jobs_count: inState(jobs, 'waiting'),
    visibility: 'private',
    steps: [{ type: 'script', name: ':pipeline:', command: 'buildkite-agent pipeline upload', env: {} }],
  };
}

/** A user as `creator` shows it. */
export function userObject(user: User, time: TimeStyle): Json {
  return {
    id: user.id,
    graphql_id: graphql('User', user.id),
    name: user.name,
    email: user.email,
    avatar_url: 'https://avatars.example/none',
    created_at: time(0),
  };
}

/** An organisation, as REST and the ping show it. */
export function organizationObject(world: World, slug: string): Json {
  const url = `${world.base}/v2/organizations/${slug}`;
  const organization = world.organization(slug);
  return {
    id: organization?.id ?? null,
    graphql_id: organization ? graphql('Organization', organization.id) : null,
    url,
    web_url: `${world.base}/${slug}`,
    name: slug,
    slug,
    agents_url: `${url}/agents`,
    emojis_url: `${url}/emojis`,
    pipelines_url: `${url}/pipelines`,
    created_at: restTime(organization?.createdAt ?? null),
  };
}

/**
 * A webhook's body: `event, build, pipeline, sender`, and `job` for job events. Recorded payloads have no `organization`
 * and no jobs in the build; `organization: true` adds the first, because some readers were written for it.
 */
export function hookBody(
  world: World,
  about: { event: BuildEvent; build: Readonly<Build>; job?: Readonly<Job>; sender: User; organization: boolean },
): Json {
  const { event, build, job } = about;
  const pipeline = world.pipelines.get(`${build.org}/${build.pipeline}`);
  return {
    event,
    build: {
      id: build.id,
      graphql_id: graphql('Build', build.id),
      ...common(world, build, hookTime),
      author: build.author,
    },
    ...(job ? { job: jobObject(world, build, job, hookTime) } : {}),
    pipeline: pipeline ? pipelineObject(world, pipeline, hookTime) : { slug: build.pipeline },
    ...(about.organization ? { organization: organizationObject(world, build.org) } : {}),
    sender: { id: about.sender.id, name: about.sender.name },
  };
}
