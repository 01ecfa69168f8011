import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { WebSocket, WebSocketServer } from 'ws';
import { readerConnections, readersClosed, readersOpened } from '../metrics/index.ts';
import { type Outlet, outlet } from './outlet.ts';

export interface ReaderOptions {
  /** Default 30 s. */
  pingMs?: number;
  /** A reader whose socket takes nothing for so long is closed with 1013. Default 10 s. */
  writeDeadlineMs?: number;
  /** How long a reader that takes nothing may take to say goodbye at shutdown. Default 1 s. */
  closeMs?: number;
}

type Serve = (socket: WebSocket, out: Outlet) => Promise<void>;

export interface Readers {
  /** Ends the handshake and serves the reader. `about` says in the log which one it is. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer, about: object, serve: Serve): void;
  /** Closes every reader with 1001. */
  close(): Promise<void>;
}

/**
 * Those who read from us over WebSockets at one path: pings, patience, and a goodbye. What a reader says is thrown away;
 * one that says more than 64 KiB at once is closed.
 */
export function readers(log: Logger, path: string, options: ReaderOptions = {}): Readers {
  const { pingMs = 30_000, writeDeadlineMs = 10_000, closeMs = 1_000 } = options;
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });
  const pinging = setInterval(() => {
    for (const socket of sockets.clients) if (socket.readyState === WebSocket.OPEN) socket.ping();
  }, pingMs);

  return {
    accept(request, stream, head, about, serve) {
      sockets.handleUpgrade(request, stream, head, (socket) => {
        count(socket, path);
        socket.on('error', (error) => log.debug({ ...about, err: error }, `a reader of ${path} failed`));
        socket.on('close', (code) => log.debug({ ...about, code }, `a reader of ${path} left`));
        log.debug(about, `a reader of ${path} came`);
        const out = outlet(socket, stream, writeDeadlineMs, () =>
          log.info(about, `a reader of ${path} is too slow; closing it`),
        );
        serve(socket, out).catch((error: unknown) => {
          log.error({ ...about, err: error }, `a reader of ${path} was lost to an error of ours`);
          socket.close(1011, 'something went wrong here; reconnect to continue');
        });
      });
    },
    async close() {
      clearInterval(pinging);
      sockets.close();
      const gone = [...sockets.clients].map((reader) => new Promise((resolve) => reader.once('close', resolve)));
      for (const reader of sockets.clients) reader.close(1001, 'going away; reconnect to continue');
      const left = new Map<WebSocket, number>();
      let rounds = 0;
      const timer = setInterval(() => {
        rounds += 1;
        for (const reader of sockets.clients) {
          // Whoever still takes what was sent before the goodbye gets it whole, within reason.
          if (rounds < 5 && reader.bufferedAmount > 0 && reader.bufferedAmount < (left.get(reader) ?? Infinity)) {
            left.set(reader, reader.bufferedAmount);
          } else reader.terminate();
        }
      }, closeMs);
      await Promise.all(gone);
      clearInterval(timer);
    },
  };
}

/** What readers choose to say is not told apart. */
const ownCodes = new Set([1000, 1001, 1005, 1006, 1011, 1013]);

function count(socket: WebSocket, path: string): void {
  readersOpened.inc({ path });
  readerConnections.inc({ path });
  socket.once('close', (code) => {
    readerConnections.dec({ path });
    readersClosed.inc({ path, code: ownCodes.has(code) ? code : 'other' });
  });
}

/** Rejects when the work takes longer. The work itself goes on: a statement on a dead link may hang for minutes. */
export function within<T>(ms: number, work: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`the database gave no answer within ${ms} ms`)), ms);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
