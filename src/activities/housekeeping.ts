import { cancellationSignal, heartbeat } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { Sql } from '../store/db.ts';
import {
  type Batch,
  emptyDeliveries,
  removeOvertaken,
  removeQuarantined,
  removeRefused,
  removeSources,
  removeTokens,
  spaceOf,
  type Swept,
} from '../store/housekeeping.ts';
import { removeLogs, type Retention } from '../store/log-retention.ts';
import type { HouseActivities } from '../workflows/contract.ts';
import { withFailures } from './failures.ts';

export interface HouseDeps {
  sql: Sql;
  log: Logger;
  logs: Retention;
  /** Of everything but logs, days. */
  keepDays: number;
  /** Rows of one statement; default 500. */
  batch?: number;
}

type Sweep = (sql: Sql, batch: Batch) => Promise<Swept>;

/** The activities of the workflow `housekeeping`. Each may be cut off between any two statements. */
export function houseActivities({ sql, log, logs, keepDays, batch = 500 }: HouseDeps): HouseActivities {
  const sweep = async (one: Sweep): Promise<number> => {
    let removed = 0;
    for (;;) {
      const swept = await one(sql, { days: keepDays, limit: batch });
      removed += swept.removed;
      heartbeat(removed);
      cancellationSignal().throwIfAborted();
      if (swept.found < batch) return removed;
    }
  };

  const tidy =
    (what: string, tables: string[], work: () => Promise<number>): HouseActivities[keyof HouseActivities] =>
    async () => {
      const removed = await work();
      if (removed > 0) log.info({ removed }, `housekeeping: ${what} left, because of their age or to make room`);
      return { removed, bytes: await spaceOf(sql, tables) };
    };

  return withFailures({
    tidyLogs: tidy('logs', ['logs', 'log_steps', 'log_chunks'], () => {
      const told = { ...logs, onBatch: heartbeat };
      return removeLogs(sql, told, cancellationSignal());
    }),
    tidyDeliveries: tidy('contents of webhooks', ['deliveries'], () => sweep(emptyDeliveries)),
    tidyStatuses: tidy('overtaken statuses', ['statuses'], () => sweep(removeOvertaken)),
    tidyQuarantine: tidy(
      'quarantined rows and refused frames',
      ['quarantine', 'refused_frames'],
      async () => (await sweep(removeQuarantined)) + (await sweep(removeRefused)),
    ),
    tidyTokens: tidy('expired tokens', ['service_tokens'], () => sweep(removeTokens)),
    tidySources: tidy('streams that are read no more', ['sources'], () => sweep(removeSources)),
  });
}
