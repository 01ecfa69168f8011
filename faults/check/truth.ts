import type { Build, BuildState, Job } from '../../sim/buildkite/index.ts';
import type { SentDelivery } from '../evidence.ts';

/*
 * What a forge should be told of a build, written down from Buildkite's documentation and not from our own provider, so
 * that a mistake there is not made a second time here.
 */

/** A build from its beginning, or from when it went on after an end, to its next end. */
export interface Phase {
  from: number;
  /** Null while it goes on. */
  to: number | null;
  /** The words of which one must be shown at the end of it. */
  words: string[];
}

const over: readonly BuildState[] = ['passed', 'failed', 'canceled', 'skipped', 'not_run'];
const lost: readonly Job['state'][] = ['failed', 'timed_out', 'expired'];

/** True when nothing but a person moves it on. A build that waits at a block step has not ended, whatever its state says. */
export const hasEnded = ({ state, blocked }: Pick<Build, 'state' | 'blocked'>): boolean =>
  over.includes(state) && !blocked;

/** The phases of a build. Nearly every one has a single one; a retry of a job begins another. */
export function phasesOf(build: Build): Phase[] {
  const phases: Phase[] = [];
  let from = build.createdAt;
  let open = true;
  for (const moment of build.history) {
    if (!open) {
      from = moment.at;
      open = true;
    }
    if (!hasEnded(moment)) continue;
    phases.push({ from, to: moment.at, words: wordsOf(build, moment) });
    open = false;
  }
  if (open) phases.push({ from, to: null, words: wordsOf(build, { ...build, at: Infinity }) });
  return phases;
}

/** What a build means that is in this state at this time. */
function wordsOf(build: Build, { state, blocked, at }: { state: BuildState; blocked: boolean; at: number }): string[] {
  if (blocked) return waiting(build);
  switch (state) {
    case 'passed':
    case 'not_run':
      return ['success'];
    case 'canceled':
    case 'skipped':
      return ['cancelled'];
    case 'failed':
      return [failureOf(build.jobs, at)];
    case 'waiting_failed':
      return [build.finishedAt === null ? 'running' : failureOf(build.jobs, at)];
    case 'running':
    case 'failing':
    case 'canceling':
      return ['running'];
    case 'creating':
    case 'scheduled':
    case 'waiting':
      return ['pending'];
  }
}

/** A block step: a failure stays one; else it is what the author of the workflow file wants it to be, `running` unless said. */
function waiting({ blockedState, metaData }: Build): string[] {
  if (blockedState === 'failed') return ['failed'];
  const wish = metaData['whorl_on_block'];
  if (wish === 'success') return ['success'];
  // What has been shown as running does not go down to pending.
  return wish === 'pending' ? ['pending', 'running'] : ['running'];
}

/** A CI has no timed-out builds, only timed-out jobs: the build is a time-out when nothing else went wrong in it. */
function failureOf(jobs: readonly Job[], at: number): 'failed' | 'timeout' {
  const made = new Map(jobs.map((job) => [job.id, job.createdAt]));
  const deciding = jobs.filter(({ state, softFailed, createdAt, retriedInJobId }) => {
    const retried = retriedInJobId !== null && (made.get(retriedInJobId) ?? Infinity) <= at;
    return lost.includes(state) && !softFailed && createdAt <= at && !retried;
  });
  return deciding.length > 0 && deciding.every(({ state }) => state !== 'failed') ? 'timeout' : 'failed';
}

/**
 * The words of which one must be shown for a build in the end. That a build went on after its end is known by webhook
 * only: nobody asks a CI for ever. So as long as all of those were lost, the end before is as good.
 */
export function finalWords(build: Build, told: readonly SentDelivery[]): string[] {
  const phases = phasesOf(build);
  const known = phases.findLastIndex(
    ({ from, to }, n) =>
      n === 0 || told.some(({ event, at }) => event.startsWith('build.') && at >= from && (to === null || at <= to)),
  );
  return [...new Set(phases.slice(Math.max(0, known)).flatMap(({ words }) => words))];
}

/** A build of the built-in provider, as it is written down: the word that it has come to, and when it did. */
export function fakeWord(data: unknown, now: number): { word: string; at: number } | undefined {
  if (!isFake(data)) return undefined;
  const { start, run, stopped, target } = data;
  const { steps } = target.runs[Math.min(run, target.runs.length - 1)] ?? { steps: [] };
  const last = steps.findLast((step) => start + step.at <= now);
  if (stopped !== undefined && stopped <= now) return { word: 'cancelled', at: stopped };
  return last ? { word: last.status, at: start + last.at } : { word: 'pending', at: start };
}

interface Fake {
  start: number;
  run: number;
  stopped?: number;
  target: { runs: { steps: { status: string; at: number }[] }[] };
}

const isFake = (data: unknown): data is Fake =>
  typeof data === 'object' && data !== null && 'start' in data && 'run' in data && 'target' in data;
