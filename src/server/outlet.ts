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
  let deadline: NodeJS.Timeout | undefined;
  let idle: (() => void)[] = [];

  const settle = (): void => {
    clearTimeout(deadline);
    deadline = undefined;
    for (const resolve of idle) resolve();
    idle = [];
  };
  const expire = (): void => {
    onSlow();
    socket.close(1013, 'too slow; reconnect to continue');
    const patience = setTimeout(() => socket.terminate(), deadlineMs);
    socket.once('close', () => clearTimeout(patience));
  };
  const sent = (): void => {
    waiting--;
    if (waiting === 0) settle();
    else deadline?.refresh();
  };
  socket.once('close', settle);

  return {
    send(frame) {
      if (socket.readyState !== WebSocket.OPEN) return;
      waiting++;
      deadline ??= setTimeout(expire, deadlineMs);
      socket.send(frame, sent);
    },
    drained() {
      if (waiting === 0 || socket.readyState === WebSocket.CLOSED) return Promise.resolve();
      return new Promise((resolve) => idle.push(resolve));
    },
  };
}
