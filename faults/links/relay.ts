import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import type { Link } from '../contract.ts';
import { createTargets } from './dial.ts';
import { createConduct } from './lane.ts';
import { createPair, type OpenTap, type Pair } from './pair.ts';

/** Carries bytes, and does to them what a network may do. All of a link but its points. */
export interface Relay extends Omit<Link, 'name' | 'arm'> {
  /** Resets the connection whose socket to the target has this local port. */
  cutOne(localPort: number): void;
}

export async function openRelay(options: { to?: string[]; tap?: OpenTap | undefined }): Promise<Relay> {
  const conduct = createConduct();
  const pairs = new Set<Pair>();
  const dials = new Map<Pair, AbortController>();
  const targets = createTargets(options.to ?? []);
  let refusing = false;
  let freezing = false;

  const lead = async (pair: Pair): Promise<void> => {
    const abort = new AbortController();
    dials.set(pair, abort);
    const target = await targets.dial(abort.signal);
    dials.delete(pair);
    pair.join(target);
  };

  const end = (pair: Pair): void => {
    pairs.delete(pair);
    dials.get(pair)?.abort();
    pair.destroy();
  };

  const cut = (which: (pair: Pair) => boolean = () => true): number => {
    const chosen = [...pairs].filter(which);
    chosen.forEach(end);
    return chosen.length;
  };

  const accept = (client: Socket): void => {
    if (refusing) {
      client.on('error', () => {});
      client.resetAndDestroy();
      return;
    }
    const pair = createPair(client, conduct, options.tap);
    pairs.add(pair);
    pair.onGone(() => {
      pairs.delete(pair);
      dials.get(pair)?.abort();
    });
    if (freezing) pair.freeze();
    else void lead(pair);
  };

  const delay = (ms: number): void => {
    conduct.delayMs = ms;
    for (const pair of pairs) pair.pump();
  };

  const slow = (bytesPerSecond: number): void => {
    conduct.forth.set(bytesPerSecond);
    conduct.back.set(bytesPerSecond);
  };

  const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');

  return {
    port: (server.address() as AddressInfo).port,
    get open() {
      return pairs.size;
    },
    to: targets.to,
    cut: () => cut(),
    cutOne: (localPort) => void cut(({ target }) => target?.localPort === localPort),
    refuse() {
      refusing = true;
    },
    halfOpen() {
      freezing = true;
      for (const pair of pairs) pair.freeze();
    },
    delay,
    slow,
    mend() {
      refusing = false;
      freezing = false;
      cut((pair) => pair.frozen);
      slow(Number.POSITIVE_INFINITY);
      delay(0);
    },
    async close() {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      const ends = [...pairs].map(
        ({ target }) =>
          new Promise<void>((resolve) => {
            if (!target || target.closed) resolve();
            else target.once('close', () => resolve());
          }),
      );
      cut();
      await Promise.all([closed, ...ends]);
    },
  };
}
