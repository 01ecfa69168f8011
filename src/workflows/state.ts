import { ApplicationFailure, type CancellationScope, type Trigger, workflowInfo } from '@temporalio/workflow';
import type { Durations } from '../pipeline/durations.ts';
import type { PipelineId } from '../pipeline/ids.ts';
import type { ActivityCalls } from './activities.ts';
import { dueLog } from './log-run.ts';
import { hasEnded, type JobRun, showKey, toShow, toRead } from './run.ts';

/** The state that the handlers change and the loops watch. */
export interface Pipeline {
  readonly id: PipelineId;
  readonly durations: Durations;
  readonly acts: ActivityCalls;
  /** Logs are brought home. */
  readonly logs: boolean;
  epoch: number;
  runs: JobRun[];
  /** When the first status was published, ms. */
  firstShown: number | null;
  resent: boolean;
  resendDue: boolean;
  /** Activities of the loops that are under way. */
  publishing: boolean;
  reading: boolean;
  /** Creates, stops, searches and sweeps that are under way. */
  readonly underWay: Set<string>;
  /** Opened again for a word that has not come yet: wait for it until then, ms. */
  expecting: number | null;
  /** Words that came in, ever: an epoch that was claimed by another run is not simply dropped then. */
  heard: number;
  closing: boolean;
  /** The causes in the search attribute `Parked`, as they stand there. */
  parkedCauses: string;
  /** What creates the build of a job, or follows its log, so that it can be interrupted. Not carried over. */
  readonly scopes: Map<string, CancellationScope>;
  /** Rejected by an unexpected error anywhere: it stalls the workflow task, visibly, until a deploy mends it. */
  readonly failure: Trigger<never>;
}

export const unpublished = (p: Pipeline): JobRun[] =>
  p.runs.filter((run) => run.shown !== showKey(toShow(run), run.note));

/** Nothing is left to do: every job ended, everything is published and sent again, and no build can surface late. */
export const settled = (p: Pipeline): boolean =>
  calm(p) &&
  p.resent &&
  p.underWay.size === 0 &&
  p.expecting === null &&
  unpublished(p).length === 0 &&
  !(p.logs && p.runs.some(({ job, log }) => dueLog(job, log) !== undefined)) &&
  p.runs.every(
    (run) =>
      hasEnded(run) && toRead(run) === undefined && run.owed === null && run.doubts.length === 0 && !anyHeld(run),
  );

/** Failures that still wait for their explanation, of builds that are ours. */
export const anyHeld = (run: JobRun): boolean =>
  Object.keys(run.held).some((build) => Object.values(run.job.bound).includes(build));

const calm = (p: Pipeline): boolean => !p.publishing && !p.reading;

export function mustContinue(p: Pipeline): boolean {
  const info = workflowInfo();
  const long = info.continueAsNewSuggested || info.historyLength > p.durations.maxEvents;
  return long && calm(p) && p.firstShown !== null && !adopting(p);
}

/** The next run would not know what is to be adopted; everything else that is under way it begins again. */
const adopting = (p: Pipeline): boolean => [...p.underWay].some((work) => work.startsWith('adopt:'));

/** The jobs that a command means: the one it names, or all. */
export const targets = (p: Pipeline, job: string | undefined): JobRun[] =>
  job === undefined ? p.runs : p.runs.filter(({ name }) => name === job);

/** For validators: refuses a command that has nothing to act on, saying why. */
export function requires(
  p: Pipeline,
  job: string | undefined,
  fits: (run: JobRun) => boolean,
  otherwise: string,
): void {
  const named = targets(p, job);
  if (named.some(fits)) return;
  const names = p.runs.map(({ name }) => name).join(', ');
  const message =
    named.length === 0
      ? `This pipeline has no job ${job}. It has: ${names}.`
      : `${job ?? 'Every job of this pipeline'} ${otherwise}.`;
  throw ApplicationFailure.nonRetryable(message, 'Refused');
}
