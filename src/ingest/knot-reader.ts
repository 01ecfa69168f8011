import type { Logger } from 'pino';
import { eventTime, parseFrame } from '../forges/tangled/frame.ts';
import { NSID } from '../forges/tangled/nsid.ts';
import { placeCursor, readCursor } from '../store/cursors.ts';
import type { Sql } from '../store/db.ts';
import type { WantedKnot } from '../store/repos.ts';
import { advance, rewound, skewOf, startOf } from './knot-clock.ts';
import { type KnotSocket, dial } from './knot-socket.ts';
import { toTrigger } from './knot-trigger.ts';
import { eventsUrl } from './knot-url.ts';
import { knotWriter } from './knot-writer.ts';
import type { Lease, Running } from './leases.ts';
import { backOff } from './pause.ts';

export type KnotSettings = {
  /** how far a fresh connection goes back behind the cursor */
  rewindMs: number;
  /** silence after a full page that means: the knot waits for its next event */
  drainIdleMs: number;
  /** frames that a knot sends at most before it waits */
  pageFrames: number;
  pingMs: number;
  readDeadlineMs: number;
  dialTimeoutMs: number;
  redialMinMs: number;
  redialMaxMs: number;
  /** how often the cursor is saved when nothing else is */
  saveMs: number;
  /** frames, and bytes, that may wait to be stored before the socket is paused */
  maxWaiting: number;
  maxWaitingBytes: number;
};

export type KnotStats = {
  connected: boolean;
  dials: number;
  frames: number;
  /** frames that would not parse */
  bad: number;
  /** triggers that were new */
  triggers: number;
  quarantined: number;
  /** ms since 1970 */
  lastFrameAt: number | undefined;
};

export type ReaderOptions = {
  sql: Sql;
  knot: string;
  source: string;
  lease: Lease;
  dev: boolean;
  log: Logger;
  settings: KnotSettings;
  /** the repos of this knot as they are now; undefined when there are none */
  wanted(): WantedKnot | undefined;
  stats: KnotStats;
};

export type KnotReader = Running & {
  /** `wanted` may say something else now */
  refresh(): void;
};

/** a start is an hour early, so it bears this; and HTTP dates have whole seconds, so it must bear some */
const skewToleranceMs = 60_000;

/** Where the next connection starts. `place`: the cursor that is stored first, and for which choice. */
type Start = { cursor: bigint; place?: { at: bigint; since: Date; skew: number } };

/** Why a connection ended: to go on with the rest of a backlog, to start anew from another place, or by itself. */
type End = { kind: 'more'; cursor: bigint } | { kind: 'anew' } | { kind: 'closed'; reason: string; served: boolean };

/** Reads one knot, in order, for as long as the lease lasts. Never fails: it redials. */
export function knotReader(options: ReaderOptions): KnotReader {
  const { sql, knot, source, lease, log, settings, stats } = options;
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, lease.signal]);
  const over = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  let since: Date | undefined;
  let skew = 0;
  let refreshed = (): void => {};
  let end = (_why: End): void => {};
  let socket: KnotSocket | undefined;

  const writer = knotWriter({
    sql,
    knot,
    source,
    lease,
    log,
    saveMs: settings.saveMs,
    onRoom() {
      const { frames, bytes } = writer.waiting();
      if (frames <= settings.maxWaiting / 2 && bytes <= settings.maxWaitingBytes / 2) socket?.resume();
    },
    onStored: ({ inserted }) => void (stats.triggers += inserted),
    onQuarantined: () => void stats.quarantined++,
    onLost: () => stopped.abort(),
    onForgotten: () => end({ kind: 'anew' }),
  });

  /** Finds out where to start, from the stored cursor and from what is wanted; undefined when we are stopped. */
  const findStart = async (): Promise<Start | undefined> => {
    for (let tries = 0; !signal.aborted; tries++) {
      const wanted = options.wanted();
      if (!wanted) {
        await Promise.race([over, new Promise<void>((resolve) => (refreshed = resolve))]);
        continue;
      }
      try {
        const stored = await readCursor(sql, source);
        const begin = startOf(wanted.since, { now: Date.now(), skew });
        since = stored?.since;
        if (stored?.position === undefined || !since || wanted.since < since) {
          const at = stored?.position !== undefined && stored.position < begin ? stored.position : begin;
          return { cursor: at, place: { at, since: wanted.since, skew } };
        }
        return { cursor: rewound(stored.position, settings.rewindMs) };
      } catch (error) {
        log.warn({ err: error }, 'cannot read the cursor; the database may be away');
        await backOff(tries, { minMs: 200, maxMs: 5_000, signal });
      }
    }
    return undefined;
  };

  /** Stores where this knot starts; false when its clock turned out to be behind, so that we must start earlier. */
  const placeStart = async ({ at, since: choice, skew: assumed }: NonNullable<Start['place']>): Promise<boolean> => {
    if (skew < assumed - skewToleranceMs) return false;
    for (let tries = 0; !signal.aborted; tries++) {
      try {
        const mine = await placeCursor(sql, { source, epoch: lease.epoch, position: at, since: choice });
        if (!mine) stopped.abort();
        since = choice;
        writer.placed(at);
        return true;
      } catch (error) {
        log.warn({ err: error }, 'cannot store the cursor; the database may be away');
        await backOff(tries, { minMs: 200, maxMs: 5_000, signal });
      }
    }
    return true;
  };

  const readFrom = async (start: Start): Promise<End> => {
    let result: End = { kind: 'closed', reason: 'stopped', served: false };
    let top = start.cursor;
    let sinceQuiet = 0;
    let bad = 0;
    let frames = 0;

    const quiet = setTimeout(() => {
      if (signal.aborted) return;
      if (writer.waiting().frames > 0) quiet.refresh();
      // An old knot sends at most one page when it wakes, and then waits for its next event, whatever is left (seen on
      // a real one). Pages of a burst may be of any length before the full one, so a full hundred in all is asked after.
      else if (sinceQuiet >= settings.pageFrames && top > start.cursor) end({ kind: 'more', cursor: top });
      else sinceQuiet = 0;
    }, settings.drainIdleMs);

    const onFrame = (bytes: Buffer): void => {
      const now = Date.now();
      quiet.refresh();
      sinceQuiet++;
      frames++;
      stats.frames++;
      stats.lastFrameAt = now;
      const frame = parseFrame(bytes.toString('utf8'));
      if ('problem' in frame) {
        stats.bad++;
        log[bad++ === 0 ? 'warn' : 'debug']({ problem: frame.problem }, 'stepping over a frame that is none');
        return;
      }
      top = advance(top, eventTime(frame), { now, skew });
      if (frame.nsid !== NSID.pipeline) return writer.pass(top);
      writer.push(bytes, toTrigger(knot, frame, options.wanted(), skew), top);
      const waiting = writer.waiting();
      if (waiting.frames >= settings.maxWaiting || waiting.bytes >= settings.maxWaitingBytes) socket?.pause();
    };

    try {
      const { pingMs, readDeadlineMs, dialTimeoutMs } = settings;
      stats.dials++;
      const url = eventsUrl(knot, start.cursor, options.dev);
      socket = await dial(url, { onFrame, pingMs, readDeadlineMs, dialTimeoutMs, signal });
      const opened = socket;
      end = (why) => {
        result = why;
        opened.close('asked to');
      };
      skew = skewOf(opened.date, Date.now());
      stats.connected = true;
      log.info({ cursor: `${start.cursor}`, skew }, 'reading the knot');

      if (start.place && !(await placeStart(start.place))) end({ kind: 'anew' });
      else if (!signal.aborted) {
        quiet.refresh();
        opened.resume();
      }
      const reason = await opened.closed;
      if (result.kind === 'closed') result = { kind: 'closed', reason, served: frames > 0 };
    } catch (error) {
      result = { kind: 'closed', reason: error instanceof Error ? error.message : String(error), served: false };
    }
    clearTimeout(quiet);
    stats.connected = false;
    socket = undefined;
    end = () => {};
    return result;
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    let more: Start | undefined;
    while (!signal.aborted) {
      const start = more ?? (await findStart());
      if (!start) return;
      more = undefined;
      const ended = await readFrom(start);
      await Promise.race([over, writer.settle()]);
      if (signal.aborted) return;
      if (ended.kind === 'more') more = { cursor: ended.cursor };
      if (ended.kind !== 'closed') continue;
      failures = ended.served ? 0 : failures + 1;
      log.info({ reason: ended.reason, failures }, 'the connection to the knot ended; dialling again');
      const { redialMinMs: minMs, redialMaxMs: maxMs } = settings;
      await backOff(Math.max(0, failures - 1), { minMs, maxMs, signal });
    }
  };

  const running = run().catch((error: unknown) => log.error({ err: error }, 'the reader broke'));

  return {
    refresh() {
      refreshed();
      const wanted = options.wanted();
      if (wanted && since && wanted.since < since) end({ kind: 'anew' });
    },
    async stop() {
      stopped.abort();
      await running;
      await writer.close();
    },
  };
}
