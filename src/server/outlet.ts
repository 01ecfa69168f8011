import { WebSocket } from 'ws';

export interface Outlet {
  send(frame: string): void;
  /** Resolves when the system has taken all that was sent, or the reader is gone. */
  drained(): Promise<void>;
}

/**
 * Writes to a reader, and closes it with 1013 ("try again later") when nothing of what waits for it gets out for
 * `deadlineMs`. A slow reader that moves is left alone.
 */
export function outlet(socket: WebSocket, deadlineMs: number, onSlow: () => void): Outlet {
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
  const sent = (): void => {
    waiting--;
    strikes = 0;
    if (waiting === 0) settle();
  };
  socket.once('close', settle);

  return {
    send(frame) {
      if (socket.readyState !== WebSocket.OPEN) return;
      waiting++;
      if (waiting === 1) strikes = 0;
      watch ??= setInterval(strike, deadlineMs / 4);
      socket.send(frame, sent);
    },
    drained() {
      if (waiting === 0 || socket.readyState === WebSocket.CLOSED) return Promise.resolve();
      return new Promise((resolve) => idle.push(resolve));
    },
  };
}
