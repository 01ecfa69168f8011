import type { HookAction, HookMatch, RequestAction, RequestMatch, Rule } from './faults.ts';
import type { NewBuild, Target } from './life.ts';
import type { Limits } from './limits.ts';
import type * as t from './types.ts';
import type { Webhook, WebhookSettings } from './webhooks.ts';
import type { PipelineSettings, TokenSettings } from './world.ts';

export interface BuildkiteOptions {
  /** Default 0: any free port. */
  readonly port?: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** What addresses in answers begin with; default the address it listens on. */
  readonly publicUrl?: string;
  /** `org/slug` or settings; default `acme/app`. */
  readonly pipelines?: readonly (PipelineSettings | string)[];
  /** Makes organisations and pipelines when they are first asked for, instead of answering 404. */
  readonly autoPipelines?: boolean;
  /** The first token. Default: a random one with all scopes. */
  readonly token?: TokenSettings;
  /** `auto`: builds move by themselves, a step each `pace` ms. Default `manual`. */
  readonly clock?: 'auto' | 'manual';
  /** Milliseconds; default 300. */
  readonly pace?: number;
  /** Default `off`. */
  readonly limits?: Limits | 'off';
  /** Milliseconds until lists show a new build, or `manual`. Default 0. */
  readonly indexLag?: number | 'manual';
  readonly now?: () => number;
  /**
   * Writes the log of a job whenever it is asked for: as much as there is at `now`, which must begin with what there was
   * before. Nothing else writes logs then, and none is kept.
   */
  readonly log?: (build: Readonly<t.Build>, job: Readonly<t.Job>, now: number) => Buffer;
  /**
   * False, for a simulator that runs for long: bodies and headers of webhooks are forgotten when these are done, and
   * bodies of requests when they were answered, all but the `meta_data` of a create. Default true.
   */
  readonly keepBodies?: boolean;
  /** Called when a request under `/v2` was answered or lost. */
  readonly onRequest?: (request: Readonly<t.RequestRecord>) => void;
  /** Called when a webhook was answered, failed or lost. */
  readonly onDelivery?: (delivery: Readonly<t.Delivery>) => void;
}

/** Something that was stopped on its way. */
export interface Hold<T> {
  /** Resolves when it has arrived. */
  readonly arrived: Promise<T>;
  release(): void;
}

/** A running Buildkite. What it returns are snapshots, except the two logs, which grow. */
export interface BuildkiteSim {
  readonly url: string;
  /** Base of the REST API, with `/v2`. */
  readonly apiUrl: string;
  readonly port: number;
  /** The first token. */
  readonly token: string;
  /** The first token's user: the creator of the builds that it makes. */
  readonly user: t.User;
  /** Who acts when the methods below act; not the token's user. */
  readonly person: t.User;
  /** Every request under `/v2`, oldest first. */
  readonly requests: readonly t.RequestRecord[];
  /** Every webhook, sent or not, oldest first. */
  readonly deliveries: readonly t.Delivery[];
  builds(): t.Build[];
  build(ref: t.BuildRef): t.Build;

  /** Adds a pipeline, or changes its settings. */
  pipeline(settings: PipelineSettings | string): t.Pipeline;
  removePipeline(org: string, slug: string): void;
  addToken(settings?: TokenSettings): t.Token;
  revokeToken(token: string): void;
  webhook(settings: WebhookSettings): Webhook;

  /** Chooses the script of builds to come, or of what follows `causes`; the newest rule is asked first. */
  script(rule: t.ScriptRule, causes?: readonly t.Cause[]): void;
  /** A build that a person made, with any meta_data: a foreign one. */
  create(org: string, pipeline: string, given: Pick<NewBuild, 'commit' | 'branch'> & Partial<NewBuild>): t.Build;
  /** The next step of the script, or this state. */
  advance(ref: t.BuildRef, state?: Target): t.Build;
  /** Ends a build now, whatever its script says; a cancelled one passes through `canceling`. */
  finish(
    ref: t.BuildRef,
    result: 'passed' | 'failed' | 'canceled' | 'skipped' | 'not_run',
    end?: { jobs?: t.Outcomes; cancelReason?: string },
  ): t.Build;
  /** Moves one job by key or id; the build only follows from `scheduled` to `running`. */
  moveJob(ref: t.BuildRef, job: string, to: t.JobState | t.JobOutcome): void;
  /** Adds to a job's log, by key or id, what its command writes: text or raw bytes, exactly as given. */
  appendLog(ref: t.BuildRef, job: string, data: string | Uint8Array): void;
  /** Puts something else in its place: a log that was deleted (empty) and begun again. */
  replaceLog(ref: t.BuildRef, job: string, data: string | Uint8Array): void;
  /** A job's log as it is now, raw. */
  log(ref: t.BuildRef, job: string): Buffer;
  /** As the Cancel button does: throws what the API would refuse. */
  cancel(ref: t.BuildRef, reason?: string): void;
  rebuild(ref: t.BuildRef, source?: t.Source): t.Build;
  /** Retries a job by key or id; unset: the last that failed. The build runs again. */
  retryJob(ref: t.BuildRef, job?: string): t.Job;
  unblock(ref: t.BuildRef): void;
  /** As a job does with `buildkite-agent meta-data set`. */
  setMetaData(ref: t.BuildRef, key: string, value: string): void;
  openJobs(ref: t.BuildRef): t.Job[];
  /** How many builds will still move by themselves, and how many webhooks are not done. */
  pending(): { builds: number; webhooks: number };

  /** Lets actions happen to requests that match, once unless `times` says otherwise. */
  onRequest(match: RequestMatch, action: RequestAction | readonly RequestAction[], times?: number | 'always'): Rule;
  /** Lets an action happen to webhooks that match, once unless `times` says otherwise. */
  onWebhook(match: HookMatch, action: HookAction, times?: number | 'always'): Rule;
  /** An action: the answer waits until these webhooks of the request's build were delivered. */
  afterWebhooks(...events: t.BuildEvent[]): RequestAction;
  /** Holds the next matching request: its answer (the work is done), or the whole request at its arrival. */
  hold(match: RequestMatch, at?: 'answer' | 'arrival'): Hold<t.RequestRecord>;
  /** Holds the next matching webhook and all after it of the same build. */
  holdWebhook(match: HookMatch): Hold<t.Delivery>;
  clearFaults(): void;

  setLimits(limits: Limits | 'off'): void;
  setIndexLag(lag: number | 'manual'): void;
  /** Lets the lists show every build. */
  reindex(): void;
  setPace(ms: number): void;
  /** Waits for something to be so; looks again whenever anything changed here. Rejects after `timeout` ms (10 s). */
  until<T>(check: () => T | undefined | null | false, what: string, timeout?: number): Promise<T>;
  close(): Promise<void>;
}
