import { type Job, standing } from '../pipeline/job.ts';
import { isEnd } from '../pipeline/status.ts';

/** What the workflow knows about the logs of one job. Plain data. */
export interface LogRun {
  /** Somebody reads it, or a step has ended: bring what there is. */
  wanted: boolean;
  /** It is being brought because somebody reads it, or a step has ended. */
  following: boolean;
  /** How often that began. */
  follows: number;
  /** A step that ended is no reason to bring it again before this, ms. */
  notBefore: number;
  /** How long that lasts the next time; a build of thousands of steps must not fill the history. */
  pause: number;
  /** Attempts that are here whole, by the epoch that they ended in. */
  brought: Record<number, number>;
}

const firstPause = 10_000;
const longestPause = 600_000;

export const longerPause = (pause: number): number => Math.min(pause * 2, longestPause);

/** What an earlier run of the pipeline had ended, it had also brought. */
export const newLog = (job: Job): LogRun => ({
  wanted: false,
  following: false,
  follows: 0,
  notBefore: 0,
  pause: firstPause,
  brought: Object.fromEntries(endedAttempts(job)),
});

/** After continue-as-new. What was being followed is taken up again; what is due shows by itself. */
export const goOnWithLog = (job: Job, log: LogRun | undefined): LogRun => {
  const known = log ?? newLog(job);
  return { ...known, wanted: known.wanted || known.following, following: false };
};

/** Attempts of which the CI, or we ourselves, said the end, with the epoch of that. */
function endedAttempts(job: Job): [number, number][] {
  const now = standing(job);
  return Object.entries(job.bound).flatMap(([key, build]): [number, number][] => {
    const attempt = Number(key);
    if (attempt === now.attempt) return isEnd(now.status) ? [[attempt, now.epoch]] : [];
    const word = job.builds[build];
    return word && isEnd(word.status) ? [[attempt, word.epoch]] : [];
  });
}

/** The next attempt that has ended and whose log is not here whole, with the epoch of its end. */
export const dueLog = (job: Job, { brought }: LogRun): [attempt: number, epoch: number] | undefined =>
  endedAttempts(job).find(([attempt, epoch]) => (brought[attempt] ?? -1) < epoch);
