import { setTimeout as delay } from 'node:timers/promises';

/** Waits longer after each failure, with jitter so that many do not come back at once; ends early when aborted. */
export async function backOff(
  failures: number,
  { minMs, maxMs, signal }: { minMs: number; maxMs: number; signal: AbortSignal },
): Promise<void> {
  const full = Math.min(maxMs, minMs * 2 ** Math.min(failures, 20));
  await delay(full * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => {});
}
