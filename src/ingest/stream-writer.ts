import type { Logger } from 'pino';
import { moveCursor } from '../store/cursors.ts';
import { type Sql, isRefusal } from '../store/db.ts';
import { quarantine } from '../store/quarantine.ts';
import { position } from './knot-clock.ts';
import type { Lease } from './leases.ts';
import { backOff } from './pause.ts';

/** A frame that waits to be stored. `what` is gone once PostgreSQL has refused it. */
type Item<T> = { bytes: Buffer; what: T | undefined; reached: bigint };

/** What became of some frames. `moved`: the cursor stands where it was told to go; false: it was forgotten meanwhile. */
export type Stored = { mine: boolean; moved: boolean | 'not yet' };

export type WriterOptions<T> = {
  sql: Sql;
  source: string;
  lease: Lease;
  log: Logger;
  /** ms since 1970: no cursor is kept that is later */
  now(): number;
  /** how often the cursor alone is saved */
  saveMs: number;
  /** frames that are stored together at most */
  batchFrames: number;
  /** Stores frames in their order, and moves the cursor with them, or leaves that for later. */
  store(items: readonly T[], position: bigint): Promise<Stored>;
  /** what a log line says of a frame */
  about(what: T): Record<string, unknown>;
  /** something was stored: there is room again */
  onRoom(): void;
  onQuarantined(): void;
  /** the lease has another epoch: nothing more will be written */
  onLost(): void;
  /** the cursor was forgotten meanwhile */
  onForgotten(): void;
};

export type Writer<T> = {
  /** frames and bytes that wait */
  waiting(): { frames: number; bytes: number };
  /** A frame to store; `reached` is how far the stream has come with it. */
  push(bytes: Buffer, what: T, reached: bigint): void;
  /** A frame that needs no row. */
  pass(reached: bigint): void;
  /** Where the cursor was put on purpose: nothing before counts as seen. */
  placed(at: bigint): void;
  /** Resolves when nothing waits any more and the cursor is saved: it may be placed anew without a late save. */
  settle(): Promise<void>;
  /** Stores what waits if that works at once, and ends. Does nothing more when the lease is lost. */
  close(): Promise<void>;
};

const batchBytes = 4 * 1024 * 1024;

/**
 * Stores what one stream sends in its order, and moves its cursor with it. What comes alone costs one statement; what
 * comes while that is under way goes together in the next. While the database is away it tries again.
 */
export function streamWriter<T>(options: WriterOptions<T>): Writer<T> {
  const { sql, source, lease, log } = options;
  const { epoch } = lease;
  const queue: Item<T>[] = [];
  let queuedBytes = 0;
  /** how far frames were seen, how far they are dealt with, and how far that is saved */
  let seen = 0n;
  let done = 0n;
  let saved = 0n;
  let lost = false;
  /** from now on, give up at the first failure */
  let closing = false;
  let working: Promise<void> | undefined;
  let saveTimer: NodeJS.Timeout | undefined;
  let saveIsDue = false;
  const hurry = new AbortController();

  const over = (): boolean => lost || lease.signal.aborted;

  const heed = ({ mine, moved }: Stored): void => {
    if (!mine) {
      lost = true;
      log.warn({ epoch: `${epoch}` }, 'the lease has another owner; nothing was written');
      options.onLost();
    } else if (!moved) options.onForgotten();
  };

  /** Runs until it works, or until we are over; false when it did not. */
  const insist = async (what: string, work: () => Promise<void>): Promise<boolean> => {
    for (let tries = 0; !over(); tries++) {
      try {
        await work();
        return true;
      } catch (error) {
        if (isRefusal(error)) throw error;
        log.warn({ err: error }, `${what} failed; the database may be away`);
        if (closing) return false;
        await backOff(tries, { minMs: 200, maxMs: 5_000, signal: hurry.signal });
      }
    }
    return false;
  };

  const store = async (items: readonly Item<T>[]): Promise<boolean> => {
    const last = items.at(-1);
    if (!last) return true;
    const all = items.flatMap(({ what }) => (what === undefined ? [] : [what]));
    try {
      return await insist('storing events', async () => {
        const to = position(last.reached, options.now());
        const stored = await (all.length > 0 ? options.store(all, to) : move(to));
        done = last.reached > done ? last.reached : done;
        if (stored.moved !== 'not yet') saved = last.reached > saved ? last.reached : saved;
        heed(stored);
      });
    } catch (error) {
      return items.length === 1 ? await setAside(last, error) : await storeEach(items);
    }
  };

  const storeEach = async (items: readonly Item<T>[]): Promise<boolean> => {
    for (const item of items) if (!(await store([item]))) return false;
    return true;
  };

  /** The row is at fault, so its bytes are kept with the reason, and the stream goes on after it. */
  const setAside = async (item: Item<T>, refusal: unknown): Promise<boolean> => {
    const reason = refusal instanceof Error ? refusal.message : String(refusal);
    const about = item.what === undefined ? {} : options.about(item.what);
    log.warn({ ...about, reason }, 'the database refuses an event; it is in quarantine');
    try {
      const kept = await insist('quarantine', () => quarantine(sql, { source, bytes: item.bytes, reason }));
      if (!kept) return false;
      options.onQuarantined();
    } catch (error) {
      log.error({ ...about, err: error }, 'not even the bytes can be kept; the event is lost');
    }
    return await store([{ ...item, what: undefined }]);
  };

  const nextBatch = (): Item<T>[] => {
    let bytes = 0;
    const end = queue.findIndex(
      (item, i) => i === options.batchFrames || (i > 0 && (bytes += item.bytes.length) > batchBytes),
    );
    return queue.slice(0, end === -1 ? queue.length : end);
  };

  const move = async (to: bigint): Promise<Stored> => ({
    mine: await moveCursor(sql, { source, epoch, position: to }),
    moved: true,
  });

  const save = async (): Promise<boolean> =>
    await insist('saving the cursor', async () => {
      saveIsDue = false;
      const to = queue.length === 0 ? seen : done;
      if (to <= saved) return;
      const stored = await move(position(to, options.now()));
      saved = to;
      heed(stored);
    });

  const work = async (): Promise<void> => {
    while (queue.length > 0 && !over()) {
      const batch = nextBatch();
      if (!(await store(batch))) return;
      queue.splice(0, batch.length);
      for (const item of batch) queuedBytes -= item.bytes.length;
      options.onRoom();
      // a stream that never rests is saved too
      if (saveIsDue && !(await save())) return;
      if (done > saved) saveSoon();
    }
  };

  /** One piece of work at a time. */
  const start = (job: () => Promise<unknown>): Promise<void> => {
    working = job()
      .catch(async (error: unknown) => {
        log.error({ err: error }, 'storing events broke; trying again');
        await backOff(3, { minMs: 200, maxMs: 5_000, signal: hurry.signal });
      })
      .then(() => {
        working = undefined;
        if (queue.length > 0 && !closing && !over()) void start(work);
      });
    return working;
  };

  const saveSoon = (): void => {
    saveTimer ??= setTimeout(() => {
      saveTimer = undefined;
      if (over() || closing) return;
      saveIsDue = true;
      if (!working) void start(save);
    }, options.saveMs);
  };

  const idle = async (): Promise<void> => {
    while (working) await working;
  };

  return {
    waiting: () => ({ frames: queue.length, bytes: queuedBytes }),

    push(bytes, what, reached) {
      if (over()) return;
      queue.push({ bytes, what, reached });
      queuedBytes += bytes.length;
      seen = reached > seen ? reached : seen;
      if (!working) void start(work);
    },

    pass(reached) {
      if (reached <= seen) return;
      seen = reached;
      saveSoon();
    },

    placed(at) {
      seen = at;
      done = at;
      saved = at;
    },

    async settle() {
      clearTimeout(saveTimer);
      saveTimer = undefined;
      await idle();
      if (seen > saved && !over()) await start(save);
    },

    async close() {
      closing = true;
      clearTimeout(saveTimer);
      hurry.abort();
      const gone = new Promise<void>((resolve) => lease.signal.addEventListener('abort', () => resolve()));
      const finish = async (): Promise<void> => {
        await idle();
        if (queue.length === 0) await save();
      };
      if (!over()) await Promise.race([finish(), gone]);
    },
  };
}
