import { WebSocket } from 'ws';
import type { Guard } from '../clients/guard.ts';

export type StreamSocket = {
  /** the `Date` header of the answer */
  date: string | undefined;
  /** why it ended; also when we closed it */
  closed: Promise<string>;
  /** No frames until `resume`; a paused socket has no read deadline. It starts paused. */
  pause(): void;
  resume(): void;
  /** Ends at once; no frame is given after this. */
  close(reason: string): void;
};

export type DialOptions = {
  onFrame(bytes: Buffer): void;
  dialTimeoutMs: number;
  pingMs: number;
  /** silence, pongs included, after which the link counts as dead */
  readDeadlineMs: number;
  signal: AbortSignal;
  /** for a host that strangers name */
  guard?: Guard | undefined;
};

/** Dials; resolves when the socket is open. Rejects when the other side cannot be reached, or refuses. */
export function dial(url: string, options: DialOptions): Promise<StreamSocket> {
  return new Promise((resolve, reject) => {
    options.guard?.check(new URL(url).hostname);
    const ws = new WebSocket(url, {
      // no `origin`: a knot refuses a foreign one (gorilla's default check)
      perMessageDeflate: false,
      handshakeTimeout: options.dialTimeoutMs,
      // a frame that is not UTF-8 is a bad frame, and must not end the connection
      skipUTF8Validation: true,
      ...(options.guard && { lookup: options.guard.lookup }),
    });
    let date: string | undefined;
    let paused = true;
    let over = false;
    let lastWord = performance.now();
    let endedBecause = (_reason: string): void => {};
    const closed = new Promise<string>((settle) => (endedBecause = settle));

    const alive = (): void => void (lastWord = performance.now());
    const ping = setInterval(() => {
      if (ws.readyState === WebSocket.OPEN && !paused) ws.ping();
    }, options.pingMs);
    const deadline = setInterval(
      () => {
        if (paused) alive();
        else if (performance.now() - lastWord > options.readDeadlineMs) {
          close(`nothing came for ${options.readDeadlineMs / 1000} s`);
        }
      },
      Math.max(10, options.readDeadlineMs / 10),
    );

    const close = (reason: string): void => {
      if (over) return;
      over = true;
      clearInterval(ping);
      clearInterval(deadline);
      options.signal.removeEventListener('abort', abort);
      ws.terminate();
      endedBecause(reason);
      reject(new Error(reason));
    };
    const abort = (): void => close('stopped');

    ws.on('upgrade', (answer) => void (date = answer.headers.date));
    ws.on('open', () => {
      ws.pause();
      resolve({
        date,
        closed,
        pause() {
          paused = true;
          ws.pause();
        },
        resume() {
          alive();
          paused = false;
          ws.resume();
        },
        close,
      });
    });
    ws.on('message', (data) => {
      alive();
      if (!over) options.onFrame(asBuffer(data));
    });
    ws.on('ping', alive);
    ws.on('pong', alive);
    ws.on('error', (error) => close(error.message));
    ws.on('close', (code, reason) =>
      close(`closed by the other side with ${code}${reason.length > 0 ? ` (${reason.toString()})` : ''}`),
    );
    options.signal.addEventListener('abort', abort);
    if (options.signal.aborted) abort();
  });
}

function asBuffer(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}
