import { LRUCache } from 'lru-cache';
import { addressGuard } from './guard.ts';
import { handleClient, type Handles } from './handles.ts';
import { jsonHttp } from './http.ts';
import { type Identity, identityClient } from './identity.ts';
import { hostPace } from './pace.ts';

export interface NameOptions {
  /** Plain http for did:web, and hosts of this machine, are fine. */
  dev: boolean;
  /** The directory of DIDs, without a slash at its end. */
  plcUrl: string;
  /** For one request; default 5 s. */
  timeoutMs?: number;
}

/** The handles of accounts, remembered for ten minutes. */
export interface AccountNames extends Pick<Identity, 'handleOf'>, Handles {
  /** It did not do: the next time it is asked for. */
  forget(handleOrDid: string): void;
  close(): Promise<void>;
}

const keepMs = 600_000;
const maxKnown = 10_000;

export function accountNames({ dev, plcUrl, timeoutMs = 5_000 }: NameOptions): AccountNames {
  const open = jsonHttp({ timeoutMs });
  const guarded = jsonHttp({ timeoutMs, guard: addressGuard({ dev }) });
  const pace = hostPace({ perSecond: 10, restMinMs: 1_000, restMaxMs: 60_000 });
  const identity = identityClient({ open, guarded, pace, plcUrl, dev });
  const handles = handleClient({ guarded, pace });
  const known = new LRUCache<string, string>({ max: maxKnown, ttl: keepMs });
  const remembered =
    (lookup: Lookup): Lookup =>
    async (name, signal) => {
      const kept = known.get(name);
      if (kept !== undefined) return kept;
      const found = await lookup(name, signal);
      if (found !== undefined) known.set(name, found);
      return found;
    };
  return {
    handleOf: remembered((did, signal) => identity.handleOf(did, signal)),
    didOf: remembered((handle, signal) => handles.didOf(handle, signal)),
    forget: (name) => void known.delete(name),
    async close() {
      await Promise.all([open.close(), guarded.close()]);
    },
  };
}

type Lookup = (name: string, signal: AbortSignal) => Promise<string | undefined>;
