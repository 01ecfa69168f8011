import type { Status } from './status.ts';
import type { Wait } from './wait.ts';

/** Everything that is known of one pipeline when somebody asks why. */
export interface WhyFacts {
  id: string;
  /** The database's clock. */
  now: Date;
  books: Books;
  engine: Engine;
  /** Of a trigger that waits for its repository to be chosen: what to do, and how an operator pins it. */
  advice: { text: string; repo: string | null } | null;
  /** Of a running pipeline, ms; what the workflow says itself goes before. */
  parkLimit: number;
}

/** What PostgreSQL knows. Rows of one kind come in the order in which they were written. */
export interface Books {
  trigger: TriggerFact | undefined;
  pipeline: PipelineFact | undefined;
  jobs: JobFact[];
  attempts: AttemptFact[];
  posts: PostFact[];
  statuses: StatusFact[];
  deliveries: DeliveryFact[];
  commands: CommandFact[];
  reopenings: { epoch: number; because: string; at: Date }[];
  /** Times in the rate budget that calls of this pipeline were given and that are still to come. */
  slots: { key: string; at: Date }[];
  /** Rows with this key that PostgreSQL refused, and frames that were none. */
  setAside: { source: string; reason: string; at: Date; kind: 'quarantined' | 'refused frame' }[];
  /** Whether a process carries to Temporal what comes in of this pipeline. */
  dispatched: boolean;
  /** How far its knot is read, and whether a process reads it; undefined: never. */
  knot: { upTo: Date | null; read: boolean } | undefined;
}

export interface TriggerFact {
  knot: string;
  state: 'new' | 'held' | 'started' | 'ended' | 'refused' | 'early';
  reason: string | null;
  eventAt: Date | null;
  receivedAt: Date;
  settledAt: Date | null;
  dueAt: Date;
  holdUntil: Date | null;
  tries: number;
  body: unknown;
}

export interface PipelineFact {
  knot: string;
  rkey: string;
  did: string;
  repo: string;
  kind: string;
  commit: string;
  branch: string;
  title: string;
  createdAt: Date;
}

export interface JobFact {
  name: string;
  provider: string | null;
  refusal: string | null;
  attempt: number;
  epoch: number;
  status: Status | null;
  error: string | null;
  exitCode: number | null;
  parked: string | null;
  note: string | null;
  /** What the CI said last of each build that was ever named, with its finish time, ms. */
  ends: Record<string, { status: Status; at: number }>;
  build: string | null;
  url: string | null;
}

export interface AttemptFact {
  job: string;
  attempt: number;
  command: string | null;
  adoptedFrom: string | null;
  build: string | null;
  createdAt: Date;
  boundAt: Date | null;
  cancelAskedAt: Date | null;
  learnt: 'webhook' | 'read' | 'self' | null;
  endedAt: Date | null;
}

export interface PostFact {
  job: string;
  attempt: number;
  postedAt: Date;
  outcome: 'unknown' | 'accepted' | 'refused' | 'adopted';
  looks: number;
  lookedAt: Date | null;
  build: string | null;
  number: string | null;
  url: string | null;
  extraSince: Date | null;
  cancelledAt: Date | null;
}

export interface StatusFact {
  job: string;
  attempt: number;
  epoch: number;
  status: Status;
  error: string | null;
  createdAt: Date;
  /** When readers could see it; null while it is withheld, or when it was overtaken. */
  shownAt: Date | null;
  state: 'due' | 'sent' | 'skipped';
  resend: boolean;
}

export interface DeliveryFact {
  event: string;
  build: string;
  job: string | null;
  state: 'new' | 'done' | 'foreign';
  reason: string | null;
  receivedAt: Date;
  dueAt: Date;
  settledAt: Date | null;
  tries: number;
  /** Null once it is too old to be kept. */
  status: Status | null;
}

export interface CommandFact {
  id: string;
  kind: 'cancel' | 'rerun' | 'retry';
  job: string | null;
  by: string;
  /** Of a cancel that nobody typed: what the status will say. */
  reason: string | null;
  state: 'new' | 'done' | 'refused';
  result: string | null;
  receivedAt: Date;
  dueAt: Date;
  settledAt: Date | null;
  tries: number;
}

/** What Temporal says. */
export type Engine =
  /** Nobody asked it: there was no need, or nobody knows where it is. */
  | { asked: false; why: string }
  | { asked: true; answers: false; server: string; why: string }
  | { asked: true; answers: true; server: string; workflow: WorkflowFact | null };

export interface WorkflowFact {
  /** As Temporal calls it: RUNNING, COMPLETED, TERMINATED, … */
  status: string;
  runId: string;
  startedAt: Date;
  closedAt: Date | null;
  /** A workflow task that failed, or that nobody takes. */
  task: { attempt: number; started: boolean; since: Date | null; failure: string | null } | null;
  activities: ActivityFact[];
  /** When a worker last asked for work, by Temporal's clock; null: none for five minutes and more. */
  workerSeen: Date | null;
  queue: string;
  /** What the workflow itself says; null when no worker answered for it. */
  waits: Wait[] | null;
}

export interface ActivityFact {
  id: string;
  attempt: number;
  running: boolean;
  paused: { by: string | null; reason: string | null; at: Date | null } | null;
  failure: { type: string | null; message: string; at: Date | null } | null;
  scheduledAt: Date | null;
  nextAt: Date | null;
}
