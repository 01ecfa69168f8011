import type { Armed, Fate, Point } from '../contract.ts';

/** What waits for points of a link. */
export interface Arms {
  arm(point: Point, decide: (what: string) => Fate): Armed;
  /** Whether anything waits for such a point. */
  waits(when: Point['when'], what: Point['what'], text: string): boolean;
  /** The point was reached: the first that waits for it decides. `pass` when none does. */
  reached(when: Point['when'], what: Point['what'], text: string): Fate;
  disarm(): void;
}

type Waiting = { point: Point; decide: (what: string) => Fate; resolve(what: string | undefined): void };

/** `known`: the points that the link's protocol has. */
export function createArms(name: string, known: readonly Point['what'][]): Arms {
  // in the order in which they were armed
  const waiting = new Set<Waiting>();

  const first = (when: Point['when'], what: Point['what'], text: string): Waiting | undefined => {
    for (const one of waiting) {
      const { point } = one;
      // `search`, because a global expression remembers where its last `test` ended
      if (point.when === when && point.what === what && (!point.match || text.search(point.match) >= 0)) return one;
    }
    return undefined;
  };

  return {
    arm(point, decide) {
      if (!known.includes(point.what)) throw new Error(`link ${name} has no point ${point.what}`);
      const { promise, resolve } = Promise.withResolvers<string | undefined>();
      const one: Waiting = { point, decide, resolve };
      waiting.add(one);
      return {
        hit: promise,
        disarm() {
          if (waiting.delete(one)) resolve(undefined);
        },
      };
    },
    waits: (when, what, text) => first(when, what, text) !== undefined,
    reached(when, what, text) {
      const one = first(when, what, text);
      if (!one) return 'pass';
      waiting.delete(one);
      const words = text.replaceAll(/\s+/g, ' ').trim().slice(0, 300);
      const fate = one.decide(words);
      one.resolve(words);
      return fate;
    },
    disarm() {
      for (const { resolve } of waiting) resolve(undefined);
      waiting.clear();
    },
  };
}
