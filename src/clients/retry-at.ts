const shortestMs = 1_000;
const longestMs = 3_600_000;

/**
 * When a host that answered 429 or 503 may be asked again. `Retry-After` is seconds or a date; `RateLimit-Reset` is
 * seconds, or, at a PDS, the second since 1970 (atproto's `rate-limiter`). A 429 without a word means a minute.
 * @param now ms since 1970
 */
export function retryAt(status: number, header: (name: string) => string | undefined, now: number): Date | undefined {
  if (status !== 429 && status !== 503) return undefined;
  const at = timeOf(header('retry-after'), now) ?? timeOf(header('ratelimit-reset'), now);
  if (at === undefined) return status === 429 ? new Date(now + 60_000) : undefined;
  return new Date(Math.min(Math.max(at, now + shortestMs), now + longestMs));
}

function timeOf(value: string | undefined, now: number): number | undefined {
  if (value === undefined || value === '') return undefined;
  const number = Number(value);
  if (number >= 0) return number > 1e9 ? number * 1000 : now + number * 1000;
  // the parser makes a date of nearly anything
  const date = value.endsWith(' GMT') ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? undefined : date;
}
