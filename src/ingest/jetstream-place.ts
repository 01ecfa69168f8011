import { recordCollections } from '../forges/tangled/record.ts';

const nanos = (ms: number): bigint => BigInt(Math.floor(ms)) * 1_000_000n;

/** a jetstream of the second version takes smaller cursors for numbers of its own */
const earliest = 1_000_000_000_000_000n * 1_000n;
/** how far our own clock may have been set back since the cursor was stored */
const setBackMs = 60_000;
/** how far the clock of a host may be ahead of ours */
const aheadMs = 600_000;
/** no record has as much, so it is none of ours; the rest of what is too large for us is counted */
const maxMessageBytes = 4 * 1024 * 1024;

/** Where a stored cursor leads, in nanoseconds; or why it leads nowhere. */
export function placeOf(position: bigint | undefined, now: number): { at: bigint } | { problem: string } {
  if (position === undefined) return { problem: 'there is no cursor' };
  if (position < earliest) return { problem: 'the cursor is no time' };
  if (position > nanos(now + setBackMs)) return { problem: 'the cursor is in the future' };
  return { at: position < nanos(now) ? position : nanos(now) };
}

/**
 * How far a stream has come after a frame of this time. Never back, never beyond our own clock, though that of the host
 * may be ahead; and a time that no clock shows leaves it where it is, so that nothing before is skipped.
 */
export function advance(reached: bigint, time: bigint, now: number): bigint {
  if (time > nanos(now + aheadMs)) return reached;
  const to = time < nanos(now) ? time : nanos(now);
  return to > reached ? to : reached;
}

/** How long nothing came of what happened after `from`, in ms, when `time` is the first that came: what may be missing. */
export function missingMs(from: bigint, time: bigint, openedAt: number): number {
  // what is later than the connection was not held back by anybody
  const until = time < nanos(openedAt) ? time : nanos(openedAt);
  return Number((until - from) / 1_000_000n);
}

/**
 * Where a jetstream is read: the records that say who may run what, from a time on. Events of accounts and identities
 * come whatever is asked for (jetstream, `docs/README.md`).
 * @param cursor nanoseconds since 1970
 */
export function subscribeUrl(base: string, cursor: bigint): string {
  const url = new URL(base);
  for (const collection of recordCollections) url.searchParams.append('wantedCollections', collection);
  url.searchParams.set('maxMessageSizeBytes', `${maxMessageBytes}`);
  url.searchParams.set('cursor', `${cursor / 1_000n}`);
  return url.href;
}
