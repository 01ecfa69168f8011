import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { createSignal } from '../buildkite/signal.ts';
import { createFeed, type FeedOptions, type Stamp } from './feed.ts';
import { filterOf } from './filter.ts';
import type { Network, NetworkEvent } from './network.ts';
import { type JetstreamConnection, type Subscriber, subscriber } from './subscriber.ts';

export interface JetstreamOptions extends FeedOptions {
  /** default 0: any free one, kept over `stop` and `start` */
  port?: number;
  /** address to listen on; default 127.0.0.1 */
  host?: string;
  /** silence between pings, in ms; default 30 s */
  pingMs?: number;
  /** one line for each dial */
  log?: (line: string) => void;
}

export interface JetstreamFaults {
  /** answers dials with this HTTP status */
  refuse: number | undefined;
  /** takes dials and never answers them */
  hang: boolean;
  /** serves everybody from the oldest on */
  ignoreCursor: boolean;
  /** sends every frame twice */
  double: boolean;
}

export type JetstreamSim = Awaited<ReturnType<typeof startJetstream>>;

/**
 * Starts one jetstream host, fed by the network; it has what happened before too, as far as its lookback goes. Start
 * several for several hosts: each has its own times, numbers and order.
 */
export async function startJetstream(network: Network, options: JetstreamOptions = {}) {
  const { host = '127.0.0.1', pingMs = 30_000, log = () => {} } = options;
  const faults: JetstreamFaults = { refuse: undefined, hang: false, ignoreCursor: false, double: false };
  const connections: JetstreamConnection[] = [];
  const open = new Set<Subscriber>();
  const hung = new Set<Duplex>();
  const signal = createSignal();
  const feed = createFeed(network, options, () => open.forEach((one) => one.wake()));
  let port = options.port ?? 0;
  let dials = 0;
  let framesLeft: number | undefined;
  let paused = false;
  let server: Server | undefined;

  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 10_000_000 });
  const upgrade = (request: IncomingMessage, socket: Duplex, early: Buffer): void => {
    socket.on('error', () => socket.destroy());
    dials++;
    signal.notify();
    if (faults.hang) return void hung.add(socket);
    const refuse = (status: number, text: string): void => {
      log(`refused ${request.url} with ${status} ${text}`);
      const head = `HTTP/1.1 ${status} Refused\r\nContent-Type: text/plain\r\nConnection: close\r\n`;
      socket.end(`${head}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`, () => socket.destroy());
    };
    if (faults.refuse !== undefined) return refuse(faults.refuse, 'refused');
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://jetstream');
    if (pathname !== '/subscribe') return refuse(404, 'not found');
    if (query.get('compress') === 'true' || String(request.headers['socket-encoding']).includes('zstd')) {
      return refuse(400, 'zstd is not served here');
    }
    const maxBytes = Number(query.get('maxMessageSizeBytes') ?? 0);
    const filter = filterOf(query.getAll('wantedCollections'), query.getAll('wantedDids'), maxBytes);
    if (typeof filter === 'string') return refuse(400, filter);
    const cursor = query.get('cursor') ?? undefined;
    const start = feed.start(cursor);
    if (start === undefined) return refuse(400, `subscribe: invalid cursor: "${cursor}"`);

    sockets.handleUpgrade(request, socket, early, (ws) => {
      const connection: JetstreamConnection = { query, cursor, at: Date.now(), closedAt: undefined, sent: 0, filter };
      const one = subscriber(ws, feed, faults.ignoreCursor ? 0 : start, connection, {
        pingMs,
        requireHello: query.get('requireHello') === 'true',
        copies: () => (faults.double ? 2 : 1),
        paused: () => paused,
        breaksAfterThis() {
          if (framesLeft === undefined || --framesLeft > 0) return false;
          framesLeft = undefined;
          return true;
        },
        onClose() {
          open.delete(one);
          log(`closed after ${connection.sent} frames`);
          signal.notify();
        },
      });
      open.add(one);
      connections.push(connection);
      log(`dialled ${request.url}`);
      signal.notify();
    });
  };

  const listen = async (): Promise<void> => {
    if (server) return;
    const fresh = createServer((_request, response) => void response.end('This is a simulated jetstream.\n'));
    fresh.on('upgrade', upgrade);
    fresh.on('clientError', (_error, socket) => socket.destroy());
    fresh.listen(port, host);
    await once(fresh, 'listening');
    server = fresh;
    port = (fresh.address() as AddressInfo).port;
  };
  const stop = async (): Promise<void> => {
    open.forEach((one) => one.terminate());
    hung.forEach((socket) => socket.destroy());
    hung.clear();
    const stopping = server;
    server = undefined;
    if (!stopping) return;
    stopping.closeAllConnections();
    await new Promise((resolve) => stopping.close(resolve));
  };
  await listen();

  return {
    port,
    url: `ws://127.0.0.1:${port}/subscribe`,
    faults,
    /** every dial that was accepted, oldest first */
    connections: connections as readonly JetstreamConnection[],
    /** how many dials there were, refused ones too */
    dials: (): number => dials,
    /** what it still has, in its order, with its stamps */
    rows: feed.rows,
    /** the frame of a row, as it is sent */
    text: feed.text,

    /** Resolves when `count` dials were accepted since the start. */
    connected: (count = 1, ms = 20_000): Promise<boolean> =>
      signal.until(() => connections.length >= count, `${count} connections to the jetstream`, ms),
    /** Resolves with the first value of `check` that is something; it is asked again at each dial and close. */
    until: signal.until,

    /** Breaks every link now. */
    dropAll: (): void => open.forEach((one) => one.terminate()),
    /** Breaks the link that gets the n-th frame from now on, after that frame. */
    dropAfter(frames: number): void {
      framesLeft = frames;
    },
    /** Every open link goes silent and answers nothing any more; new dials are served. */
    halfOpen: (): void => open.forEach((one) => one.freeze()),
    /** Holds all frames back, pings go on; `resume` sends them. */
    pause(): void {
      paused = true;
    },
    resume(): void {
      paused = false;
      open.forEach((one) => one.wake());
    },
    /** Sends this to everybody who is connected, as a text frame or a binary one; it stays out of the log. */
    raw: (data: string | Uint8Array, binary = false): void => open.forEach((one) => one.raw(data, binary)),
    /** Puts any frame into the log, made from its stamp; everybody gets it, whatever they asked for. */
    store: (frame: (stamp: Stamp) => string): void => feed.store(frame),
    /** Sends everything that it has again, on the open links. */
    replayAll: (): void => open.forEach((one) => one.resend(feed.rows)),
    /** Forgets everything before now: a later cursor of the past gets what comes. */
    forget: (): void => feed.forget(),
    /** From now on these events never come in here; undefined: all do. */
    lose: (lost: ((event: NetworkEvent) => boolean) | undefined): void => feed.lose(lost),
    /** Ends the current window of the shuffle now. */
    flush: (): void => feed.flush(),

    /** The host is gone: nobody listens on its port. What happens meanwhile it has when it is back. */
    stop,
    start: listen,
    async close(): Promise<void> {
      feed.stop();
      signal.close();
      await stop();
    },
  };
}
