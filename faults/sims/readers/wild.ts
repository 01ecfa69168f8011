import WebSocket from 'ws';
import { dice } from '../dice.ts';

export interface WildOptions {
  /** `ws://host/events` */
  url: string;
  seed: number;
  name: string;
  redialMs: number;
  onFrame(name: string, text: string): void;
}

/** A reader without manners. Left alone, it reads like any other. */
export interface WildReader {
  readonly name: string;
  /** Takes nothing off its socket for so long. */
  stall(ms: number): void;
  /** Breaks off, and dials at once with a cursor of its whim. */
  jump(): void;
  close(): void;
}

const MINUTE_NS = 60_000_000_000n;

/** Cursors that a reader might come with: nothing, all, nonsense, a moment of the last ten minutes, and one to come. */
function anyCursor(next: () => number): string {
  const now = BigInt(Date.now()) * 1_000_000n;
  const minutes = BigInt(Math.floor(next() * 10_000));
  const kinds = ['0', '-1', 'yesterday', `${now - (minutes * MINUTE_NS) / 1000n}`, `${now + minutes * MINUTE_NS}`];
  return kinds[Math.floor(next() * kinds.length)] ?? '0';
}

export function startWild({ url, seed, name, redialMs, onFrame }: WildOptions): WildReader {
  const next = dice(seed, name);
  let cursor: string | undefined;
  let socket: WebSocket | undefined;
  let redial: NodeJS.Timeout | undefined;
  let stalled: NodeJS.Timeout | undefined;
  let closed = false;

  const dial = (): void => {
    clearTimeout(redial);
    const to = cursor === undefined ? url : `${url}?cursor=${cursor}`;
    const ws = new WebSocket(to, { handshakeTimeout: 10_000, perMessageDeflate: false });
    socket = ws;
    ws.on('open', () => {
      if (stalled) ws.pause();
    });
    ws.on('message', (data: Buffer) => {
      cursor = `${Date.now()}000000`;
      onFrame(name, data.toString('utf8'));
    });
    ws.on('error', () => ws.terminate());
    ws.on('close', () => {
      if (!closed && socket === ws) redial = setTimeout(dial, redialMs);
    });
  };
  dial();

  return {
    name,
    stall(ms) {
      clearTimeout(stalled);
      if (socket?.readyState === WebSocket.OPEN) socket.pause();
      stalled = setTimeout(() => {
        stalled = undefined;
        socket?.resume();
      }, ms);
    },
    jump() {
      if (closed) return;
      const before = socket;
      cursor = anyCursor(next);
      dial();
      before?.terminate();
    },
    close() {
      closed = true;
      clearTimeout(redial);
      clearTimeout(stalled);
      socket?.terminate();
    },
  };
}
