import type { Logger } from 'pino';
import type { Guard } from '../clients/guard.ts';
import { backOff } from './pause.ts';
import type { SourceNews } from './source-news.ts';
import { dial, type StreamSocket } from './stream-socket.ts';

export type StreamSettings = {
  pingMs: number;
  /** silence, pongs included, after which a connection counts as dead */
  readDeadlineMs: number;
  dialTimeoutMs: number;
  redialMinMs: number;
  redialMaxMs: number;
};

export type StreamStats = {
  connected: boolean;
  dials: number;
  frames: number;
  /** ms since 1970 */
  lastFrameAt: number | undefined;
};

/** One connection: where it leads, and what becomes of what comes. */
export type Connection = {
  url: string;
  /** for a host that strangers name */
  guard?: Guard | undefined;
  /** It is open and silent; it is read as soon as this resolves. `date`: the `Date` header of the answer. */
  onOpen(date: string | undefined): Promise<void>;
  onFrame(bytes: Buffer, now: number): void;
};

/** How a connection ended that nobody here wanted to end. */
export type Ended = { reason: string; opened: boolean; frames: number };

export type StreamOptions = {
  /** ends everything, at once */
  signal: AbortSignal;
  log: Logger;
  settings: StreamSettings;
  stats: StreamStats;
  /** is told how it goes */
  news: Pick<SourceNews, 'connecting' | 'live' | 'ended' | 'frame'>;
  /** ms since 1970 */
  now(): number;
  /** Waits for whatever the next connection needs; undefined only when the stream is over. */
  next(): Promise<Connection | undefined>;
  /** A connection is over; the next one is made after this. `ended` is undefined after a `restart`. */
  onEnd(ended: Ended | undefined): Promise<void>;
};

export type Stream = {
  /** No frames for now: they wait at the other side. */
  pause(): void;
  resume(): void;
  /** Ends the connection, and makes the next at once: it is to start elsewhere. */
  restart(): void;
  /** Resolves when the stream is over. Never rejects. */
  over: Promise<void>;
};

/** Keeps one connection, for as long as it is not told to end: redials in seconds, with jitter. */
export function stream(options: StreamOptions): Stream {
  const { signal, log, settings, stats, news } = options;
  let socket: StreamSocket | undefined;
  let restarted = false;

  const read = async (connection: Connection): Promise<Ended> => {
    const frames = stats.frames;
    let opened = false;
    const { pingMs, readDeadlineMs, dialTimeoutMs } = settings;
    const onFrame = (bytes: Buffer): void => {
      stats.frames++;
      stats.lastFrameAt = options.now();
      news.frame(stats.lastFrameAt);
      connection.onFrame(bytes, stats.lastFrameAt);
    };
    try {
      stats.dials++;
      socket = await dial(connection.url, {
        onFrame,
        pingMs,
        readDeadlineMs,
        dialTimeoutMs,
        signal,
        guard: connection.guard,
      });
      opened = true;
      stats.connected = true;
      news.live();
      await connection.onOpen(socket.date);
      if (!restarted && !signal.aborted) socket.resume();
      return { reason: await socket.closed, opened, frames: stats.frames - frames };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      socket?.close(reason);
      return { reason, opened, frames: stats.frames - frames };
    } finally {
      stats.connected = false;
      socket = undefined;
    }
  };

  const run = async (): Promise<void> => {
    let failures = 0;
    news.connecting();
    while (!signal.aborted) {
      const connection = await options.next();
      if (!connection || signal.aborted) return;
      restarted = false;
      const ended = await read(connection);
      const again = restarted;
      await options.onEnd(again ? undefined : ended);
      if (again || signal.aborted) continue;
      news.ended(ended.reason);
      failures = ended.frames > 0 ? 0 : failures + 1;
      log.info({ reason: ended.reason, failures }, 'the connection ended; dialling again');
      const { redialMinMs: minMs, redialMaxMs: maxMs } = settings;
      await backOff(Math.max(0, failures - 1), { minMs, maxMs, signal });
      news.connecting();
    }
  };

  return {
    pause: () => socket?.pause(),
    resume: () => socket?.resume(),
    restart() {
      if (!socket) return;
      restarted = true;
      socket.close('asked to');
    },
    over: run().catch((error: unknown) => log.error({ err: error }, 'the reader broke')),
  };
}
