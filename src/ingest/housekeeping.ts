import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Sql } from '../store/db.ts';
import { removeLogs, type Retention } from '../store/log-retention.ts';
import type { Lease, Running } from './leases.ts';

export interface HousekeepingSource {
  readonly source: 'housekeeping';
  start(source: string, lease: Lease): Running;
}

/** Removes what has been kept for long enough: one process does it, every few minutes. */
export function housekeepingSource(options: {
  sql: Sql;
  log: Logger;
  logs: Retention;
  /** default 5 minutes */
  everyMs?: number | undefined;
}): HousekeepingSource {
  const { sql, log, logs, everyMs = 300_000 } = options;

  const keepHouse = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      try {
        const removed = await removeLogs(sql, logs, signal);
        if (removed > 0) log.info({ removed }, 'logs were removed, because of their age or to make room');
      } catch (error) {
        log.warn({ err: error }, 'cannot remove old logs; trying again');
      }
      await delay(everyMs, undefined, { signal }).catch(() => {});
    }
  };

  return {
    source: 'housekeeping',
    start(_source, lease) {
      const stopped = new AbortController();
      const ended = keepHouse(AbortSignal.any([stopped.signal, lease.signal]));
      return {
        async stop() {
          stopped.abort();
          await ended;
        },
      };
    },
  };
}
