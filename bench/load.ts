import { setTimeout as delay } from 'node:timers/promises';

/** What is offered to both sides, in the same way. */
export interface Load {
  /** Of each pipeline. */
  jobs: number;
  /** Between two webhooks of one job. */
  paceMs: number;
  resendMs: number;
}

/** Latencies of one round, ms. */
export interface Round {
  /** From the trigger to the first create. NaN: it never came. */
  starts: number[];
  /** From the news to the published status. NaN: it was not published, since the next one overtook it. */
  signals: number[];
}

/** Begins at a rate, whatever becomes of what was begun; resolves when all has ended. */
export async function atRate(
  perSecond: number,
  seconds: number,
  begin: (n: number) => Promise<unknown>,
): Promise<void> {
  const began = performance.now();
  const under: Promise<unknown>[] = [];
  for (let n = 0; n < perSecond * seconds; n += 1) {
    await delay(Math.max(0, began + (n * 1000) / perSecond - performance.now()));
    under.push(begin(n));
  }
  await Promise.all(under);
}

/**
 * Keeps so many under way, a new one whenever one has ended. Returns how many ended per second, from when it had warmed
 * up until nothing new was begun; resolves when all have ended.
 */
export async function inFlight(
  count: number,
  { warmMs, forMs }: { warmMs: number; forMs: number },
  one: () => Promise<unknown>,
): Promise<number> {
  const from = performance.now() + warmMs;
  let ended = 0;
  const loop = async (n: number): Promise<void> => {
    // Not all at once, or they would go on in step.
    await delay((n * warmMs) / count / 2);
    while (performance.now() < from + forMs) {
      await one();
      const at = performance.now();
      if (at >= from && at < from + forMs) ended += 1;
    }
  };
  await Promise.all(Array.from({ length: count }, (_, n) => loop(n)));
  return (ended * 1000) / forMs;
}
