import { condition, setCurrentDetails } from '@temporalio/workflow';
import { details } from '../pipeline/details.ts';
import { inMarkdown, summaryBytes } from '../pipeline/inert.ts';
import { currentBuild, standing } from '../pipeline/job.ts';
import { isEnd } from '../pipeline/status.ts';
import type { Wait } from '../pipeline/wait.ts';
import { waitsOf } from '../pipeline/waits.ts';
import { dueLog } from './log-run.ts';
import type { PipelineView } from './messages.ts';
import { hasEnded, keep, learnt, parkedText, showKey, toShow } from './run.ts';
import { type Pipeline, unpublished } from './state.ts';

/** Publishes what changed, all jobs in one activity, one activity at a time. */
export async function publisher(p: Pipeline): Promise<void> {
  for (let n = 1; ; n += 1) {
    await condition(() => p.closing || p.resendDue || unpublished(p).length > 0);
    if (p.closing) return;
    const changed = unpublished(p).map((run) => ({ run, fact: toShow(run), key: showKey(toShow(run), run.note) }));
    const resend = p.resendDue;
    p.publishing = true;
    const statuses = changed.map(({ run, fact }) => ({
      job: run.name,
      attempt: fact.attempt,
      epoch: fact.epoch,
      status: fact.status,
      ...(fact.error === undefined ? {} : { error: fact.error }),
      ...(fact.exitCode === undefined ? {} : { exitCode: fact.exitCode }),
      ...(p.logs && run.job.bound[fact.attempt] === undefined ? { unbuilt: true } : {}),
      ...(run.parked && !isEnd(fact.status) ? { parked: run.parked.cause } : {}),
      ...(isEnd(fact.status) ? { learnt: learnt(run, fact) } : {}),
      ...(isEnd(fact.status) && run.note !== null && run.note === run.remark ? { remark: run.note } : {}),
      state: keep(run),
    }));
    await p.acts.publish.executeWithOptions(
      {
        activityId: `publish:${p.epoch}.${n}`,
        summary: resend && changed.length === 0 ? 'once more' : summary(statuses),
      },
      [{ pipeline: p.id, statuses, ...(resend ? { resend } : {}) }],
    );
    for (const { run, key } of changed) run.shown = key;
    p.firstShown ??= Date.now();
    if (resend) {
      p.resent = true;
      p.resendDue = false;
    }
    p.publishing = false;
    refresh(p);
  }
}

const summary = (statuses: { job: string; status: string }[]): string =>
  inMarkdown(statuses.map(({ job, status }) => `${job} ${status}`).join(', '), summaryBytes);

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
