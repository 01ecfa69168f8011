import { connect, type Socket } from 'node:net';

/** What came back for some bytes. */
export interface Answered {
  /** Undefined when the connection ended without an answer. */
  status: number | undefined;
  text: string;
  /** Ms until the first byte of the answer, or the end. */
  took: number;
  /** Nothing came and nothing ended within the time. */
  silent: boolean;
}

export interface RawOptions {
  /** Stop waiting for an answer after so long, ms. */
  patienceMs: number;
  /** Sent once there is a 101, in these pieces. */
  after?: readonly Uint8Array[];
  /** The bytes go in so many pieces. */
  pieces?: number;
}

/** Sends bytes over a connection of its own and gives what comes back; no client would send some of them. */
export function exchange(port: number, bytes: Uint8Array, options: RawOptions): Promise<Answered> {
  const { patienceMs, after = [], pieces = 1 } = options;
  return new Promise((resolve) => {
    const socket: Socket = connect({ host: '127.0.0.1', port, allowHalfOpen: false });
    const began = performance.now();
    let text = '';
    let first: number | undefined;
    const done = (silent: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      const status = /^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1];
      resolve({
        status: status === undefined ? undefined : Number(status),
        text,
        took: (first ?? performance.now()) - began,
        silent,
      });
    };
    const timer = setTimeout(() => done(first === undefined), patienceMs);
    socket.on('data', (data) => {
      first ??= performance.now();
      if (text.length < 65_536) text += data.toString('latin1');
      if (/^HTTP\/1\.[01] 101 /.test(text)) {
        if (socket.writable) for (const piece of after) socket.write(piece);
        if (after.length === 0) done(false);
        else setTimeout(() => done(false), 15);
      } else if (isWhole(text)) done(false);
    });
    socket.on('error', () => {});
    socket.on('close', () => done(false));
    const size = Math.max(1, Math.ceil(bytes.length / pieces));
    for (let at = 0; at < bytes.length; at += size) socket.write(bytes.subarray(at, at + size));
  });
}

/** An answer with all that its head promises. */
function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return false;
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(text.slice(0, end + 2))?.[1] ?? 0);
  return text.length >= end + 4 + length;
}
