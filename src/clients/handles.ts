import dns from 'node:dns/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { isAtprotoDid } from '@atcute/identity';
import { ClientError } from './error.ts';
import type { JsonHttp } from './http.ts';
import type { Pace } from './pace.ts';

export interface HandleOptions {
  /** For the hosts that handles name. */
  guarded: JsonHttp;
  pace: Pace;
  /** For the DNS; default 3 s. */
  timeoutMs?: number;
  /** Where a handle says whose it is. Default: `https://<handle>/.well-known/atproto-did`. */
  placeOf?: (handle: string) => URL;
}

/** Tells whose a handle is. */
export interface Handles {
  /**
   * The DID of the account that a handle names, as atproto says: the TXT record `_atproto.<handle>`, or else what its host
   * answers. Undefined when it names none. Throws `ClientError` when that cannot be told now, or is garbage.
   */
  didOf(handle: string, signal: AbortSignal): Promise<string | undefined>;
}

/** A DID and a line end. */
const maxBytes = 2_064;
const nothingThere = ['ENODATA', 'ENOTFOUND'];

export function handleClient({ guarded, pace, timeoutMs = 3_000, placeOf = wellKnown }: HandleOptions): Handles {
  const byDns = async (handle: string): Promise<string | undefined> => {
    const texts = (await records(handle)).map((parts) => parts.join('')).filter((text) => text.startsWith('did='));
    const [did, ...others] = new Set(texts.map((text) => text.slice('did='.length)));
    if (others.length > 0) throw new ClientError('garbage', `the DNS names several accounts for the handle ${handle}`);
    return did;
  };

  const records = async (handle: string): Promise<string[][]> => {
    const over = new AbortController();
    const late = delay(timeoutMs, undefined, { signal: over.signal }).then(() =>
      Promise.reject(new Error('no answer')),
    );
    try {
      return await Promise.race([dns.resolveTxt(`_atproto.${handle}`), late]);
    } catch (cause) {
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer';
      if (nothingThere.includes(code)) return [];
      throw new ClientError('unreachable', `the DNS does not tell whose handle ${handle} is (${code})`, { cause });
    } finally {
      over.abort();
    }
  };

  const byHttp = async (handle: string, signal: AbortSignal): Promise<string | undefined> => {
    const url = placeOf(handle);
    try {
      const text = await pace.run(url.origin, signal, () => guarded.text(url, { maxBytes, signal }));
      return text.split('\n')[0]?.trim();
    } catch (error) {
      if (error instanceof ClientError && error.kind === 'status' && (error.status ?? 0) < 500 && !error.retryAt)
        return undefined;
      throw error;
    }
  };

  return {
    async didOf(handle, signal) {
      const asked = await byDns(handle).catch((error: unknown) => error);
      if (asked instanceof ClientError && asked.kind === 'garbage') throw asked;
      const did = typeof asked === 'string' ? asked : await byHttp(handle, signal);
      if (did === undefined && asked instanceof Error) throw asked;
      if (did === undefined || isAtprotoDid(did)) return did;
      throw new ClientError('garbage', `what the handle ${handle} names is not the DID of an account`);
    },
  };
}

const wellKnown = (handle: string): URL => new URL(`https://${handle}/.well-known/atproto-did`);
