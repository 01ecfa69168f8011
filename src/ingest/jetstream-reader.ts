import type { Logger } from 'pino';
import { parseJetstream } from '../forges/tangled/jetstream.ts';
import { allDueSoon } from '../store/accounts.ts';
import { placeCursor, readCursor } from '../store/cursors.ts';
import type { Sql } from '../store/db.ts';
import type { Refused } from '../store/refused.ts';
import { databaseClock } from './database-clock.ts';
import { interestingAccounts } from './interesting.ts';
import { aboutWork, applyWork, type Work, workOf } from './jetstream-apply.ts';
import { advance, missingMs, placeOf, subscribeUrl } from './jetstream-place.ts';
import { dateOf, rewound } from './knot-clock.ts';
import type { Lease, Running } from './leases.ts';
import { backOff } from './pause.ts';
import { sourceNews } from './source-news.ts';
import { streamWriter } from './stream-writer.ts';
import { type Connection, type Ended, stream, type StreamSettings, type StreamStats } from './stream.ts';

export type JetstreamSettings = StreamSettings & {
  /** how far a fresh connection goes back behind the cursor */
  rewindMs: number;
  /** the same when it may lead to another host, which has a clock of its own */
  hostRewindMs: number;
  /** silence after which another host is tried: on the whole network, some account has news every second */
  idleMs: number;
  /** after an absence longer than this, all accounts are listed */
  gapMs: number;
  /** the same when the host turns out to begin that much later than it was asked to */
  lateMs: number;
  /** how often the cursor is saved for frames that do not concern us */
  saveMs: number;
  /** frames, and bytes, that may wait to be applied before the socket is paused */
  maxWaiting: number;
  maxWaitingBytes: number;
};

export type JetstreamStats = StreamStats & {
  /** of the connection; the last one while there is none */
  host: string | undefined;
  /** frames that would not parse, and records that cannot be used */
  bad: number;
  /** frames that changed something here */
  applied: number;
  quarantined: number;
  /** how often all accounts were to be listed because something may be missing */
  gaps: number;
};

export type JetstreamReaderOptions = {
  sql: Sql;
  source: string;
  lease: Lease;
  /** the hosts in the order of preference, at least one */
  urls: readonly string[];
  /** the spindle's, whose member records count */
  owner: string;
  log: Logger;
  settings: JetstreamSettings;
  stats: JetstreamStats;
  refused: Refused;
  /** the live stream is open */
  onOpen(): void;
  /** where this account lives may have changed */
  onIdentity(did: string): void;
};

/** `fresh`: there was no cursor, so nobody knows what is missing before. */
type Start = { from: bigint; fresh: boolean };

/** Reads the records of the network, in the order of their arrival, for as long as the lease lasts. Never fails. */
export function jetstreamReader(options: JetstreamReaderOptions): Running {
  const { sql, source, lease, urls, owner, log, settings, stats, refused } = options;
  const stopped = new AbortController();
  const signal = AbortSignal.any([stopped.signal, lease.signal]);
  const over = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  const interesting = interestingAccounts(sql, log);
  const clock = databaseClock(sql);
  const news = sourceNews({ sql, source, lease, log, now: clock.now });
  let place = 0;
  let leaving = false;
  let idle: NodeJS.Timeout | undefined;
  /** whose clock the cursor is of; who begins to read does not know which host was the last one */
  let stampedBy = urls.length > 1 ? undefined : urls[0];
  /** until when a connection was surely there and had nothing left to send, in ms since 1970 */
  let completeAt = 0;
  let connection: { openedAt: number; behind: boolean } = { openedAt: 0, behind: false };

  const writer = streamWriter<Work>({
    sql,
    source,
    lease,
    log,
    now: clock.now,
    saveMs: settings.saveMs,
    // in the order of arrival, and each whole before the next
    batchFrames: 1,
    async store([work], position) {
      if (!work) return { mine: true, moved: 'not yet' };
      const done = await applyWork({ sql, lease, interesting }, work, position);
      if (done.changed) {
        stats.applied++;
        log.debug(aboutWork(work), 'the network changed');
      }
      return done;
    },
    about: aboutWork,
    onRoom() {
      const { frames, bytes } = writer.waiting();
      if (frames <= settings.maxWaiting / 2 && bytes <= settings.maxWaitingBytes / 2) reading.resume();
    },
    onQuarantined: () => void stats.quarantined++,
    onLost: () => stopped.abort(),
    onForgotten: () => reading.restart(),
  });

  /** Runs until it works; undefined when we are stopped. */
  const insist = async <T>(what: string, work: () => Promise<T>): Promise<T | undefined> => {
    for (let tries = 0; !signal.aborted; tries++) {
      try {
        return await work();
      } catch (error) {
        log.warn({ err: error }, `${what} failed; the database may be away`);
        await backOff(tries, { minMs: 200, maxMs: 5_000, signal });
      }
    }
    return undefined;
  };

  /** Where to start. Without a cursor that is now, and stored before anything comes, so that a crash loses nothing. */
  const findStart = async (): Promise<Start> => {
    await interesting.load();
    const [stored] = await Promise.all([readCursor(sql, source), clock.ask()]);
    const found = placeOf(stored?.position, clock.now());
    if ('at' in found) return { from: found.at, fresh: false };
    const from = BigInt(Math.floor(clock.now())) * 1_000_000n;
    const about = stored?.position === undefined ? {} : { cursor: `${stored.position}` };
    log[stored ? 'warn' : 'info'](about, `reading the jetstream from now: ${found.problem}`);
    await allDueSoon(sql);
    const mine = await placeCursor(sql, { source, epoch: lease.epoch, position: from });
    if (!mine) stopped.abort();
    return { from, fresh: true };
  };

  const bad = (bytes: Buffer, problem: string, about: Record<string, unknown>): void => {
    stats.bad++;
    refused.add(source, bytes, problem, about);
  };

  const connect = ({ from, fresh }: Start): Connection => {
    const url = urls[place % urls.length] ?? '';
    const host = new URL(url).host;
    const cursor = fresh ? from : rewound(from, stampedBy === url ? settings.rewindMs : settings.hostRewindMs);
    const quiet = BigInt(completeAt) * 1_000_000n;
    const complete = quiet > from ? quiet : from;
    let reached = from;
    let isFirst = true;
    let gap = fresh;
    writer.placed(from);

    const missing = (ms: number): void => {
      gap = true;
      stats.gaps++;
      log.warn({ since: dateOf(complete), missingMs: ms }, 'the jetstream may have left something out; listing all');
    };

    return {
      url: subscribeUrl(url, cursor),

      async onOpen() {
        const openedAt = Math.floor(clock.now());
        connection = { openedAt, behind: false };
        stats.host = host;
        log.info({ host, cursor: `${cursor}` }, 'reading the jetstream');
        const absence = missingMs(complete, BigInt(openedAt) * 1_000_000n, openedAt);
        if (!gap && absence > settings.gapMs) missing(absence);
        if (gap) await insist('asking for all listings', () => allDueSoon(sql));
        options.onOpen();
        if (urls.length > 1) idle = setTimeout(leave, settings.idleMs);
      },

      onFrame(bytes, now) {
        idle?.refresh();
        const event = parseJetstream(bytes);
        if ('problem' in event) bad(bytes, event.problem, event.did === undefined ? {} : { did: event.did });
        news.event(event.time);
        if (event.time === undefined) return;
        const late = isFirst && !gap ? missingMs(complete, event.time, connection.openedAt) : 0;
        isFirst = false;
        if (late > settings.lateMs) {
          missing(late);
          writer.push(bytes, { kind: 'gap' }, reached);
        }
        connection.behind = event.time < BigInt(Math.floor(now) - 60_000) * 1_000_000n;
        reached = advance(reached, event.time, now);
        if (reached > from) stampedBy = url;

        const work =
          'problem' in event ? undefined : workOf(event, owner, (problem, about) => bad(bytes, problem, about));
        if (work?.kind === 'identity') options.onIdentity(work.did);
        if (!work || (work.kind !== 'change' && isCertainlyNothing(work))) return writer.pass(reached);
        writer.push(bytes, work, reached);
        const { frames, bytes: size } = writer.waiting();
        if (frames >= settings.maxWaiting || size >= settings.maxWaitingBytes) reading.pause();
      },
    };
  };

  /** A host may answer every ping and have nothing to tell any more, since what feeds it is stuck. */
  const leave = (): void => {
    if (writer.waiting().frames > 0) return void idle?.refresh();
    log.info({ host: stats.host }, 'nothing comes from this host; trying the next one');
    leaving = true;
    reading.restart();
  };

  /** Whom a frame that still waits may make matter is judged after it. */
  const isCertainlyNothing = (work: Work): boolean =>
    (work.kind === 'account' || work.kind === 'identity') &&
    !interesting.has(work.did) &&
    writer.waiting().frames === 0;

  const reading = stream({
    signal,
    log,
    settings,
    stats,
    news,
    now: clock.now,
    async next() {
      const start = await insist('finding where to start', findStart);
      return start && connect(start);
    },
    async onEnd(ended: Ended | undefined) {
      clearTimeout(idle);
      // what is silent for that long counts as dead, so before that it was not
      const surelyAt = clock.now() - settings.readDeadlineMs;
      if (ended?.opened && !connection.behind && surelyAt > connection.openedAt) completeAt = Math.floor(surelyAt);
      await Promise.race([over, writer.settle()]);
      if (leaving || ended?.frames === 0) place++;
      leaving = false;
    },
  });

  return {
    async stop() {
      stopped.abort();
      news.close();
      await reading.over;
      await Promise.all([writer.close(), interesting.close()]);
    },
  };
}
