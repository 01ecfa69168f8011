import type { RunKey } from '../pipeline/ids.ts';
import type { Observation } from '../pipeline/words.ts';

/** Plain JSON: what a provider keeps about a target or a build. Only that provider reads it. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** What a build is made from. Written once, when the trigger is planned; activities read it from the database. */
export interface BuildSpec {
  provider: string;
  /** Where it runs, as `plan` returned it. */
  target: Json;
  knot: string;
  rkey: string;
  job: string;
  repo: { did: string; name: string };
  /** Full commit hash. */
  commit: string;
  /** Branch or tag name; what the CI files the build under. */
  branch: string;
  tag?: string;
  kind: string;
  message: string;
}

/** A build at its provider. `data` is the provider's own note to itself (Buildkite: organisation and pipeline). */
export interface BuildRef {
  id: string;
  number: number | null;
  url: string | null;
  data: Json;
}

export interface Built {
  ref: BuildRef;
  seen: Observation;
}

export interface CreateRequest {
  runKey: RunKey;
  /** Drawn afresh for each POST and stored before it; `find` accepts only builds that carry a known one. */
  nonce: string;
  /** When the row for this POST was written (database clock). */
  postedAt: Date;
  spec: BuildSpec;
}

export interface FindRequest {
  runKey: RunKey;
  spec: BuildSpec;
  /** The POSTs made so far for this run key. */
  posts: { nonce: string; postedAt: Date }[];
  /** Builds that webhooks named as this job's: looked at one by one, since a list may lag. No proof that they are ours. */
  told?: BuildRef[];
}

export interface TraceRequest {
  spec: BuildSpec;
  /** Of the attempts that may have been made, the first one first. */
  runKeys: RunKey[];
  /** None of them is older. */
  since: Date;
}

/** A build that a CI has of a job: `runKey` when we made it, with the nonce of its POST; else a person did. */
export interface Traced extends Built {
  /** Ms since 1970, by the CI's clock. */
  madeAt?: number;
  runKey?: RunKey;
  nonce?: string;
  rebuiltFrom?: string;
}

/** What a CI runs within one build (Buildkite: a job). Each has a log of its own, or none. */
export interface LogStep {
  /** The CI's own name for it; stays the same. */
  id: string;
  /** For people: its label; a retried one says so. */
  name: string;
  /** What it runs, if that is one short command. */
  command?: string;
  state: 'waiting' | 'running' | 'ended';
  /**
   * It never has a log (a wait, a question to a person, another pipeline, never run): how it stands, in a sentence that
   * may change until it has ended.
   */
  remark?: string;
  /** Ms since 1970. */
  startedAt?: number;
  endedAt?: number;
}

/** How far a step's log was read: always at the beginning of a line. */
export interface LogPlace {
  /** Raw bytes at the CI. */
  bytes: number;
  /** The last time that the CI told before it, ms. */
  at: number | null;
}

/** One line of a step's log, cleaned: no control characters but TAB and SGR (`ESC [ … m`), no line end. */
export interface LogLine {
  text: string;
  /** When it was written, ms, if the CI says so. */
  at: number | null;
  /** It is a header, and its text the name of the group of lines that it begins; `system`: the CI's own doings. */
  group?: 'user' | 'system';
  /**
   * It is a long one: so many bytes at the CI. `text` is then more than should be kept, so that a secret across the cut
   * can be masked whole; `cutLine` (line.ts) cuts what is masked.
   */
  bytes?: number;
}

/** A piece of a step's log, with the place after it. */
export interface LogPart {
  lines: LogLine[];
  place: LogPlace;
  /** So many bytes before these lines were left out, because the log is too long. */
  skipped?: number;
  /** The log became shorter, so it was begun again from its beginning. */
  again?: boolean;
}

export interface LogRequest {
  step: LogStep;
  from: LogPlace;
  /** Nothing more will be written: a last line without an end counts too. */
  ended: boolean;
  /** At most so many bytes: of more, the beginning and the end. */
  most: number;
  /** How many of them are for the beginning; default half. */
  head?: number;
}

export interface Limits {
  /** Requests left in the present window, as the CI last said; null when it never did. */
  remaining: number | null;
  limit: number | null;
  resetAt: Date | null;
}

export interface Health {
  ok: boolean;
  /** One sentence for an operator: what is wrong and what to do, or what was checked. */
  detail: string;
}

export interface Capabilities {
  /** Tells us by webhook; otherwise builds are read every `pollMs`. */
  webhooks: boolean;
  /** How often to read the builds of a provider without webhooks, in ms. */
  pollMs?: number;
  /** The same run key always gives the same build, so an unknown outcome needs no search. */
  idempotentCreate: boolean;
  retry: boolean;
  logs: boolean;
}

/**
 * A CI behind us. Every call makes at most a few requests, heeds the signal, and throws `ProviderError`.
 * Nothing here knows Temporal or PostgreSQL; safety of repeated creates is the caller's: a row before each POST.
 */
export interface Provider {
  readonly name: string;
  readonly capabilities: Capabilities;
  /** One POST. Throws `ambiguous` errors when the build may exist all the same. */
  create(request: CreateRequest, signal: AbortSignal): Promise<Built>;
  /** The builds that our POSTs for this run key made, oldest first: source `api`, our user, commit, target and nonce, no rebuild. */
  find(request: FindRequest, signal: AbortSignal): Promise<Built[]>;
  /**
   * All builds of a job, oldest first, also those of POSTs of which we have no row: for when rows were lost. A CI whose
   * `create` is idempotent needs none.
   */
  trace?(request: TraceRequest, signal: AbortSignal): Promise<Traced[]>;
  /** Where the builds stand; one that is gone is `cancelled` with an error. */
  read(refs: BuildRef[], signal: AbortSignal): Promise<Built[]>;
  /** Asks the CI to stop a build. One that has ended already is success. The ref may come back changed: store it. */
  cancel(ref: BuildRef, signal: AbortSignal): Promise<BuildRef>;
  /** Runs what failed in an ended build again, in the same build. */
  retry(ref: BuildRef, signal: AbortSignal): Promise<BuildRef>;
  /** The steps of a build in the order of their making, which later ones only add to. */
  steps(ref: BuildRef, signal: AbortSignal): Promise<LogStep[]>;
  /** A step's log from a place up to its present end, in parts of bearable size. None when nothing is new. */
  log(ref: BuildRef, request: LogRequest, signal: AbortSignal): AsyncIterable<LogPart>;
  limits(): Limits;
  health(signal: AbortSignal): Promise<Health>;
}

/** What a workflow file's block for a provider means: a target, or a sentence for its author. */
export type Planned = { ok: true; target: Json } | { ok: false; reason: string };

/** Pure: validates the value under `tack.<provider>` of a workflow file. */
export type Plan = (options: unknown) => Planned;

/** A verified webhook, cut down to what is needed: bodies hold environment and secrets. */
export interface Delivery {
  /** Unique for each request: request id, event and hash of the body. */
  key: string;
  event: string;
  /** The provider's id of the build it is about. */
  build: string;
  ref: BuildRef;
  rebuiltFrom?: string;
  /** The `tack:*` keys of the build's meta_data, if all three are there: an address, not a proof. */
  address?: { knot: string; rkey: string; job: string };
  seen: Observation;
}

export type WebhookResult =
  | { kind: 'refused'; status: 400 | 401; reason: string }
  | { kind: 'ignored'; reason: string }
  | { kind: 'delivery'; delivery: Delivery };

/** Pure: checks credentials on the raw body and picks the fields. `now` in ms. */
export type ParseWebhook = (
  headers: Record<string, string | string[] | undefined>,
  body: Uint8Array,
  now: number,
) => WebhookResult;

/** Slots in a shared rate budget, in the order of their importance. */
export type Priority = 'cancel' | 'create' | 'read' | 'log';

/** The rate budget of a token, shared by all processes. Its times are by `steadyNow`. */
export interface Limiter {
  /**
   * Reserves a slot for a call. The key names the call, so that a repeated one keeps its slot.
   * Resolves to the time at which it may be made; the past means now.
   */
  reserve(bucket: string, key: string, priority: Priority): Promise<Date>;
  /** The CI said that nothing may come before this time. */
  block(bucket: string, until: Date): Promise<void>;
  /** What the CI last said of its own limit, for people to look at. Times are by `Date.now`. */
  told?(bucket: string, limits: Limits): Promise<void>;
}
