import { connect, type Socket } from 'node:net';

/** After so many ms without an answer a target counts as one that refuses. */
const patienceMs = 2_000;

/** Connects to the first of the targets (`host:port`) that takes it; undefined when none does, or when it was aborted. */
export async function dial(targets: readonly string[], signal: AbortSignal): Promise<Socket | undefined> {
  for (const target of targets) {
    if (signal.aborted) return undefined;
    const socket = await tried(target, signal);
    if (socket) return socket;
  }
  return undefined;
}

function tried(target: string, signal: AbortSignal): Promise<Socket | undefined> {
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
  const colon = target.lastIndexOf(':');
  const host = target.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  const socket = connect({ host, port: Number(target.slice(colon + 1)), allowHalfOpen: true, noDelay: true });
  const give = (taken: boolean): void => {
    clearTimeout(timer);
    signal.removeEventListener('abort', refused);
    socket.off('connect', taking);
    socket.off('close', refused);
    if (!taken) socket.destroy();
    resolve(taken ? socket : undefined);
  };
  const refused = (): void => give(false);
  // A port that nobody listens at may be chosen for our own side: the socket is then connected to itself.
  const taking = (): void =>
    give(socket.localPort !== socket.remotePort || socket.localAddress !== socket.remoteAddress);
  const timer = setTimeout(refused, patienceMs);
  signal.addEventListener('abort', refused);
  socket.once('connect', taking);
  socket.once('close', refused);
  // Whatever is wrong with a socket, `close` follows.
  socket.on('error', () => {});
  return promise;
}
