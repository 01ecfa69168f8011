import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { WebSocket } from 'ws';
import { parseCursor } from '../forges/tangled/cursor.ts';
import type { Sql } from '../store/db.ts';
import { newestCursor } from '../store/statuses.ts';
import type { Hub } from './hub.ts';
import type { Outlet } from './outlet.ts';
import { type ReaderOptions, readers, within } from './readers.ts';
import { joined } from './wire.ts';

export interface EventsOptions extends ReaderOptions {
  /** How far before the given cursor to start: real readers resume by their own clock. Default 30 s. */
  rewindMs?: number;
  /** How much may wait for one live reader before it reads from the database again, in bytes. Default 256 KiB. */
  highWater?: number;
  /** Statuses for one read of the backlog, at most. Default 500. */
  pageSize?: number;
  /** About how much one read of it should bring, in bytes. Default 128 KiB. */
  pageBytes?: number;
  /** Pause after a read that failed. Default 1 s. */
  retryMs?: number;
  /** How long a reader's handshake waits for the database at most. Default 2 s. */
  startMs?: number;
}

/** Statuses in the first read of a backlog, before anything is known of their size. */
const firstPage = 100;

export interface EventStream {
  /** Answers a request for an upgrade. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, query: URLSearchParams): Promise<void>;
  /** Closes every reader with 1001. */
  close(): Promise<void>;
}

/**
 * `/events`: one text frame for each published status, as stock spindles have it (tangled core, `spindle/stream.go`).
 * With a cursor (nanoseconds): everything after it, then live; missing, 0 or unreadable: live only. What a reader says
 * is thrown away. A reader that is slow costs two pages of memory, and nobody else waits for it.
 */
export function eventStream(sql: Sql, hub: Hub, log: Logger, options: EventsOptions = {}): EventStream {
  const { rewindMs = 30_000, highWater = 256 * 1024, pageSize = 500, pageBytes = 128 * 1024 } = options;
  const { retryMs = 1_000, startMs = 2_000 } = options;
  const all = readers(log, '/events', options);

  /** Nothing but a database that is away can fail here, so try until it is back or the reader is gone. */
  async function patiently<T>(socket: WebSocket, read: () => Promise<T>): Promise<T | undefined> {
    while (socket.readyState === WebSocket.OPEN) {
      try {
        return await read();
      } catch (error) {
        log.debug({ err: error }, 'a reader of /events waits for the database');
        await delay(retryMs);
      }
    }
    return undefined;
  }

  /** The cursor after which a reader begins. Its clock may be ahead of ours, so never after the newest row. */
  async function beginning(given: bigint | undefined): Promise<bigint> {
    const newest = await newestCursor(sql);
    if (given === undefined) return newest;
    const from = given - BigInt(rewindMs) * 1_000_000n;
    return from < 0n ? 0n : from < newest ? from : newest;
  }

  async function serve(socket: WebSocket, out: Outlet, start: () => Promise<bigint>): Promise<void> {
    let at = await patiently(socket, start);
    while (at !== undefined) {
      await out.drained();
      at = await backlog(socket, out, at);
      if (at !== undefined) at = await live(socket, out, at);
    }
  }

  /** Sends what is there after a cursor, and gives the last cursor of it; undefined when the reader is gone. */
  async function backlog(socket: WebSocket, out: Outlet, after: bigint): Promise<bigint | undefined> {
    let rows = Math.min(firstPage, pageSize);
    const read = (from: bigint) => patiently(socket, () => hub.page(from, rows));
    let at = after;
    for (let page = await read(at); page;) {
      at = page.at(-1)?.cursor ?? at;
      const last = page.length < rows;
      // Statuses are of very different sizes, since errors are.
      const size = page.reduce((sum, { frame }) => sum + frame.length, 1) / (page.length || 1);
      rows = Math.max(1, Math.min(pageSize, Math.floor(pageBytes / size)));
      // The next page is read while this one goes out.
      const next = last ? undefined : read(at);
      for (const piece of joined(page.map(({ frame }) => frame))) await out.write(piece);
      if (!next) return at;
      page = await next;
    }
    return undefined;
  }

  /** Follows the hub until too much waits for the reader; gives where it is then, or undefined when it is gone. */
  const live = (socket: WebSocket, out: Outlet, after: bigint): Promise<bigint | undefined> =>
    new Promise((resolve) => {
      const leave = hub.follow(after, ({ cursor, frame }) => {
        out.send(frame);
        if (socket.bufferedAmount > highWater) done(cursor);
      });
      const gone = (): void => done(undefined);
      const done = (at: bigint | undefined): void => {
        leave();
        socket.off('close', gone);
        resolve(at);
      };
      if (socket.readyState === WebSocket.OPEN) socket.once('close', gone);
      else gone();
    });

  return {
    async upgrade(request, socket, head, query) {
      const cursor = query.get('cursor');
      const about = { reader: request.socket.remoteAddress, cursor };
      // Before the handshake ends: whatever is published once the reader knows that it is connected, it must get.
      const begin = () => beginning(parseCursor(cursor));
      const start = await within(startMs, begin()).catch(() => undefined);
      all.accept(request, socket, head, about, (reader, out) => serve(reader, out, async () => start ?? begin()));
    },
    close: () => all.close(),
  };
}
