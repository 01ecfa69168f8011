import type { WebSocket } from 'ws';
import { z } from 'zod';
import type { Feed, FeedRow } from './feed.ts';
import { type Filter, filterOf } from './filter.ts';

/** One dial of `/subscribe`. */
export interface JetstreamConnection {
  readonly query: URLSearchParams;
  /** text of `?cursor=`, undefined if there was none */
  readonly cursor: string | undefined;
  /** when it dialled, in ms */
  readonly at: number;
  /** when it ended, in ms; undefined while open */
  closedAt: number | undefined;
  /** frames sent so far */
  sent: number;
  /** what it asked for, in its query or since */
  filter: Filter;
}

export interface Subscriber {
  connection: JetstreamConnection;
  /** the log grew */
  wake(): void;
  /** sends these rows again; the subscriber's place stays */
  resend(rows: readonly FeedRow[]): void;
  raw(data: string | Uint8Array, binary: boolean): void;
  /** goes silent for good, without a word to the other side */
  freeze(): void;
  terminate(): void;
}

export interface SubscriberOptions {
  pingMs: number;
  /** sends nothing until the first options_update */
  requireHello: boolean;
  /** how often each frame is sent: 1, or 2 */
  copies(): number;
  /** true while nothing is to be sent */
  paused(): boolean;
  /** called for every frame before it is sent; true if the link breaks after it */
  breaksAfterThis(): boolean;
  onClose(): void;
}

const message = z.object({ type: z.string(), payload: z.unknown().optional() });
const update = z.object({
  wantedCollections: z.array(z.string()).nullish(),
  wantedDids: z.array(z.string()).nullish(),
  maxMessageSizeBytes: z.number().nullish(),
});

const BATCH = 200;
/** what may wait in a socket before the log is read on */
const BUFFERED = 1 << 20;

/** Serves one socket from a number of the log on; it reads the log as fast as its socket takes the frames. */
export function subscriber(
  ws: WebSocket,
  feed: Feed,
  start: number,
  connection: JetstreamConnection,
  options: SubscriberOptions,
): Subscriber {
  let place = start;
  let silent = false;
  let greeted = !options.requireHello;
  let scheduled = false;
  const ping = setInterval(() => {
    if (!silent) ws.ping();
  }, options.pingMs);

  const raw = (data: string | Uint8Array, binary = false): void => {
    if (silent || ws.readyState !== ws.OPEN) return;
    connection.sent++;
    const breaks = options.breaksAfterThis();
    if (breaks) silent = true;
    ws.send(data, { binary }, breaks ? () => ws.terminate() : undefined);
  };
  const send = (row: FeedRow): void => {
    if (!connection.filter.wants(row)) return;
    const text = feed.text(row);
    const { maxBytes } = connection.filter;
    if (maxBytes > 0 && Buffer.byteLength(text) > maxBytes) return;
    for (let copy = 0; copy < options.copies(); copy++) raw(text);
  };

  const pump = (): void => {
    scheduled = false;
    if (!greeted || silent || options.paused()) return;
    while (ws.readyState === ws.OPEN && !silent) {
      if (ws.bufferedAmount > BUFFERED) return void setTimeout(wake, 5);
      const rows = feed.from(place, BATCH);
      if (rows.length === 0) return;
      for (const row of rows) send(row);
      place = (rows.at(-1)?.seq ?? place) + 1;
    }
  };
  const wake = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(pump);
  };

  ws.on('message', (data: Buffer, binary) => {
    if (binary) return;
    const said = parsed(data.toString('utf8'));
    if (said === undefined) return ws.close(1007, 'bad SubscriberSourcedMessage envelope');
    if (said.type !== 'options_update') return;
    const asked = update.safeParse(said.payload);
    if (!asked.success) return ws.close(1007, 'bad options_update payload');
    const { wantedCollections, wantedDids, maxMessageSizeBytes } = asked.data;
    const filter = filterOf(wantedCollections ?? [], wantedDids ?? [], maxMessageSizeBytes ?? 0);
    if (typeof filter === 'string') return ws.close(1008, filter.slice(0, 120));
    connection.filter = filter;
    greeted = true;
    wake();
  });
  ws.on('error', () => ws.terminate());
  ws.on('close', () => {
    clearInterval(ping);
    silent = true;
    connection.closedAt = Date.now();
    options.onClose();
  });
  wake();

  return {
    connection,
    wake,
    resend: (rows) => rows.forEach(send),
    raw,
    freeze() {
      silent = true;
      ws.pause();
    },
    terminate: () => ws.terminate(),
  };
}

function parsed(text: string): z.infer<typeof message> | undefined {
  try {
    return message.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}
