import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';

/** A knot that answers each dial with bytes of our choice, whatever they are. */
export interface Wire {
  /** `host:port`, as knots are called. */
  host: string;
  /** Gives these to who dials next; resolves when that is over. Rejects when nobody dials. */
  answer(bytes: Buffer): Promise<void>;
  close(): Promise<void>;
}

/** Stands in an answer for what the dial's key asks for. */
export const acceptMark = '{accept}';

/** How long a dial may stay away, and how long one that was answered stays open, ms. */
const patienceMs = 20_000;
const openMs = 12;

export async function startWire(): Promise<Wire> {
  const waiting: { bytes: Buffer; done: () => void }[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    socket.once('data', (request) => {
      const next = waiting.shift();
      if (!next) return socket.destroy();
      const key = /sec-websocket-key: (\S+)/i.exec(request.toString('latin1'))?.[1] ?? '';
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
      const at = next.bytes.indexOf(acceptMark);
      const rest = next.bytes.subarray(at + acceptMark.length);
      socket.write(at < 0 ? next.bytes : Buffer.concat([next.bytes.subarray(0, at), Buffer.from(accept), rest]));
      // long enough that it is read, and the connection counts
      setTimeout(() => socket.destroy(), openMs);
      socket.once('close', next.done);
      return socket;
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    answer: (bytes) =>
      new Promise((resolve, reject) => {
        const entry = { bytes, done: () => finish() };
        const finish = (error?: Error): void => {
          clearTimeout(timer);
          if (error) waiting.splice(waiting.indexOf(entry), 1);
          if (error) reject(error);
          else resolve();
        };
        const timer = setTimeout(() => finish(new Error('nobody dials this knot any more')), patienceMs);
        waiting.push(entry);
      }),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
