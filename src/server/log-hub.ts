import { setTimeout as delay } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { isUnavailable, type Sql } from '../store/db.ts';
import { type Listener, listen } from '../store/listen.ts';
import type { AttemptKey } from '../store/builds.ts';
import { type LogState, readLog } from '../store/log-reader.ts';
import { noticeOf } from '../store/logs.ts';
import { remarkEntries, remarkOf } from './log-remark.ts';
import { textFrames, withoutColours } from './wire.ts';

/** A part of a log as it goes over the wire. */
export interface Part {
  frames: Buffer[];
  /** Where the next one begins. */
  next: number;
  /** Nothing comes after it. */
  last: boolean;
}

export interface Follower {
  /** The part that begins here (0, or the `next` of the part before), as soon as there is one; undefined after `leave`. */
  next(from: number): Promise<Part | undefined>;
  leave(): void;
}

export interface LogHub {
  start(): void;
  stop(): Promise<void>;
  follow(key: AttemptKey): Follower;
}

export interface LogHubOptions {
  /** Leave SGR codes in. Default false. */
  colours?: boolean;
  /** Says that somebody follows a log that is still being written, for about two and a half minutes. */
  watch?: (key: AttemptKey) => Promise<void>;
  /** Default 60 s. */
  watchMs?: number;
  /** How often to look without a notice, since one can be lost. Default 5 s. */
  pollMs?: number;
  /** Pause after a read that failed. Default 1 s. */
  retryMs?: number;
  /** What is kept for others to read, in bytes. Default 8 MiB. */
  cacheBytes?: number;
  /** How much of a log is read at once, in bytes. Default 256 KiB. */
  pageBytes?: number;
}

/** A log that somebody follows. */
interface Tail {
  id: string;
  key: AttemptKey;
  followers: number;
  state?: LogState;
  /** Reads are counted: what an older one says does not replace what a newer one said. */
  asked: number;
  told: number;
  reading: boolean;
  again: boolean;
  watchedAt: number;
  waiting: Set<() => void>;
}

/** Reads logs once for all who read them, however many they are, and keeps what was read last for those who come next. */
export function logHub(sql: Sql, log: Logger, options: LogHubOptions = {}): LogHub {
  const { colours = false, watch, watchMs = 60_000, pollMs = 5_000, retryMs = 1_000 } = options;
  const { cacheBytes = 8 * 1024 * 1024, pageBytes = 256 * 1024 } = options;
  const tails = new Map<string, Tail>();
  const parts = new LRUCache<string, Part>({ maxSize: cacheBytes, sizeCalculation: sizeOf });
  const looks = new Map<string, Promise<Part | undefined>>();
  const stopped = new AbortController();
  let listener: Listener | undefined;

  /** Reads what begins at a place, and where the log stands. */
  async function look(tail: Tail, from: number): Promise<Part | undefined> {
    const turn = ++tail.asked;
    const read = await readLog(sql, tail.key, from, pageBytes);
    if (!read) throw new Error(`the job of the log ${tail.id} is gone from the database`);
    const { state, page } = read;
    const part = page && {
      frames: textFrames(colours ? page.text : withoutColours(page.text)),
      next: page.next,
      last: false,
    };
    if (part) parts.set(placeOf(tail, from), part);
    if (turn > tail.told) {
      tail.told = turn;
      tail.state = state;
      keepWatch(tail, state);
      wake(tail);
    }
    return part;
  }

  /** The same, once for all who ask for it at the same time. */
  function lookTogether(tail: Tail, from: number): Promise<Part | undefined> {
    const place = placeOf(tail, from);
    const under = looks.get(place);
    if (under) return under;
    const looking = look(tail, from).finally(() => looks.delete(place));
    looks.set(place, looking);
    return looking;
  }

  /** Looks for what is new; a notice that comes meanwhile may be of something newer, so it makes this look again. */
  async function refresh(tail: Tail): Promise<void> {
    if (tail.reading) {
      tail.again = true;
      return;
    }
    tail.reading = true;
    try {
      do {
        tail.again = false;
        await look(tail, tail.state?.entries ?? 0);
      } while (tail.again && tail.followers > 0);
    } catch (error) {
      log.debug({ log: tail.id, err: error }, 'a log could not be read; its readers wait');
    } finally {
      tail.reading = false;
    }
  }

  function keepWatch(tail: Tail, { ended }: LogState): void {
    const now = performance.now();
    if (!watch || ended || tail.followers === 0 || now - tail.watchedAt < watchMs) return;
    tail.watchedAt = now;
    watch(tail.key).catch((error: unknown) => {
      tail.watchedAt = -Infinity;
      log.debug({ log: tail.id, err: error }, 'could not say that somebody reads a log');
    });
  }

  async function poll(): Promise<void> {
    for (;;) {
      await delay(pollMs, undefined, { signal: stopped.signal });
      // One after the other, so that this never takes more than one connection.
      for (const tail of tails.values()) {
        if (stopped.signal.aborted) return;
        if (tail.followers > 0) await refresh(tail);
      }
    }
  }

  /** What ends a log of which all has been read up to this place; undefined when more may come. */
  function ending({ state }: Tail, from: number): Part | undefined {
    if (!state?.over || (from < state.entries && !state.removedAt)) return undefined;
    const remark = remarkOf(state);
    // Who was in the middle when it was removed must not see a step twice.
    const frames = remark ? textFrames(remarkEntries(remark, from === 0 ? 0 : state.steps)) : [];
    return { frames, next: from, last: true };
  }

  const ready = (tail: Tail, from: number): Part | undefined => ending(tail, from) ?? parts.get(placeOf(tail, from));

  return {
    start() {
      listener = listen(sql, ['logs', 'statuses'], onNotice, (error) =>
        log.debug({ err: error }, 'cannot listen for logs'),
      );
      poll().catch((error: unknown) => {
        if (!stopped.signal.aborted) log.error({ err: error }, 'logs are no longer polled');
      });
    },
    async stop() {
      stopped.abort();
      for (const tail of tails.values()) wake(tail);
      await listener?.close();
    },
    follow(key) {
      const tail = tailOf(tails, key);
      tail.followers++;
      const gone = new AbortController();
      const isGone = (): boolean => gone.signal.aborted || stopped.signal.aborted;
      let wakeUp = (): void => {};
      return {
        async next(from) {
          while (!isGone()) {
            try {
              const part = ready(tail, from);
              if (part) return part;
              if (isNews(tail.state, from)) {
                const read = (await lookTogether(tail, from)) ?? ready(tail, from);
                if (read) return read;
              }
              // Without an await since the state was looked at, so nothing that comes is missed.
              await new Promise<void>((resolve) => {
                wakeUp = resolve;
                tail.waiting.add(resolve);
                if (isGone()) resolve();
              });
              tail.waiting.delete(wakeUp);
            } catch (error) {
              if (!isUnavailable(error)) throw error;
              log.debug({ log: tail.id, err: error }, 'a reader of a log waits for the database');
              await delay(retryMs, undefined, { signal: gone.signal }).catch(() => {});
            }
          }
          return undefined;
        },
        leave() {
          if (gone.signal.aborted) return;
          gone.abort();
          wakeUp();
          if (--tail.followers === 0) tails.delete(tail.id);
        },
      };
    },
  };

  function onNotice(channel: string | undefined, payload: string): void {
    const tail = channel === 'logs' ? tails.get(payload) : undefined;
    if (tail) void refresh(tail);
    if (channel === 'logs') return;
    // Listening has begun again, or a status: that of an ended attempt is the last thing that its log waits for.
    for (const each of tails.values()) {
      if (channel === undefined || (each.state && each.state.complete >= 0 && !each.state.over)) void refresh(each);
    }
  }
}

function tailOf(tails: Map<string, Tail>, key: AttemptKey): Tail {
  const id = noticeOf(key);
  const known = tails.get(id);
  if (known) return known;
  const rest = { asked: 0, told: 0, reading: false, again: false, watchedAt: -Infinity };
  const tail: Tail = { id, key, followers: 0, ...rest, waiting: new Set() };
  tails.set(id, tail);
  return tail;
}

function wake({ waiting }: Tail): void {
  const all = [...waiting];
  waiting.clear();
  for (const resolve of all) resolve();
}

/** Nothing is known of the log yet, or it goes on after this place. */
const isNews = (state: LogState | undefined, from: number): boolean => !state || from < state.entries;

const placeOf = ({ id }: Tail, from: number): string => `${from} ${id}`;

/** Small parts cost more than their bytes. */
const sizeOf = ({ frames }: Part): number => frames.reduce((sum, { length }) => sum + length, 500);
