import type { IncomingMessage } from 'node:http';
import { LRUCache } from 'lru-cache';
import { clientAddress } from './client-address.ts';

export interface RateOptions {
  /** Calls of one address within a minute. Default 60. */
  perMinute?: number | undefined;
  /** Calls under way at once, of all. Default 32. */
  atOnce?: number | undefined;
  /** Addresses and networks whose `X-Forwarded-For` counts. */
  trustedProxies?: readonly string[] | undefined;
}

export interface AddressRate {
  /** Takes a place for a call, or says in how many seconds to come back. */
  take(request: IncomingMessage): { done(): void } | { status: 429 | 503; retryAfter: number };
}

const maxAddresses = 20_000;
const minuteMs = 60_000;

/** Keeps those who call slow. A minute begins with an address's first call. */
export function addressRate({ perMinute = 60, atOnce = 32, trustedProxies = [] }: RateOptions = {}): AddressRate {
  const addressOf = clientAddress(trustedProxies);
  const calls = new LRUCache<string, { count: number; since: number }>({ max: maxAddresses });
  let underWay = 0;

  /** Ms until this address may call again; 0 when it may now. */
  const waitOf = (address: string): number => {
    const now = performance.now();
    const last = calls.get(address);
    const minute = last && now - last.since < minuteMs ? last : { count: 0, since: now };
    calls.set(address, minute);
    minute.count++;
    return minute.count > perMinute ? minute.since + minuteMs - now : 0;
  };

  return {
    take(request) {
      const address = addressOf(request);
      const wait = address === undefined ? 0 : waitOf(address);
      if (wait > 0) return { status: 429, retryAfter: Math.ceil(wait / 1_000) };
      if (underWay >= atOnce) return { status: 503, retryAfter: 5 };
      underWay++;
      let open = true;
      return {
        done() {
          if (open) underWay--;
          open = false;
        },
      };
    },
  };
}
