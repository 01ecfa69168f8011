import WebSocket from 'ws';

export type ReaderOptions = {
  /** `ws://host/events` */
  url: string;
  /** the reader's own clock, in ms; its cursors are made of it */
  now(): number;
  /** pause after a link that worked, and first pause after a dial that failed, in ms */
  redialMs: number;
  /** longest pause after failed dials, in ms */
  maxRedialMs: number;
  onFrame(text: string): void;
  onDial?: (cursor: string | undefined) => void;
  onOpen?: () => void;
  onClose?: (code: number) => void;
};

export type Reader = {
  /** breaks the link; the reader dials again after its pause */
  disconnect(): void;
  /** stops taking frames off the socket, as a stuck reader does */
  stall(): void;
  resume(): void;
  close(): void;
};

/**
 * Reads an `/events` stream as Tangled's stock consumer does: no cursor at first, then its own clock at the last
 * message; after the end of a link a pause, after a failed dial a doubling one, for ever (tangled core, `eventconsumer`).
 */
export function startReader(options: ReaderOptions): Reader {
  let cursor: string | undefined;
  let failures = 0;
  let ended = false;
  let stalled = false;
  let socket: WebSocket | undefined;
  let timer: NodeJS.Timeout | undefined;

  const dial = (): void => {
    options.onDial?.(cursor);
    let opened = false;
    const ws = new WebSocket(cursor === undefined ? options.url : `${options.url}?cursor=${cursor}`, {
      handshakeTimeout: 10_000,
      perMessageDeflate: false,
    });
    socket = ws;
    ws.on('open', () => {
      opened = true;
      failures = 0;
      if (stalled) ws.pause();
      options.onOpen?.();
    });
    ws.on('message', (data: Buffer) => {
      // the clock moves the cursor before the frame is worked on, so a frame that fails is not asked for again
      cursor = `${options.now()}000000`;
      options.onFrame(data.toString('utf8'));
    });
    ws.on('error', () => ws.terminate());
    ws.on('close', (code) => {
      options.onClose?.(code);
      if (ended) return;
      const pause = opened ? options.redialMs : Math.min(options.redialMs * 2 ** failures++, options.maxRedialMs);
      timer = setTimeout(dial, pause);
    });
  };
  dial();

  return {
    disconnect: () => socket?.terminate(),
    stall() {
      stalled = true;
      if (socket?.readyState === WebSocket.OPEN) socket.pause();
    },
    resume() {
      stalled = false;
      socket?.resume();
    },
    close() {
      ended = true;
      clearTimeout(timer);
      socket?.terminate();
    },
  };
}
