import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/**
 * Lets requests in whose target has raw bytes, as Go's servers do: readers of logs put the name of a workflow into the
 * path as it is, and Node's parser refuses everything but ASCII. The first line of a connection is looked at before the
 * parser gets it, and what is raw in its target is percent-encoded. Call it before the server listens.
 */
export function acceptRawTargets(server: Server): { close(): void } {
  const accept = server.listeners('connection');
  const silent = new Set<Socket>();
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const quiet = (): void => {};
    const look = (): void => {
      silent.delete(socket);
      const first: unknown = socket.read();
      if (Buffer.isBuffer(first)) socket.unshift(withEncodedTarget(first));
      socket.setTimeout(0);
      socket.off('timeout', end).off('error', quiet).off('close', forget);
      for (const listener of accept) Reflect.apply(listener, server, [socket]);
    };
    const end = (): void => void socket.destroy();
    const forget = (): void => void silent.delete(socket);
    silent.add(socket);
    socket.setTimeout(server.headersTimeout, end);
    socket.once('readable', look).on('error', quiet).once('close', forget);
  });
  return {
    /** Those who have said nothing yet do not keep the server from closing. */
    close() {
      for (const socket of silent) socket.destroy();
    },
  };
}

const lineFeed = 0x0a;
const requestLine = /^([A-Z]+ )(.+)( HTTP\/1\.[01]\r)$/;

/** The same bytes, with a target of ASCII alone. What is no request, or has its first line elsewhere, stays as it is. */
export function withEncodedTarget(bytes: Buffer): Buffer {
  const end = bytes.indexOf(lineFeed);
  if (end === -1) return bytes;
  const [, verb = '', target = '', version = ''] = requestLine.exec(bytes.toString('latin1', 0, end)) ?? [];
  const encoded = target.replace(/[^\x21-\x7e]/g, (raw) => `%${raw.charCodeAt(0).toString(16).padStart(2, '0')}`);
  if (encoded === target) return bytes;
  return Buffer.concat([Buffer.from(verb + encoded + version, 'latin1'), bytes.subarray(end)]);
}
