import { steadyNow } from '../steady.ts';
import { ClientError } from './error.ts';

/**
 * Keeps calls to any one host slow, and lets a host rest that is in trouble: while it rests, calls to it fail at once,
 * with the time at which it may be asked again, so that nobody waits for it in vain. One that was in trouble and has
 * not been asked for as long as it would rest at most begins anew, since strangers may name as many hosts as they like.
 */
export interface Pace {
  /**
   * Makes the call when the host's turn comes. Throws what the call throws; or a `ClientError` like the one that made
   * the host rest; or the signal's reason when that was aborted while waiting.
   */
  run<T>(host: string, signal: AbortSignal, call: () => Promise<T>): Promise<T>;
}

export interface PaceSettings {
  /** Calls to one host within any second, as it sees them. */
  perSecond: number;
  /** How long a host rests that does not answer; doubles up to the longest. Milliseconds. */
  restMinMs: number;
  restMaxMs: number;
}

/** A little more than one: clocks and timers count in milliseconds. */
const secondMs = 1_010;

export const paceDefaults: PaceSettings = { perSecond: 2, restMinMs: 15_000, restMaxMs: 15 * 60_000 };

interface Host {
  /** Places in use, or used less than a second ago. */
  taken: number;
  waiting: { go(): void; fail(error: unknown): void }[];
  failures: number;
  /** ms since 1970, by `steadyNow` */
  restsUntil: number;
  trouble: ClientError | undefined;
}

export function hostPace(settings: Partial<PaceSettings> = {}): Pace {
  const { perSecond, restMinMs, restMaxMs } = { ...paceDefaults, ...settings };
  const hosts = new Map<string, Host>();
  let sweptAt = steadyNow();

  const sweep = (): void => {
    const now = steadyNow();
    if (now - sweptAt < restMaxMs) return;
    sweptAt = now;
    for (const [name, host] of hosts) if (host.taken === 0 && host.restsUntil + restMaxMs <= now) hosts.delete(name);
  };

  const hostOf = (name: string): Host => {
    let host = hosts.get(name);
    if (!host) {
      sweep();
      host = { taken: 0, waiting: [], failures: 0, restsUntil: 0, trouble: undefined };
      hosts.set(name, host);
    }
    return host;
  };

  const turn = async (host: Host, signal: AbortSignal): Promise<void> => {
    signal.throwIfAborted();
    if (host.taken < perSecond) {
      host.taken++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const leave = (): void => {
        host.waiting = host.waiting.filter((one) => one !== mine);
        reject(signal.reason);
      };
      const settle = (settled: () => void): void => {
        signal.removeEventListener('abort', leave);
        settled();
      };
      const mine = { go: () => settle(resolve), fail: (error: unknown) => settle(() => reject(error)) };
      host.waiting.push(mine);
      signal.addEventListener('abort', leave, { once: true });
    });
  };

  /** A place is free a second after its call has ended: then no second of the host's own clock sees more of us. */
  const giveBack = (name: string, host: Host): void => {
    setTimeout(() => {
      const next = host.waiting.shift();
      if (next) return next.go();
      host.taken--;
      forgetIdle(name, host);
    }, secondMs).unref();
  };

  const forgetIdle = (name: string, host: Host): void => {
    if (host.taken === 0 && host.failures === 0 && host.restsUntil <= steadyNow()) hosts.delete(name);
  };

  const rest = (host: Host, trouble: ClientError): void => {
    const now = steadyNow();
    // calls that were under way together are one failure
    if (host.restsUntil <= now) host.failures++;
    const pause = Math.min(restMaxMs, restMinMs * 2 ** Math.min(host.failures - 1, 20));
    host.restsUntil = Math.max(host.restsUntil, trouble.retryAt?.getTime() ?? now + pause);
    host.trouble = trouble;
    for (const one of host.waiting.splice(0)) one.fail(resting(host, trouble));
  };

  return {
    async run(name, signal, call) {
      const host = hostOf(name);
      if (host.trouble && host.restsUntil > steadyNow()) throw resting(host, host.trouble);
      await turn(host, signal);
      try {
        if (host.trouble && host.restsUntil > steadyNow()) throw resting(host, host.trouble);
        const answer = await call();
        host.failures = 0;
        return answer;
      } catch (error) {
        if (error instanceof ClientError && isOfTheHost(error)) rest(host, error);
        else if (error instanceof ClientError) host.failures = 0;
        throw error;
      } finally {
        giveBack(name, host);
      }
    },
  };
}

/** Whether every other call to this host would fail, too. */
function isOfTheHost({ kind, status = 0, retryAt }: ClientError): boolean {
  if (kind === 'status') return retryAt !== undefined || [429, 502, 503, 504].includes(status);
  return kind === 'unreachable' || kind === 'timeout' || kind === 'refused-address';
}

function resting(host: Host, trouble: ClientError): ClientError {
  const retryAt = new Date(host.restsUntil);
  const message = `${trouble.message}; it is not asked again before ${retryAt.toISOString()}`;
  return new ClientError(trouble.kind, message, { status: trouble.status, retryAt, cause: trouble });
}
