import { z } from 'zod';
import { isEnd, statuses } from '../../pipeline/status.ts';
import type { Observation } from '../../pipeline/words.ts';
import { ProviderError } from '../errors.ts';
import type { BuildRef } from '../provider.ts';

const scriptShape = z.object({
  steps: z.array(z.object({ status: z.enum(statuses), at: z.number() })),
  exitCode: z.int().exactOptional(),
  error: z.string().exactOptional(),
});

export const targetShape = z.object({
  runs: z.array(scriptShape).min(1),
  logs: z.array(z.string()),
  failCreate: z.string().exactOptional(),
});

/** When a run began, which one it is, when it was stopped. Ms. */
const runShape = z.object({
  start: z.number(),
  run: z.int().nonnegative(),
  stopped: z.number().exactOptional(),
});

/** The whole of a fake build: its script, its present run, and those before a retry. */
const dataShape = runShape.extend({ target: targetShape, before: z.array(runShape).exactOptional() });

export type Target = z.infer<typeof targetShape>;
export type Run = z.infer<typeof runShape>;
export type Data = z.infer<typeof dataShape>;

export const scriptOf = ({ runs }: Target, { run }: Run) => runs[Math.min(run, runs.length - 1)];

/** Where a run stands at a time: the last step that has come, unless it was stopped before. */
export function stateOf(target: Target, one: Run, now: number): Omit<Observation, 'build'> {
  const { start, stopped } = one;
  if (stopped !== undefined && stopped <= now) return { status: 'cancelled', at: stopped };
  const script = scriptOf(target, one);
  const step = script?.steps.findLast(({ at }) => start + at <= now);
  if (!script || !step) return { status: 'pending', at: 0 };
  if (!isEnd(step.status)) return { status: step.status, at: 0 };
  return {
    status: step.status,
    at: start + step.at,
    ...(script.exitCode === undefined ? {} : { exitCode: script.exitCode }),
    ...(script.error === undefined ? {} : { error: script.error }),
  };
}

export function dataOf(ref: BuildRef): Data {
  const parsed = dataShape.safeParse(ref.data);
  if (parsed.success) return parsed.data;
  throw new ProviderError('Internal', `the stored note about fake build ${ref.id} cannot be read`);
}
