import postgres from 'postgres';
import { setTimeout as delay } from 'node:timers/promises';
import type { Sql } from './db.ts';

export type Listener = { close(): Promise<void> };

/**
 * Listens on channels over one connection of its own, for as long as it is open. `onNotice` is also called, without a
 * payload, whenever listening began (again), since what was notified meanwhile is lost. Never fails: while the database
 * is away it tries again. It may be slow to notice that a link is dead, so whoever listens also polls.
 *
 * postgres.js has a `listen` too, but that one gives up for good when its first try after an outage fails.
 */
export function listen(
  sql: Sql,
  channels: readonly string[],
  onNotice: (channel: string | undefined, payload: string) => void,
  onError: (error: unknown) => void = () => {},
): Listener {
  const stopped = new AbortController();
  let current: postgres.Sql | undefined;

  const loop = async (): Promise<void> => {
    for (let failures = 0; !stopped.signal.aborted; failures++) {
      let lost = (): void => {};
      const closed = new Promise<void>((resolve) => (lost = resolve));
      try {
        current = postgres(connectTo(sql, lost, onNotice));
        for (const channel of channels) await current`listen ${current(channel)}`;
        failures = 0;
        if (!stopped.signal.aborted) onNotice(undefined, '');
        await closed;
      } catch (error) {
        if (!stopped.signal.aborted) onError(error);
      }
      await current?.end({ timeout: 0 }).catch(() => {});
      const wait = Math.min(5_000, 200 * 2 ** Math.min(failures, 5));
      await delay(wait, undefined, { signal: stopped.signal }).catch(() => {});
    }
  };
  const ended = loop();

  return {
    async close() {
      stopped.abort();
      await current?.end({ timeout: 0 }).catch(() => {});
      await ended;
    },
  };
}

/** `onnotify` is how postgres.js's own `listen` hears of notices; its types leave it out. */
function connectTo(
  sql: Sql,
  lost: () => void,
  onNotice: (channel: string, payload: string) => void,
): postgres.Options<Record<string, never>> {
  const own = {
    ...sql.options,
    max: 1,
    idle_timeout: null,
    max_lifetime: null,
    fetch_types: false,
    // marks options that were read from a URL already
    shared: { retries: 0, typeArrayMap: {} },
    onclose: lost,
    onnotify: onNotice,
  };
  return own as unknown as postgres.Options<Record<string, never>>;
}
