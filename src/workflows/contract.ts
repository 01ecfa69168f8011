import type { PipelineId } from '../pipeline/ids.ts';
import type { Job } from '../pipeline/job.ts';
import type { Status } from '../pipeline/status.ts';
import type { BuildRef } from '../providers/provider.ts';
import type { Fact, Observation } from '../pipeline/words.ts';

/** What the workflow asks of activities. `src/activities` implements it; nothing but types crosses here. */
export interface Activities {
  /** Makes sure that the attempt has one build, and says which. Safe to repeat. */
  create(input: CreateInput): Promise<Created>;
  /** Looks for a build whose create answer was lost, binds it if there is none, and cancels extras. */
  search(input: AttemptInput): Promise<Searched>;
  /** Forbids further creates for the attempt and asks the CI to stop its build. */
  stop(input: AttemptInput): Promise<Stopped>;
  /** Takes over a build that a person started from one of ours. */
  adopt(input: AdoptInput): Promise<Adopted>;
  read(input: ReadInput): Promise<Observation[]>;
  publish(input: PublishInput): Promise<void>;
  /**
   * Brings home what the CI has of an attempt's log. Comes back when all that is there now is here and nobody watches;
   * while somebody does, it fails on purpose and is tried again two seconds later.
   */
  bring(input: BringInput): Promise<void>;
  /** Claims an epoch and loads what the earlier runs left. */
  reopen(input: ReopenInput): Promise<Reopened>;
}

/** What housekeeping takes away after its time, each kind by an activity of its own. */
export type HouseKind = 'logs' | 'deliveries' | 'statuses' | 'quarantine' | 'tokens' | 'sources';

/** Takes away all of a kind whose time is over, in short statements. Safe to repeat, and at once. */
export type HouseActivities = Record<`tidy${Capitalize<HouseKind>}`, () => Promise<Tidied>>;

export interface Tidied {
  /** Rows that went, or whose contents did. */
  removed: number;
  /** What is left takes so much on the disk, with its indexes. */
  bytes: number;
}

export interface AttemptInput {
  pipeline: PipelineId;
  job: string;
  attempt: number;
}

export interface CreateInput extends AttemptInput {
  /** Waits in ms between the searches after an answer was lost. */
  looks: number[];
  /** The command that asked for this attempt. */
  command?: string;
}

export type Created =
  /** `doubt`: an outcome was unknown at some time, so an extra build may still surface. */
  | { kind: 'bound'; seen: Observation; doubt: boolean }
  /** Somebody asked to stop before there was a build. */
  | { kind: 'stopped'; doubt: boolean };

export interface Searched {
  /** The build of this attempt, if it has one. */
  seen?: Observation;
}

export interface Stopped {
  build?: string;
  doubt: boolean;
}

export interface AdoptInput extends AttemptInput, Rebuild {}

/** A build that a person started from one of ours, as a webhook told of it. */
export interface Rebuild {
  ref: BuildRef;
  rebuiltFrom: string;
}

export interface Adopted {
  attempt: number;
  seen: Observation;
}

export interface ReadInput {
  pipeline: PipelineId;
  builds: string[];
}

export interface StatusInput {
  job: string;
  attempt: number;
  epoch: number;
  status: Status;
  error?: string;
  exitCode?: number;
  /** There is no build, so the log of the attempt holds nothing but the reason. */
  unbuilt?: boolean;
  /** The class of the failure for which the job waits for the operator. */
  parked?: string;
  /** How the end was first learnt: a webhook told it, a read of ours found it, or it is our own word. */
  learnt?: 'webhook' | 'read' | 'self';
  /** What became of a cancel that came too late: for the job's log. */
  remark?: string;
  /** Kept for the day the pipeline is opened again. */
  state: Kept;
}

export interface PublishInput {
  pipeline: PipelineId;
  statuses: StatusInput[];
  /** Send the latest status of each job once more. */
  resend?: boolean;
}

export interface BringInput extends AttemptInput {
  /** The build has ended in this epoch: bring all of it, and say that it is complete. Absent: what there is. */
  ended?: number;
  /** How long its steps may be shown as running all the same, ms. */
  patience?: number;
  /** It could not be brought: say so in the log, and complete it. */
  gaveUp?: string;
}

/** What is kept of a job between two openings. */
export interface Kept {
  job: Job;
  attempts: number;
  note: string | null;
}

export interface ReopenInput {
  pipeline: PipelineId;
  epoch: number;
  /** Tells one start from another start of the same epoch; stays the same over a reset. */
  token: string;
  /** The epoch was somebody else's, but words came in meanwhile: take a new one. */
  fresh?: boolean;
}

/** What the forge was told of a job. */
export type Shown = Pick<Fact, 'attempt' | 'epoch' | 'status' | 'error' | 'exitCode'>;

export type Reopened = { claimed: false } | { claimed: true; epoch: number; jobs: ReopenedJob[] };

export interface ReopenedJob {
  name: string;
  kept: Kept | null;
  /** The status that was published last; null when there was none. Absent in what older releases answered. */
  shown?: Shown | null;
  /** After a restore: the logs that are really here, by attempt, with the epoch up to which they are whole. */
  brought?: Record<number, number>;
}
