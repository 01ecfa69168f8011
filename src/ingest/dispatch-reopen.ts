import { isNews } from '../pipeline/news.ts';
import type { Job } from '../pipeline/job.ts';
import { isEnd } from '../pipeline/status.ts';
import { loadPipeline, type PipelineRow } from '../store/pipelines.ts';
import {
  settleCommand,
  settleDeliveries,
  type OpenCommand,
  type OpenDelivery,
  triggerState,
  wasCarriedOut,
} from '../store/work.ts';
import { isTracing, recordSpan, traceNow } from '../tracing/index.ts';
import type { Kept } from '../workflows/contract.ts';
import type { CommandInput, Notice } from '../workflows/messages.ts';
import type { DispatchDeps } from './dispatch-deps.ts';
import { openAgain } from './dispatch-input.ts';

/** What webhooks told about one pipeline, in one signal. One that has ended is opened again, if this is news. */
export async function dispatchDeliveries(deps: DispatchDeps, pipeline: string, rows: OpenDelivery[]): Promise<void> {
  const { sql, log } = deps;
  const settle = (some: OpenDelivery[], reason: string | null) =>
    settleDeliveries(
      sql,
      some.map(({ id }) => id),
      'done',
      reason,
    );
  if (await deps.engine.notify(pipeline, rows.map(noticeOf))) {
    tellTold(pipeline, rows);
    return settle(rows, null);
  }

  const stored = await started(deps, pipeline);
  const news = rows.filter((row) => tellsNews(stored, row));
  if (news.length === 0) return settle(rows, 'The pipeline had ended, and this was known.');
  await openAgain(deps, stored, `webhook ${news[0]?.event} of build ${news[0]?.build}`);
  if (!(await deps.engine.notify(pipeline, news.map(noticeOf))))
    throw new Error('The pipeline ended again before it could be told.');
  tellTold(pipeline, news);
  log.info({ pipeline, builds: news.map(({ build }) => build) }, 'pipeline opened again');
  return settle(rows, 'The pipeline had ended and was opened again.');
}

/** From the moment that a webhook was stored to that at which its pipeline was told. */
function tellTold(pipeline: string, rows: OpenDelivery[]): void {
  if (!isTracing()) return;
  for (const { event, build, receivedAt } of rows) {
    const said = { 'whorl.event': event, 'whorl.build': build };
    const start = receivedAt.getTime();
    // It came before it was dispatched, so it is no part of that.
    recordSpan({ pipeline, parent: undefined, name: 'webhook', kind: 'consumer', start, end: traceNow(), said });
  }
}

/** A command of a person. A rerun opens an ended pipeline again; there is nothing to cancel or to retry in one. */
export async function dispatchCommand(deps: DispatchDeps, row: OpenCommand): Promise<void> {
  const { sql, log } = deps;
  const { id, pipeline, kind } = row;
  if (kind === 'watch') return dispatchWatch(deps, row);
  if (kind === 'reopen') return dispatchReopen(deps, row);
  const command: CommandInput = {
    id,
    by: row.by,
    ...(row.job === null ? {} : { job: row.job }),
    ...(row.reason === null ? {} : { reason: row.reason }),
  };
  const settle = async (state: 'done' | 'refused', result: string): Promise<void> => {
    await settleCommand(sql, id, state, result);
    log.info({ pipeline, command: id, kind, by: row.by, state, result }, `command ${state}`);
  };

  if (kind === 'rerun' && (await wasCarriedOut(sql, id))) return settle('done', 'Running again.');
  const known = await loadPipeline(sql, pipeline);
  if (!known) return settle('refused', `There is no pipeline ${pipeline}.`);
  let answer = await deps.engine.command(pipeline, kind, command);
  if (answer.kind === 'closed') {
    const stored = await started(deps, pipeline);
    if (kind !== 'rerun' && ended(stored))
      return settle('refused', `The pipeline has ended: there is nothing to ${kind}.`);
    await openAgain(deps, stored, `${kind} by ${row.by}`);
    answer = await deps.engine.command(pipeline, kind, command);
  }
  if (answer.kind === 'closed') throw new Error('The pipeline ended again before the command reached it.');
  return settle(answer.kind, answer.result);
}

/** One signal: the log is followed until the row expires, which the activity sees for itself. */
async function dispatchWatch({ sql, engine }: DispatchDeps, { id, pipeline, job }: OpenCommand): Promise<void> {
  const told = job !== null && (await engine.watch(pipeline, job));
  await settleCommand(
    sql,
    id,
    'done',
    told ? 'The log is followed.' : 'The pipeline has ended: its log is all there is.',
  );
}

/** After a restore: what Temporal and the CI know more than the database is brought home by a new run. */
async function dispatchReopen(deps: DispatchDeps, { id, pipeline, by }: OpenCommand): Promise<void> {
  await openAgain(deps, await started(deps, pipeline), by);
  await settleCommand(deps.sql, id, 'done', 'Opened again.');
  deps.log.info({ pipeline, command: id }, 'pipeline opened again after a restore');
}

const ended = ({ jobs }: PipelineRow): boolean => jobs.every(({ status }) => status !== null && isEnd(status));

/** The pipeline's rows, once its first workflow has been started; before that its trigger is still to come. */
async function started({ sql }: DispatchDeps, pipeline: string): Promise<PipelineRow> {
  const stored = await loadPipeline(sql, pipeline);
  const trigger = stored && (await triggerState(sql, stored.knot, stored.rkey));
  if (!stored || (trigger && trigger.state !== 'started')) throw new Error('The pipeline has not been started yet.');
  return stored;
}

function tellsNews({ jobs }: PipelineRow, row: OpenDelivery): boolean {
  const stored = jobs.find(({ name }) => name === row.job);
  if (!stored) return false;
  const job = jobOf(stored.state);
  if (!job || stored.status === null || !isEnd(stored.status)) return true;
  if (row.route === 'rebuild') return true;
  return isNews(job, row.seen);
}

const jobOf = (state: unknown): Job | undefined => (state as Kept | null)?.job;

const noticeOf = ({ job, seen, ref, rebuiltFrom, route }: OpenDelivery): Notice => ({
  job: job ?? '',
  seen,
  ...(route === 'rebuild' && rebuiltFrom !== null ? { rebuild: { ref, rebuiltFrom } } : {}),
});
