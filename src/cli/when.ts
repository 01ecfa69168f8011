import { usageError } from './errors.ts';

const units = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;

/** For the help of an option that takes a point in time. */
export const whenForm = '30m, 2h, 7d, 2026-05-01 or 2026-05-01T12:00:00Z';

/**
 * A point in time as people write it: how long ago, or when.
 * @param now ms since 1970
 */
export function readWhen(text: string, now = Date.now()): Date {
  const parts = [...text.matchAll(/(\d{1,15})(ms|s|m|h|d|w)/g)];
  if (parts.length > 0 && parts.map(([part]) => part).join('') === text) {
    const ago = parts.reduce((sum, [, count, unit]) => sum + Number(count) * units[unit as keyof typeof units], 0);
    if (ago <= now) return new Date(now - ago);
  }
  return readTime(text);
}

/** A date, or a time with its zone: without one it would mean another moment on each machine. */
export function readTime(text: string): Date {
  const form = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/;
  const date = new Date(text);
  if (form.test(text) && !Number.isNaN(date.getTime())) return date;
  throw usageError(
    `${JSON.stringify(text)} is not a time: write a date such as 2026-05-01, or a time with its zone such as 2026-05-01T12:00:00Z`,
  );
}

/** How long something took or takes, in its largest unit, in a few characters: `3m`, `2h`, `5d`. */
export function span(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`;
  if (ms < 10_000) return `${(ms / 1_000).toFixed(1)}s`;
  const unit = (['d', 'h', 'm'] as const).find((each) => ms >= 2 * units[each]) ?? 's';
  return `${Math.floor(ms / units[unit])}${unit}`;
}

/** How long ago a time was. */
export const age = (date: Date, now = Date.now()): string => {
  const ms = now - date.getTime();
  return ms < 1_000 ? '0s' : span(Math.max(1_000, Math.floor(ms / 1_000) * 1_000)).replace('.0', '');
};
