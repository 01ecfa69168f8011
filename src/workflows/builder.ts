import { ActivityFailure, CancellationScope, condition, isCancellation, patched } from '@temporalio/workflow';
import { inMarkdown, summaryBytes } from '../pipeline/inert.ts';
import { attemptOf, standing } from '../pipeline/job.ts';
import { isEnd } from '../pipeline/status.ts';
import type { Rebuild } from './contract.ts';
import type { CommandInput } from './messages.ts';
import { attemptsWithin } from './park.ts';
import { attemptName, bound, hasEnded, type JobRun, observe, reasonOf, speak, takeOver, unconfirmed } from './run.ts';
import { background } from './background.ts';
import { type Pipeline, targets } from './state.ts';

/** Starts what a job needs next: a build for its present attempt, or the rest of a stop that was under way. */
export function begin(p: Pipeline, run: JobRun): void {
  if (hasEnded(run)) return;
  const { attempt } = standing(run.job);
  if (run.stopping) halt(p, run);
  else if (run.job.bound[attempt] === undefined) build(p, run, attempt);
}

/** Ended, and something there to run: a wrong workflow file has to be mended and pushed again. */
export const canRerun = (run: JobRun): boolean => hasEnded(run) && run.refusal === null;

/** Another attempt of each job that has ended, or of the one that is named. */
export function startRerun(p: Pipeline, { id, job, by }: CommandInput): string {
  p.expecting = null;
  p.heard += 1;
  const again = targets(p, job).filter(canRerun);
  for (const run of again) {
    run.attempts += 1;
    run.stopping = null;
    run.parked = null;
    run.command = id;
    run.note = `attempt ${run.attempts} asked for by ${by}`;
    run.startedAt = Date.now();
    run.heardAt = Date.now();
    speak(run, run.attempts, 'pending');
    build(p, run, run.attempts);
  }
  return again.map((run) => `${run.name}: attempt ${run.attempts}`).join(', ');
}

/** Lets parked steps try again. */
export function retry(p: Pipeline, { job }: CommandInput): string {
  p.heard += 1;
  const waiting = targets(p, job).filter(({ parked }) => parked !== null);
  for (const run of waiting) run.parked = null;
  return `Trying again: ${waiting.map(({ name }) => name).join(', ')}.`;
}

/** Makes the one build of an attempt. Ends when there is one, or when there never will be. */
function build(p: Pipeline, run: JobRun, attempt: number): void {
  run.creating = attempt;
  const call = { pipeline: p.id, job: run.name, attempt, looks: p.durations.looks };
  const input = run.command === null ? call : { ...call, command: run.command };

  background(p, `create:${attemptName(run, attempt)}`, async () => {
    const scope = new CancellationScope();
    p.scopes.set(run.name, scope);
    try {
      const made = await scope.run(() =>
        attemptsWithin(p, run, 'create', () =>
          p.acts.create.executeWithOptions(
            {
              activityId: `create:${attemptName(run, attempt)}`,
              summary: inMarkdown(`build of ${attemptName(run, attempt)}`, summaryBytes),
            },
            [input],
          ),
        ),
      );
      if ('gaveUp' in made) return speak(run, attempt, 'failed', made.gaveUp);
      if (made.doubt) doubt(p, run, attempt);
      if (made.kind === 'stopped') return;
      isBound(p, run, attempt, made.seen.build);
      run.startedAt = Date.now();
      p.epoch = observe(run, made.seen, 'notice', now(p));
    } catch (error) {
      if (!isCancellation(error)) throw error;
    } finally {
      if (run.creating === attempt) run.creating = null;
      p.scopes.delete(run.name);
    }
  });
}

/** Stops the present attempt of a job: nothing more is created, and the CI is asked to stop what runs. */
export function stop(p: Pipeline, run: JobRun, why: 'cancel' | 'deadline', by: string, reason?: string): void {
  if (run.stopping || hasEnded(run)) return;
  run.stopping = { attempt: standing(run.job).attempt, why, by, ...(reason === undefined ? {} : { reason }) };
  p.scopes.get(run.name)?.cancel();
  run.parked = null;
  halt(p, run);
}

function halt(p: Pipeline, run: JobRun): void {
  const stopping = run.stopping;
  if (!stopping) return;
  const { attempt, why } = stopping;
  const over = () => standing(run.job).attempt !== attempt || hasEnded(run);
  const [word, reason] =
    why === 'cancel'
      ? (['cancelled', reasonOf(stopping)] as const)
      : (['timeout', 'The job did not end within the deadline.'] as const);

  const name = attemptName(run, attempt);
  const carryOut = async (): Promise<void> => {
    const ask = () =>
      p.acts.stop.executeWithOptions(
        { activityId: `cancel:${name}`, summary: inMarkdown(`${why}: ${name}`, summaryBytes) },
        [{ pipeline: p.id, job: run.name, attempt }],
      );
    const stopped = await attemptsWithin(p, run, 'cancel', ask, over);
    if ('gaveUp' in stopped) {
      if (over()) return confirm(run, stopping);
      return remark(run, `could not be stopped: ${stopped.gaveUp}`);
    }
    if (stopped.doubt) doubt(p, run, attempt);
    if (stopped.build === undefined) return speak(run, attempt, word, reason);

    isBound(p, run, attempt, stopped.build);
    if (await condition(over, p.durations.cancelConfirm / 2, { summary: 'the CI stops the build' }))
      return confirm(run, stopping);
    run.wantRead = true;
    if (await condition(over, p.durations.cancelConfirm / 2, { summary: 'the CI stops the build' }))
      return confirm(run, stopping);
    speak(run, attempt, word, `${reason} ${unconfirmed}`);
  };

  background(p, `cancel:${name}`, async () => {
    await carryOut();
    // Whoever runs the same build again in the CI can cancel it again.
    if (run.stopping === stopping) run.stopping = null;
  });
}

/** A stop that lost the race against the end says so. */
function confirm(run: JobRun, stopping: NonNullable<JobRun['stopping']>): void {
  const { status, by } = standing(run.job);
  if (by === 'ci' && stopping.why === 'cancel' && status !== 'cancelled')
    remark(run, `cancel asked for by ${stopping.by}, but the build had already ended: ${status}`);
}

/** What became of a cancel is for the log too. */
function remark(run: JobRun, text: string): void {
  run.note = text;
  run.remark = text;
}

/** Someone named a build that we do not know while our create has no answer: perhaps it is the one. */
export function search(p: Pipeline, run: JobRun): void {
  const attempt = run.creating;
  run.searchAt = null;
  if (attempt === null) return;
  background(p, `search:${attemptName(run, attempt)}`, async () => {
    const found = await p.acts.search
      .executeWithOptions(
        {
          activityId: `search:${attemptName(run, attempt)}`,
          summary: 'a build surfaced before its create was answered',
        },
        [{ pipeline: p.id, job: run.name, attempt }],
      )
      .catch(unlessUnexpected);
    if (!found?.seen) return;
    isBound(p, run, attempt, found.seen.build);
    p.epoch = observe(run, found.seen, 'notice', now(p));
  });
}

/** Looks once more for builds of an attempt whose create had an unknown outcome; the extras are cancelled. */
export function sweep(p: Pipeline, run: JobRun, from: JobRun['doubts'][number]): void {
  from.due.shift();
  const last = from.due.length === 0;
  const name = sweepName(run, from);
  background(p, name, async () => {
    await attemptsWithin(p, run, 'sweep', () => {
      // Of those that wait together each keeps its own name: Temporal takes none that two have at once.
      const sinceOthersBegan = sweepName(run, from);
      const activityId = sinceOthersBegan === name || patched('sweep-keeps-its-name') ? name : sinceOthersBegan;
      return p.acts.search.executeWithOptions({ activityId, summary: 'is there an extra build?' }, [
        { pipeline: p.id, job: run.name, attempt: from.attempt },
      ]);
    });
    if (last) run.doubts = run.doubts.filter((other) => other !== from);
  });
}

/** By how many are still to come. */
const sweepName = (run: JobRun, { attempt, due }: JobRun['doubts'][number]): string =>
  `sweep:${attemptName(run, attempt)}:${due.length}`;

/** A person ran one of our builds again inside the CI: that is the next attempt. */
export function adopt(p: Pipeline, run: JobRun, rebuild: Rebuild): void {
  const { ref, rebuiltFrom } = rebuild;
  if (attemptOf(run.job, ref.id) !== undefined) return;
  if (attemptOf(run.job, rebuiltFrom) === undefined) return keepRebuild(run, rebuild);
  const work = `adopt:${run.name}:${ref.id}`;
  if (p.underWay.has(work)) return;
  run.attempts += 1;
  const attempt = run.attempts;
  const { words } = run;
  background(p, work, async () => {
    const adopted = await attemptsWithin(p, run, 'adopt', () =>
      p.acts.adopt.executeWithOptions(
        { activityId: `adopt:${attemptName(run, attempt)}`, summary: 'rebuilt in the CI' },
        [{ pipeline: p.id, job: run.name, attempt, ref, rebuiltFrom }],
      ),
    );
    if ('gaveUp' in adopted) return;
    takeOver(run, adopted.attempt, ref.id);
    run.stopping = null;
    run.note = 'rebuilt in the CI';
    run.startedAt = Date.now();
    isBound(p, run, adopted.attempt, ref.id);
    // It was looked at while it was adopted. What a webhook told since may be newer, so this proves no reopening.
    const told = run.words === words ? undefined : run.job.builds[ref.id];
    const overtaken = told !== undefined && isEnd(told.status) && !isEnd(adopted.seen.status);
    if (overtaken && patched('adopt-overtaken')) run.wantRead = true;
    else p.epoch = observe(run, adopted.seen, 'read', now(p));
  });
}

const maxRebuilds = 8;

/** Its origin is ours, or it would not have come here, but the answer of its create has not: it waits for that. */
function keepRebuild(run: JobRun, rebuild: Rebuild): void {
  const kept = run.rebuilds ?? [];
  if (kept.length >= maxRebuilds || kept.some(({ ref }) => ref.id === rebuild.ref.id)) return;
  if (patched('rebuild-before-its-origin')) run.rebuilds = [...kept, rebuild];
}

/** The attempt's build is known from now on, and with it what was made from it. */
function isBound(p: Pipeline, run: JobRun, attempt: number, build: string): void {
  bound(run, attempt, build);
  adoptKept(p, run, [build]);
}

/** Takes over what was made from these builds and waited for them. */
function adoptKept(p: Pipeline, run: JobRun, builds: readonly string[]): void {
  const waiting = run.rebuilds?.filter(({ rebuiltFrom }) => builds.includes(rebuiltFrom)) ?? [];
  if (waiting.length === 0) return;
  run.rebuilds = run.rebuilds?.filter((rebuild) => !waiting.includes(rebuild)) ?? [];
  for (const rebuild of waiting) adopt(p, run, rebuild);
}

/** A webhook may come before a pipeline that is opened again has taken up what is known of its builds. */
export function adoptEarly(p: Pipeline, run: JobRun): void {
  const builds = Object.values(run.job.bound);
  const early = run.rebuilds?.some(({ rebuiltFrom }) => builds.includes(rebuiltFrom)) ?? false;
  if (early && patched('rebuild-before-taking-up')) adoptKept(p, run, builds);
}

function doubt(p: Pipeline, run: JobRun, attempt: number): void {
  if (run.doubts.some((other) => other.attempt === attempt) || p.durations.sweeps.length === 0) return;
  run.doubts.push({ attempt, due: p.durations.sweeps.map((after) => Date.now() + after) });
}

/** The create itself meets the same trouble and tells it. */
function unlessUnexpected(error: unknown): undefined {
  if (!(error instanceof ActivityFailure)) throw error;
}

const now = (p: Pipeline) => ({ epoch: p.epoch, now: Date.now(), unsure: p.durations.unsure });
