import { condition } from '@temporalio/workflow';
import { inMarkdown, summaryBytes } from '../pipeline/inert.ts';
import { isEnd } from '../pipeline/status.ts';
import { keep, learnt, showKey, toShow } from './run.ts';
import { type Pipeline, unpublished } from './state.ts';
import { refresh } from './view.ts';

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
    for (const { run, key } of changed) {
      run.shown = key;
      delete run.told;
    }
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
