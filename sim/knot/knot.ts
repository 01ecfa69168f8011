import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { now as systemTid } from '@atcute/tid';
import { WebSocketServer } from 'ws';
import { parseCursor } from '../../src/forges/tangled/cursor.ts';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { tidTime } from '../../src/forges/tangled/tid.ts';
import { controls } from './controls.ts';
import { type Push, pipelineEvent, randomSha, refUpdateEvent } from './events.ts';
import { createHistory, type Generation, type KnotRow } from './history.ts';
import { type KnotConnection, type Stream, stream } from './stream.ts';

export type KnotOptions = {
  /** default 0: any free port */
  port?: number;
  /** what the knot calls itself in triggers; default `127.0.0.1:PORT` */
  host?: string;
  generation?: Generation;
  /** how far the knot's clock is ahead of ours, in ms; moves its TIDs, its `created` and its HTTP `Date` */
  clockSkew?: number;
  /** silence before a ping, in ms; default 30 s */
  pingMs?: number;
  /** the rows of a knot that was stopped, to start it again */
  history?: readonly KnotRow[];
  /** one line for each dial and each event */
  log?: (line: string) => void;
};

export type KnotSim = Awaited<ReturnType<typeof startKnot>>;

export type KnotFaults = {
  /** serves everybody from the beginning */
  ignoreCursor: boolean;
  /** sends each batch backwards */
  outOfOrder: boolean;
  /** answers upgrades with this HTTP status instead */
  refuse: number | undefined;
  /** breaks each link after a frame that nobody got before; what a reader asks for again comes in front of it */
  dropEach: boolean;
  clockSkew: number;
};

/** Starts a simulated Go knot: its `/events` with the envelopes, cursors and batches of generation A or B. */
export async function startKnot(options: KnotOptions = {}) {
  const { generation = 'A', pingMs = 30_000, log = () => {} } = options;
  const faults: KnotFaults = {
    ignoreCursor: false,
    outOfOrder: false,
    refuse: undefined,
    dropEach: false,
    clockSkew: options.clockSkew ?? 0,
  };
  // a TID of the present holds the system's clock in microseconds; whole milliseconds would make cursors and rows meet
  const now = (): bigint => (tidTime(systemTid()) ?? 0n) + BigInt(faults.clockSkew) * 1_000_000n;
  const history = createHistory(now, options.history);
  const connections: KnotConnection[] = [];
  const open = new Set<Stream>();
  const waiting = new Set<() => void>();
  let framesLeft: number | undefined;
  // `created` of the latest row that was sent to anybody
  let newest = 0n;

  const breaksAfterThis = (row?: KnotRow): boolean => {
    const isNew = row !== undefined && row.created > newest;
    if (isNew) newest = row.created;
    if (isNew && faults.dropEach) return true;
    if (framesLeft === undefined || --framesLeft > 0) return false;
    framesLeft = undefined;
    return true;
  };

  const collaborators = new Map<string, string[]>();
  const date = (): string => new Date(Number(now() / 1_000_000n)).toUTCString();
  const server = createServer();
  server.on('clientError', (_error, socket) => socket.destroy());
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  sockets.on('headers', (headers) => headers.push(`Date: ${date()}`));

  server.on('upgrade', (request: IncomingMessage, socket, early) => {
    socket.on('error', () => socket.destroy());
    const url = new URL(request.url ?? '/', 'http://knot');
    const refusal = url.pathname === '/events' ? faults.refuse : 404;
    if (refusal !== undefined) {
      log(`refused ${request.url} with ${refusal}`);
      const head = [`HTTP/1.1 ${refusal} Refused`, `Date: ${date()}`, 'Connection: close', 'Content-Length: 0'];
      socket.end(`${head.join('\r\n')}\r\n\r\n`, () => socket.destroy());
      return;
    }
    sockets.handleUpgrade(request, socket, early, (ws) => {
      const cursor = url.searchParams.get('cursor') ?? undefined;
      const connection: KnotConnection = { cursor, at: Date.now(), closedAt: undefined, sent: 0 };
      const start = faults.ignoreCursor ? 0n : (parseCursor(cursor) ?? (generation === 'A' ? history.present() : 0n));
      const served = stream(ws, history, start, connection, {
        generation,
        pingMs,
        order: (rows) => (faults.outOfOrder ? rows.toReversed() : rows),
        breaksAfterThis,
        onClose() {
          open.delete(served);
          log(`closed after ${connection.sent} frames`);
        },
      });
      open.add(served);
      connections.push(connection);
      log(`dialled with cursor ${cursor ?? '(none)'}`);
      for (const check of waiting) check();
    });
  });

  const wakeAll = (): void => open.forEach((served) => served.wake());
  const emit = (nsid: string, event: unknown, rkey?: string): string => {
    const row = history.insert(nsid, event, rkey);
    log(`event ${row.nsid} ${row.rkey}`);
    wakeAll();
    return row.rkey;
  };

  await listen(server, options.port ?? 0);
  const { port } = server.address() as AddressInfo;
  const host = options.host ?? `127.0.0.1:${port}`;

  const knot = {
    /** the knot's name in triggers and URIs */
    host,
    port,
    url: `ws://127.0.0.1:${port}/events`,
    faults,
    /** every dial that was accepted, oldest first */
    connections: connections as readonly KnotConnection[],
    history: history.rows,
    /** by the DID of a repository: whom the knot lets work in it, as knots of Tangled 1.15 and later tell */
    collaborators,
    /** the knot's clock, in nanoseconds */
    now,

    /**
     * A push (or a pull request, or a run by hand): a refUpdate, and a pipeline event after it if a workflow matched.
     * `rkey` is the pipeline's, taken but not sent when `emitted` is false.
     */
    push(push: Push): { rkey: string; sha: string; emitted: boolean } {
      const sha = push.newSha ?? randomSha();
      if ((push.kind ?? 'push') === 'push') emit(NSID.refUpdate, refUpdateEvent(push, sha));
      const emitted = push.workflows.length > 0 || push.evenIfEmpty === true;
      const event = pipelineEvent(push, sha, host);
      const rkey = emitted ? emit(NSID.pipeline, event, push.rkey) : history.nextTid();
      return { rkey, sha, emitted };
    },
    /** Any event; its rkey is a fresh TID unless given. */
    emit,
    /** Sends these bytes as a text frame to everybody who is connected; they stay out of the history. */
    raw: (data: string | Uint8Array): void => open.forEach((served) => served.raw(data)),
    /**
     * Stores captured frames with their rkeys and envelopes, once each, and says how many were new.
     * Their `created` is the time of their rkeys, or with `now` the present, so that live readers get them too.
     */
    replay(lines: readonly string[], at: 'captured' | 'now' = 'captured'): number {
      const added = lines.filter((line) => line.trim() !== '' && history.insertLine(line, at)).length;
      wakeAll();
      return added;
    },
    /** Sends the whole history again on the open sockets. */
    replayAll: (): void => open.forEach((served) => served.resend(history.rows)),
    /** Breaks the link that gets the n-th frame from now on, after that frame. */
    dropAfter(frames: number): void {
      framesLeft = frames;
    },
    /** Breaks every link now. */
    dropAll: (): void => open.forEach((served) => served.terminate()),
    /** Every open link goes silent and answers nothing any more; new dials are served. */
    halfOpen: (): void => open.forEach((served) => served.freeze()),
    /** Resolves when `count` dials were accepted since the start. */
    connected: (count = 1): Promise<void> =>
      new Promise((resolve) => {
        const check = (): void => {
          if (connections.length < count) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    async close(): Promise<void> {
      open.forEach((served) => served.terminate());
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  server.on('request', controls(knot, date));
  return knot;
}

async function listen(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
}
