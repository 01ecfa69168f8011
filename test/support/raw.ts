import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { until } from './until.ts';

/** A connection on which a test says what no client would. */
export interface Raw {
  socket: Socket;
  /** All bytes that came so far, as Latin-1. */
  said(): string;
  /** The status of the first answer, once its first line is there; undefined when the other side closed before. */
  status(): Promise<number | undefined>;
  /** Resolves when the connection is closed by whichever side, to all bytes that came. */
  closed: Promise<string>;
}

/** Connects to `http://host:port` and says this, if anything. */
export async function raw(base: string, text: string | Buffer = ''): Promise<Raw> {
  const { hostname, port } = new URL(base);
  const socket = connect({ host: hostname, port: Number(port) });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => {});
  const said = (): string => Buffer.concat(chunks).toString('latin1');
  const first = (): RegExpExecArray | null =>
    /^HTTP\/1\.1 (\d{3}) [^\n]*\n/.exec(Buffer.concat(chunks.slice(0, 5)).toString('latin1', 0, 200));
  const closed = new Promise<string>((resolve) => socket.once('close', () => resolve(said())));
  await once(socket, 'connect');
  if (text.length > 0) socket.write(text);
  return {
    socket,
    said,
    closed,
    async status() {
      await until('an answer', () => first() !== null || socket.closed);
      const [, status] = first() ?? [];
      return status === undefined ? undefined : Number(status);
    },
  };
}

/** A request for an upgrade, as a reader makes it; `target` may hold anything but a line feed. */
export const upgrade = (target: string, headers: Record<string, string> = {}): string =>
  [
    `GET ${target} HTTP/1.1`,
    'Host: spindle.example',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    '',
    '',
  ].join('\r\n');
