export interface ManualClock {
  /** ms since 1970, a fraction allowed */
  now(): number;
  /** Moves it forward, or with a negative number back. */
  advance(ms: number): void;
}

/** A clock that stands still until it is moved: `createNetwork({ now: clock.now })`. */
export function manualClock(start: number | string = '2026-11-20T12:00:00Z'): ManualClock {
  let time = typeof start === 'number' ? start : Date.parse(start);
  return {
    now: () => time,
    advance(ms) {
      time += ms;
    },
  };
}
