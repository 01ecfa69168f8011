/**
 * The time since 1970 in ms, by a clock that goes on evenly when the machine's own is set. For waits that are kept as
 * times for a moment, within one process: by a clock that was set back by an hour meanwhile, a second would be an hour.
 */
export const steadyNow = (): number => performance.timeOrigin + performance.now();
