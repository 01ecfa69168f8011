/** Build states as the REST API shows them. A blocked build keeps its last state and sets `blocked`. */
export type BuildState =
  | 'creating'
  | 'scheduled'
  | 'running'
  | 'failing'
  | 'passed'
  | 'failed'
  | 'canceling'
  | 'canceled'
  | 'skipped'
  | 'not_run'
  | 'waiting'
  | 'waiting_failed';

/** Job states as the REST API shows them (`finished` is split into passed and failed there). */
export type JobState =
  | 'pending'
  | 'waiting'
  | 'waiting_failed'
  | 'blocked'
  | 'unblocked'
  | 'scheduled'
  | 'assigned'
  | 'running'
  | 'passed'
  | 'failed'
  | 'canceling'
  | 'canceled'
  | 'timing_out'
  | 'timed_out'
  | 'skipped'
  | 'broken'
  | 'expired';

export type Source = 'webhook' | 'api' | 'ui' | 'trigger_job' | 'schedule';

/** What a webhook can be subscribed to and what the life of a build emits. */
export const BUILD_EVENTS = [
  'build.scheduled',
  'build.running',
  'build.failing',
  'build.finished',
  'build.skipped',
  'job.scheduled',
  'job.started',
  'job.finished',
  'job.activated',
] as const;
export type BuildEvent = (typeof BUILD_EVENTS)[number];
export type HookEvent = BuildEvent | 'ping';

export interface User {
  readonly id: string;
  readonly name: string;
  readonly email: string;
}

/** An API token. It belongs to a user, and its requests count against that user's limit. */
export interface Token {
  readonly id: string;
  readonly token: string;
  readonly user: User;
  readonly scopes: readonly string[];
  /** Slugs it may see; unset: every organisation. */
  readonly organizations?: readonly string[];
  readonly description: string;
  readonly createdAt: number;
  /** Milliseconds; a request after it is answered 401. */
  readonly expiresAt: number | null;
}

export interface Pipeline {
  readonly id: string;
  readonly org: string;
  readonly slug: string;
  readonly name: string;
  readonly repository: string;
  readonly createdAt: number;
  readonly env: Readonly<Record<string, string>>;
  /** Answers 422 to a create that does not ignore the branch filters, as a pipeline with its trigger off does. */
  readonly branchesDisabled: boolean;
  readonly allowRebuilds: boolean;
}

export interface Job {
  readonly id: string;
  readonly type: 'script' | 'manual' | 'waiter' | 'trigger';
  readonly name: string;
  readonly key: string;
  readonly command: string;
  /** One of several jobs that a step with `parallelism` becomes. */
  readonly parallel: { index: number; total: number } | null;
  /** The pipeline that a trigger step starts a build of, `org/slug`. */
  readonly triggers: string | null;
  readonly createdAt: number;
  state: JobState;
  exitStatus: number | null;
  signalReason: string | null;
  softFailed: boolean;
  scheduledAt: number | null;
  startedAt: number | null;
  finishedAt: number | null;
  expiredAt: number | null;
  retriedInJobId: string | null;
  retriesCount: number;
  retrySource: { jobId: string; type: 'manual' | 'automatic'; by: User | null } | null;
  unblockedBy: User | null;
  /** Why it could not run by its configuration. */
  brokenReason: string | null;
}

export interface PullRequest {
  readonly id: string;
  readonly base: string | null;
  readonly repository: string | null;
  readonly labels: readonly string[];
}

export interface Build {
  readonly id: string;
  readonly org: string;
  readonly pipeline: string;
  readonly number: number;
  readonly commit: string;
  readonly branch: string;
  readonly message: string | null;
  readonly env: Readonly<Record<string, string>>;
  readonly metaData: Record<string, string>;
  readonly source: Source;
  readonly creator: User | null;
  readonly author: { name: string; email: string } | null;
  readonly pullRequest: PullRequest | null;
  readonly rebuiltFrom: { id: string; number: number; url: string } | null;
  readonly createdAt: number;
  state: BuildState;
  blocked: boolean;
  blockedState: '' | 'passed' | 'failed' | 'running';
  cancelReason: string | null;
  scheduledAt: number | null;
  startedAt: number | null;
  failingAt: number | null;
  finishedAt: number | null;
  /** False while the lists do not know the build yet; reading it by number works at once. */
  indexed: boolean;
  readonly jobs: Job[];
  /** Every state that the build was in, oldest first. */
  readonly history: { state: BuildState; blocked: boolean; at: number }[];
}

/** A build by uuid, by number (if only one pipeline has that number), or by all of its address. */
export type BuildRef = string | number | { readonly org: string; readonly pipeline: string; readonly number: number };

/** How a job ends. `exit_status` defaults to 0 for passed and 1 for failed. */
export interface JobOutcome {
  readonly state: JobState;
  readonly exitStatus?: number | null;
  readonly softFailed?: boolean;
  readonly brokenReason?: string;
  /** Written into its log before the end. */
  readonly log?: string;
}

/** Outcomes by job key or id, or one state for every job that has not ended. */
export type Outcomes = JobState | Readonly<Record<string, JobState | JobOutcome>>;

export interface JobPlan {
  /** A wait has none, unless it is given one. */
  readonly name?: string;
  readonly key?: string;
  readonly command?: string;
  /** Default `script`. */
  readonly type?: Job['type'];
  readonly parallel?: { readonly index: number; readonly total: number };
  readonly triggers?: string;
}

/**
 * One move of a build: a state, `blocked`, `unblocked`, or the same with outcomes for its jobs and a wait before it in
 * milliseconds (unset: the pace of the clock). `job` moves that one job and leaves the build alone.
 */
export type Step =
  | BuildState
  | 'blocked'
  | 'unblocked'
  | { readonly to: BuildState | 'blocked' | 'unblocked'; readonly jobs?: Outcomes; readonly after?: number }
  | { readonly job: string; readonly to: JobState | JobOutcome; readonly after?: number };

export type Cause = 'create' | 'rebuild' | 'retry' | 'unblock' | 'cancel';

/** What a build does: the steps after the state in which it is made, and the jobs it has. */
export interface Script {
  readonly jobs?: readonly JobPlan[];
  readonly steps: readonly Step[];
}

/** Chooses the script of a build; `undefined` leaves the choice to the rule before it, last to the default. */
export type ScriptRule = (build: Readonly<Build>, cause: Cause) => Script | readonly Step[] | undefined;

/** Names of the REST routes, for faults and for the truth log. */
export type RouteName =
  | 'create'
  | 'get'
  | 'list'
  | 'cancel'
  | 'rebuild'
  | 'retry_failed_jobs'
  | 'jobs'
  | 'job'
  | 'retry'
  | 'unblock'
  | 'log'
  | 'pipeline'
  | 'access_token'
  | 'organization'
  | 'rate_limit'
  | 'meta';

/** One request under `/v2`, as it truly happened. */
export interface RequestRecord {
  readonly n: number;
  readonly at: number;
  readonly method: string;
  /** Path with query, as sent. */
  readonly path: string;
  readonly route: RouteName | null;
  readonly body: unknown;
  /** Token user's id; null when the token was not accepted. */
  user: string | null;
  /** Status that was sent; null while not answered, and for ever when the answer was lost. */
  status: number | null;
  /** True when the socket was destroyed instead of an answer. */
  lost: boolean;
  /** The fault that acted, in words. */
  fault: string | null;
  /** The build that was made, or that the request was about. */
  build: { id: string; org: string; pipeline: string; number: number } | null;
}

/** One webhook request, as it truly happened. */
export interface Delivery {
  readonly n: number;
  readonly hook: string;
  readonly url: string;
  readonly event: HookEvent;
  readonly build: { id: string; org: string; pipeline: string; number: number } | null;
  readonly job: string | null;
  readonly requestId: string;
  /** When the event happened. */
  readonly at: number;
  headers: Readonly<Record<string, string>>;
  body: string;
  sentAt: number | null;
  status: number | null;
  /** `waiting` in its queue or by a fault, `lost` by a fault, `failed` without an answer. */
  outcome: 'waiting' | 'sending' | 'answered' | 'failed' | 'lost';
  error: string | null;
  fault: string | null;
}
