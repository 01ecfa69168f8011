import { randomUUID } from 'node:crypto';
import type { Job, JobOutcome, JobPlan, JobState, Outcomes } from './types.ts';

const FINAL: ReadonlySet<JobState> = new Set([
  'passed',
  'failed',
  'canceled',
  'timed_out',
  'skipped',
  'broken',
  'expired',
  'waiting_failed',
]);

/** True when a job will not change any more by itself. A block step counts once it was unblocked. */
export const hasEnded = (job: Readonly<Job>): boolean =>
  FINAL.has(job.state) || (job.type === 'manual' && job.state === 'unblocked');

/** Jobs that have not ended and that run something. */
export const openJobs = (jobs: readonly Job[]): Job[] =>
  jobs.filter((job) => (job.type === 'script' || job.type === 'trigger') && !hasEnded(job));

/** Makes a job that waits for nothing yet, except a block step for a person and a wait for what is before it. */
export function newJob(plan: JobPlan, now: number): Job {
  const { name = '', type = 'script' } = plan;
  const key = plan.key ?? name;
  return {
    id: randomUUID(),
    type,
    name,
    key,
    command: plan.command ?? `make ${key}`,
    parallel: plan.parallel ?? null,
    triggers: plan.triggers ?? null,
    createdAt: now,
    state: type === 'manual' ? 'blocked' : type === 'waiter' ? 'waiting' : 'pending',
    exitStatus: null,
    signalReason: null,
    softFailed: false,
    scheduledAt: null,
    startedAt: null,
    finishedAt: null,
    expiredAt: null,
    retriedInJobId: null,
    retriesCount: 0,
    retrySource: null,
    unblockedBy: null,
    brokenReason: null,
  };
}

/** Puts a job into a state, with the times and exit status that belong to it. */
export function settleJob(job: Job, outcome: JobState | JobOutcome, now: number): void {
  const wanted: JobOutcome = typeof outcome === 'string' ? { state: outcome } : outcome;
  const ran = job.startedAt !== null;
  job.state = wanted.state;
  if (wanted.softFailed !== undefined) job.softFailed = wanted.softFailed;
  if (wanted.brokenReason !== undefined) job.brokenReason = wanted.brokenReason;
  if (wanted.state === 'scheduled') job.scheduledAt ??= now;
  if (wanted.state === 'running') {
    job.scheduledAt ??= now;
    job.startedAt ??= now;
  }
  if (!FINAL.has(wanted.state)) {
    if (wanted.exitStatus !== undefined) job.exitStatus = wanted.exitStatus;
    return;
  }
  job.finishedAt = now;
  if (wanted.state === 'passed' || wanted.state === 'failed') job.startedAt ??= now;
  if (wanted.state === 'expired') job.expiredAt = now;
  if (wanted.state === 'canceled' && ran) job.signalReason = 'cancel';
  job.exitStatus = wanted.exitStatus === undefined ? usualExit(wanted.state, ran) : wanted.exitStatus;
}

function usualExit(state: JobState, ran: boolean): number | null {
  if (state === 'passed') return 0;
  if (state === 'failed') return 1;
  // The agent reports −1 for a process that it had to stop; a job that never ran has nothing to report.
  return ran && (state === 'canceled' || state === 'timed_out') ? -1 : null;
}

/**
 * What becomes of every open job when a build ends so: what `given` says of it, else what the end implies. A failed
 * build whose jobs are not named fails by its last open job.
 */
export function endings(
  jobs: readonly Job[],
  end: 'passed' | 'failed' | 'canceled' | 'skipped' | 'not_run',
  given: Outcomes | undefined,
): Map<Job, JobState | JobOutcome> {
  const result = named(jobs, given);
  const open = openJobs(jobs).filter((job) => !result.has(job));
  const usual: JobState = end === 'failed' ? 'passed' : end === 'not_run' ? 'broken' : end;
  for (const job of open) result.set(job, usual);
  const last = open.at(-1);
  if (end === 'failed' && given === undefined && last) result.set(last, 'failed');
  return result;
}

/** The jobs that `given` speaks of. Throws for a key that no job has. */
export function named(jobs: readonly Job[], given: Outcomes | undefined): Map<Job, JobState | JobOutcome> {
  if (given === undefined) return new Map();
  if (typeof given === 'string') return new Map(openJobs(jobs).map((job) => [job, given]));
  return new Map(Object.entries(given).map(([name, outcome]) => [jobNamed(jobs, name), outcome]));
}

/** A job by id, or the newest one with that key. */
export function jobNamed(jobs: readonly Job[], name: string): Job {
  const job = jobs.findLast((one) => one.id === name || one.key === name);
  if (!job)
    throw new Error(`the build has no job "${name}"; it has ${jobs.map((one) => one.key).join(', ') || 'none'}`);
  return job;
}
