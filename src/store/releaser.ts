import type { Logger } from 'pino';
import type { Sql } from './db.ts';
import { releaseBatch, releaseStatuses } from './statuses.ts';

export interface Releaser {
  start(): void;
  /** Ends after the round under way. */
  stop(): Promise<void>;
  /** Says that a status was withheld, so that its time is not missed; null is for "none was". */
  wake(withheldUntil: Date | null): void;
}

export interface ReleaserOptions {
  sql: Sql;
  log: Logger;
  /** How often to look without being woken, for what a process that is gone has withheld. Default 10 s. */
  pollMs?: number;
  /** The shortest pause between two looks. Default 20 ms. */
  restMs?: number;
}

/** Shows withheld statuses when their time comes. Every worker runs one; they share the work. */
export function releaser({ sql, log, pollMs = 10_000, restMs = 20 }: ReleaserOptions): Releaser {
  let running = false;
  let timer: NodeJS.Timeout | undefined;
  let round: Promise<void> | undefined;
  let again = false;

  const lookIn = (ms: number): void => {
    clearTimeout(timer);
    timer = setTimeout(look, ms);
  };

  function look(): void {
    if (!running) return;
    if (round) {
      again = true;
      return;
    }
    again = false;
    round = release().then((ms) => {
      round = undefined;
      if (running) lookIn(again ? restMs : ms);
    });
  }

  /** How long to wait before the next look. */
  async function release(): Promise<number> {
    try {
      const { released, skipped, nextInMs } = await releaseStatuses(sql);
      if (released + skipped > 0) log.debug({ released, skipped }, 'withheld statuses released');
      if (released + skipped >= releaseBatch) return 0;
      return Math.min(pollMs, Math.max(restMs, nextInMs === null ? pollMs : Math.ceil(nextInMs)));
    } catch (error) {
      log.warn({ err: error }, `withheld statuses could not be released; trying again in ${pollMs} ms`);
      return pollMs;
    }
  }

  return {
    start() {
      if (running) return;
      running = true;
      look();
    },
    async stop() {
      running = false;
      clearTimeout(timer);
      await round;
    },
    wake(withheldUntil) {
      if (withheldUntil) look();
    },
  };
}
