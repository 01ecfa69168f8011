import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { PipelineId } from '../pipeline/ids.ts';
import { isEnd } from '../pipeline/status.ts';
import { isUnavailable, type Sql } from '../store/db.ts';
import { completeLog, openLog } from '../store/logs.ts';
import { claimEpoch, loadPipeline, nextEpoch } from '../store/pipelines.ts';
import { publishStatuses, resendStatuses } from '../store/statuses.ts';
import type { Activities, Kept, StatusInput } from '../workflows/contract.ts';
import { sayOnce } from './log-step.ts';
import type { Mask } from './mask.ts';

export interface StatusDeps {
  sql: Sql;
  log: Logger;
  /** Of everything that must not be seen in a log. */
  mask: () => Mask;
  /** Tells the releaser when a withheld status is due. */
  withheld(until: Date): void;
}

/** What goes out to the forge, and what is kept for the day a pipeline is opened again. */
export function statusActivities({ sql, log, mask, withheld }: StatusDeps): Pick<Activities, 'publish' | 'reopen'> {
  /** A job without a build has nobody else who writes its log: it holds the reasons, and is whole with the job's end. */
  const explain = async (pipeline: PipelineId, { job, attempt, epoch, status, error }: StatusInput): Promise<void> => {
    const key = { pipeline, job, attempt };
    if (error) {
      const id = `reason/${epoch}/${createHash('sha256').update(error).digest('hex').slice(0, 16)}`;
      await sayOnce({ sql, mask }, key, { id, name: 'Reason', text: error });
    }
    if (isEnd(status) && (await openLog(sql, key))) await completeLog(sql, key, epoch);
  };

  return {
    async publish({ pipeline, statuses, resend }) {
      if (statuses.length > 0) {
        const { withheldUntil } = await publishStatuses(sql, pipeline, statuses);
        if (withheldUntil) withheld(withheldUntil);
        for (const { job, status, error } of statuses) log.debug({ pipeline, job, status, error }, 'status');
        for (const status of statuses.filter(({ unbuilt }) => unbuilt)) {
          await explain(pipeline, status).catch((problem: unknown) => {
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
      const row = await loadPipeline(sql, pipeline);
      const jobs = (row?.jobs ?? []).map(({ name, state }) => ({ name, kept: state as Kept | null }));
      return { claimed: true, epoch: open, jobs };
    },
  };
}
