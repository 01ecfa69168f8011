import { connect, type Socket } from 'node:net';

/** After so many ms without an answer a target counts as one that refuses. */
const patienceMs = 2_000;

/** Where a link leads. */
export interface Targets {
  /** `host:port`, in the order in which they take turns. */
  to(...targets: string[]): void;
  /** Connects to the first that takes it, beginning with the next in turn; undefined when none does, or when aborted. */
  dial(signal: AbortSignal): Promise<Socket | undefined>;
}

export function createTargets(first: readonly string[]): Targets {
  let targets = first;
  let turn = 0;
  return {
    to(...next) {
      targets = next;
    },
    async dial(signal) {
      const start = turn % Math.max(1, targets.length);
      turn += 1;
      for (const target of [...targets.slice(start), ...targets.slice(0, start)]) {
        if (signal.aborted) return undefined;
        const socket = await tried(target, signal);
        if (socket) return socket;
      }
      return undefined;
    },
  };
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
