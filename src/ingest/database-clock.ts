import { readTime } from '../store/cursors.ts';
import type { Sql } from '../store/db.ts';

/**
 * The database's clock. What is compared with times that other processes wrote goes by this one: the clock of a single
 * machine may be wrong by an hour, and be set while we run.
 */
export interface DatabaseClock {
  /** ms since 1970; by our own clock as long as the database was never asked. It is even, also when ours is set. */
  now(): number;
  /** Asks the database what time it is. Throws when it is away. */
  ask(): Promise<void>;
}

/** An answer that took longer says too little: the process may have been frozen. */
const tookTooLongMs = 2_000;
const mostTries = 5;

export function databaseClock(sql: Sql): DatabaseClock {
  let known: { at: number; told: number } | undefined;
  return {
    now: () => (known ? known.told + performance.now() - known.at : Date.now()),
    async ask() {
      for (let tries = 1; ; tries++) {
        const asked = performance.now();
        const told = await readTime(sql);
        const answered = performance.now();
        if (answered - asked > tookTooLongMs && tries < mostTries) continue;
        known = { at: (asked + answered) / 2, told };
        return;
      }
    },
  };
}
