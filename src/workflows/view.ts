import { setCurrentDetails } from '@temporalio/workflow';
import { details } from '../pipeline/details.ts';
import { currentBuild, standing } from '../pipeline/job.ts';
import type { Wait } from '../pipeline/wait.ts';
import { waitsOf } from '../pipeline/waits.ts';
import { dueLog } from './log-run.ts';
import type { PipelineView } from './messages.ts';
import { hasEnded, parkedText } from './run.ts';
import { type Pipeline, unpublished } from './state.ts';

/** Where every job stands, and what it waits for. */
export const viewOf = (p: Pipeline): PipelineView => ({
  pipeline: p.id,
  epoch: p.epoch,
  jobs: p.runs.map((run) => {
    const fact = standing(run.job);
    const build = currentBuild(run.job);
    return {
      job: run.name,
      ...fact,
      ...(build === undefined ? {} : { build }),
      ...(run.parked ? { parked: parkedText(run.parked) } : {}),
      ...(run.note === null ? {} : { note: run.note }),
      ...(run.step && !hasEnded(run) ? { step: `step ${run.step.name} ${run.step.state}` } : {}),
    };
  }),
  waits: waiting(p),
});

/** What a person sees in the Temporal UI. Costs no history. */
export function refresh(p: Pipeline): void {
  const { jobs, waits } = viewOf(p);
  const rows = jobs.map(({ job, attempt, status, build, error, parked, note, step }) => ({
    job,
    attempt,
    status,
    build: build ?? null,
    why: parked ?? error ?? note ?? step ?? '',
  }));
  setCurrentDetails(details(p.id, rows, waits ?? []));
}

const waiting = (p: Pipeline): Wait[] =>
  waitsOf({
    ...p,
    unpublished: unpublished(p).map(({ name }) => name),
    unlogged: p.logs ? p.runs.filter(({ job, log }) => dueLog(job, log) !== undefined).map(({ name }) => name) : [],
  });
