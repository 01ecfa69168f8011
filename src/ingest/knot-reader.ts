import type { Logger } from 'pino';
import type { Guard } from '../clients/guard.ts';
import { eventTime, parseFrame } from '../forges/tangled/frame.ts';
import { NSID } from '../forges/tangled/nsid.ts';
import { placeCursor, readCursor } from '../store/cursors.ts';
import type { Sql } from '../store/db.ts';
import { intake, type IncomingTrigger } from '../store/intake.ts';
import type { Refused } from '../store/refused.ts';
import type { WantedKnot } from '../store/repos.ts';
import { databaseClock } from './database-clock.ts';
import { advance, rewound, skewOf, startOf } from './knot-clock.ts';
import { toTrigger } from './knot-trigger.ts';
import { eventsUrl } from './knot-url.ts';
import type { Lease, Running } from './leases.ts';
import { backOff } from './pause.ts';
import { sourceNews } from './source-news.ts';
import { arrived, tellStored } from './traced-frames.ts';
import { streamWriter } from './stream-writer.ts';
import { type Connection, stream, type StreamSettings, type StreamStats } from './stream.ts';

export type KnotSettings = StreamSettings & {
  /** how far a fresh connection goes back behind the cursor */
  rewindMs: number;
  /** silence after a full page that means: the knot waits for its next event */
  drainIdleMs: number;
  /** frames that a knot sends at most before it waits */
  pageFrames: number;
  /** how often the cursor is saved when nothing else is */
  saveMs: number;
  /** frames, and bytes, that may wait to be stored before the socket is paused */
  maxWaiting: number;
  maxWaitingBytes: number;
  /** how long news of frames may wait until operators see them; default 10 s */
  newsMs?: number;
};

export type KnotStats = StreamStats & {
  /** frames that would not parse */
  bad: number;
  /** triggers that were new */
  triggers: number;
  quarantined: number;
};

export type ReaderOptions = {
  sql: Sql;
  knot: string;
  source: string;
  lease: Lease;
  dev: boolean;
  guard: Guard;
  log: Logger;
  refused: Refused;
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

/** Reads one knot, in order, for as long as the lease lasts. Never fails: it redials. */
export function knotReader(options: ReaderOptions): KnotReader {
  const { sql, knot, source, lease, log, settings, stats } = options;
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, lease.signal]);
  const over = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  const clock = databaseClock(sql);
  const news = sourceNews({ sql, source, lease, log, now: clock.now, restMs: settings.newsMs });
  let since: Date | undefined;
  let pinned = options.wanted()?.pinned ?? false;
  let skew = 0;
  let refreshed = (): void => {};
  /** set to go on with the rest of a backlog */
  let more: Start | undefined;
  let quiet: NodeJS.Timeout | undefined;

  const writer = streamWriter<IncomingTrigger>({
    sql,
    source,
    lease,
    log,
    now: clock.now,
    saveMs: settings.saveMs,
    batchFrames: 100,
    async store(triggers, position) {
      const stored = await intake(sql, { knot, source, epoch: lease.epoch, triggers, position });
      stats.triggers += stored.inserted;
      tellStored(knot, triggers, stored.inserted);
      return stored;
    },
    about: ({ rkey }) => ({ rkey }),
    onRoom() {
      const { frames, bytes } = writer.waiting();
      if (frames <= settings.maxWaiting / 2 && bytes <= settings.maxWaitingBytes / 2) reading.resume();
    },
    onQuarantined: () => void stats.quarantined++,
    onLost: () => stopped.abort(),
    onForgotten: () => reading.restart(),
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
        const [stored] = await Promise.all([readCursor(sql, source), clock.ask()]);
        const begin = startOf(wanted.since, { now: clock.now(), skew });
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

  const connect = (start: Start): Connection => {
    let top = start.cursor;
    let sinceQuiet = 0;

    quiet = setTimeout(() => {
      if (signal.aborted) return;
      if (writer.waiting().frames > 0) quiet?.refresh();
      // An old knot sends at most one page when it wakes, and then waits for its next event, whatever is left (seen on
      // a real one). Pages of a burst may be of any length before the full one, so a full hundred in all is asked after.
      else if (sinceQuiet >= settings.pageFrames && top > start.cursor) {
        more = { cursor: top };
        reading.restart();
      } else sinceQuiet = 0;
    }, settings.drainIdleMs);

    return {
      url: eventsUrl(knot, start.cursor, options.dev),
      guard: options.guard,

      async onOpen(date) {
        skew = skewOf(date, clock.now());
        news.skew(skew);
        log.info({ cursor: `${start.cursor}`, skew }, 'reading the knot');
        if (start.place && !(await placeStart(start.place))) reading.restart();
        else quiet?.refresh();
      },

      onFrame(bytes, now) {
        quiet?.refresh();
        sinceQuiet++;
        const frame = parseFrame(bytes.toString('utf8'));
        if ('problem' in frame) {
          stats.bad++;
          return options.refused.add(source, bytes, frame.problem);
        }
        const time = eventTime(frame);
        news.event(time);
        top = advance(top, time, { now, skew });
        if (frame.nsid !== NSID.pipeline) return writer.pass(top);
        writer.push(bytes, arrived(toTrigger(knot, frame, options.wanted(), skew)), top);
        const waiting = writer.waiting();
        if (waiting.frames >= settings.maxWaiting || waiting.bytes >= settings.maxWaitingBytes) reading.pause();
      },
    };
  };

  const reading = stream({
    signal,
    log,
    settings,
    stats,
    news,
    now: clock.now,
    async next() {
      const start = more ?? (await findStart());
      more = undefined;
      return start && connect(start);
    },
    async onEnd() {
      clearTimeout(quiet);
      await Promise.race([over, writer.settle()]);
    },
  });

  return {
    refresh() {
      refreshed();
      const wanted = options.wanted();
      // Without its pin a knot may be at public addresses only, so it is dialled, and judged, anew.
      const unpinned = pinned && wanted?.pinned === false;
      if (wanted && ((since && wanted.since < since) || unpinned)) reading.restart();
      pinned = wanted?.pinned ?? false;
    },
    async stop() {
      stopped.abort();
      news.close();
      await reading.over;
      await writer.close();
    },
  };
}
