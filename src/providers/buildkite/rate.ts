import { createHash } from 'node:crypto';
import type { Limiter, Limits } from '../provider.ts';

/** How often what Buildkite says of its limit is written down; more often when nothing is left. */
const tellMs = 5_000;
const tellEmptyMs = 1_000;

/** Bounds for a `reset` that makes no sense; the real window is a minute. */
const shortest = 1;
const longest = 300;

const numberIn = (headers: Headers, name: string): number | undefined => {
  const value = headers.get(name);
  return value !== null && /^\d+$/.test(value) ? Number(value) : undefined;
};

const window = (headers: Headers, prefix: string) => ({
  remaining: numberIn(headers, `${prefix}-Remaining`),
  limit: numberIn(headers, `${prefix}-Limit`),
  reset: numberIn(headers, `${prefix}-Reset`),
});

/**
 * What the answer says about the budget. Two limits apply at once, the organisation's and the token user's: the one with
 * fewer requests left is given.
 */
export function rateLimits(headers: Headers, now: number): Limits | undefined {
  const known = [window(headers, 'RateLimit-User'), window(headers, 'RateLimit')].filter(
    (one) => one.remaining !== undefined,
  );
  const [tightest] = known.sort((a, b) => (a.remaining ?? 0) - (b.remaining ?? 0));
  if (!tightest) return undefined;
  const { remaining, limit, reset } = tightest;
  return {
    remaining: remaining ?? null,
    limit: limit ?? null,
    resetAt: reset === undefined ? null : new Date(now + reset * 1000),
  };
}

/** When to come back after a 429: the body says it, or the headers of the limit that is used up, or a minute. */
export function retryAfter(headers: Headers, body: Buffer, now: number): Date {
  const seconds = resetIn(body) ?? numberIn(headers, 'Retry-After') ?? usedUp(headers) ?? 60;
  return new Date(now + Math.min(Math.max(seconds, shortest), longest) * 1000);
}

function resetIn(body: Buffer): number | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    if (typeof value !== 'object' || value === null || !('reset' in value)) return undefined;
    return typeof value.reset === 'number' && Number.isFinite(value.reset) ? value.reset : undefined;
  } catch {
    return undefined;
  }
}

function usedUp(headers: Headers): number | undefined {
  const both = [window(headers, 'RateLimit-User'), window(headers, 'RateLimit')];
  const resets = both.filter((one) => one.remaining === 0).map((one) => one.reset ?? 60);
  return resets.length > 0 ? Math.max(...resets) : undefined;
}

/**
 * The name under which calls with this token share a rate budget. Limits belong to a token's user, whom we may not know
 * yet; one spindle has one token.
 */
export const bucketOf = (token: string): string =>
  `buildkite/${createHash('sha256').update(token).digest('hex').slice(0, 16)}`;

/** Writes down now and then what Buildkite said. No call waits for it, and none fails because of it. */
export function teller(limiter: Limiter): (bucket: string, said: Limits) => void {
  let toldAt = Number.NEGATIVE_INFINITY;
  return (bucket, said) => {
    const now = performance.now();
    if (now - toldAt < (said.remaining === 0 ? tellEmptyMs : tellMs)) return;
    toldAt = now;
    void limiter.told?.(bucket, said).catch(() => {});
  };
}
