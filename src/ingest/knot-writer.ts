import type { Logger } from 'pino';
import { moveCursor } from '../store/cursors.ts';
import { type Sql, isRefusal } from '../store/db.ts';
import { type IncomingTrigger, type IntakeResult, intake } from '../store/intake.ts';
import { quarantine } from '../store/quarantine.ts';
import { position } from './knot-clock.ts';
import type { Lease } from './leases.ts';
import { backOff } from './pause.ts';

/** A frame that waits to be stored. `trigger` is gone once PostgreSQL has refused it. */
type Item = { bytes: Buffer; trigger: IncomingTrigger | undefined; reached: bigint };

export type WriterOptions = {
  sql: Sql;
  knot: string;
  source: string;
  lease: Lease;
  log: Logger;
  /** how often the cursor alone is saved, when only other events pass */
  saveMs: number;
  /** something was stored: there is room again */
  onRoom(): void;
  onStored(result: { inserted: number }): void;
  onQuarantined(): void;
  /** the lease has another epoch: nothing more will be written */
  onLost(): void;
  /** the cursor was forgotten meanwhile */
  onForgotten(): void;
};

export type Writer = ReturnType<typeof knotWriter>;

const batchFrames = 100;
const batchBytes = 4 * 1024 * 1024;

/**
 * Stores the triggers of one knot in their order, and moves its cursor with them. One that comes alone costs one
 * statement; what comes while that is under way goes together in the next. While the database is away it tries again.
 */
export function knotWriter(options: WriterOptions) {
  const { sql, knot, source, lease, log } = options;
  const { epoch } = lease;
  const queue: Item[] = [];
  let queuedBytes = 0;
  /** how far frames were seen, and how far that is saved */
  let seen = 0n;
  let saved = 0n;
  let lost = false;
  /** from now on, give up at the first failure */
  let closing = false;
  let working: Promise<void> | undefined;
  let saveTimer: NodeJS.Timeout | undefined;
  const hurry = new AbortController();

  const over = (): boolean => lost || lease.signal.aborted;

  const heed = (result: IntakeResult): void => {
    if (!result.mine) {
      lost = true;
      log.warn({ epoch: `${epoch}` }, 'the lease has another owner; nothing was written');
      options.onLost();
    } else if (!result.moved) options.onForgotten();
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

  const store = async (items: readonly Item[]): Promise<boolean> => {
    const last = items.at(-1);
    if (!last) return true;
    const triggers = items.flatMap((item) => item.trigger ?? []);
    try {
      return await insist('storing events', async () => {
        const to = position(last.reached, Date.now());
        const result = await intake(sql, { knot, source, epoch, triggers, position: to });
        saved = last.reached > saved ? last.reached : saved;
        options.onStored(result);
        heed(result);
      });
    } catch (error) {
      return items.length === 1 ? await setAside(last, error) : await storeEach(items);
    }
  };

  const storeEach = async (items: readonly Item[]): Promise<boolean> => {
    for (const item of items) if (!(await store([item]))) return false;
    return true;
  };

  /** The row is at fault, so its bytes are kept with the reason, and the stream goes on after it. */
  const setAside = async (item: Item, refusal: unknown): Promise<boolean> => {
    const reason = refusal instanceof Error ? refusal.message : String(refusal);
    log.warn({ rkey: item.trigger?.rkey, reason }, 'the database refuses an event; it is in quarantine');
    try {
      const kept = await insist('quarantine', () => quarantine(sql, { source, bytes: item.bytes, reason }));
      if (!kept) return false;
      options.onQuarantined();
    } catch (error) {
      log.error({ err: error, rkey: item.trigger?.rkey }, 'not even the bytes can be kept; the event is lost');
    }
    return await store([{ ...item, trigger: undefined }]);
  };

  const nextBatch = (): Item[] => {
    let bytes = 0;
    const end = queue.findIndex((item, i) => i === batchFrames || (i > 0 && (bytes += item.bytes.length) > batchBytes));
    return queue.slice(0, end === -1 ? queue.length : end);
  };

  const save = async (): Promise<boolean> =>
    await insist('saving the cursor', async () => {
      const to = seen;
      if (to <= saved) return;
      const mine = await moveCursor(sql, { source, epoch, position: position(to, Date.now()) });
      saved = to;
      heed({ mine, moved: true, inserted: 0 });
    });

  const work = async (): Promise<void> => {
    while (queue.length > 0 && !over()) {
      const batch = nextBatch();
      if (!(await store(batch))) return;
      queue.splice(0, batch.length);
      for (const item of batch) queuedBytes -= item.bytes.length;
      options.onRoom();
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
      if (working) saveSoon();
      else if (seen > saved) void start(save);
    }, options.saveMs);
  };

  const idle = async (): Promise<void> => {
    while (working) await working;
  };

  return {
    /** frames and bytes that wait */
    waiting: (): { frames: number; bytes: number } => ({ frames: queue.length, bytes: queuedBytes }),

    /** A frame to store; `reached` is how far the stream has come with it. */
    push(bytes: Buffer, trigger: IncomingTrigger, reached: bigint): void {
      if (over()) return;
      queue.push({ bytes, trigger, reached });
      queuedBytes += bytes.length;
      seen = reached > seen ? reached : seen;
      if (!working) void start(work);
    },

    /** A frame that needs no row. */
    pass(reached: bigint): void {
      if (reached <= seen) return;
      seen = reached;
      saveSoon();
    },

    /** Where the cursor was put on purpose: nothing before counts as seen. */
    placed(at: bigint): void {
      seen = at;
      saved = at;
    },

    /** Resolves when nothing waits any more and the cursor is saved: it may be placed anew without a late save. */
    async settle(): Promise<void> {
      clearTimeout(saveTimer);
      saveTimer = undefined;
      await idle();
      if (seen > saved && !over()) await start(save);
    },

    /** Stores what waits if that works at once, and ends. Does nothing more when the lease is lost. */
    async close(): Promise<void> {
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
