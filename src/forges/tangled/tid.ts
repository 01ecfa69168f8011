import * as tid from '@atcute/tid';
import { fitsInt64 } from './int64.ts';

const CLOCK_IDS = 1024;

/**
 * A maker of TIDs, each later than the one before, also when the clock is set back.
 * The library's own follows the clock backwards; but a status that is published later must not get an earlier rkey.
 * @param clock a TID of the present; only its time and clock id are used
 */
export function tidMaker(clock: () => string = tid.now): () => string {
  let last = 0;
  return () => {
    const { timestamp, clockid } = tid.parse(clock());
    last = Math.max(timestamp, last + 1);
    return tid.create(last, clockid);
  };
}

/** A fresh TID, later than every other one of this process. */
export const newTid = tidMaker();

/**
 * The time inside a TID, in nanoseconds (TIDs count microseconds).
 * Undefined if the text is no TID, or if its time is beyond what 64 bits of nanoseconds hold.
 */
export function tidTime(text: string): bigint | undefined {
  if (!tid.validate(text)) return undefined;
  const time = BigInt(tid.parse(text).timestamp) * 1000n;
  return fitsInt64(time) ? time : undefined;
}

/**
 * The TID of a given time, rounded down to its microsecond.
 * @param time nanoseconds as bigint, or milliseconds as number
 */
export function tidAt(time: bigint | number, clockId = 0): string {
  const micros = typeof time === 'bigint' ? Number(time / 1000n) : Math.floor(time * 1000);
  return tid.create(micros, clockId % CLOCK_IDS);
}
