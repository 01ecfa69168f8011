import { createHash } from 'node:crypto';
import { type Failure, failureOf } from '../../pipeline/failures.ts';
import { isEnd } from '../../pipeline/status.ts';
import { ProviderError } from '../errors.ts';
import type { BuildRef, Built, Json, Provider } from '../provider.ts';
import { steadyNow } from '../../steady.ts';
import { fakeLog, fakeSteps } from './log.ts';
import { type Data, dataOf, stateOf, targetShape } from './state.ts';

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
    if (parsed.data.failCreate !== undefined) throw refusal(failureOf(parsed.data.failCreate));
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
      return isEnd(stateOf(data.target, data, at).status) ? ref : refOf(ref, { ...data, stopped: at });
    },
    async retry(ref, signal) {
      heed(signal);
      const { target, before = [], ...present } = dataOf(ref);
      const at = now();
      if (!isEnd(stateOf(target, present, at).status)) return ref;
      return refOf(ref, { target, start: at, run: present.run + 1, before: [...before, present] });
    },
    async steps(ref, signal) {
      heed(signal);
      return fakeSteps(dataOf(ref), now());
    },
    async *log(ref, request, signal) {
      heed(signal);
      yield* fakeLog(dataOf(ref), request, now());
    },
  };
}

function builtOf(ref: BuildRef, now: number): Built {
  const data = dataOf(ref);
  return { ref, seen: { build: ref.id, ...stateOf(data.target, data, now) } };
}

const refOf = (ref: BuildRef, data: Data): BuildRef => ({ ...ref, data });

function heed(signal: AbortSignal): void {
  if (signal.aborted) throw new ProviderError('Transient', 'the call was stopped', { cause: signal.reason });
}

function refusal(failure: Failure): ProviderError {
  const message = `the workflow file asks for this failure (fail_create: ${failure})`;
  return new ProviderError(
    failure,
    message,
    failure === 'RateLimited' ? { retryAt: new Date(steadyNow() + 1000) } : {},
  );
}
