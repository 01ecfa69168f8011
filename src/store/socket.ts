import { connect, type Socket } from 'node:net';

/** What postgres.js tells whoever makes its sockets; for each host there is a port. */
interface Address {
  readonly host: readonly string[];
  readonly port: readonly number[];
  readonly path?: string | undefined;
}

/**
 * Makes the sockets of a pool, which leave no connection behind that is of no use:
 *
 * - An error is told together with its close. postgres.js gives work to a connection between the two, never answers it, and
 *   never uses that connection again, so that in a bad network a pool runs dry.
 * - What was asked and is not answered at all within `silenceMs` ends the connection. A link that is dead without a word would
 *   otherwise hold it, and what queues there, until the kernel gives up after a quarter of an hour. (Under TLS, only that.)
 */
export function sockets(silenceMs: number): (address: Address) => Socket {
  let next = 0;
  return ({ host, port, path }) => {
    const n = next++ % Math.max(1, host.length);
    const [name, number] = [host[n] ?? 'localhost', port[n] ?? 5432];
    const socket = path ? connect(path) : connect(number, name);
    errorsWithClose(socket);
    endsWhenSilent(socket, silenceMs);
    // For the names in its errors, and for TLS.
    return Object.assign(socket, { host: name, port: number });
  };
}

function errorsWithClose(socket: Socket): void {
  const emit = socket.emit.bind(socket);
  let failure: unknown;
  socket.emit = (event: string | symbol, ...args: unknown[]): boolean => {
    if (event === 'error') {
      failure ??= args[0];
      return true;
    }
    if (event === 'close' && failure !== undefined) emit('error', failure);
    return emit(event, ...args);
  };
}

function endsWhenSilent(socket: Socket, ms: number): void {
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  let waiting: NodeJS.Timeout | undefined;
  const giveUp = (): void => {
    const error = new Error(`the database gave no answer within ${ms / 1000} s; its connection is given up`);
    socket.destroy(Object.assign(error, { code: 'CONNECTION_TIMEOUT' }));
  };
  const heard = (): void => {
    clearTimeout(waiting);
    waiting = undefined;
  };
  socket.write = (...args: unknown[]): boolean => {
    waiting ??= setTimeout(giveUp, ms).unref();
    return write(...args);
  };
  socket.prependListener('data', heard);
  socket.once('close', heard);
}
