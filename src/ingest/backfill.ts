import type { Logger } from 'pino';
import { setTimeout as delay } from 'node:timers/promises';
import { AccountInactive, ClientError } from '../clients/error.ts';
import { addressGuard } from '../clients/guard.ts';
import { jsonHttp } from '../clients/http.ts';
import { identityClient } from '../clients/identity.ts';
import { hostPace, type Pace, type PaceSettings } from '../clients/pace.ts';
import { pdsClient } from '../clients/pds.ts';
import { steadyNow } from '../steady.ts';
import { readTime } from '../store/cursors.ts';
import { accountMoved, type DueAccount, dueAccounts, listingFailed } from '../store/accounts.ts';
import type { Sql } from '../store/db.ts';
import { listen } from '../store/listen.ts';
import { applyAccount } from '../store/records.ts';
import type { Refused } from '../store/refused.ts';
import { accountQueue } from './backfill-queue.ts';
import type { Lease, Running } from './leases.ts';
import { isBelieved, LeaseLost, listAccount, type ListingDeps } from './listing.ts';
import { within } from './within.ts';

export interface BackfillSettings {
  /** Members' accounts under way at once; the owner's never waits for them. */
  concurrency: number;
  /** Of these on one host: more would only wait for each other. */
  perHost: number;
  /** Waits between two looks at what is due: at least, and at most without a notice. */
  lookMinMs: number;
  lookMaxMs: number;
  /** After a failure; doubles with each. */
  retryMinMs: number;
  retryMaxMs: number;
  /** The owner's account holds the members. */
  ownerRetryMaxMs: number;
  /** Until an account that is deactivated or gone is looked at again; the live stream tells sooner. */
  inactiveMs: number;
  /** For one request. */
  timeoutMs: number;
  /** For all of one account. */
  listingMs: number;
  pace: Partial<PaceSettings>;
}

export const backfillDefaults: BackfillSettings = {
  concurrency: 8,
  perHost: 2,
  lookMinMs: 200,
  lookMaxMs: 15_000,
  retryMinMs: 60_000,
  retryMaxMs: 3_600_000,
  ownerRetryMaxMs: 300_000,
  inactiveMs: 3_600_000,
  timeoutMs: 10_000,
  listingMs: 3 * 3_600_000,
  pace: {},
};

export interface BackfillStats {
  requests: number;
  pages: number;
  records: number;
  /** records that are none */
  bad: number;
  /** accounts that were listed to the end, or had nothing new */
  rounds: number;
  failures: number;
}

export interface BackfillSource {
  /** its name for the lease manager; it is always wanted */
  source: 'backfill';
  /** Lists the owner's and the members' records under this lease. */
  start(source: string, lease: Lease): Running;
  stats(): Readonly<BackfillStats>;
  /** An account may live elsewhere now: whichever process lists asks the directory anew. */
  moved(did: string): void;
}

/** more members than this are listed in several looks */
const lookLimit = 20_000;
const stopMs = 5_000;

/** Makes up for all that the live stream did not show: the records as the accounts' own servers have them. */
export function backfillSource(options: {
  sql: Sql;
  dev: boolean;
  /** without a slash at its end */
  plcUrl: string;
  log: Logger;
  /** takes records that are none */
  refused: Refused;
  settings?: Partial<BackfillSettings> | undefined;
}): BackfillSource {
  const stats: BackfillStats = { requests: 0, pages: 0, records: 0, bad: 0, rounds: 0, failures: 0 };
  const settings = { ...backfillDefaults, ...options.settings };
  return {
    source: 'backfill',
    start: (_source, lease) => startBackfill({ ...options, settings, stats }, lease),
    stats: () => stats,
    moved(did) {
      accountMoved(options.sql, did).catch((error: unknown) => {
        options.log.debug({ err: error, did }, 'cannot tell that an account may have moved');
      });
    },
  };
}

interface BackfillDeps {
  sql: Sql;
  dev: boolean;
  plcUrl: string;
  log: Logger;
  refused: Refused;
  settings: BackfillSettings;
  stats: BackfillStats;
}

function startBackfill(deps: BackfillDeps, lease: Lease): Running {
  const { sql, dev, plcUrl, log, refused, settings, stats } = deps;
  const { timeoutMs } = settings;
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, lease.signal]);
  const open = jsonHttp({ timeoutMs });
  const guarded = jsonHttp({ timeoutMs, guard: addressGuard({ dev }) });
  const pace = counted(hostPace(settings.pace), () => void stats.requests++);
  const identity = identityClient({ open, guarded, pace, plcUrl, dev });
  const listing: ListingDeps = {
    sql,
    held: lease,
    pds: pdsClient({ http: guarded, pace }),
    onBad({ entry, problem, ...about }) {
      stats.bad++;
      refused.add(lease.source, Buffer.from(textOf(entry)), problem, about);
    },
    onPage(records) {
      stats.pages++;
      stats.records += records;
    },
  };

  const list = async (account: DueAccount, enter: (host: string) => boolean): Promise<void> => {
    const { did } = account;
    const limit = new AbortController();
    const timer = setTimeout(() => {
      limit.abort(new ClientError('timeout', `listing ${did} took longer than ${settings.listingMs / 60_000} minutes`));
    }, settings.listingMs);
    const within = AbortSignal.any([signal, limit.signal]);
    try {
      const remembered = identity.known(did) !== undefined;
      const origin = await identity.pdsOf(did, within);
      if (!enter(origin)) return;
      await listAccount(listing, account, origin, within).catch(async (error: unknown) => {
        if (!remembered || !(error instanceof AccountInactive)) throw error;
        // it may have moved, and of an account that has left a server says just this
        identity.forget(did);
        await listAccount(listing, account, await identity.pdsOf(did, within), within);
      });
      stats.rounds++;
    } finally {
      clearTimeout(timer);
    }
  };

  const queue = accountQueue({
    concurrency: settings.concurrency,
    perHost: settings.perHost,
    hostOf: identity.known,
    signal,
    async work(account, enter) {
      let began = new Date();
      try {
        began = new Date(await readTime(sql));
        await list(account, enter);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof LeaseLost) return stopped.abort();
        stats.failures++;
        identity.forget(account.did);
        await failed(account, error, began).catch((second: unknown) => {
          log.warn({ err: second, did: account.did }, 'cannot note why an account was not listed');
        });
      }
    },
  });

  /** Its next turn comes later; why, stays with the account. */
  const failed = async (account: DueAccount, error: unknown, began: Date): Promise<void> => {
    const { did, owner, tries } = account;
    const problem = error instanceof Error ? error.message : String(error);
    const level = tries === 0 ? 'warn' : 'debug';
    if (isBelieved(error, account)) {
      const { status } = error;
      log[level]({ did, status, problem }, 'an account is not to be had; its records do not count');
      await applyAccount(sql, lease, { did, active: false, status, at: began });
      return note(did, problem, owner ? settings.ownerRetryMaxMs : settings.inactiveMs);
    }
    log[level]({ did, problem, tries }, 'an account could not be listed; trying again later');
    const { retryMinMs, retryMaxMs, ownerRetryMaxMs } = settings;
    const pause = Math.min(owner ? ownerRetryMaxMs : retryMaxMs, retryMinMs * 2 ** Math.min(tries, 20));
    const asked = error instanceof ClientError && error.retryAt ? error.retryAt.getTime() - steadyNow() : 0;
    return note(did, problem, Math.max(asked, pause) * (1 + Math.random() / 4));
  };

  const note = async (did: string, problem: string, retryInMs: number): Promise<void> => {
    if (!(await listingFailed(sql, lease, did, problem, Math.ceil(retryInMs)))) stopped.abort();
  };

  let woken = false;
  let wake = (): void => {};
  const loop = async (): Promise<void> => {
    while (!signal.aborted) {
      woken = false;
      queue.looking();
      await dueAccounts(sql, lookLimit).then(queue.offer, (error: unknown) => {
        log.warn({ err: error }, 'cannot see which accounts are due');
      });
      // notices come in crowds
      await delay(settings.lookMinMs, undefined, { signal }).catch(() => {});
      if (woken || signal.aborted) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, settings.lookMaxMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  };

  const notice = (did = ''): void => {
    // something happened to it: it may have moved
    if (did !== '') identity.forget(did);
    woken = true;
    wake();
  };
  const listener = listen(
    sql,
    ['accounts'],
    (_channel, did) => notice(did),
    (error) => log.warn({ err: error }, 'cannot listen for accounts; polling until it works again'),
  );
  signal.addEventListener('abort', () => notice(), { once: true });
  const ended = loop();

  return {
    async stop() {
      stopped.abort();
      // what the database does not answer is of an old epoch when it comes to it
      await within(stopMs, Promise.all([ended, listener.close(), queue.idle()])).catch((error: unknown) => {
        log.warn({ err: error }, 'a listing could not be ended as it should');
      });
      await Promise.all([open.close(), guarded.close()]);
    },
  };
}

const counted = (pace: Pace, count: () => void): Pace => ({
  run: (host, signal, call) =>
    pace.run(host, signal, () => {
      count();
      return call();
    }),
});

function textOf(entry: unknown): string {
  try {
    return JSON.stringify(entry);
  } catch {
    // nested deeper than can be written down
    return String(entry);
  }
}
