import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { answer, cut, hang, rateLimited, refuse } from '../../sim/buildkite/index.ts';
import type { BuildkiteOptions, Job, JobPlan, Script } from '../../sim/buildkite/index.ts';
import { buildkite as client } from '../../src/providers/buildkite/client.ts';
import { type Opened, readLog } from '../../src/providers/buildkite/logs.ts';
import { ProviderError } from '../../src/providers/errors.ts';
import type { LogLine, LogPart, LogPlace, LogRequest, LogStep } from '../../src/providers/provider.ts';
import { freeLimiter } from '../conformance/provider.ts';
import { agentLog } from '../support/agent-log.ts';
import { buildkite } from '../support/buildkite.ts';

const never = (): AbortSignal => new AbortController().signal;
const beginning: LogPlace = { bytes: 0, at: null };
const textsOf = (lines: LogLine[]): string[] => lines.map(({ text }) => text);

/** A build of one job (key `build`) that runs and has written nothing, and what our client sees of it. */
async function running(jobs: readonly JobPlan[] = [{ name: 'build' }], options: BuildkiteOptions = {}) {
  const sim = await buildkite(options);
  const script: Script = { jobs, steps: ['running', 'passed'] };
  sim.script(() => script);
  const { id, number, url, createdAt } = {
    ...sim.create('acme', 'app', { commit: 'a'.repeat(40), branch: 'main' }),
    url: null,
  };
  sim.advance(id, 'running');
  for (const job of sim.build(id).jobs) if (job.type === 'script') sim.replaceLog(id, job.id, '');
  const ref = { id, number, url, data: { org: 'acme', pipeline: 'app', created: createdAt } };
  const provider = client({ apiUrl: sim.apiUrl, token: () => sim.token, limiter: freeLimiter, timeoutMs: 2000 });
  const steps = () => provider.steps(ref, never());
  const parts = async function* (from: LogPlace, more: Partial<LogRequest> = {}, signal = never()) {
    const [step] = await steps();
    if (!step) throw new Error('the build has no step');
    yield* provider.log(ref, { step, from, ended: step.state === 'ended', most: 1 << 24, ...more }, signal);
  };
  const read = async (from = beginning, more: Partial<LogRequest> = {}) => {
    const all: LogPart[] = [];
    for await (const part of parts(from, more)) all.push(part);
    return { parts: all, lines: all.flatMap(({ lines }) => lines), place: all.at(-1)?.place ?? from };
  };
  /** What was asked for logs, as ranges are not in the truth log: how often. */
  const asked = () => sim.requests.filter(({ route }) => route === 'log').length;
  return {
    sim,
    id,
    ref,
    provider,
    steps,
    parts,
    read,
    asked,
    write: (data: string | Buffer) => sim.appendLog(id, 'build', data),
  };
}

describe('following a log', () => {
  test('gives what is new up to its last whole line, with one request, and the rest when the job has ended', async () => {
    const { read, write, sim, id, asked } = await running();
    expect(await read()).toMatchObject({ parts: [], place: beginning });
    write('one\r\ntw');
    const first = await read();
    expect([textsOf(first.lines), first.place.bytes]).toEqual([['one'], 5]);
    expect((await read(first.place)).parts).toEqual([]);
    write('o\r\nthree');
    const before = asked();
    const second = await read(first.place);
    expect(textsOf(second.lines)).toEqual(['two']);
    expect(asked() - before).toBe(1);
    sim.finish(id, 'passed');
    const third = await read(second.place);
    expect(textsOf(third.lines)).toEqual(['three']);
    expect((await read(third.place)).parts).toEqual([]);
  });

  test('asks for exactly what is needed when more has come than was expected', async () => {
    const { read, write, asked } = await running();
    write('first\n');
    const first = await read();
    const many = Array.from({ length: 40_000 }, (_none, n) => `line ${n}`);
    write(`${many.join('\n')}\n`);
    const before = asked();
    expect(textsOf((await read(first.place)).lines)).toEqual(many);
    expect(asked() - before).toBe(2);
  });

  test('loses nothing when the log grows between two requests', async () => {
    const { read, write, sim, asked } = await running();
    write('first\n');
    const first = await read();
    write('x'.repeat(100_000));
    const grow = {
      name: 'grows',
      after: (): undefined => {
        write('y'.repeat(300_000));
      },
    };
    sim.onRequest({ route: 'log' }, grow, 2);
    const before = asked();
    write('\n');
    const { lines } = await read(first.place);
    expect(lines).toHaveLength(1);
    expect(lines[0]?.text).toMatch(/^x{100000}/);
    expect(asked() - before).toBeGreaterThan(2);
  });

  test('of a log that became shorter begins again, and says so', async () => {
    const { read, write, sim, id } = await running();
    write('one\ntwo\nthree\n');
    const { place } = await read();
    sim.replaceLog(id, 'build', 'new\n');
    const again = await read(place);
    expect(again.parts[0]).toEqual({ lines: [], place: beginning, again: true });
    expect(textsOf(again.lines)).toEqual(['new']);
    sim.replaceLog(id, 'build', '');
    expect((await read(again.place)).parts).toEqual([{ lines: [], place: beginning, again: true }]);
  });

  test('heeds no single answer that says the log became shorter', async () => {
    const { read, write, sim } = await running();
    write('one\ntwo\nthree\n');
    const { place } = await read();
    write('four\n');
    sim.onRequest({ route: 'log' }, answer(416));
    const next = await read(place);
    expect(textsOf(next.lines)).toEqual(['four']);
    expect(next.parts.some(({ again }) => again)).toBe(false);
  });
});

describe('reading a log whole', () => {
  test('gives the lines of a real one with one request', async () => {
    const { read, write, sim, id, asked } = await running();
    const { bytes, lines } = agentLog(100);
    write(bytes);
    sim.finish(id, 'passed');
    const before = asked();
    const once = await read();
    expect(once.lines).toEqual(lines);
    expect(once.place.bytes).toBe(bytes.length);
    expect(asked() - before).toBe(1);
  });

  test('comes in parts of bearable size, each a place to go on from', async () => {
    const { read, write, sim, id } = await running();
    const text = Array.from({ length: 30_000 }, (_none, n) => `${n} ${'x'.repeat(n % 90)}`).join('\n');
    write(text);
    sim.finish(id, 'passed');
    const { parts, lines } = await read();
    expect(textsOf(lines).join('\n')).toBe(text);
    expect(parts.length).toBeGreaterThan(4);
    let told = 0;
    for (const part of parts) {
      const size = part.lines.reduce((sum, { text: line }) => sum + line.length, 0);
      expect(size).toBeLessThan(400_000);
      told += part.lines.length;
      expect(textsOf((await read(part.place)).lines)).toEqual(textsOf(lines.slice(told)));
    }
  });

  test('of a log that is too long gives the first and the last half in whole lines', async () => {
    const { read, write, sim, id } = await running();
    const all = Array.from({ length: 20_000 }, (_none, n) => `line number ${n}`);
    const text = all.join('\n');
    write(text);
    sim.finish(id, 'passed');
    const { parts, lines, place } = await read(beginning, { most: 10_000 });
    expect(place.bytes).toBe(text.length);
    const cuts = parts.filter(({ skipped }) => skipped !== undefined);
    expect(cuts).toHaveLength(1);
    const at = textsOf(lines).findIndex((line, n) => line !== all[n]);
    expect(textsOf(lines.slice(at))).toEqual(all.slice(at - lines.length));
    expect(cuts[0]?.skipped).toBe(text.length - textsOf(lines).join('\n').length);
    expect(textsOf(lines).join('\n').length).toBeLessThanOrEqual(10_000);
    expect(textsOf(lines).join('\n').length).toBeGreaterThan(9_900);
  });

  test('of a log that is too long leaves out the same wherever a reader has to begin again', async () => {
    const { read, write, sim, id } = await running();
    write(`${'x'.repeat(700)}\n`.repeat(3000));
    sim.appendLog(id, 'build', Array.from({ length: 30_000 }, (_none, n) => `line number ${n}`).join('\n'));
    sim.finish(id, 'passed');
    const [head, tail] = [1_000_000, 300_000];
    const once = await read(beginning, { most: head + tail, head });
    expect(once.parts.length).toBeGreaterThan(6);
    let told = 0;
    let left = head;
    let before = 0;
    for (const part of once.parts) {
      told += part.lines.length;
      left = part.skipped === undefined && left > 0 ? left - (part.place.bytes - before) : 0;
      before = part.place.bytes;
      const rest = await read(part.place, { most: left + tail, head: left });
      expect(rest.lines).toEqual(once.lines.slice(told));
    }
  });

  test('of a log that is one endless line tells that it was left out', async () => {
    const { read, write, sim, id } = await running();
    write('x'.repeat(300_000));
    expect((await read(beginning, { most: 10_000 })).parts).toEqual([]);
    sim.finish(id, 'passed');
    const { parts } = await read(beginning, { most: 10_000 });
    expect(parts).toEqual([{ lines: [], place: { bytes: 300_000, at: null }, skipped: 300_000 }]);
  });

  test('of 100 MB takes little memory', async () => {
    const { parts, write, sim, id } = await running();
    const block = Buffer.from(`\x1b_bk;t=1745322209921\x07${'0123456789'.repeat(10)}\r\r\n`.repeat(8192));
    const count = Math.ceil((100 << 20) / block.length);
    write(Buffer.alloc(count * block.length, block));
    sim.finish(id, 'passed');
    sim.log(id, 'build');
    let lines = 0;
    let most = 0;
    const before = memory();
    for await (const part of parts(beginning, { most: 1 << 30 })) {
      lines += part.lines.length;
      most = Math.max(most, memory() - before);
    }
    expect(lines).toBe(count * 8192);
    // The server of the log is in this process, too: its socket may hold some of it.
    expect(most).toBeLessThan(64 << 20);
  });
});

/** Bytes in buffers, which is where a log that is held would be. */
const memory = (): number => process.memoryUsage().arrayBuffers;

describe('a failure while a log is read', () => {
  const text = Array.from({ length: 60_000 }, (_none, n) => `line number ${n}`).join('\n');

  test.each([
    ['a cut connection', cut(700_000)],
    ['a silence', hang(700_000)],
  ])('such as %s keeps what was read, and the next call goes on from there', async (_name, fault) => {
    const { parts, read, write, sim, id } = await running();
    write(text);
    sim.finish(id, 'passed');
    sim.onRequest({ route: 'log' }, fault);
    const got: LogPart[] = [];
    const reading = (async () => {
      for await (const part of parts(beginning)) got.push(part);
    })();
    await expect(reading).rejects.toMatchObject({ failure: 'Transient', ambiguous: false });
    expect(got.length).toBeGreaterThan(0);
    const rest = await read(got.at(-1)?.place);
    expect(textsOf([...got.flatMap(({ lines }) => lines), ...rest.lines]).join('\n')).toBe(text);
  });

  test.each([
    ['500', answer(500), 'Transient'],
    ['a refused connection', refuse(), 'Transient'],
    ['silence from the beginning', hang(0), 'Transient'],
    ['a redirect', answer(302, { headers: { location: 'http://127.0.0.1:1/' } }), 'TargetMissing'],
    ['401', answer(401), 'CredentialsRejected'],
    ['403', answer(403), 'Forbidden'],
    ['400', answer(400), 'Internal'],
    ['429', rateLimited(1), 'RateLimited'],
    [
      'an organisation that is out of reach',
      answer(404, { body: { message: 'No organization found' } }),
      'TargetMissing',
    ],
    ['half a range', answer(206, { headers: { 'content-range': 'bytes 0-1/9' } }), 'Internal'],
    ['a range of nothing', answer(206), 'Internal'],
  ])('%s is told', async (_name, fault, failure) => {
    const { read, write, sim } = await running();
    write('one\n');
    sim.onRequest({ route: 'log' }, fault);
    const reading = read();
    await expect(reading).rejects.toBeInstanceOf(ProviderError);
    await expect(reading).rejects.toMatchObject({ failure });
    expect(textsOf((await read()).lines)).toEqual(['one']);
  });

  test('a log that is gone has no lines', async () => {
    const { read, write, sim } = await running();
    write('one\n');
    sim.onRequest({ route: 'log' }, answer(404, { body: { message: 'No log found' } }));
    expect((await read()).parts).toEqual([]);
  });

  test('a reader that leaves, or is stopped, closes the connection', async () => {
    const { parts, write, sim, id } = await running();
    write(text);
    sim.finish(id, 'passed');
    const left = () => sim.until(() => sim.requests.at(-1)?.lost, 'the connection to be closed');
    sim.onRequest({ route: 'log' }, hang(700_000), 2);
    for await (const part of parts(beginning)) {
      expect(part.lines.length).toBeGreaterThan(0);
      break;
    }
    await left();
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _part of parts(beginning, {}, stop.signal)) stop.abort();
    })();
    await expect(reading).rejects.toMatchObject({ failure: 'Transient' });
    await left();
  });

  test('a silence is only what comes from Buildkite: a slow reader has all the time', async () => {
    const { ref, steps, write, sim, id } = await running();
    write('a line\n'.repeat(12_000));
    sim.finish(id, 'passed');
    const provider = client({ apiUrl: sim.apiUrl, token: () => sim.token, limiter: freeLimiter, timeoutMs: 250 });
    const [step] = await steps();
    if (!step) throw new Error('no step');
    let lines = 0;
    for await (const part of provider.log(ref, { step, from: beginning, ended: true, most: 1 << 24 }, never())) {
      lines += part.lines.length;
      // Longer than the time limit: what is waited for here is nothing else.
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(lines).toBe(12_000);
  });

  test('each request has a slot of the rate budget for logs', async () => {
    const { ref, steps, write, sim } = await running();
    write(text);
    const asked: string[] = [];
    const provider = client({
      apiUrl: sim.apiUrl,
      token: () => sim.token,
      limiter: {
        async reserve(_bucket, _key, priority) {
          asked.push(priority);
          return new Date(0);
        },
        async block() {},
      },
    });
    const [step] = await steps();
    if (!step) throw new Error('no step');
    const before = sim.requests.length;
    for await (const _part of provider.log(ref, { step, from: beginning, ended: false, most: 1000 }, never()));
    expect(asked).toEqual(Array.from({ length: sim.requests.length - before }, () => 'log'));
    expect(asked.length).toBeGreaterThan(1);
  });
});

test('any log that grows, read at any times and in any sizes, gives each line once', async () => {
  const step: LogStep = { id: 'j', name: 'j', state: 'running' };
  const line = fc.oneof(fc.string({ maxLength: 30 }), fc.constant('y'.repeat(70_000)), fc.constant(''));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', ''), fc.boolean()), { maxLength: 30 }),
      fc.integer({ min: 700, max: 80_000 }),
      async (writes, size) => {
        let log = Buffer.alloc(0);
        const open = async (bytes: number): Promise<Opened | undefined> => {
          const now = log;
          const start = Math.max(0, now.length - bytes);
          return {
            start,
            total: now.length,
            async *chunks() {
              for (let at = start; at < now.length; at += size) yield now.subarray(at, at + size);
            },
            close() {},
          };
        };
        const read = async (from: LogPlace, ended: boolean) => {
          const parts: LogPart[] = [];
          const request = { step, from, ended, most: 1 << 24 };
          for await (const part of readLog(open, request)) parts.push(part);
          return { lines: parts.flatMap(({ lines }) => lines), place: parts.at(-1)?.place ?? from };
        };
        const followed: LogLine[] = [];
        let place = beginning;
        for (const [text, end, look] of writes) {
          log = Buffer.concat([log, Buffer.from(text + end)]);
          if (!look) continue;
          const next = await read(place, false);
          followed.push(...next.lines);
          place = next.place;
        }
        const last = await read(place, true);
        const once = await read(beginning, true);
        expect([...followed, ...last.lines]).toEqual(once.lines);
        expect(once.place.bytes).toBe(log.length);
      },
    ),
    { numRuns: 50 },
  );
});

describe('the steps of a build', () => {
  const outline = (steps: LogStep[]) =>
    steps.map(({ name, state, remark }) => [name, state, ...(remark ? [remark] : [])]);

  test('are its jobs: waits without a name are none, and what runs nothing has a remark', async () => {
    const { sim, id, steps } = await running([
      { name: ':hammer: Build', key: 'build' },
      { type: 'waiter' },
      { name: 'Test', parallel: { index: 0, total: 2 }, command: 'make test\nmake more' },
      { name: 'Test', parallel: { index: 1, total: 2 }, key: 'test2' },
      { name: 'Release?', key: 'gate', type: 'manual' },
      { name: 'Deploy', type: 'trigger', triggers: 'acme/deploy' },
      { command: 'echo no name', key: 'plain' },
    ]);
    const waits = 'waits until somebody unblocks it in Buildkite';
    expect(outline(await steps())).toEqual([
      [':hammer: Build', 'running'],
      ['Test (1/2)', 'running'],
      ['Test (2/2)', 'running'],
      ['Release?', 'waiting', waits],
      ['Deploy', 'running', `started build #1 of another pipeline: ${sim.url}/acme/deploy/builds/1`],
      ['echo no name', 'running'],
    ]);
    expect((await steps()).map(({ command }) => command)).toEqual([
      'make build',
      undefined,
      'make test2',
      undefined,
      undefined,
      'echo no name',
    ]);
    sim.moveJob(id, 'test2', 'timed_out');
    sim.moveJob(id, 'plain', 'canceled');
    sim.unblock(id);
    const after = await steps();
    expect(outline(after).slice(2)).toEqual([
      ['Test (2/2)', 'ended'],
      ['Release?', 'ended', 'was unblocked by A Person'],
      ['Deploy', 'running', expect.anything()],
      ['echo no name', 'ended'],
    ]);
    expect(after[2]?.endedAt).toBeGreaterThanOrEqual(after[2]?.startedAt ?? Infinity);
  });

  test.each([
    [{ state: 'broken' }, 'did not run: its conditions were not met'],
    [{ state: 'broken', brokenReason: 'branch_mismatch' }, 'did not run: branch mismatch'],
    [{ state: 'skipped' }, 'was skipped'],
    [{ state: 'expired' }, 'was never picked up by an agent'],
    [{ state: 'canceled' }, 'was cancelled before it ran'],
    [{ state: 'waiting_failed' }, 'did not run, because the build failed before'],
  ] as const)('that never ran (%j) say why, and nothing is asked for their log', async (outcome, remark) => {
    const { sim, ref, provider } = await running();
    const { id, number } = sim.create('acme', 'app', { commit: 'b'.repeat(40), branch: 'main' });
    sim.moveJob(id, 'build', outcome);
    const other = { ...ref, id, number };
    const [step] = await provider.steps(other, never());
    expect(step).toMatchObject({ state: 'ended', remark });
    const before = sim.requests.length;
    if (!step) throw new Error('no step');
    const request = { step, from: beginning, ended: true, most: 1000 };
    for await (const part of provider.log(other, request, never())) expect(part).toBeUndefined();
    expect(sim.requests).toHaveLength(before);
  });

  test('that were retried stay, and their successors come after them', async () => {
    const { sim, id, steps } = await running([{ name: 'a' }, { name: 'b' }]);
    sim.finish(id, 'failed', { jobs: { a: 'failed', b: 'passed' } });
    const first = await steps();
    const second: Job = sim.retryJob(id, 'a');
    sim.moveJob(id, second.id, 'running');
    sim.moveJob(id, second.id, 'failed');
    sim.retryJob(id, second.id);
    const all = await steps();
    expect(all.slice(0, 2)).toEqual(first);
    expect(all.map(({ name }) => name)).toEqual(['a', 'b', 'a (retry 1)', 'a (retry 2)']);
  });

  test('may be 4,000', async () => {
    const plans = Array.from({ length: 4000 }, (_none, n) => ({ name: `job ${n}` }));
    const { steps, sim } = await running(plans);
    const before = sim.requests.length;
    const all = await steps();
    expect(all.map(({ name }) => name)).toEqual(plans.map(({ name }) => name));
    expect(new Set(all.map(({ id }) => id)).size).toBe(4000);
    expect(sim.requests.length - before).toBe(1);
  });

  test('have names that are safe to show', async () => {
    const { steps } = await running([
      { name: `a\x1b[2Jb\x1b[31m\nc\u0085${'x'.repeat(500)}` },
      { name: '\x1b[0m', command: 'make' },
    ]);
    const [first, second] = await steps();
    expect(first?.name).toMatch(/^ab cx{100,}$/);
    expect(first?.name.length).toBeLessThanOrEqual(120);
    expect(second?.name).toBe('make');
  });

  test('of a build that is gone are none', async () => {
    const { provider, ref } = await running();
    expect(await provider.steps({ ...ref, number: 99 }, never())).toEqual([]);
  });
});
