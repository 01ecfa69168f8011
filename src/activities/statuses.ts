import type { Logger } from 'pino';
import type { Sql } from '../store/db.ts';
import { claimEpoch, loadPipeline, nextEpoch } from '../store/pipelines.ts';
import { publishStatuses, resendStatuses } from '../store/statuses.ts';
import type { Activities, Kept } from '../workflows/contract.ts';

export interface StatusDeps {
  sql: Sql;
  log: Logger;
  /** Tells the releaser when a withheld status is due. */
  withheld(until: Date): void;
}

/** What goes out to the forge, and what is kept for the day a pipeline is opened again. */
export function statusActivities({ sql, log, withheld }: StatusDeps): Pick<Activities, 'publish' | 'reopen'> {
  return {
    async publish({ pipeline, statuses, resend }) {
      if (statuses.length > 0) {
        const { withheldUntil } = await publishStatuses(sql, pipeline, statuses);
        if (withheldUntil) withheld(withheldUntil);
        for (const { job, status, error } of statuses) log.debug({ pipeline, job, status, error }, 'status');
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
