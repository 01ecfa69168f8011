import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  ActivityFailure,
  ApplicationFailure,
  condition,
  isCancellation,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import { failureOf, failures } from '../pipeline/failures.ts';
import { inMarkdown, summaryBytes } from '../pipeline/inert.ts';
import type { JobRun, Parked } from './run.ts';
import type { Pipeline } from './state.ts';
import { refresh } from './view.ts';

const parkedAttribute = defineSearchAttributeKey('Parked', SearchAttributeType.KEYWORD_LIST);

/**
 * Runs a step until it works. Passing failures are retried inside the activity. One that the author must mend ends the
 * job; one that the operator must mend parks the step until `retryStep`, until the limit, or until it is `moot`.
 */
export async function attemptsWithin<T extends object>(
  p: Pipeline,
  run: JobRun,
  step: string,
  work: () => Promise<T>,
  moot = () => false,
): Promise<T | { gaveUp: string }> {
  for (;;) {
    // Steps of one job wait together for one reason; so does a step that was parked before continue-as-new.
    if (run.parked) {
      const { message } = run.parked;
      const again = await mended(p, run, run.parked, moot);
      if (moot()) return { gaveUp: message };
      if (!again) return { gaveUp: `${message} Nobody mended this in time.` };
    }
    try {
      return await work();
    } catch (error) {
      if (isCancellation(error) || !(error instanceof ActivityFailure)) throw error;
      const { cause, message } = causeOf(error);
      if (failures[cause] === 'fail') return { gaveUp: message };
      run.parked ??= { step, cause, message, since: Date.now() };
    }
  }
}

/** Waits for a person, or until nothing is left to mend. False when neither came before the limit. */
async function mended(p: Pipeline, run: JobRun, parked: Parked, moot: () => boolean): Promise<boolean> {
  const left = Math.max(1, parked.since + p.durations.parkLimit - Date.now());
  showParked(p);
  try {
    return await condition(() => run.parked !== parked || moot(), left, {
      summary: inMarkdown(`parked: ${parked.step} ${run.name}`, summaryBytes),
    });
  } finally {
    if (run.parked === parked) run.parked = null;
    showParked(p);
  }
}

function causeOf(error: ActivityFailure): { cause: keyof typeof failures; message: string } {
  const { cause } = error;
  const type = cause instanceof ApplicationFailure ? cause.type : undefined;
  return { cause: failureOf(type), message: cause?.message ?? error.message };
}

/** Keeps the search attribute and the details at what waits for a person. */
function showParked(p: Pipeline): void {
  const causes = [...new Set(p.runs.flatMap(({ parked }) => (parked ? [parked.cause] : [])))].sort();
  if (causes.join() !== p.parkedCauses) {
    p.parkedCauses = causes.join();
    upsertSearchAttributes([{ key: parkedAttribute, value: causes.length > 0 ? causes : null }]);
  }
  refresh(p);
}
