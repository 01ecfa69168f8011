import type { Logger } from 'pino';
import { statusFrame } from '../forges/tangled/status.ts';
import { pipelineId } from '../pipeline/ids.ts';
import type { Sql } from '../store/db.ts';
import { type Listener, listen } from '../store/listen.ts';
import { type ShownStatus, statusesAfter } from '../store/statuses.ts';
import { isTracing, recordSpan, traceNow } from '../tracing/index.ts';
import { textFrame } from './wire.ts';

/** A status as it goes over the wire: a whole frame, the same for every reader. */
export interface Shown {
  cursor: bigint;
  frame: Buffer;
  /** Only while there are traces. */
  status?: ShownStatus;
}

export interface Hub {
  start(): void;
  stop(): Promise<void>;
  /** The next statuses after a cursor, at most `limit`. */
  page(after: bigint, limit: number): Promise<Shown[]>;
  /** Gives every status after the cursor, in order, as it is published; until the returned function is called. */
  follow(after: bigint, push: (shown: Shown) => void): () => void;
}

export interface HubOptions {
  /** How often to look without a notice, since one can be lost. Default 5 s. */
  pollMs?: number;
  /** Pause after a read that failed. Default 1 s. */
  retryMs?: number;
  /** Statuses for one read. Default 200. */
  limit?: number;
}

/** Reads the outbox once for all who follow it live, however many they are. */
export function hub(sql: Sql, log: Logger, options: HubOptions = {}): Hub {
  const { pollMs = 5_000, retryMs = 1_000, limit = 200 } = options;
  const followers = new Set<{ at: bigint; push: (shown: Shown) => void }>();
  let listener: Listener | undefined;
  let timer: NodeJS.Timeout | undefined;
  let reading = false;
  let again = false;
  let stopped = false;
  /** The newest status that a reader got; what comes again to others is not told of. */
  let told = 0n;

  const page = async (after: bigint, most: number): Promise<Shown[]> => {
    const rows = await statusesAfter(sql, after, most);
    const more = isTracing();
    return rows.map((row) => ({
      cursor: row.cursor,
      frame: textFrame(frameOf(row)),
      ...(more ? { status: row } : {}),
    }));
  };

  function wake(): void {
    if (stopped) return;
    if (reading) {
      again = true;
      return;
    }
    again = false;
    reading = true;
    void read().then((ok) => {
      reading = false;
      if (ok && again) return wake();
      clearTimeout(timer);
      if (!stopped) timer = setTimeout(wake, ok ? pollMs : retryMs);
    });
  }

  /** Reads to the end; false when the database did not answer. */
  async function read(): Promise<boolean> {
    try {
      while (followers.size > 0 && !stopped) {
        // Who has just joined is a little behind the others; one read serves them all.
        const from = [...followers].reduce((least, { at }) => (at < least ? at : least), latest);
        const rows = await page(from, limit);
        for (const shown of rows) {
          let sent = 0;
          for (const follower of followers) {
            // A follower that joined during the read, from before it, waits for the next one: these rows leave a gap.
            if (follower.at < from || shown.cursor <= follower.at) continue;
            follower.at = shown.cursor;
            follower.push(shown);
            if (++sent === 1 && shown.status && shown.cursor > told) tellSent(shown.status);
          }
          if (shown.cursor > told) told = shown.cursor;
        }
        if (rows.length < limit) break;
      }
      return true;
    } catch (error) {
      if (!stopped) log.warn({ err: error }, 'the outbox could not be read; readers of /events wait');
      return false;
    }
  }

  return {
    start() {
      listener = listen(sql, ['statuses'], wake, (error) => log.debug({ err: error }, 'cannot listen for statuses'));
      wake();
    },
    async stop() {
      stopped = true;
      clearTimeout(timer);
      followers.clear();
      await listener?.close();
    },
    page,
    follow(after, push) {
      const follower = { at: after, push };
      followers.add(follower);
      wake();
      return () => followers.delete(follower);
    },
  };
}

/** From its time to the moment at which the first reader of this process was sent it. */
function tellSent({ knot, pipelineRkey, job, status, createdAt }: ShownStatus): void {
  const pipeline = pipelineId(knot, pipelineRkey);
  const said = { 'whorl.job': job, 'whorl.status': status };
  recordSpan({
    pipeline,
    name: `sent ${status}`,
    kind: 'producer',
    start: Date.parse(createdAt),
    end: traceNow(),
    said,
  });
}

/** Above every cursor. */
const latest = 2n ** 63n - 1n;

const frameOf = ({ rkey, knot, pipelineRkey, job, status, createdAt, error, exitCode }: ShownStatus): string =>
  statusFrame(rkey, {
    knot,
    rkey: pipelineRkey,
    workflow: job,
    status,
    createdAt,
    error: error ?? undefined,
    exitCode: exitCode ?? undefined,
  });
