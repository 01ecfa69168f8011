import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export interface SocketLimits {
  /** Connections at once; more are closed as they come. Default 1,000. */
  most?: number | undefined;
  /** Connections that ask for nothing: silent ones, half requests, pauses between two requests. Default 500. */
  mostIdle?: number | undefined;
}

/**
 * Keeps a server open for others while somebody holds connections that ask for nothing: of too many, the one that has
 * been so for longest is closed. Call it when the server has its other listeners, and before it listens.
 */
export function limitSockets(server: Server, { most = 1_000, mostIdle = 500 }: SocketLimits = {}): void {
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
}
