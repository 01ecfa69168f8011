import type { Logger } from 'pino';
import { interestingDids } from '../store/accounts.ts';
import type { Sql } from '../store/db.ts';
import { listen } from '../store/listen.ts';

/** The accounts whose events matter: those that there is a row of. */
export type Interesting = {
  /** Resolves when they are known. Rejects when the database is away. */
  load(): Promise<void>;
  has(did: string): boolean;
  /** There is a row of it now; the notice is on its way. */
  add(did: string): void;
  close(): Promise<void>;
};

const reloadMs = 300_000;

/**
 * Keeps them in memory, and hears of new ones from whoever writes them. One that was added is never taken away again: to
 * ask the database once too often is harmless.
 */
export function interestingAccounts(sql: Sql, log: Logger): Interesting {
  const dids = new Set<string>();
  let loaded = false;

  const reload = async (): Promise<void> => {
    for (const did of await interestingDids(sql)) dids.add(did);
    loaded = true;
  };
  const reloadQuietly = (): void => {
    reload().catch((error: unknown) => log.debug({ err: error }, 'the accounts that matter could not be read again'));
  };
  const listener = listen(
    sql,
    ['accounts'],
    // without a channel: what was told meanwhile is lost
    (channel, did) => (channel === undefined ? reloadQuietly() : did === '' || dids.add(did)),
    (error) => log.warn({ err: error }, 'cannot listen for notices; polling until it works again'),
  );
  const timer = setInterval(reloadQuietly, reloadMs);

  return {
    async load() {
      if (!loaded) await reload();
    },
    has: (did) => dids.has(did),
    add: (did) => void dids.add(did),
    async close() {
      clearInterval(timer);
      await listener.close();
    },
  };
}
