import { createHash } from 'node:crypto';
import { random } from '../../sim/random.ts';

/** Numbers in [0, 1), each asked for by its turn; the same for the same seed and purpose. */
export const dice = (seed: number, purpose: string): (() => number) =>
  random(Math.floor(drawn(seed, purpose) * 2 ** 32));

/** A number in [0, 1) that follows from the seed and from what it is drawn for, whenever it is asked for. */
export const drawn = (seed: number, ...about: (string | number)[]): number =>
  createHash('sha256')
    .update([seed, ...about].join('\0'))
    .digest()
    .readUInt32BE() /
  2 ** 32;

/** One of a list by a number: a part of 1, or any whole number. Undefined for an empty list. */
export function pickOf<T>(all: readonly T[], pick: number): T | undefined {
  const at = pick < 1 ? Math.floor(pick * all.length) : Math.floor(pick) % all.length;
  return all[at];
}
