/** the largest nanosecond time that a Go peer, or a bigint column, can hold: the year 2262 */
const MAX = 2n ** 63n - 1n;
const MIN = -(2n ** 63n);

/** A decimal integer as Go's `ParseInt` reads it, exactly; undefined if it is none, or does not fit in 64 bits. */
export function parseInt64(text: string): bigint | undefined {
  // 20 characters hold a sign and 19 digits; the cap keeps a long string of digits from costing anything
  if (text.length > 20 || !/^[+-]?\d+$/.test(text)) return undefined;
  const value = BigInt(text.startsWith('+') ? text.slice(1) : text);
  return value >= MIN && value <= MAX ? value : undefined;
}

export const fitsInt64 = (value: bigint): boolean => value >= MIN && value <= MAX;
