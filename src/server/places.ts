import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { type ClientAddress, clientAddress } from './client-address.ts';

export interface PlaceOptions {
  /** Readers of `/events` and `/logs` together. Default 2,000. */
  most?: number;
  /** The same of one address. Default 50. */
  mostPerAddress?: number;
  /** Addresses and networks whose `X-Forwarded-For` counts. */
  trustedProxies?: readonly string[];
  /** Refusals within this time are one line in the log. Default a minute. */
  tellMs?: number;
}

export interface NoPlace {
  status: 429 | 503;
  message: string;
  /** Seconds. */
  retryAfter: number;
}

export interface PlaceCounts {
  taken: number;
  /** Addresses that have a place; those to which the limit of one address does not apply are none. */
  addresses: number;
  /** Turned away since the start. */
  refused: { total: number; perAddress: number };
}

export interface Places {
  readonly most: number;
  /** Takes a place until the socket closes, or says why there is none. */
  take(request: IncomingMessage, socket: Duplex): NoPlace | undefined;
  counts(): PlaceCounts;
}

/** How many may read at once, in all and from one address. Asked before an upgrade, so that a flood costs no handshake. */
export function places(log: Logger, options: PlaceOptions = {}): Places {
  const { most = 2_000, mostPerAddress = 50, trustedProxies = [], tellMs = 60_000 } = options;
  const addressOf: ClientAddress = clientAddress(trustedProxies);
  const byAddress = new Map<string, number>();
  const refused = { total: 0, perAddress: 0 };
  let taken = 0;
  let told = -Infinity;
  let untold = 0;

  const refuse = (which: keyof typeof refused, address: string | undefined): void => {
    refused[which]++;
    untold++;
    const now = performance.now();
    if (now - told < tellMs) return;
    log.warn({ address, taken, refused: untold }, `readers are turned away: ${limits[which]}`);
    [told, untold] = [now, 0];
  };

  const leave = (address: string | undefined): void => {
    taken--;
    if (address === undefined) return;
    const left = (byAddress.get(address) ?? 1) - 1;
    if (left > 0) byAddress.set(address, left);
    else byAddress.delete(address);
  };

  return {
    most,
    take(request, socket) {
      const address = addressOf(request);
      const mine = address === undefined ? 0 : (byAddress.get(address) ?? 0);
      if (mine >= mostPerAddress) {
        refuse('perAddress', address);
        return {
          status: 429,
          message: `there are ${mostPerAddress} readers of your address already; close one, or try again later`,
          retryAfter: 30,
        };
      }
      if (taken >= most) {
        refuse('total', address);
        return { status: 503, message: 'there are too many readers; try again in a moment', retryAfter: 10 };
      }
      taken++;
      if (address !== undefined) byAddress.set(address, mine + 1);
      socket.once('close', () => leave(address));
      return undefined;
    },
    counts: () => ({ taken, addresses: byAddress.size, refused: { ...refused } }),
  };
}

const limits = {
  total: 'WHORL_MAX_READERS are here',
  perAddress: 'WHORL_MAX_READERS_PER_ADDRESS of one address are here',
} as const;
