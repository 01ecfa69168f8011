import { condition } from '@temporalio/workflow';
import { currentBuild } from '../pipeline/job.ts';
import { search, stop, sweep } from './builder.ts';
import { logAt } from './logs.ts';
import { anyHeld, type Pipeline } from './state.ts';
import { hasEnded, type JobRun, settleHeld } from './run.ts';

/** One timer for everything that is due some day; it is set anew only when it fired or something is due earlier. */
export async function clock(p: Pipeline): Promise<void> {
  // Before the first status nothing is due, and a timer that is set and cancelled costs two events.
  await condition(() => p.closing || p.firstShown !== null || p.expecting !== null);
  while (!p.closing) {
    const due = nextDue(p);
    if (due === Infinity) {
      await condition(() => p.closing || nextDue(p) < Infinity);
    } else if (due > Date.now()) {
      await condition(() => p.closing || nextDue(p) < due, due - Date.now(), { summary: 'until something is due' });
    }
    if (!p.closing) tick(p, Date.now());
  }
}

const nextDue = (p: Pipeline): number =>
  Math.min(
    !p.resent && !p.resendDue && p.firstShown !== null ? p.firstShown + p.durations.resend : Infinity,
    p.expecting ?? Infinity,
    ...p.runs.flatMap((run) => [
      silenceOf(run),
      deadlineOf(p, run),
      run.searchAt ?? Infinity,
      logAt(p, run),
      run.owed && !run.wantRead ? run.owed.at : Infinity,
      ...run.doubts.map(({ due }) => due[0] ?? Infinity),
      anyHeld(run) ? Math.min(...Object.values(run.held).map(({ until }) => until)) : Infinity,
    ]),
  );

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
