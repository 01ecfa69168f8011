const shortestMs = 1_000;
const longestMs = 3_600_000;

/**
 * When a host that answered 429 or 503 may be asked again. `Retry-After` is seconds or a date; `RateLimit-Reset` is
 * seconds, or, at a PDS, the second since 1970 (atproto's `rate-limiter`). A 429 without a word means a minute. Times are
 * by the host's clock, which its `Date` tells.
 * @param now ms since 1970
 */
export function retryAt(status: number, header: (name: string) => string | undefined, now: number): Date | undefined {
  if (status !== 429 && status !== 503) return undefined;
  const theirs = dateOf(header('date')) ?? now;
  const pause = pauseOf(header('retry-after'), theirs) ?? pauseOf(header('ratelimit-reset'), theirs);
  if (pause === undefined) return status === 429 ? new Date(now + 60_000) : undefined;
  return new Date(now + Math.min(Math.max(pause, shortestMs), longestMs));
}

/** In ms; negative when the time is over. */
function pauseOf(value: string | undefined, now: number): number | undefined {
  if (value === undefined || value === '') return undefined;
  const number = Number(value);
  if (number >= 0) return number > 1e9 ? number * 1000 - now : number * 1000;
  const date = dateOf(value);
  return date === undefined ? undefined : date - now;
}

/** The parser makes a date of nearly anything; those of HTTP end alike. */
function dateOf(value = ''): number | undefined {
  const date = value.endsWith(' GMT') ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? undefined : date;
}
