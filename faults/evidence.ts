/*
 * What a faults run leaves behind, as plain data: the outside world's own truth (forge, CI, readers, people), and what
 * Whorl and Temporal hold. The checker reads this and nothing else. Times are ms since 1970 by the harness's clock.
 */
import type { Build, Delivery, RequestRecord } from '../sim/buildkite/index.ts';

/** What an author's workflow file must lead to, known when it is pushed. */
export interface PushedJob {
  /** File name, `ci.yml`. */
  name: string;
  /**
   * `build`: one build at the CI for each attempt. `fake`: one of the built-in provider, so none at the CI.
   * `refused`: failed with the author's error, and no build. `parks`: the operator's error, and no build while it lasts.
   */
  expect: 'build' | 'fake' | 'refused' | 'parks';
  /** A newer push to the branch cancels it, if that one's file of this name says so too. */
  supersede?: true;
}

/** One push, from the knot's own books. */
export interface Push {
  knot: string;
  rkey: string;
  did: string;
  repo: string;
  commit: string;
  branch?: string;
  at: number;
  /** False: of a repository that this spindle must not serve. It must lead to no build and no status. */
  served: boolean;
  jobs: PushedJob[];
}

/** One webhook; `forged`: not sent by the CI, or with a signature that is none. `body` is dropped when all is counted. */
export type SentDelivery = Omit<Delivery, 'body' | 'headers'> & { forged: boolean };

/** Everything the CI saw and did. */
export interface CiTruth {
  /** Of our token: its builds are ours, everybody else's are people's. */
  user: string;
  requests: RequestRecord[];
  builds: Build[];
  deliveries: SentDelivery[];
}

/** One frame of `/events` as a reader got it. */
export interface Frame {
  /** `faithful`: reads without interruption but for faults of the link, and resumes as an appview does. */
  reader: string;
  /** Counts the links of this reader, so that the order within one can be seen; unset: nobody counted. */
  connection?: number;
  at: number;
  rkey: string;
  knot: string;
  pipelineRkey: string;
  job: string;
  status: string;
  createdAt: number;
  error?: string;
  exitCode?: number;
}

/** What a reader of `/logs` got. */
export interface LogRead {
  knot: string;
  rkey: string;
  job: string;
  at: number;
  lines: number;
  /** How it ended: close code, or an HTTP status before the upgrade. */
  closed: number | null;
  /** Of all text frames. Two complete reads of an ended log must agree. */
  digest: string;
}

/** What a person asked of Whorl. `id` is that of the command. */
export interface Asked {
  id: string;
  kind: 'cancel' | 'rerun' | 'retry';
  pipeline: string;
  job: string | null;
  at: number;
}

/** Something that the harness did, and how long it lasted. `target`: a process, a link or a service. */
export interface Disturbance {
  fault: string;
  target: string;
  from: number;
  to: number;
  /** In words, for the log. */
  about: string;
}

/** A process of Whorl that ended although nobody had killed it, or not well although it had its time to. */
export interface Crash {
  process: string;
  /** When it was started; unset: not known. */
  startedAt?: number;
  /** When it was told to stop, and should have ended with 0; unset: it was not. */
  toldAt?: number;
  at: number;
  code: number | null;
  signal: string | null;
  lastLines: string[];
}

type Row<T> = T[];

/** The tables as they are when all is quiet; times are ms, bigints are text. */
export interface Tables {
  triggers: Row<{
    knot: string;
    nsid: string;
    rkey: string;
    state: string;
    reason: string | null;
    received_at: number;
    settled_at: number | null;
    hold_until: number | null;
    tries: number;
    has_body: boolean;
  }>;
  pipelines: Row<{ id: string; knot: string; rkey: string; did: string; repo: string; created_at: number }>;
  jobs: Row<{
    pipeline: string;
    name: string;
    provider: string | null;
    refusal: string | null;
    attempt: number;
    epoch: number;
    rank: number;
    status: string | null;
    error: string | null;
    shown_at: number | null;
    /** What the workflow left for people beside the error. */
    note: string | null;
  }>;
  attempts: Row<{
    pipeline: string;
    job: string;
    attempt: number;
    run_key: string;
    command: string | null;
    posts: number;
    adopted_from: string | null;
    build: string | null;
    bound_at: number | null;
    cancel_asked_at: number | null;
  }>;
  builds: Row<{
    pipeline: string;
    job: string;
    attempt: number;
    provider: string;
    nonce: string;
    posted_at: number;
    outcome: string;
    build: string | null;
    number: string | null;
    extra_since: number | null;
    cancelled_at: number | null;
    /** Of the built-in provider only: the build itself, which lives nowhere else. */
    data: unknown;
  }>;
  statuses: Row<{
    pipeline: string;
    job: string;
    attempt: number;
    epoch: number;
    rank: number;
    status: string;
    error: string | null;
    rkey: string;
    created_at: number;
    cursor: string | null;
    state: string;
    resend: boolean;
  }>;
  deliveries: Row<{
    key: string;
    event: string;
    build: string;
    state: string;
    reason: string | null;
    received_at: number;
  }>;
  commands: Row<{
    id: string;
    pipeline: string;
    kind: string;
    job: string | null;
    state: string;
    result: string | null;
    received_at: number;
    settled_at: number | null;
  }>;
  reopenings: Row<{ pipeline: string; epoch: number; because: string; token: string | null }>;
  quarantine: Row<{ source: string; reason: string }>;
  logs: Row<{
    pipeline: string;
    job: string;
    attempt: number;
    entries: string;
    removed_at: number | null;
    /** What its entries say, for those attempts that never had a build; null for the others. */
    text: string | null;
  }>;
}

/** A workflow as Temporal shows it. */
export interface Workflow {
  id: string;
  runId: string;
  startedAt: number;
  /** RUNNING, COMPLETED, FAILED, TERMINATED, TIMED_OUT, CONTINUED_AS_NEW, CANCELED. */
  status: string;
  /** Causes in the search attribute `Parked`. */
  parked: string[];
  /** What the UI shows as current details; undefined when it could not be asked for. */
  details?: string;
  historyLength: number;
  /** Pending activities with their attempts and last failures. */
  pending: { activity: string; attempt: number; failure: string | null }[];
  /** Of a workflow task that fails again and again. */
  taskFailure: string | null;
}

/** A planted secret that was found where it must not be. */
export interface Sighting {
  /** Its name, not its value. */
  secret: string;
  /** `table log_chunks`, `log of worker-1`, `history pipeline/…`, `metrics of server-1`, `frames`. */
  where: string;
  /** A few characters around it, with the secret itself cut out. */
  around: string;
}

/** What the scan for secrets went through. */
export interface Scan {
  /** How many secrets were looked for. */
  secrets: number;
  /** Bytes by place, named as in `Sighting`; histories and tables are there in any case. */
  bytes: Record<string, number>;
}

export interface Evidence {
  seed: number;
  /** When the last fault ended, and when all was quiet; `quietAt` null: it never was within the limit. */
  faultsEndedAt: number;
  quietAt: number | null;
  pushes: Push[];
  /** Every trigger in the books of the knots themselves: none may be missing in `pushes`. */
  books: { knot: string; rkey: string }[];
  ci: CiTruth;
  frames: Frame[];
  logReads: LogRead[];
  asked: Asked[];
  disturbances: Disturbance[];
  crashes: Crash[];
  tables: Tables;
  workflows: Workflow[];
  sightings: Sighting[];
  scan: Scan;
  /** Where each pipeline's reason can be read on the command line: text of `whorl show` for those that need one. */
  shown: Record<string, string>;
  /** Each history that was replayed on today's code; `error`: why it would break. */
  replays: { name: string; error?: string }[];
}

/** What the checker says of one invariant of docs/reliability.md. */
export interface Verdict {
  invariant: 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;
  /** One sentence. */
  name: string;
  kept: boolean;
  /** How many things were looked at: 0 would mean that nothing was. */
  checked: number;
  /** How many counterexamples there are, by kind. */
  found: Record<string, number>;
  /** Each in words that a person can follow up: ids, times, what was expected, what was there. The first twenty. */
  counterexamples: string[];
}
