import { LRUCache } from 'lru-cache';
import { addressGuard } from '../clients/guard.ts';
import { jsonHttp } from '../clients/http.ts';
import { identityClient } from '../clients/identity.ts';
import { type Knot, knotClient } from '../clients/knot.ts';
import { hostPace, type Pace } from '../clients/pace.ts';
import { type Authenticate, serviceAuth } from './auth.ts';

export interface CallerOptions {
  /** Of this spindle, with its port if it has one. */
  hostname: string;
  /** Plain http, and hosts of this machine, are fine. */
  dev: boolean;
  /** The directory of DIDs, without a slash at its end. Default the public one. */
  plcUrl?: string | undefined;
}

export interface Callers {
  authenticate: Authenticate;
  /** What knots know of those who call. */
  knot: Knot;
  close(): Promise<void>;
}

/** Strangers name the hosts of did:web, so only so many are remembered. */
const maxHosts = 1_000;
const timeoutMs = 3_500;

/** Knows who calls by the keys in their DID documents, and what they may do by what knots say. */
export function callers({ hostname, dev, plcUrl = 'https://plc.directory' }: CallerOptions): Callers {
  const open = jsonHttp({ timeoutMs });
  const guarded = jsonHttp({ timeoutMs, guard: addressGuard({ dev }) });
  const directory = new URL(plcUrl).origin;
  const fast = hostPace({ perSecond: 20, restMinMs: 1_000, restMaxMs: 15_000 });
  const slow = new LRUCache<string, Pace>({ max: maxHosts });
  const paceOf = (host: string): Pace => {
    if (host === directory) return fast;
    const pace = slow.get(host) ?? hostPace({ restMinMs: 5_000, restMaxMs: 60_000 });
    slow.set(host, pace);
    return pace;
  };
  const pace: Pace = { run: (host, signal, call) => paceOf(host).run(host, signal, call) };
  const identity = identityClient({ open, guarded, pace, plcUrl, dev });
  return {
    authenticate: serviceAuth({ hostname, identity }),
    knot: knotClient({ http: guarded, pace, dev }),
    async close() {
      await Promise.all([open.close(), guarded.close()]);
    },
  };
}
