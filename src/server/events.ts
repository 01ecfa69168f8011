import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { WebSocket, WebSocketServer } from 'ws';
import { parseCursor } from '../forges/tangled/cursor.ts';
import type { Sql } from '../store/db.ts';
import { newestCursor } from '../store/statuses.ts';
import type { Hub } from './hub.ts';
import { outlet } from './outlet.ts';

export interface EventsOptions {
  /** How far before the given cursor to start: real readers resume by their own clock. Default 30 s. */
  rewindMs?: number;
  /** Default 30 s. */
  pingMs?: number;
  /** A reader whose socket takes nothing for so long is closed with 1013. Default 10 s. */
  writeDeadlineMs?: number;
  /** How much may wait for one live reader before it reads from the database again, in bytes. Default 256 KiB. */
  highWater?: number;
  /** Statuses for one read of the backlog. Default 200. */
  pageSize?: number;
  /** Pause after a read that failed. Default 1 s. */
  retryMs?: number;
  /** How long readers may take to say goodbye at shutdown. Default 1 s. */
  closeMs?: number;
  /** How long a reader's handshake waits for the database at most. Default 2 s. */
  startMs?: number;
}

export interface EventStream {
  /** Answers a request for an upgrade. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, query: URLSearchParams): Promise<void>;
  /** Closes every reader with 1001. */
  close(): Promise<void>;
}

/**
 * `/events`: one text frame for each published status, as stock spindles have it (tangled core, `spindle/stream.go`).
 * With a cursor (nanoseconds): everything after it, then live; missing, 0 or unreadable: live only. What a reader says
 * is thrown away. A reader that is slow costs a page of memory, and nobody else waits for it.
 */
export function eventStream(sql: Sql, hub: Hub, log: Logger, options: EventsOptions = {}): EventStream {
  const { rewindMs = 30_000, pingMs = 30_000, writeDeadlineMs = 10_000, closeMs = 1_000 } = options;
  const { highWater = 256 * 1024, pageSize = 200, retryMs = 1_000, startMs = 2_000 } = options;
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });
  const pinging = setInterval(() => {
    for (const socket of sockets.clients) if (socket.readyState === WebSocket.OPEN) socket.ping();
  }, pingMs);

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

  async function serve(socket: WebSocket, start: () => Promise<bigint>, about: object): Promise<void> {
    const out = outlet(socket, writeDeadlineMs, () => log.info(about, 'a reader of /events is too slow; closing it'));
    let at = await patiently(socket, start);
    while (at !== undefined) {
      await out.drained();
      const after = at;
      const page = await patiently(socket, () => hub.page(after, pageSize));
      for (const { frame } of page ?? []) out.send(frame);
      at = page && (page.at(-1)?.cursor ?? after);
      if (page && page.length < pageSize) at = await live(socket, out, at ?? after);
    }
  }

  /** Follows the hub until too much waits for the reader; gives where it is then, or undefined when it is gone. */
  const live = (socket: WebSocket, out: ReturnType<typeof outlet>, after: bigint): Promise<bigint | undefined> =>
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
      const start = await soon(beginning(parseCursor(cursor)), startMs);
      sockets.handleUpgrade(request, socket, head, (reader) => {
        reader.on('error', (error) => log.debug({ ...about, err: error }, 'a reader of /events failed'));
        reader.on('close', (code) => log.debug({ ...about, code }, 'a reader of /events left'));
        log.debug(about, 'a reader of /events came');
        serve(reader, async () => start ?? beginning(parseCursor(cursor)), about).catch((error: unknown) => {
          log.error({ ...about, err: error }, 'a reader of /events was lost to an error of ours');
          reader.close(1011, 'something went wrong here; reconnect to continue');
        });
      });
    },
    async close() {
      clearInterval(pinging);
      sockets.close();
      const gone = [...sockets.clients].map((reader) => new Promise((resolve) => reader.once('close', resolve)));
      for (const reader of sockets.clients) reader.close(1001, 'going away; reconnect to continue');
      const timer = setTimeout(() => {
        for (const reader of sockets.clients) reader.terminate();
      }, closeMs);
      await Promise.all(gone);
      clearTimeout(timer);
    },
  };
}

/** What the work gives, or undefined when it fails or takes longer. */
const soon = <T>(work: Promise<T>, ms: number): Promise<T | undefined> => {
  const late = new AbortController();
  const end = delay(ms, undefined, { signal: late.signal }).catch(() => undefined);
  return Promise.race([work.catch(() => undefined), end]).finally(() => late.abort());
};
