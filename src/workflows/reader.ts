import { condition, isCancellation, log } from '@temporalio/workflow';
import { standing } from '../pipeline/job.ts';
import { isEnd } from '../pipeline/status.ts';
import type { Observation } from '../pipeline/words.ts';
import { refresh } from './view.ts';
import { hasEnded, type JobRun, observe, toRead } from './run.ts';
import type { Pipeline } from './state.ts';

/** Asks the CI about the builds that were silent, contradicted their end, or failed for a reason that only it can tell. */
export async function reader(p: Pipeline): Promise<void> {
  for (let n = 1; ; n += 1) {
    await condition(() => p.closing || asking(p).length > 0);
    if (p.closing) return;
    const asked = asking(p).map(({ run, build }) => ({ run, build, words: run.words }));
    for (const { run } of asked) run.wantRead = false;
    p.reading = true;
    const answers = await read(
      p,
      n,
      asked.map(({ build }) => build),
    );
    for (const { run, build, words } of asked) {
      const seen = answers?.find((answer) => answer.build === build);
      if (seen) hearAnswer(p, run, seen, run.words !== words);
      owe(p, run, answers === undefined);
      run.heardAt = Date.now();
    }
    p.reading = false;
    refresh(p);
  }
}

function asking(p: Pipeline): { run: JobRun; build: string }[] {
  return p.runs.flatMap((run) => {
    const build = toRead(run);
    return build === undefined ? [] : [{ run, build }];
  });
}

/** A read that a notice has overtaken may show an older state, so it cannot prove that an end was opened again. */
function hearAnswer(p: Pipeline, run: JobRun, seen: Observation, overtaken: boolean): void {
  if (overtaken && isEnd(standing(run.job).status) && !isEnd(seen.status)) {
    run.wantRead = true;
    return;
  }
  p.epoch = observe(run, seen, 'read', { epoch: p.epoch, now: Date.now(), unsure: 0 });
  if (run.told === undefined) return;
  run.shown = run.told;
  delete run.told;
}

/**
 * Silence does not ask about a job that has ended, so a read of one that failed has to be remembered; a person may mend
 * its cause as long as a step may be parked.
 */
function owe(p: Pipeline, run: JobRun, failed: boolean): void {
  const since = run.owed?.since ?? Date.now();
  const again = failed && hasEnded(run) && Date.now() - since < p.durations.parkLimit;
  run.owed = again ? { at: Date.now() + run.quiet, since } : null;
  if (again) run.quiet = Math.min(run.quiet * 2, p.durations.silenceMax);
}

/** A read that nobody may make changes nothing: it is tried again later, and the failures held are taken as told. */
async function read(p: Pipeline, n: number, builds: string[]): Promise<Observation[] | undefined> {
  try {
    return await p.acts.read.executeWithOptions(
      { activityId: `read:${p.epoch}.${n}`, summary: `${builds.length} silent or doubtful` },
      [{ pipeline: p.id, builds }],
    );
  } catch (error) {
    if (isCancellation(error)) throw error;
    log.warn('the CI could not be read', { error: String(error) });
    return undefined;
  }
}
