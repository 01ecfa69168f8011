import type { WebSocket } from 'ws';
import { frameText, type Generation, type History, type KnotRow } from './history.ts';

const BATCH = 100;

/** One dial of `/events`. */
export type KnotConnection = {
  /** text of `?cursor=`, undefined if there was none */
  cursor: string | undefined;
  /** when it dialled, in ms */
  at: number;
  /** when it ended, in ms; undefined while open */
  closedAt: number | undefined;
  /** frames sent so far */
  sent: number;
};

export type Stream = {
  connection: KnotConnection;
  /** an event was stored */
  wake(): void;
  /** sends these rows again; the stream's place stays */
  resend(rows: readonly KnotRow[]): void;
  raw(data: string | Uint8Array): void;
  /** goes silent for good, without a word to the other side: no frames, no pings, no answers */
  freeze(): void;
  terminate(): void;
};

export type StreamOptions = {
  generation: Generation;
  pingMs: number;
  /** the batch as it is sent */
  order(rows: KnotRow[]): KnotRow[];
  /** called for every frame before it is sent; true if the link breaks after it */
  breaksAfterThis(row?: KnotRow): boolean;
  onClose(): void;
};

/** Serves one socket from a place in the history on, as a Go knot does. */
export function stream(
  ws: WebSocket,
  history: History,
  start: bigint,
  connection: KnotConnection,
  options: StreamOptions,
): Stream {
  let place = start;
  let scheduled = false;
  let silent = false;

  const ping = setInterval(() => {
    if (!silent) ws.ping();
  }, options.pingMs);

  const send = (data: string | Uint8Array, row?: KnotRow): void => {
    if (silent || ws.readyState !== ws.OPEN) return;
    connection.sent++;
    ping.refresh();
    if (options.breaksAfterThis(row)) {
      silent = true;
      ws.send(data, { binary: false }, () => ws.terminate());
    } else {
      ws.send(data, { binary: false });
    }
  };

  const sendBatch = (): number => {
    const rows = history.after(place, BATCH);
    place = rows.at(-1)?.created ?? place;
    for (const row of options.order(rows)) send(frameText(row, options.generation), row);
    return rows.length;
  };

  // Notices that come together wake a stream once, and an old knot then sends one batch, however much is waiting.
  const wake = (): void => {
    if (scheduled) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      while (sendBatch() === BATCH && options.generation === 'B');
    });
  };

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
    resend: (rows) => rows.forEach((row) => send(frameText(row, options.generation), row)),
    raw: (data) => send(data),
    freeze() {
      silent = true;
      ws.pause();
    },
    terminate: () => ws.terminate(),
  };
}
