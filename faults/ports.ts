import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Free TCP ports of 127.0.0.1 for processes that are killed and come back to the same one. They are below those that the
 * kernel hands out by itself (from 32768 on Linux), or another process may have it meanwhile.
 */
export async function lastingPorts(count: number): Promise<number[]> {
  const found = new Set<number>();
  for (let tries = 0; found.size < count && tries < 1_000; tries += 1) {
    const port = randomInt(15_000, 32_000);
    if (await isFree(port)) found.add(port);
  }
  if (found.size < count) throw new Error(`no ${count} free ports between 15000 and 32000`);
  return [...found];
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
