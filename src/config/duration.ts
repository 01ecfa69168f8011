import { form, type Form } from './forms.ts';

/** Node's timers cannot wait longer: beyond 2^31 - 1 ms they fire at once. */
const longest = 2_147_483_647;

const plain = 'A plain number is not taken, because nobody can see its unit.';

/**
 * Milliseconds of a duration such as `250ms`, `90s`, `15m`, `1h30m`, or undefined when the text is none.
 */
export function parseDuration(text: string): number | undefined {
  const parts = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/.exec(text);
  if (!parts || text === '') return undefined;
  const [hours = 0, minutes = 0, seconds = 0, milliseconds = 0] = parts.slice(1).map((part) => Number(part ?? 0));
  const total = ((hours * 60 + minutes) * 60 + seconds) * 1000 + milliseconds;
  return total <= longest ? total : undefined;
}

/** A duration, in milliseconds once read. */
export function duration(least: '0s' | '1ms' = '1ms'): Form<number> {
  const min = parseDuration(least) ?? 0;
  const wrong = `must be a duration of ${least} to 24 days, with a unit (ms, s, m, h). ${plain}`;
  return form('duration', wrong, (text) => {
    const value = parseDuration(text);
    return value !== undefined && value >= min ? value : undefined;
  });
}

/** Durations with commas between, in milliseconds once read. */
export const durations: Form<number[]> = form(
  'durations with commas between',
  `must be durations with commas between, each with a unit (ms, s, m, h). ${plain}`,
  (text) => {
    const values = text.split(',').map((part) => parseDuration(part.trim()) ?? 0);
    return values.every((value) => value > 0) ? values : undefined;
  },
);
