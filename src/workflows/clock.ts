import { condition, patched } from '@temporalio/workflow';
import { inMarkdown, summaryBytes } from '../pipeline/inert.ts';
import { currentBuild } from '../pipeline/job.ts';
import { search, stop, sweep } from './builder.ts';
import { logAt } from './logs.ts';
import { hasEnded, type JobRun, settleHeld, toRead } from './run.ts';
import { anyHeld, type Pipeline, unpublished } from './state.ts';

/** One timer for everything that is due some day; it is set anew only when it fired or something is due earlier. */
export async function clock(p: Pipeline): Promise<void> {
  // Before the first status nothing is due, and a timer that is set and cancelled costs two events.
  const begun = (): boolean => p.closing || p.firstShown !== null || p.expecting !== null;
  await condition(() => begun() || waitsUntold(p));
  if (!begun() && !patched('clock-without-a-status')) await condition(begun);
  while (!p.closing) {
    const due = nextDue(p);
    if (due === Infinity) {
      await condition(() => p.closing || nextDue(p) < Infinity);
    } else if (due > Date.now()) {
      await condition(() => p.closing || nextDue(p) < due, due - Date.now(), { summary: nextWords(p) });
    }
    if (!p.closing) tick(p, Date.now());
  }
}

/** Opened again by a word that changed nothing yet, so that there may never be a status to show, and still not at its end. */
const waitsUntold = (p: Pipeline): boolean =>
  p.epoch > 0 &&
  !p.publishing &&
  !p.reading &&
  p.runs.every((run) => toRead(run) === undefined) &&
  unpublished(p).length === 0 &&
  nextDue(p) < Infinity;

const nextDue = (p: Pipeline): number => Math.min(...dues(p).map(({ at }) => at));

interface Due {
  at: number;
  what: string;
  /** The job that it is about. */
  job?: string;
}

/** What is due some day, in words that people see on the timeline. */
const dues = (p: Pipeline): Due[] => [
  {
    at: !p.resent && !p.resendDue && p.firstShown !== null ? p.firstShown + p.durations.resend : Infinity,
    what: 'send the latest statuses once more',
  },
  { at: p.expecting ?? Infinity, what: 'end, unless the word comes that it was opened for' },
  ...p.runs.flatMap((run) => duesOf(p, run)),
];

const duesOf = (p: Pipeline, run: JobRun): Due[] => [
  { at: silenceOf(run), what: 'ask the CI, unless it tells', job: run.name },
  { at: deadlineOf(p, run), what: 'stop it as a timeout', job: run.name },
  { at: run.searchAt ?? Infinity, what: 'search its build', job: run.name },
  { at: logAt(p, run), what: 'bring its log', job: run.name },
  { at: run.owed && !run.wantRead ? run.owed.at : Infinity, what: 'read its build again', job: run.name },
  ...run.doubts.map(({ due }) => ({ at: due[0] ?? Infinity, what: 'look for an extra build', job: run.name })),
  {
    at: anyHeld(run) ? Math.min(...Object.values(run.held).map(({ until }) => until)) : Infinity,
    what: 'take its failure as it was told',
    job: run.name,
  },
];

/** What is due first. */
function nextWords(p: Pipeline): string {
  const next = dues(p).reduce((least, due) => (due.at < least.at ? due : least));
  return inMarkdown(next.job === undefined ? next.what : `${next.job}: ${next.what}`, summaryBytes);
}

/** When a build that we know has been silent for too long. */
const silenceOf = (run: JobRun): number =>
  !hasEnded(run) && currentBuild(run.job) !== undefined && !run.wantRead ? run.heardAt + run.quiet : Infinity;

const deadlineOf = (p: Pipeline, run: JobRun): number =>
  !hasEnded(run) && !run.stopping ? run.startedAt + p.durations.deadline : Infinity;

function tick(p: Pipeline, now: number): void {
  if (!p.resent && p.firstShown !== null && p.firstShown + p.durations.resend <= now) p.resendDue = true;
  if (p.expecting !== null && p.expecting <= now) p.expecting = null;
  for (const run of p.runs) {
    if (silenceOf(run) <= now) {
      run.wantRead = true;
      run.quiet = run.pollMs ?? Math.min(run.quiet * 2, p.durations.silenceMax);
    }
    if (run.owed && run.owed.at <= now) run.wantRead = true;
    if (deadlineOf(p, run) <= now) stop(p, run, 'deadline', 'the deadline');
    if (run.searchAt !== null && run.searchAt <= now) search(p, run);
    for (const doubt of run.doubts) if ((doubt.due[0] ?? Infinity) <= now) sweep(p, run, doubt);
    settleHeld(run, p.epoch, now);
  }
}
