import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

export interface SocketLimits {
  /** Connections at once; more are closed as they come. Default 1,000. */
  most?: number | undefined;
  /** Connections that ask for nothing: silent ones, half requests, pauses between two requests. Default 500. */
  mostIdle?: number | undefined;
}

export interface Sockets {
  /**
   * Before the server closes: waits at most `ms` for those who ask for nothing, and closes them `ms` later, so that no
   * request is cut, and nobody who says nothing holds the end up.
   */
  letGo(ms: number): Promise<void>;
}

/**
 * Keeps a server open for others while somebody holds connections that ask for nothing: of too many, the one that has
 * been so for longest is closed. Call it when the server has its other listeners, and before it listens.
 */
export function limitSockets(server: Server, { most = 1_000, mostIdle = 500 }: SocketLimits = {}): Sockets {
  /** In the order in which they became so. */
  const idle = new Set<Socket>();
  server.maxConnections = most;

  const rest = (socket: Socket): void => {
    if (socket.destroyed) return;
    idle.add(socket);
    const [longest] = idle;
    if (idle.size > mostIdle) longest?.destroy();
  };

  server.on('connection', (socket: Socket) => {
    socket.once('close', () => idle.delete(socket));
    rest(socket);
  });
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    idle.delete(socket);
    response.once('close', () => rest(socket));
  });
  server.on('upgrade', ({ socket }: IncomingMessage) => idle.delete(socket));

  return {
    async letGo(ms) {
      const end = performance.now() + ms;
      while (idle.size > 0 && performance.now() < end) await delay(10);
      const close = (): void => {
        for (const socket of idle) socket.destroy();
      };
      // The server has closed those that were idle; these came in the meantime, and have not asked for anything since.
      const timer = setTimeout(close, ms);
      server.once('close', () => clearTimeout(timer));
    },
  };
}
