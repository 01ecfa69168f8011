import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { isUnavailable } from '../store/db.ts';

/** Temporal is not there. What is wrong with our credentials or certificates is another error: it does not pass. */
export class TemporalAway extends Error {
  override name = 'TemporalAway';
}

const firstWaitMs = 500;
const longestWaitMs = 10_000;

/**
 * Starts a process whose database or Temporal may be away for a while: it waits for them, and says so each time. What
 * does not pass by itself is thrown at once. Undefined when the process was told to stop meanwhile.
 */
export async function startPatiently<T>(
  start: () => Promise<T>,
  { log, told }: { log: Logger; told: AbortSignal },
): Promise<T | undefined> {
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
    try {
      return await start();
    } catch (error) {
      if (!isUnavailable(error) && !(error instanceof TemporalAway)) throw error;
      if (told.aborted) return undefined;
      const what = error instanceof TemporalAway ? error.message : `the database does not answer (${wordsOf(error)})`;
      log.warn(`cannot start yet: ${what}; trying again in ${waitMs / 1000} s`);
    }
    await delay(waitMs, undefined, { signal: told }).catch(() => {});
    if (told.aborted) return undefined;
  }
}

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
