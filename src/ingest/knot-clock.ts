/** What we know of time when a frame arrives. */
export type Clock = {
  /** our clock, in ms */
  now: number;
  /** how far the knot's clock is ahead of ours, in ms */
  skew: number;
};

const nanos = (ms: number): bigint => BigInt(Math.floor(ms)) * 1_000_000n;

/** an HTTP date has whole seconds, and the answer took a while */
const dateErrorMs = 2_000;
/** a clock that is further off than a century is none, and with it the times of events would be no dates any more */
const mostSkewMs = 100 * 365 * 86_400_000;
/** how much later than the knot's own clock an event may claim to be */
const futureMs = 5_000;
const beforeChoiceMs = 3_600_000;
const earlyMs = 600_000;

/** How far a knot's clock is ahead of ours, by the `Date` header of an answer that came now; 0 when it does not say. */
export function skewOf(date: string | undefined, now: number): number {
  const theirs = Date.parse(date ?? '');
  if (Number.isNaN(theirs)) return 0;
  const skew = theirs - now;
  return Math.abs(skew) <= dateErrorMs || Math.abs(skew) > mostSkewMs ? 0 : skew;
}

/**
 * How far a stream has come after an event of this time. Never back; and an event from the knot's own future leaves it
 * where it is, so that one wrong TID neither silences the knot nor skips what is still to come.
 */
export function advance(reached: bigint, time: bigint | undefined, { now, skew }: Clock): bigint {
  if (time === undefined || time <= reached || time > nanos(now + skew + futureMs)) return reached;
  return time;
}

/** The cursor to keep for a stream that has come this far: never later than our own clock. */
export function position(reached: bigint, now: number): bigint {
  return reached < nanos(now) ? reached : nanos(now);
}

/** Where reading starts for what was chosen at `since`: an hour before, by the knot's clock if that is behind ours. */
export function startOf(since: Date, { now, skew }: Clock): bigint {
  const start = nanos(Math.min(since.getTime(), now) - beforeChoiceMs + Math.min(skew, 0));
  // a cursor of 0 would mean "none"
  return start > 1n ? start : 1n;
}

/** An event that happened more than 10 minutes before its repo was chosen; one without a time never did. */
export function isEarly(time: bigint | undefined, chosenAt: Date, skew: number): boolean {
  return time !== undefined && time < nanos(chosenAt.getTime() - earlyMs + skew);
}

/** The time of an event as a date, rounded down to its millisecond. */
export const dateOf = (time: bigint): Date => new Date(Number(time / 1_000_000n));

/** A cursor some time earlier, in ms, for a fresh connection. */
export function rewound(cursor: bigint, ms: number): bigint {
  const earlier = cursor - nanos(ms);
  return earlier > 1n ? earlier : 1n;
}
