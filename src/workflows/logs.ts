import { ActivityFailure, CancellationScope, condition, isCancellation, log } from '@temporalio/workflow';
import { standing } from '../pipeline/job.ts';
import type { BringInput } from './contract.ts';
import { dueLog, longerPause } from './log-run.ts';
import { background } from './background.ts';
import type { Pipeline } from './state.ts';
import { attemptName, hasEnded, type JobRun } from './run.ts';

/** When a log that is wanted may be brought, if that is still to come; for the clock. */
export const logAt = (p: Pipeline, run: JobRun): number =>
  canFollow(p, run) && run.log.notBefore > Date.now() ? run.log.notBefore : Infinity;

const canFollow = (p: Pipeline, run: JobRun): boolean => {
  const { attempt } = standing(run.job);
  return p.logs && run.log.wanted && !run.log.following && !hasEnded(run) && run.job.bound[attempt] !== undefined;
};

/** Somebody began to read the log of a job. */
export function watchLog(run: JobRun): void {
  run.log.wanted = true;
  run.log.notBefore = 0;
}

const isBusy = (p: Pipeline, run: JobRun): boolean => p.underWay.has(nameOf(run));

const nameOf = (run: JobRun): string => `logs:${run.name}`;

/** Brings logs home beside everything else: no status waits for one. */
export async function logKeeper(p: Pipeline): Promise<void> {
  if (!p.logs) return;
  for (;;) {
    await condition(() => p.closing || p.runs.some((run) => whatNext(p, run) !== undefined));
    if (p.closing) return;
    for (const run of p.runs) {
      const next = whatNext(p, run);
      // The end overtakes whatever follows the log.
      if (next === 'interrupt') interrupt(p, nameOf(run));
      else if (next) background(p, nameOf(run), () => (next === 'whole' ? bringWhole(p, run) : follow(p, run)));
    }
  }
}

function interrupt(p: Pipeline, name: string): void {
  p.scopes.get(name)?.cancel();
  p.scopes.delete(name);
}

function whatNext(p: Pipeline, run: JobRun): 'interrupt' | 'whole' | 'follow' | undefined {
  const isDue = dueLog(run.job, run.log) !== undefined;
  if (isBusy(p, run)) return isDue && p.scopes.has(nameOf(run)) ? 'interrupt' : undefined;
  if (isDue) return 'whole';
  return canFollow(p, run) && run.log.notBefore <= Date.now() ? 'follow' : undefined;
}

async function bringWhole(p: Pipeline, run: JobRun): Promise<void> {
  const next = dueLog(run.job, run.log);
  if (!next) return;
  const [attempt, ended] = next;
  const key = { pipeline: p.id, job: run.name, attempt, ended, patience: p.durations.logPatience };
  try {
    await bring(p, `logs:${attemptName(run, attempt)}`, key);
  } catch (error) {
    const reason = reasonOf(error);
    log.warn('a log could not be brought', { job: run.name, attempt, reason });
    await bring(p, `logs:${attemptName(run, attempt)}`, { ...key, gaveUp: reason }).catch(reasonOf);
  }
  run.log.brought[attempt] = ended;
}

/** Until nobody reads it any more, or the job ends. */
async function follow(p: Pipeline, run: JobRun): Promise<void> {
  const { log: state } = run;
  const scope = new CancellationScope();
  p.scopes.set(nameOf(run), scope);
  state.wanted = false;
  state.following = true;
  state.follows += 1;
  const { attempt } = standing(run.job);
  try {
    // Numbered, because one that was interrupted may still be on its way out.
    const name = `follow:${attemptName(run, attempt)}.${state.follows}`;
    await scope.run(() => bring(p, name, { pipeline: p.id, job: run.name, attempt }));
  } catch (error) {
    // The end brings it again, and says what is wrong if it still is.
    if (!isCancellation(error)) log.warn('a log could not be followed', { job: run.name, reason: reasonOf(error) });
  } finally {
    p.scopes.delete(nameOf(run));
    state.following = false;
    state.notBefore = Date.now() + state.pause;
    state.pause = longerPause(state.pause);
  }
}

const bring = (p: Pipeline, activityId: string, input: BringInput): Promise<void> =>
  p.acts.bring.executeWithOptions(
    { activityId, summary: input.ended === undefined ? 'while it is written' : 'the whole log' },
    [input],
  );

function reasonOf(error: unknown): string {
  if (!(error instanceof ActivityFailure)) throw error;
  return error.cause?.message ?? error.message;
}
