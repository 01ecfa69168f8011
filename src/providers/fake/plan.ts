import { z } from 'zod';
import { type Failure, failures } from '../../pipeline/failures.ts';
import { isEnd, type Status, statuses } from '../../pipeline/status.ts';
import type { Plan } from '../provider.ts';

/** What one run of a fake build does. Times in ms after its start, ascending. */
export type FakeRun = { steps: { status: Status; at: number }[]; exitCode?: number; error?: string };

/**
 * A fake build: `runs[0]` is its first run, the next ones are what reruns and retries do; the last one stays.
 */
export type FakeTarget = { runs: FakeRun[]; logs: string[]; failCreate?: Failure };

/** Other words for the same, so that a script may be written in a CI's own words. */
const synonyms: Record<string, Status> = {
  scheduled: 'pending',
  passed: 'success',
  canceled: 'cancelled',
  timed_out: 'timeout',
};

const words = [...statuses, ...Object.keys(synonyms)].join(', ');

const status = (key: string) =>
  z.string({ error: `tack.fake.${key} must be one of ${words}` }).transform((word, context): Status => {
    const known = statuses.find((one) => one === word) ?? (Object.hasOwn(synonyms, word) ? synonyms[word] : undefined);
    if (known) return known;
    context.addIssue({ code: 'custom', message: `tack.fake.${key} must be one of ${words}` });
    return z.NEVER;
  });

const units: Record<string, number> = { '': 1, ms: 1, s: 1000, m: 60_000 };

/** Milliseconds, or a text such as `200ms`, `1.5s` or `2m`; a day at most. */
const duration = (key: string) =>
  z
    .union([z.number(), z.string()], { error: `tack.fake.${key} must be a time such as 200ms, 2s or 1m` })
    .transform((value, context) => {
      const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)\s*(ms|s|m)?$/.exec(String(value)) ?? [];
      const ms = Math.round(Number(amount) * (units[unit] ?? 1));
      if (ms >= 0 && ms <= 86_400_000) return ms;
      context.addIssue({
        code: 'custom',
        message: `tack.fake.${key} must be a time such as 200ms, 2s or 1m, up to a day`,
      });
      return z.NEVER;
    });

/** A scalar as text. PostgreSQL keeps neither NUL nor half of a surrogate pair. */
const line = (key: string, what: string) =>
  z
    .union([z.string(), z.number(), z.boolean()], { error: `tack.fake.${key} must be ${what}` })
    .transform(String)
    .refine(
      (text) => !text.includes('\0') && text.isWellFormed(),
      `tack.fake.${key} holds characters that are no text`,
    );

const failureWords = Object.keys(failures).join(', ');

/**
 * The keys under `tack.fake`, none of them needed:
 *
 * - `result`: how the build ends, `success` unless said; a list says it for the first run, the second, and so on.
 * - `delay`: how long it waits, and then how long it runs; 200 ms unless said.
 * - `states`: a script in the place of these two, such as `[{state: running, after: 1s}, {state: failed, after: 2s}]`;
 *   each time counts from the step before. One without an end never ends.
 * - `exit_code`, `error`: of a run that does not end well; the code is 1 unless said.
 * - `logs`: the lines that it writes when it runs.
 * - `fail_create`: no build is made, but this failure is thrown, each time.
 */
const schema = z.object(
  {
    result: z
      .unknown()
      .optional()
      .transform((value) => (Array.isArray(value) ? value : [value ?? 'success']))
      .pipe(z.array(status('result')).min(1, 'tack.fake.result is empty; leave it out or name a result')),
    delay: duration('delay').nullish(),
    states: z
      .array(
        z.object(
          { state: status('states'), after: duration('states').nullish() },
          { error: 'tack.fake.states must be a list such as [{state: running, after: 1s}]' },
        ),
        { error: 'tack.fake.states must be a list such as [{state: running, after: 1s}]' },
      )
      .min(1, 'tack.fake.states is empty; leave it out or name a state')
      .nullish(),
    exit_code: z.int({ error: 'tack.fake.exit_code must be a whole number' }).nullish(),
    error: line('error', 'a text').nullish(),
    logs: z.array(line('logs', 'a list of lines'), { error: 'tack.fake.logs must be a list of lines' }).nullish(),
    fail_create: z
      .string({ error: `tack.fake.fail_create must be one of ${failureWords}` })
      .refine(
        (name): name is Failure => Object.hasOwn(failures, name),
        `tack.fake.fail_create must be one of ${failureWords}`,
      )
      .nullish(),
  },
  { error: 'tack.fake must be a map; write “fake: {}” for a build that passes' },
);

/** The keys that count under `tack.fake`. */
export const fakeKeys: readonly string[] = Object.keys(schema.shape);

/** Validates the value under `tack.fake`. */
export const planFake: Plan = (options) => {
  // `fake:` with nothing behind it is null in YAML.
  const parsed = schema.safeParse(options ?? {});
  if (!parsed.success) return { ok: false, reason: parsed.error.issues[0]?.message ?? 'tack.fake is not valid' };
  const { result: results, states, delay, exit_code: code, error, logs, fail_create: failCreate } = parsed.data;
  const pause = delay ?? 200;
  const scripts = states
    ? [states.map((step) => ({ status: step.state, after: step.after ?? pause }))]
    : results.map((result) => [
        { status: 'running' as const, after: pause },
        { status: result, after: pause },
      ]);
  return {
    ok: true,
    target: {
      runs: scripts.map((script) => runOf(script, code ?? 1, error ?? undefined)),
      logs: logs ?? [],
      ...(failCreate ? { failCreate } : {}),
    },
  };
};

function runOf(script: { status: Status; after: number }[], exitCode: number, error: string | undefined): FakeRun {
  let at = 0;
  const steps = script.map(({ status: word, after }) => ({ status: word, at: (at += after) }));
  // What comes after an end would be a reopening, and those are made by `retry`.
  const end = steps.findIndex((step) => isEnd(step.status));
  const kept = end < 0 ? steps : steps.slice(0, end + 1);
  const last = kept.at(-1)?.status;
  return {
    steps: kept,
    ...(last === 'failed' ? { exitCode } : {}),
    ...(error !== undefined && last !== 'success' ? { error } : {}),
  };
}
