import { dice } from './sims/dice.ts';

/** Choices, all of which follow from a row of numbers in [0, 1). */
export interface Draws {
  /** In [0, 1). */
  real(): number;
  /** A whole number, both ends included. */
  whole(from: number, to: number): number;
  /** True in so many of all cases, 0 to 1. */
  chance(share: number): boolean;
  /** One of a list. Throws when it is empty. */
  of<T>(list: readonly T[]): T;
  /** One of a list, the later ones more often. Throws when it is empty. */
  late<T>(list: readonly T[]): T;
}

export function drawsOf(next: () => number): Draws {
  const at = <T>(list: readonly T[], place: number): T => {
    if (list.length === 0) throw new Error('there is nothing yet that it could be done to');
    return list[Math.min(list.length - 1, Math.floor(place * list.length))] as T;
  };
  return {
    real: next,
    whole: (from, to) => from + Math.min(to - from, Math.floor(next() * (to - from + 1))),
    chance: (share) => next() < share,
    of: (list) => at(list, next()),
    late: (list) => at(list, 1 - next() ** 2),
  };
}

/** The same for the same seed and purpose. */
export const draws = (seed: number, purpose: string): Draws => drawsOf(dice(seed, purpose));

/** Choices by the dice of an action: one after the other, and from the first again when there are no more. */
export function rolls(numbers: readonly number[]): Draws {
  let used = 0;
  return drawsOf(() => numbers[used++ % Math.max(1, numbers.length)] ?? 0);
}
