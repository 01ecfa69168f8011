import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type Failure, failureOf } from '../../pipeline/failures.ts';
import { isEnd, rankOf, statuses } from '../../pipeline/status.ts';
import type { Observation } from '../../pipeline/words.ts';
import { ProviderError } from '../errors.ts';
import type { BuildRef, Built, Json, Provider } from '../provider.ts';

const runShape = z.object({
  steps: z.array(z.object({ status: z.enum(statuses), at: z.number() })),
  exitCode: z.int().exactOptional(),
  error: z.string().exactOptional(),
});

const targetShape = z.object({
  runs: z.array(runShape).min(1),
  logs: z.array(z.string()),
  failCreate: z.string().exactOptional(),
});

/** The whole of a fake build: its script, when the present run began, which run it is, when it was stopped. Ms. */
const dataShape = z.object({
  target: targetShape,
  start: z.number(),
  run: z.int().nonnegative(),
  stopped: z.number().exactOptional(),
});

type Data = z.infer<typeof dataShape>;

export interface FakeOptions {
  /** How often its builds are read, since it has no webhooks; default 500. */
  pollMs?: number;
  /** Ms; default the clock. */
  now?: () => number;
}

/**
 * A CI that lives in its refs: a build's `data` holds its script and its start, so where it stands follows from the time
 * and survives any restart. No network, no memory. What it does is said by the workflow file (`planFake`).
 */
export function fakeProvider({ pollMs = 500, now = Date.now }: FakeOptions = {}): Provider {
  const make = (runKey: string, target: Json, start: number): Built => {
    const parsed = targetShape.safeParse(target);
    if (!parsed.success) {
      throw new ProviderError('Internal', 'the stored target is not one of the fake provider; plan the trigger again');
    }
    if (parsed.data.failCreate !== undefined) throw refusal(failureOf(parsed.data.failCreate), now());
    const id = createHash('sha256').update(runKey).digest('hex').slice(0, 32);
    return builtOf(
      refOf(
        { id, number: null, url: null, data: null },
        {
          target: parsed.data,
          start,
          run: Math.max(0, Number(/\/(\d+)$/.exec(runKey)?.[1] ?? 1) - 1),
        },
      ),
      now(),
    );
  };

  return {
    name: 'fake',
    capabilities: { webhooks: false, idempotentCreate: true, retry: true, logs: true, pollMs },
    limits: () => ({ remaining: null, limit: null, resetAt: null }),
    health: async () => ({ ok: true, detail: 'the fake provider needs nothing' }),
    async create({ runKey, spec, postedAt }, signal) {
      heed(signal);
      return make(runKey, spec.target, postedAt.getTime());
    },
    async find({ runKey, spec, posts }, signal) {
      heed(signal);
      if (posts.length === 0) return [];
      return [make(runKey, spec.target, Math.min(...posts.map(({ postedAt }) => postedAt.getTime())))];
    },
    async read(refs, signal) {
      heed(signal);
      return refs.map((ref) => builtOf(ref, now()));
    },
    async cancel(ref, signal) {
      heed(signal);
      const data = dataOf(ref);
      const at = now();
      return isEnd(stateOf(data, at).status) ? ref : refOf(ref, { ...data, stopped: at });
    },
    async retry(ref, signal) {
      heed(signal);
      const { target, run } = dataOf(ref);
      const at = now();
      if (!isEnd(stateOf(dataOf(ref), at).status)) return ref;
      return refOf(ref, { target, start: at, run: run + 1 });
    },
    async logs(ref, cursor, signal) {
      heed(signal);
      const data = dataOf(ref);
      const { status } = stateOf(data, now());
      const lines = rankOf(status) === 0 ? [] : data.target.logs;
      const told = Number(cursor) || 0;
      const text = lines
        .slice(told)
        .map((line) => `${line}\n`)
        .join('');
      return { text, cursor: String(Math.max(told, lines.length)), complete: isEnd(status) };
    },
  };
}

const builtOf = (ref: BuildRef, now: number): Built => ({
  ref,
  seen: { build: ref.id, ...stateOf(dataOf(ref), now) },
});

/** Where a build stands at a time: the last step that has come, unless it was stopped before. */
function stateOf({ target, start, run, stopped }: Data, now: number): Omit<Observation, 'build'> {
  if (stopped !== undefined && stopped <= now) return { status: 'cancelled', at: stopped };
  const script = target.runs[Math.min(run, target.runs.length - 1)];
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

function dataOf(ref: BuildRef): Data {
  const parsed = dataShape.safeParse(ref.data);
  if (parsed.success) return parsed.data;
  throw new ProviderError('Internal', `the stored note about fake build ${ref.id} cannot be read`);
}

const refOf = (ref: BuildRef, data: Data): BuildRef => ({ ...ref, data });

function heed(signal: AbortSignal): void {
  if (signal.aborted) throw new ProviderError('Transient', 'the call was stopped', { cause: signal.reason });
}

function refusal(failure: Failure, now: number): ProviderError {
  const message = `the workflow file asks for this failure (fail_create: ${failure})`;
  return new ProviderError(failure, message, failure === 'RateLimited' ? { retryAt: new Date(now + 1000) } : {});
}
