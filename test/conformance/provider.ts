import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pipelineId, runKey } from '../../src/pipeline/ids.ts';
import { isEnd } from '../../src/pipeline/status.ts';
import { ProviderError } from '../../src/providers/errors.ts';
import type {
  Built,
  BuildRef,
  CreateRequest,
  Limiter,
  LogLine,
  LogPart,
  LogPlace,
  LogRequest,
  Plan,
  Provider,
} from '../../src/providers/provider.ts';

/** A provider under test and the hands to move its CI. */
export interface Subject {
  provider: Provider;
  plan: Plan;
  /** Options of a workflow file whose build ends so. */
  options: (end: 'success' | 'failed') => unknown;
  /** Options that `plan` refuses, with a word that its sentence must hold. */
  nonsense: [options: unknown, word: string][];
  /** Options of a target that does not exist; absent when every target exists. */
  missing?: unknown;
  /** Lines that a build writes into its log while it runs, among others. */
  lines: string[];
  /** Moves a build until it runs. */
  start: (built: Built) => void;
  /** Moves a build to its end. */
  finish: (built: Built, end: 'success' | 'failed') => void;
  /** Lets the CI do what it was asked to (cancel). */
  settle: (ref: BuildRef) => void;
  /** The CI's clock, where it is not the machine's. */
  now?: () => number;
  close: () => Promise<void>;
}

/** A budget that never runs out. */
export const freeLimiter: Limiter = { reserve: async () => new Date(0), block: async () => {} };

const never = (): AbortSignal => new AbortController().signal;

/** A request as the activity makes it, each with a run of its own. */
export function requestFor(subject: Pick<Subject, 'plan' | 'provider' | 'now'>, options: unknown): CreateRequest {
  const planned = subject.plan(options);
  if (!planned.ok) throw new Error(planned.reason);
  const rkey = randomUUID();
  return {
    runKey: runKey(pipelineId('knot.example:5555', rkey), 'ci.yml', 1),
    nonce: randomUUID(),
    postedAt: new Date(subject.now?.() ?? Date.now()),
    spec: {
      provider: subject.provider.name,
      target: planned.target,
      knot: 'knot.example:5555',
      rkey,
      job: 'ci.yml',
      repo: { did: 'did:plc:alice', name: 'app' },
      commit: 'a'.repeat(40),
      branch: 'main',
      kind: 'push',
      message: 'a push',
    },
  };
}

const only = (built: Built[]): Built => {
  const [one, ...more] = built;
  if (!one || more.length > 0) throw new Error(`expected one build, got ${built.length}`);
  return one;
};

/** What every provider must do. Call it at the top of a test file. */
export function conformance(name: string, make: () => Promise<Subject>): void {
  describe(`the provider ${name}`, () => {
    let subject: Subject;
    beforeAll(async () => {
      subject = await make();
    });
    afterAll(() => subject.close());

    const create = async (end: 'success' | 'failed' = 'success') => {
      const request = requestFor(subject, subject.options(end));
      const built = await subject.provider.create(request, never());
      return { request, built };
    };
    const read = async (ref: BuildRef): Promise<Built> => only(await subject.provider.read([ref], never()));
    const findRequest = ({ runKey: key, spec, nonce, postedAt }: CreateRequest) => ({
      runKey: key,
      spec,
      posts: [{ nonce, postedAt }],
    });

    test('a created build is pending, and reading it shows the same build', async () => {
      const { built } = await create();
      expect(built.seen).toMatchObject({ build: built.ref.id, status: 'pending', at: 0 });
      const seen = await read(built.ref);
      expect(seen.ref.id).toBe(built.ref.id);
      expect(isEnd(seen.seen.status)).toBe(false);
    });

    test('a ref survives being stored as JSON', async () => {
      const { built } = await create();
      const again: BuildRef = JSON.parse(JSON.stringify(built.ref));
      expect(again).toEqual(built.ref);
      expect((await read(again)).ref.id).toBe(built.ref.id);
    });

    test('a build runs, and ends with the finish time of the CI', async () => {
      const { built } = await create('success');
      subject.start(built);
      expect((await read(built.ref)).seen).toMatchObject({ status: 'running', at: 0 });
      subject.finish(built, 'success');
      const { seen } = await read(built.ref);
      expect(seen.status).toBe('success');
      expect(seen.at).toBeGreaterThan(1_000_000_000_000);
      expect(Number.isInteger(seen.at)).toBe(true);
    });

    test('a failed build has an exit code', async () => {
      const { built } = await create('failed');
      subject.start(built);
      subject.finish(built, 'failed');
      expect((await read(built.ref)).seen).toMatchObject({ status: 'failed', exitCode: 1 });
    });

    test('creating twice with one run key gives one build, or two that find both returns', async () => {
      const { request, built } = await create();
      const second = { ...request, nonce: randomUUID() };
      const other = await subject.provider.create(second, never());
      const posts = [request, second].map(({ nonce, postedAt }) => ({ nonce, postedAt }));
      const found = await subject.provider.find({ runKey: request.runKey, spec: request.spec, posts }, never());
      const ids = found.map(({ ref }) => ref.id);
      expect(ids).toEqual([...new Set([built.ref.id, other.ref.id])]);
      if (subject.provider.capabilities.idempotentCreate) expect(ids).toHaveLength(1);
    });

    test('find knows the build of its run, and no build of another run or before any POST', async () => {
      const { request, built } = await create();
      const found = only(await subject.provider.find(findRequest(request), never()));
      expect(found.ref).toEqual(built.ref);
      expect(await subject.provider.find({ ...findRequest(request), posts: [] }, never())).toEqual([]);
      const { request: other } = await create();
      const ids = (await subject.provider.find(findRequest(other), never())).map(({ ref }) => ref.id);
      expect(ids).not.toContain(built.ref.id);
    });

    test('many builds are read in one call, each in its own state', async () => {
      const many = await Promise.all(Array.from({ length: 8 }, () => create('failed')));
      for (const [n, { built }] of many.entries()) {
        if (n % 2 === 0) continue;
        subject.start(built);
        subject.finish(built, 'failed');
      }
      const seen = await subject.provider.read(
        many.map(({ built }) => built.ref),
        never(),
      );
      expect(new Set(seen.map(({ ref }) => ref.id))).toEqual(new Set(many.map(({ built }) => built.ref.id)));
      const one = await read(many[1]?.built.ref ?? fail());
      expect(seen.find(({ ref }) => ref.id === one.ref.id)?.seen).toEqual(one.seen);
      expect(one.seen).toMatchObject({ status: 'failed', exitCode: 1 });
    });

    test('a cancelled build ends as cancelled', async () => {
      const { built } = await create();
      subject.start(built);
      const ref = await subject.provider.cancel(built.ref, never());
      subject.settle(ref);
      expect((await read(ref)).seen.status).toBe('cancelled');
    });

    test('cancelling twice, or after the end, is success and changes nothing', async () => {
      const { built } = await create();
      const once = await subject.provider.cancel(built.ref, never());
      const twice = await subject.provider.cancel(once, never());
      subject.settle(twice);
      expect((await read(twice)).seen.status).toBe('cancelled');
      await subject.provider.cancel(twice, never());

      const { built: ended } = await create();
      subject.start(ended);
      subject.finish(ended, 'success');
      const ref = await subject.provider.cancel(ended.ref, never());
      expect((await read(ref)).seen.status).toBe('success');
    });

    test('a retry opens a failed build again, under the same id', async () => {
      const { built } = await create('failed');
      subject.start(built);
      subject.finish(built, 'failed');
      const ref = await subject.provider.retry(built.ref, never());
      expect(ref.id).toBe(built.ref.id);
      const { seen } = await read(ref);
      expect(isEnd(seen.status)).toBe(false);
      expect(seen.at).toBe(0);
    });

    /** What a step's log has from a place on. */
    const readLog = async (ref: BuildRef, from: LogPlace, more: Partial<LogRequest> = {}) => {
      const [step] = await subject.provider.steps(ref, never());
      const request = { step: step ?? fail(), from, ended: step?.state === 'ended', most: 1 << 20, ...more };
      const parts: LogPart[] = [];
      for await (const part of subject.provider.log(ref, request, never())) parts.push(part);
      return { parts, lines: parts.flatMap(({ lines }) => lines), place: parts.at(-1)?.place ?? from };
    };
    const beginning: LogPlace = { bytes: 0, at: null };
    const texts = (lines: LogLine[]): string[] => lines.map(({ text }) => text);

    test('what a build runs are its steps: the same ones, from waiting over running to the end', async () => {
      const { built } = await create();
      const before = await subject.provider.steps(built.ref, never());
      subject.start(built);
      const during = await subject.provider.steps(built.ref, never());
      subject.finish(built, 'success');
      const after = await subject.provider.steps(built.ref, never());
      expect([before, during, after].map((steps) => steps.map(({ state }) => state))).toEqual([
        ['waiting'],
        ['running'],
        ['ended'],
      ]);
      expect(new Set([...before, ...during, ...after].map(({ id, name }) => `${id} ${name}`)).size).toBe(1);
      expect(after[0]?.startedAt).toBe(during[0]?.startedAt);
      expect(after[0]?.endedAt).toBeGreaterThanOrEqual(after[0]?.startedAt ?? fail());
      expect(before[0]?.startedAt).toBeUndefined();
    });

    test('a build that waits has no lines', async () => {
      const { built } = await create();
      expect(await readLog(built.ref, beginning)).toMatchObject({ parts: [], place: beginning });
    });

    test('a log that grows gives each line once, the same as one read at the end', async () => {
      const { built } = await create();
      subject.start(built);
      const first = await readLog(built.ref, beginning);
      expect(first.lines.length).toBeGreaterThan(0);
      expect((await readLog(built.ref, first.place)).parts).toEqual([]);
      subject.finish(built, 'success');
      const second = await readLog(built.ref, first.place);
      expect((await readLog(built.ref, second.place)).parts).toEqual([]);
      const once = await readLog(built.ref, beginning);
      expect([...first.lines, ...second.lines]).toEqual(once.lines);
      expect(second.place).toEqual(once.place);
      for (const line of subject.lines) expect(texts(once.lines).filter((text) => text === line)).toHaveLength(1);
      expect(once.lines.every(({ at }) => at !== null && at > 1_000_000_000_000)).toBe(true);
      expect(once.parts.some(({ again, skipped }) => again || skipped)).toBe(false);
    });

    test('a log is read on from the place of any part of it', async () => {
      const { built } = await create();
      subject.start(built);
      subject.finish(built, 'success');
      const once = await readLog(built.ref, beginning);
      // The end of each line as a place: a log of so many bytes at most ends its first half there.
      const stride = Math.ceil(once.place.bytes / 8);
      for (let most = 1; most < 2 * once.place.bytes; most += stride) {
        const [head] = (await readLog(built.ref, beginning, { most })).parts;
        if (!head || head.skipped !== undefined) continue;
        const rest = await readLog(built.ref, head.place);
        expect([...head.lines, ...rest.lines]).toEqual(once.lines);
        expect(rest.place).toEqual(once.place);
      }
    });

    test('of a log that is too long the first and the last lines are told, and how much is left out', async () => {
      const { built } = await create();
      subject.start(built);
      subject.finish(built, 'success');
      const once = await readLog(built.ref, beginning);
      const { parts, lines, place } = await readLog(built.ref, beginning, { most: once.place.bytes - 1 });
      expect(place).toMatchObject({ bytes: once.place.bytes });
      expect(parts.filter(({ skipped }) => skipped !== undefined)).toHaveLength(1);
      expect(parts.find(({ skipped }) => skipped)?.skipped).toBeLessThan(once.place.bytes);
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.length).toBeLessThan(once.lines.length);
      expect(texts(once.lines).join('\n')).toContain(texts(lines.slice(0, 1)).join());
      expect(texts(once.lines).slice(-1)).toEqual(texts(lines).slice(-1));
    });

    test('a retry adds a step, and the log of the first run stays', async () => {
      const { built } = await create('failed');
      subject.start(built);
      subject.finish(built, 'failed');
      const once = await readLog(built.ref, beginning);
      const [first] = await subject.provider.steps(built.ref, never());
      const ref = await subject.provider.retry(built.ref, never());
      const steps = await subject.provider.steps(ref, never());
      expect(steps).toHaveLength(2);
      expect(steps[0]).toEqual(first);
      expect(steps[1]?.name).toBe(`${first?.name} (retry 1)`);
      expect(steps[1]?.state).not.toBe('ended');
      expect((await readLog(ref, beginning)).lines).toEqual(once.lines);
    });

    test('plan takes a plain workflow file', () => {
      expect(subject.plan(subject.options('success'))).toMatchObject({ ok: true });
    });

    test('plan refuses nonsense with a sentence that names the key', () => {
      for (const [options, word] of subject.nonsense) {
        const planned = subject.plan(options);
        expect(planned, JSON.stringify(options)).toMatchObject({ ok: false });
        if (!planned.ok) expect(planned.reason).toContain(word);
      }
    });

    test('an unknown target is TargetMissing', async () => {
      if (subject.missing === undefined) return;
      const refused = subject.provider.create(requestFor(subject, subject.missing), never());
      await expect(refused).rejects.toMatchObject({ failure: 'TargetMissing', ambiguous: false });
    });

    test('a call whose signal is aborted fails at once and made nothing', async () => {
      const request = requestFor(subject, subject.options('success'));
      const refused = subject.provider.create(request, AbortSignal.abort(new Error('stop')));
      await expect(refused).rejects.toBeInstanceOf(ProviderError);
      await expect(refused).rejects.toMatchObject({ ambiguous: false });
      const { built } = await create();
      await expect(subject.provider.read([built.ref], AbortSignal.abort())).rejects.toBeInstanceOf(ProviderError);
    });

    test('its health is a sentence', async () => {
      const health = await subject.provider.health(never());
      expect(health.ok).toBe(true);
      expect(health.detail).not.toBe('');
    });
  });
}

function fail(): never {
  throw new Error('unreachable');
}
