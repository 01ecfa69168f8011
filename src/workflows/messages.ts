import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Durations } from '../pipeline/durations.ts';
import type { PipelineId } from '../pipeline/ids.ts';
import type { Wait } from '../pipeline/wait.ts';
import type { Fact, Observation } from '../pipeline/words.ts';
import type { Kept, Rebuild } from './contract.ts';
import type { JobRun } from './run.ts';

/** What a webhook told about a build of a job. */
export interface Notice {
  job: string;
  seen: Observation;
  /** A person ran one of our builds again as this one. */
  rebuild?: Rebuild;
}

export interface JobInput {
  name: string;
  /** Read this often, because the provider sends no webhooks. */
  pollMs?: number;
  /** Why there is nothing to run: the author's mistake, in a sentence for the author. */
  refusal?: string;
  /** What earlier runs of this pipeline left, when it is opened again. */
  kept?: Kept;
}

export interface PipelineInput {
  pipeline: PipelineId;
  /** Counts how often the pipeline was opened again; 0 for the run that a trigger starts. */
  epoch: number;
  jobs: JobInput[];
  durations: Durations;
  /** Bring logs home. Absent in what older releases started. */
  logs?: boolean;
  /** State handed over by continue-as-new. */
  carried?: Carried;
}

export interface Carried {
  epoch: number;
  runs: JobRun[];
  firstShown: number | null;
  resent: boolean;
}

export interface CommandInput {
  id: string;
  by: string;
  /** All jobs when absent. */
  job?: string;
  /** What the status of a cancelled job says; default who cancelled it. */
  reason?: string;
}

/** As a person may send it, who need not know an id. */
export type LooseCommandInput = Partial<CommandInput> | undefined;

export interface JobView extends Fact {
  job: string;
  build?: string;
  parked?: string;
  note?: string;
  /** The step that the CI told of last. */
  step?: string;
}

export interface PipelineView {
  pipeline: PipelineId;
  epoch: number;
  jobs: JobView[];
  /** What it waits for now. Absent in what older workers answer. */
  waits?: Wait[];
}

/** Somebody reads the log of a job, so it should be followed. */
export interface Watch {
  job: string;
}

export const watch = defineSignal<[Watch]>('watch');
export const notices = defineSignal<[Notice[]]>('notices');
export const cancel = defineUpdate<string, [LooseCommandInput]>('cancel');
export const rerun = defineUpdate<string, [LooseCommandInput]>('rerun');
export const retryStep = defineUpdate<string, [LooseCommandInput]>('retryStep');
export const view = defineQuery<PipelineView>('state');
