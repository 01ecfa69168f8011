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
  /**
   * The same time, asked for again when the last answer is older than a minute: a machine that slept has a clock that is
   * even and late. Throws when the database was never asked and is away.
   */
  checked(): Promise<number>;
}

/** How long an answer counts, ms. */
const freshMs = 60_000;

/** An answer that took longer says too little: the process may have been frozen. */
const tookTooLongMs = 2_000;
const mostTries = 5;

export function databaseClock(sql: Sql): DatabaseClock {
  let known: { at: number; told: number } | undefined;
  let asking: Promise<void> | undefined;
  const now = (): number => (known ? known.told + performance.now() - known.at : Date.now());

  const ask = async (): Promise<void> => {
    for (let tries = 1; ; tries++) {
      const asked = performance.now();
      const told = await readTime(sql);
      const answered = performance.now();
      if (answered - asked > tookTooLongMs && tries < mostTries) continue;
      known = { at: (asked + answered) / 2, told };
      return;
    }
  };

  return {
    now,
    ask,
    async checked() {
      if (known && performance.now() - known.at < freshMs) return now();
      asking ??= ask().finally(() => {
        asking = undefined;
      });
      const asked = asking;
      // Whoever has an old answer goes on with it.
      if (known) asked.catch(() => {});
      else await asked;
      return now();
    },
  };
}
