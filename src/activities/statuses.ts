import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { statuses as published } from '../metrics/index.ts';
import type { PipelineId } from '../pipeline/ids.ts';
import { failures } from '../pipeline/failures.ts';
import { standing } from '../pipeline/job.ts';
import { isEnd } from '../pipeline/status.ts';
import { ProviderError } from '../providers/errors.ts';
import { isUnavailable } from '../store/db.ts';
import { completeLog, openLog } from '../store/logs.ts';
import { claimEpoch, type JobRow, loadPipeline, nextEpoch } from '../store/pipelines.ts';
import { restoredLogs } from '../store/restore.ts';
import { publishStatuses, resendStatuses } from '../store/statuses.ts';
import { isTracing, recordSpan, traceNow } from '../tracing/index.ts';
import type { Activities, Kept, Shown, StatusInput } from '../workflows/contract.ts';
import { sayOnce } from './log-step.ts';
import type { Mask } from './mask.ts';
import { recoverPipeline, type RecoverDeps } from './recover.ts';

export interface StatusDeps extends RecoverDeps {
  /** Of everything that must not be seen in a log. */
  mask: () => Mask;
  /** Tells the releaser when a withheld status is due. */
  withheld(until: Date): void;
}

/** What goes out to the forge, and what is kept for the day a pipeline is opened again. */
export function statusActivities({
  sql,
  log,
  providers,
  mask,
  withheld,
}: StatusDeps): Pick<Activities, 'publish' | 'reopen'> {
  /** A job without a build has nobody else who writes its log: it holds the reasons, and is whole with the job's end. */
  const explain = async (pipeline: PipelineId, { job, attempt, epoch, status, error }: StatusInput): Promise<void> => {
    const key = { pipeline, job, attempt };
    if (error) {
      const id = `reason/${epoch}/${createHash('sha256').update(error).digest('hex').slice(0, 16)}`;
      await sayOnce({ sql, mask }, key, { id, name: 'Reason', text: error });
    }
    if (isEnd(status) && (await openLog(sql, key))) await completeLog(sql, key, epoch);
  };

  /** What jobs without a build said of their end may have been said after the backup that was put back. */
  const explainAgain = async (pipeline: PipelineId, jobs: { name: string; kept: Kept | null }[]): Promise<void> => {
    for (const { name: job, kept } of jobs) {
      if (!kept) continue;
      const fact = standing(kept.job);
      if (isEnd(fact.status) && kept.job.bound[fact.attempt] === undefined)
        await explain(pipeline, { job, ...fact, state: kept });
    }
  };

  /** Stands in the log beside what the CI wrote. */
  const remarkOn = (pipeline: PipelineId, { job, attempt, epoch }: StatusInput, text: string): Promise<void> =>
    sayOnce({ sql, mask }, { pipeline, job, attempt }, { id: `remark/${epoch}`, name: 'Remark', text });

  return {
    async publish({ pipeline, statuses, resend }) {
      if (statuses.length > 0) {
        const began = traceNow();
        const { withheldUntil, published: count } = await publishStatuses(sql, pipeline, statuses);
        published.inc(count);
        tellPublished(statuses, began);
        if (withheldUntil) withheld(withheldUntil);
        for (const { job, status, error } of statuses) log.debug({ pipeline, job, status, error }, 'status');
        for (const status of statuses) {
          await Promise.all([
            status.unbuilt && explain(pipeline, status),
            status.remark !== undefined && remarkOn(pipeline, status, status.remark),
          ]).catch((problem: unknown) => {
            // The statuses are out. What a repeat can mend is repeated; the rest must not hold back the next ones.
            if (isUnavailable(problem)) throw problem;
            log.error({ pipeline, job: status.job, err: problem }, 'the reason is missing in the log of a job');
          });
        }
      }
      if (resend) await resendStatuses(sql, pipeline);
    },

    async reopen({ pipeline, epoch, token, fresh }) {
      const open = fresh ? await nextEpoch(sql, pipeline, 'another run had the epoch') : epoch;
      if (!(await claimEpoch(sql, pipeline, open, token))) return { claimed: false };
      await recoverPipeline({ sql, log, providers }, pipeline).catch(unlessHopeless(log, pipeline));
      const row = await loadPipeline(sql, pipeline);
      const kept = (row?.jobs ?? []).map((job) => ({
        name: job.name,
        kept: job.state as Kept | null,
        shown: shownOf(job),
      }));
      const logs = await restoredLogs(sql, pipeline);
      if (!logs) return { claimed: true, epoch: open, jobs: kept };
      await explainAgain(pipeline, kept);
      return { claimed: true, epoch: open, jobs: kept.map((one) => ({ ...one, brought: logs.get(one.name) ?? {} })) };
    },
  };
}

/**
 * What cannot be looked at shows itself in the steps of each job, which look again before they create. A token that is
 * refused is mended by the operator: until then nothing can be said, and the activity waits for all to see.
 */
const unlessHopeless =
  (log: Logger, pipeline: PipelineId) =>
  (error: unknown): void => {
    if (!(error instanceof ProviderError)) throw error;
    if (error.failure === 'TargetMissing' || error.failure === 'Forbidden')
      return log.warn({ pipeline, err: error }, 'builds from before the restore cannot be looked for');
    if (failures[error.failure] === 'retry') throw error;
    throw new ProviderError('Transient', error.message, { cause: error });
  };

const shownOf = ({ attempt, epoch, status, error, exitCode }: JobRow): Shown | null =>
  status && {
    attempt,
    epoch,
    status,
    ...(error === null ? {} : { error }),
    ...(exitCode === null ? {} : { exitCode }),
  };

/** As parts of the activity that published them. */
function tellPublished(statuses: readonly StatusInput[], start: number): void {
  if (!isTracing()) return;
  for (const { job, status, attempt } of statuses) {
    const said = { 'whorl.job': job, 'whorl.status': status, 'whorl.attempt': attempt };
    recordSpan({ name: `status ${status}`, kind: 'producer', start, end: traceNow(), said });
  }
}
