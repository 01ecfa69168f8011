import { setTimeout as delay } from 'node:timers/promises';

/** Waits until `check` gives something truthy, and gives that. Fails with the name of what it waited for. */
export async function until<T>(
  check: () => T | Promise<T>,
  what = 'it',
  timeoutMs = 20_000,
): Promise<Exclude<Awaited<T>, false | null | undefined | 0 | ''>> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value) return value as Exclude<Awaited<T>, false | null | undefined | 0 | ''>;
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms for ${what}, in vain`);
    await delay(10);
  }
}
