import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';

export interface Outlet {
  /** Whole frames, as `wire.ts` makes them. */
  send(frames: Buffer): void;
  /** The same. Resolves when the system has taken them, or the reader is gone. */
  write(frames: Buffer): Promise<void>;
  /** Resolves when the system has taken all that was sent, or the reader is gone. */
  drained(): Promise<void>;
}

/**
 * Writes to a reader, and closes it with 1013 ("try again later") when nothing of what waits for it gets out for
 * `deadlineMs`. A slow reader that moves is left alone.
 * @param stream what is under the socket; without compression, `ws` writes each frame to it at once and whole
 */
export function outlet(socket: WebSocket, stream: Duplex, deadlineMs: number, onSlow: () => void): Outlet {
  let waiting = 0;
  let strikes = 0;
  let watch: NodeJS.Timeout | undefined;
  let idle: (() => void)[] = [];

  const settle = (): void => {
    clearInterval(watch);
    watch = undefined;
    for (const resolve of idle) resolve();
    idle = [];
  };
  // Counted in quarters: when it was this process that stood still, that is one strike, however long it took.
  const strike = (): void => {
    if (++strikes !== 4) return;
    onSlow();
    socket.close(1013, 'too slow; reconnect to continue');
    const patience = setTimeout(() => socket.terminate(), deadlineMs);
    socket.once('close', () => clearTimeout(patience));
  };
  const wait = (): void => {
    waiting++;
    if (waiting === 1) strikes = 0;
    watch ??= setInterval(strike, deadlineMs / 4);
  };
  const sent = (): void => {
    waiting--;
    strikes = 0;
    if (waiting === 0) settle();
  };
  const drained = (): Promise<void> => {
    if (waiting === 0 || socket.readyState === WebSocket.CLOSED) return Promise.resolve();
    return new Promise((resolve) => idle.push(resolve));
  };
  socket.once('close', settle);

  const send = (frames: Buffer): void => {
    if (socket.readyState !== WebSocket.OPEN || frames.length === 0) return;
    wait();
    stream.write(frames, sent);
  };
  return {
    send,
    write(frames) {
      send(frames);
      return drained();
    },
    drained,
  };
}
