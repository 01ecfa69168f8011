import type { Logger } from 'pino';
import type { Sql } from '../store/db.ts';
import {
  type Held,
  type Renewed,
  addSources,
  announceMember,
  leaveMembers,
  releaseLeases,
  renewLeases,
  takeLeases,
} from '../store/leases.ts';
import { listen } from '../store/listen.ts';
import { byKind, quotas } from './quota.ts';
import { within } from './within.ts';

export type Lease = Held & {
  /** aborted when the lease is lost: another process may have the source already, so stop at once, without draining */
  signal: AbortSignal;
};

export type Running = {
  /** Finishes what is under way, unless the lease is lost. Must end soon, also when the database is away. */
  stop(): Promise<void>;
};

export type LeaseOptions = {
  sql: Sql;
  /** unique for this process, also after a restart */
  owner: string;
  /** All sources that should have a reader somewhere. `told`: they may have changed, as far as we were told. */
  wanted(told: boolean): Promise<string[]>;
  /** Starts reading a source. Called again for the same source only after `stop` has resolved. */
  start(source: string, lease: Lease): Running;
  log: Logger;
  /** how long a lease lasts without being renewed; default 10 s */
  ttlMs?: number | undefined;
  /** channels whose notices mean that `wanted` may have changed; default `repos` */
  wakeOn?: readonly string[] | undefined;
};

export type LeaseManager = {
  /** Looks again now: `wanted` has changed. */
  notify(): void;
  /** what this process reads */
  held(): string[];
  /** Stops all sources, gives them back, and leaves. */
  stop(): Promise<void>;
};

type Entry = {
  lease: Held;
  running: Running;
  lost: AbortController;
  validUntil: number;
  /** is being given back, and when that is done */
  leaving: Promise<void> | undefined;
};

/** After another process's time is over, and between two looks at the least. */
const restMs = 50;

/**
 * Holds this process's fair share of the sources: takes those that nobody has, gives some up when there are more
 * processes, and counts a lease as lost by its own clock when it could not be renewed in time.
 */
export function leaseManager(options: LeaseOptions): LeaseManager {
  const { sql, owner, log, ttlMs = 10_000, wakeOn = ['repos'] } = options;
  /** Between two looks, unless another process is taken for dead before. */
  const pauseMs = ttlMs / 3;
  const entries = new Map<string, Entry>();
  /** sources that were lost, and have not stopped yet */
  const ending = new Map<string, Promise<void>>();
  const known = new Set<string>();
  let stopping = false;
  let announced = false;
  let woken = false;
  /** `wanted` was not asked since somebody told us that it changed */
  let told = true;
  let wake = (): void => {};
  let expiry: NodeJS.Timeout | undefined;

  const notify = (): void => {
    woken = true;
    told = true;
    wake();
  };

  const lose = (source: string, why: string): void => {
    const entry = entries.get(source);
    if (!entry) return;
    log.warn({ source, epoch: `${entry.lease.epoch}` }, `lost the lease: ${why}`);
    entries.delete(source);
    entry.lost.abort();
    const stopped = stopQuietly(source, entry.running).finally(() => ending.delete(source));
    ending.set(source, stopped);
  };

  const stopQuietly = (source: string, running: Running): Promise<void> =>
    Promise.resolve()
      .then(() => running.stop())
      .catch((error: unknown) => log.error({ source, err: error }, 'stopping failed'));

  const watchExpiry = (): void => {
    clearTimeout(expiry);
    const next = Math.min(...[...entries.values()].map((entry) => entry.validUntil));
    if (next === Number.POSITIVE_INFINITY) return;
    expiry = setTimeout(
      () => {
        for (const [source, { validUntil }] of entries) {
          if (validUntil <= performance.now()) lose(source, 'it could not be renewed in time');
        }
        watchExpiry();
      },
      Math.max(0, next - performance.now()),
    );
  };

  const renew = async (): Promise<Renewed> => {
    const began = performance.now();
    const asked = [...entries].map(([source, { lease }]) => ({ source, epoch: lease.epoch }));
    const renewed = await within(ttlMs, renewLeases(sql, owner, asked, ttlMs, { leaving: stopping }));
    const epochs = new Map(renewed.held.map(({ source, epoch }) => [source, epoch]));
    for (const { source, epoch } of asked) {
      const entry = entries.get(source);
      if (entry?.lease.epoch !== epoch) continue;
      if (epochs.get(source) === epoch) entry.validUntil = began + ttlMs;
      // one that was given back meanwhile is not lost
      else if (!entry.leaving) lose(source, 'another process has taken the source over');
    }
    watchExpiry();
    return renewed;
  };

  const giveBack = async (source: string, entry: Entry, why: string): Promise<void> => {
    log.info({ source, epoch: `${entry.lease.epoch}` }, `giving the source back: ${why}`);
    await stopQuietly(source, entry.running);
    if (entries.get(source) !== entry) return; // lost while it drained
    await within(ttlMs, releaseLeases(sql, owner, [entry.lease])).catch((error: unknown) => {
      log.warn({ source, err: error }, 'could not give the lease back; it will expire');
    });
    if (entries.get(source) === entry) entries.delete(source);
    watchExpiry();
  };

  /** Who gives up what is being given back already waits for that, so that nobody ends before it. */
  const giveUp = async (source: string, why: string): Promise<void> => {
    const entry = entries.get(source);
    if (!entry) return;
    entry.leaving ??= giveBack(source, entry, why);
    await entry.leaving;
  };

  const isKept = (source: string): boolean => {
    const entry = entries.get(source);
    return entry !== undefined && entry.leaving === undefined;
  };

  const take = async (sources: string[], limit: number): Promise<void> => {
    const fresh = sources.filter((source) => !known.has(source));
    if (fresh.length > 0) await within(ttlMs, addSources(sql, fresh));
    for (const source of fresh) known.add(source);

    const began = performance.now();
    for (const { source, epoch } of await within(ttlMs, takeLeases(sql, owner, sources, limit, ttlMs))) {
      const lost = new AbortController();
      const lease = { source, epoch, signal: lost.signal };
      log.info({ source, epoch: `${epoch}` }, 'took the source');
      try {
        const running = options.start(source, lease);
        entries.set(source, { lease, running, lost, validUntil: began + ttlMs, leaving: undefined });
      } catch (error) {
        log.error({ source, err: error }, 'could not start the source; its lease will expire');
      }
    }
    watchExpiry();
  };

  const ask = async (): Promise<string[]> => {
    const because = told;
    told = false;
    try {
      return await within(ttlMs, options.wanted(because));
    } catch (error) {
      told = true;
      throw error;
    }
  };

  /** How long to wait before the next one, ms. */
  const tick = async (): Promise<number> => {
    const { members, rank, othersUntilMs } = await renew();
    const pause = Math.min(pauseMs, Math.max(restMs, (othersUntilMs ?? pauseMs) + restMs));
    if (!announced) await within(ttlMs, announceMember(sql));
    announced = true;
    const wanted = new Set(await ask());
    if (stopping) return pause;

    for (const source of entries.keys()) if (!wanted.has(source)) void giveUp(source, 'it is not wanted any more');
    const kinds = byKind(wanted);
    const mayHold = quotas(kinds, rank, members);
    for (const [kind, sources] of kinds) {
      const quota = mayHold.get(kind) ?? 0;
      const mine = sources.filter(isKept);
      for (const source of mine.slice(quota)) void giveUp(source, `${members} processes share what there is`);
      const free = sources.filter((source) => !entries.has(source) && !ending.has(source));
      if (mine.length < quota && free.length > 0) await take(free, quota - mine.length);
    }
    return pause;
  };

  const loop = async (): Promise<void> => {
    while (!stopping) {
      woken = false;
      const pause = await tick().catch((error: unknown) => {
        log.warn({ err: error }, 'could not look after the leases; trying again');
        return pauseMs;
      });
      if (woken || stopping) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  };

  const listener = listen(sql, ['leases', ...wakeOn], notify, (error) => {
    log.warn({ err: error }, 'cannot listen for notices; polling until it works again');
  });
  const ended = loop();

  return {
    notify,
    held: () => [...entries.keys()],
    async stop() {
      stopping = true;
      wake();
      await Promise.all([ended, listener.close()]);
      // First, so that the others take each source as soon as it is given back, and not only their share of yesterday.
      await within(ttlMs, leaveMembers(sql, owner)).catch((error: unknown) => {
        log.warn({ err: error }, 'could not sign off; the others will notice');
      });
      const keep = setInterval(() => void renew().catch(() => {}), pauseMs);
      await Promise.all([...[...entries.keys()].map((source) => giveUp(source, 'stopping')), ...ending.values()]);
      clearInterval(keep);
      clearTimeout(expiry);
    },
  };
}
