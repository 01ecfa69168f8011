/** `warn`: it works, but somebody should look. `skipped`: it could not be judged, and nobody is blamed. */
export type State = 'ok' | 'warn' | 'fail' | 'skipped';

/** What a check found. */
export interface Finding {
  name: string;
  state: State;
  /** One sentence or less; may hold words of strangers. */
  found: string;
  /** What to do about it. */
  advice?: string;
}

/** One look at one thing. It changes nothing, and always answers: what takes too long has failed. */
export type Check = (timeoutMs: number) => Promise<Finding[]>;

type Verdict = Omit<Finding, 'name'>;
type Run<T> = (given: T, signal: AbortSignal) => Promise<Verdict | Finding[]>;

export const ok = (found: string): Verdict => ({ state: 'ok', found });
export const warn = (found: string, advice: string): Verdict => ({ state: 'warn', found, advice });
export const fail = (found: string, advice: string): Verdict => ({ state: 'fail', found, advice });
export const skipped = (found: string): Verdict => ({ state: 'skipped', found });

/** Something that others need is not there, which a check of its own says. */
export class Skip extends Error {
  override name = 'Skip';
}

/** What several checks need: it is tried once, and each of them waits for it without losing time of its own. */
export type Need<T> = () => Promise<T>;

/** Tries once, with the first that asks. */
export function need<T>(open: () => Promise<T>): Need<T> {
  let opening: Promise<T> | undefined;
  return () => (opening ??= open());
}

/** A check of something that stands for itself. A thrown error is a failure, with `advice`. */
export const check = (
  name: string,
  advice: string,
  run: (signal: AbortSignal) => Promise<Verdict | Finding[]>,
): Check =>
  checkWith(
    async () => undefined,
    name,
    advice,
    (_nothing, signal) => run(signal),
  );

/** A check of something that can be judged only with something else; without that it is skipped. */
export const checkWith =
  <T>(needed: Need<T>, name: string, advice: string, run: Run<T>): Check =>
  async (timeoutMs) => {
    let given: T;
    try {
      given = await needed();
    } catch (error) {
      return [{ name, ...skipped(error instanceof Skip ? error.message : wordsOf(error)) }];
    }
    return timed(name, advice, timeoutMs, (signal) => run(given, signal));
  };

async function timed(
  name: string,
  advice: string,
  timeoutMs: number,
  run: (signal: AbortSignal) => Promise<Verdict | Finding[]>,
): Promise<Finding[]> {
  try {
    const found = await within(timeoutMs, run);
    return Array.isArray(found) ? found : [{ name, ...found }];
  } catch (error) {
    if (error instanceof Skip) return [{ name, ...skipped(error.message) }];
    return [{ name, ...fail(wordsOf(error), advice) }];
  }
}

/** Rejects when the work takes longer, and tells it so. What does not listen goes on unheard. */
export async function within<T>(ms: number, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const error = new Error(`no answer within ${ms} ms`);
    stop.abort(error);
    late.reject(error);
  }, ms);
  try {
    return await Promise.race([run(stop.signal), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** What went wrong. A failed connection to a name with several addresses has its reasons one level down. */
export function wordsOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(wordsOf).join('; ');
  return error instanceof Error ? error.message : String(error);
}

/** A length of time for people: 350 ms, 12 s, 5 min, 3 h, 2 days. */
export function lasting(ms: number): string {
  const size = Math.abs(ms);
  if (size < 1_000) return `${Math.round(size)} ms`;
  if (size < 120_000) return `${Math.round(size / 1_000)} s`;
  if (size < 7_200_000) return `${Math.round(size / 60_000)} min`;
  if (size < 172_800_000) return `${Math.round(size / 3_600_000)} h`;
  return `${Math.round(size / 86_400_000)} days`;
}

/** A size for people, in binary units. */
export function sized(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const unit = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  const value = bytes / 2 ** (10 * unit);
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit] ?? 'bytes'}`;
}

/** How far another clock is from ours, in ms ahead: fit for a sentence. */
export const ahead = (ms: number): string => `${lasting(ms)} ${ms < 0 ? 'behind' : 'ahead of'} ours`;
