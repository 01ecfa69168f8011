import { connect, createServer } from 'node:net';
import { StartError } from './supervise.ts';

/**
 * Free TCP ports of 127.0.0.1, all different. Another process may take one before you do, so whoever uses them starts
 * again with new ones when that happens: `withFreePorts`.
 */
export async function freePorts(count: number): Promise<number[]> {
  // All are held at once, or the kernel could hand out the same one twice.
  const held = await Promise.all(Array.from({ length: count }, hold));
  return Promise.all(held.map(({ port, release }) => release().then(() => port)));
}

/** Runs `start` with free ports, again (five times at most) when a server found one of them taken. */
export async function withFreePorts<T>(count: number, start: (ports: number[]) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(await freePorts(count));
    } catch (error) {
      const taken = error instanceof StartError && /address already in use|can't set .*port/i.test(error.log);
      if (!taken || attempt === 5) throw error;
    }
  }
}

/** True when something accepts connections on a port of 127.0.0.1. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

function hold(): Promise<{ port: number; release: () => Promise<void> }> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      if (address === null || typeof address === 'string') return reject(new Error('the kernel gave us no port'));
      resolve({ port: address.port, release: () => new Promise((released) => server.close(() => released())) });
    });
  });
}
