import type { Logger } from 'pino';
import type { Sql } from '../store/db.ts';
import { type SourceState, tellSource } from '../store/sources.ts';
import type { Lease } from './leases.ts';

/** Keeps the row that says how a source does. It writes when something changed, and never disturbs reading. */
export type SourceNews = {
  connecting(): void;
  live(): void;
  /** The connection is over, or there was none. */
  ended(reason: string): void;
  /** @param now our clock, ms since 1970 */
  frame(now: number): void;
  /** When the last frame says that it happened, by the source's clock, in nanoseconds since 1970. */
  event(time: bigint | undefined): void;
  /** How far the source's clock is ahead of ours, ms. */
  skew(ms: number): void;
  close(): void;
};

/** How long news of frames may wait, ms. */
const frameRestMs = 10_000;
/** The least time between two writes, ms. */
const leastRestMs = 1_000;
const keptReason = 500;

export function sourceNews(options: {
  sql: Sql;
  source: string;
  lease: Lease;
  log: Logger;
  /** our clock, ms since 1970 */
  now(): number;
  /** default 10 s */
  restMs?: number | undefined;
}): SourceNews {
  const { sql, source, lease, log, now, restMs = frameRestMs } = options;
  let state: SourceState = 'connecting';
  /** what was last written was live */
  let wasLive: boolean | undefined;
  let frames = 0;
  let frameAt: number | undefined;
  let eventTime: bigint | undefined;
  let skewMs: number | undefined;
  let tries = 0;
  let error: { text: string; at: Date } | undefined;
  let wroteAt = Number.NEGATIVE_INFINITY;
  let timer: { at: number; handle: NodeJS.Timeout } | undefined;
  let writing = false;
  let closed = false;

  const write = async (): Promise<void> => {
    timer = undefined;
    if (closed || lease.signal.aborted) return;
    if (writing) return soon(leastRestMs);
    writing = true;
    const told = frames;
    frames = 0;
    wroteAt = performance.now();
    wasLive = state === 'live';
    try {
      await tellSource(sql, {
        source,
        epoch: lease.epoch,
        state,
        frames: told,
        frameAt: dateOf(frameAt),
        eventAt: dateOf(eventTime === undefined ? undefined : Number(eventTime / 1_000_000n)),
        skewMs: skewMs === undefined ? undefined : Math.round(skewMs),
        tries,
        error,
      });
    } catch (problem) {
      frames += told;
      wasLive = undefined;
      log.debug({ err: problem, source }, 'how this source does could not be written down');
      soon(restMs);
    } finally {
      writing = false;
    }
  };

  /** Writes in this time at the latest. */
  const soon = (ms: number): void => {
    if (closed) return;
    const at = Math.max(performance.now() + ms, wroteAt + leastRestMs);
    if (timer && timer.at <= at) return;
    clearTimeout(timer?.handle);
    timer = { at, handle: setTimeout(() => void write(), Math.max(0, at - performance.now())) };
  };

  /** Whether it is live is told at once; how it goes on trying may wait. */
  const changed = (to: SourceState): void => {
    const isNews = to !== state || wasLive === undefined;
    state = to;
    if (isNews) soon(wasLive === (to === 'live') ? restMs : 0);
  };

  return {
    connecting: () => changed('connecting'),
    live() {
      tries = 0;
      changed('live');
    },
    ended(reason) {
      tries++;
      error = { text: reason.slice(0, keptReason).toWellFormed().replaceAll('\0', '\u{fffd}'), at: new Date(now()) };
      changed('waiting');
    },
    frame(at) {
      frames++;
      frameAt = at;
      if (!timer) soon(restMs);
    },
    event(time) {
      if (time !== undefined) eventTime = time;
    },
    skew: (ms) => void (skewMs = ms),
    close() {
      closed = true;
      clearTimeout(timer?.handle);
    },
  };
}

/** What a stranger's clock says may be no date. */
function dateOf(ms: number | undefined): Date | undefined {
  const date = new Date(ms ?? Number.NaN);
  return Number.isNaN(date.getTime()) || date.getUTCFullYear() > 9_999 || date.getUTCFullYear() < 1 ? undefined : date;
}
