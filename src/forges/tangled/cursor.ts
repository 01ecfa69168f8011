import { parseInt64 } from './int64.ts';

/**
 * The `cursor` of an `/events` request, in nanoseconds since 1970.
 * Missing, `0` and unreadable all mean "from now on" and give undefined, as on Tangled's own Go servers;
 * a negative cursor lies before everything.
 */
export function parseCursor(text: string | null | undefined): bigint | undefined {
  const value = parseInt64(text ?? '');
  return value === 0n ? undefined : value;
}
