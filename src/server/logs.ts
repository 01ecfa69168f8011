import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { WebSocket } from 'ws';
import type { Sql } from '../store/db.ts';
import type { AttemptKey } from '../store/builds.ts';
import { findLog } from '../store/log-reader.ts';
import type { LogHub } from './log-hub.ts';
import { type LogPath, parseLogPath } from './log-path.ts';
import type { Outlet } from './outlet.ts';
import { type ReaderOptions, readers, within } from './readers.ts';
import { refuse } from './refuse.ts';

const incomplete = 'the path must be /logs/<knot>/<rkey>/<workflow>';

/** Whether a path is one of logs, whole or not. */
export const isLogPath = (pathname: string): boolean => /^\/logs(?:\/|$)/.test(pathname);

/** What asks for a log without an upgrade is told so. */
export function logRoutes(app: FastifyInstance): void {
  const answer = async (request: FastifyRequest, reply: FastifyReply) =>
    parseLogPath(request.url.split('?', 1)[0] ?? '') === 'incomplete'
      ? reply.code(400).send({ error: incomplete })
      : reply.code(426).header('upgrade', 'websocket').send({ error: 'a log is read over a WebSocket' });
  app.get('/logs', answer);
  app.get('/logs/*', answer);
}

export interface LogsOptions extends ReaderOptions {
  /** How long a handshake waits for the database at most. Default 5 s. */
  findMs?: number;
}

export interface LogStream {
  /** Answers a request for an upgrade. `pathname` begins with `/logs`. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, pathname: string): Promise<void>;
  /** Closes every reader with 1001. */
  close(): Promise<void>;
}

/**
 * `/logs/<knot>/<rkey>/<workflow>`: the log of a job's newest attempt, an entry a frame, from its beginning; then what
 * is added, until the job has ended and all is sent: 1000, "log stream complete" (tangled core, `spindle/stream.go`).
 * What does not exist is 404 before the upgrade. A reader that is slow holds a part of the log and nobody up.
 */
export function logStream(sql: Sql, hub: LogHub, log: Logger, options: LogsOptions = {}): LogStream {
  const { findMs = 5_000 } = options;
  const all = readers(log, '/logs', options);
  const finding = new Map<string, Promise<AttemptKey | undefined>>();

  /** Those who come together ask once. */
  function find(path: LogPath): Promise<AttemptKey | undefined> {
    const name = JSON.stringify(path);
    const under = finding.get(name);
    if (under) return under;
    const found = findLog(sql, path).finally(() => finding.delete(name));
    finding.set(name, found);
    return found;
  }

  async function serve(socket: WebSocket, out: Outlet, key: AttemptKey): Promise<void> {
    const follower = hub.follow(key);
    socket.once('close', () => follower.leave());
    try {
      let at = 0;
      for (;;) {
        const part = await follower.next(at);
        if (!part) return;
        for (const frames of part.frames) await out.write(frames);
        if (part.last) return socket.close(1000, 'log stream complete');
        at = part.next;
      }
    } finally {
      follower.leave();
    }
  }

  return {
    async upgrade(request, socket, head, pathname) {
      const path = parseLogPath(pathname);
      if (path === 'incomplete') return refuse(socket, 400, incomplete);
      let key: AttemptKey | undefined;
      try {
        key = path && (await within(findMs, find(path)));
      } catch (error) {
        log.warn({ path: pathname, err: error }, 'a log could not be looked up');
        return refuse(socket, 503, 'the logs cannot be read now; try again in a moment');
      }
      if (!key) return refuse(socket, 404, 'there is no such pipeline here, or it has no such workflow');
      const found = key;
      const about = { reader: request.socket.remoteAddress, ...key };
      all.accept(request, socket, head, about, (reader, out) => serve(reader, out, found));
    },
    close: () => all.close(),
  };
}
