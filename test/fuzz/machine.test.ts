import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { feed, runPart } from '../../fuzz/batch.ts';
import { type Finding, saveFinding, shownInput } from '../../fuzz/finding.ts';
import { heapWatch } from '../../fuzz/heap.ts';
import { changedBytes } from '../../fuzz/inputs/bytes.ts';
import { changedJson } from '../../fuzz/inputs/json.ts';
import { shareOut } from '../../fuzz/jobs.ts';
import { expect as holds, type Target } from '../../fuzz/target.ts';
import { runJobs } from '../../fuzz/thread.ts';

/** A target of bytes that begin as real ones do. */
const targetOf = (run: Target['run'], name = 'broken'): Target => ({
  name,
  about: '',
  weight: 1,
  inputs: changedBytes([Buffer.from('{"a":[1,2,3]}')], { words: ['bad', '{'] }),
  run,
});

const findingsOf = async (run: Target['run'], runs = 500): Promise<Finding[]> =>
  (await runPart({ target: targetOf(run), seed: 1, part: 0, runs })).findings;

test('an error that nobody documented is found, and its input made small', async () => {
  const found = await findingsOf((input) => {
    if (input.includes('bad')) throw new TypeError('cannot read what is bad');
  });
  expect(found).toHaveLength(1);
  expect(found[0]?.what).toContain('cannot read what is bad');
  expect(found[0]?.input.length).toBeLessThan(40);
});

test('a rejection is found as an error is', async () => {
  const found = await findingsOf((input) => (input.includes('bad') ? Promise.reject(new Error('later')) : undefined));
  expect(found.map(({ what }) => what.includes('later'))).toEqual([true]);
});

test('what does not hold is found with the words of its target, once for each place', async () => {
  const found = await findingsOf((input) => {
    holds(!input.includes('bad'), () => 'it is bad');
    holds(!input.includes('{{'), () => 'it is doubled');
  }, 2_000);
  expect(new Set(found.map(({ what }) => what.split('\n')[0]))).toEqual(
    new Set(['Broken: it is bad', 'Broken: it is doubled']),
  );
  expect(found).toHaveLength(2);
});

test('a call that takes too long is found, if it does so twice', async () => {
  const compute = (ms: number): void => {
    const before = process.threadCpuUsage();
    while (process.threadCpuUsage(before).user < ms * 1_000);
  };
  await expect(
    feed(
      targetOf(() => compute(30)),
      Buffer.alloc(0),
      20,
    ),
  ).rejects.toThrow(/^slow: one call took \d+ ms$/);
  let times = 0;
  const once = targetOf(() => compute(times++ === 0 ? 200 : 0));
  await feed(once, Buffer.alloc(0), 100);
  expect(times).toBe(2);
});

test('a call that never ends is found with its input, and the rest goes on', async () => {
  const found: Finding[] = [];
  const done: string[] = [];
  const jobs = ['hangs', 'fine'].map((target) => ({ target, seed: 1, part: 0, runs: 50 }));
  await runJobs({
    jobs,
    hangMs: 1_000,
    targets: new URL('hanging.ts', import.meta.url),
    onFinding: (finding) => void found.push(finding),
    onDone: ({ target }, runs) => void done.push(`${target} ${runs}`),
  });
  expect(found.map(({ target, what }) => `${target}: ${what}`)).toEqual([
    'hangs: hang: one call did not end within 1 s',
  ]);
  expect(found[0]?.input.toString()).toBe('for ever');
  expect(done).toEqual(['hangs 0', 'fine 50']);
});

test('a changed prototype is found, and does not make the next inputs guilty', async () => {
  let times = 0;
  const found = await findingsOf((input) => {
    if (!input.includes('bad')) return;
    times += 1;
    Object.defineProperty(Object.prototype, 'polluted', { value: 1, configurable: true });
  });
  expect(found.map(({ what }) => what.split('\n')[0])).toEqual(['Broken: prototype pollution: polluted']);
  expect(times).toBeGreaterThan(0);
  expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
});

test('the same seed gives the same inputs, and another one others', async () => {
  const inputsOf = async (seed: number, part = 0): Promise<string[]> => {
    const seen: string[] = [];
    await runPart({ target: targetOf((input) => void seen.push(input.toString('hex'))), seed, part, runs: 300 });
    return seen;
  };
  const first = await inputsOf(7);
  expect(first).toHaveLength(300);
  expect(await inputsOf(7)).toEqual(first);
  expect(await inputsOf(8)).not.toEqual(first);
  expect(await inputsOf(7, 1)).not.toEqual(first);
});

test('changed documents are mostly JSON still, and hold what a parser has to fear', () => {
  const texts = fc
    .sample(changedJson(['{"a":{"b":[1,"x"]},"c":null}', '[1]']), { seed: 1, numRuns: 3_000 })
    .map((bytes) => bytes.toString('utf8'));
  const parsed = texts.flatMap((text) => {
    try {
      return [JSON.parse(text) as unknown];
    } catch {
      return [];
    }
  });
  expect(parsed.length).toBeGreaterThan(texts.length / 2);
  for (const feared of ['"__proto__"', '1e999', '\\u0000', '\\ud83e', '[[[[[', '{"a":{"a":{"a":']) {
    expect(texts.some((text) => text.includes(feared))).toBe(true);
  }
});

test('runs are shared by weight, in parts, and the heap is measured now and then', () => {
  const jobs = shareOut(
    [
      { name: 'a', weight: 3 },
      { name: 'b', weight: 1 },
    ],
    400_000,
    9,
  );
  const of = (name: string) => jobs.filter((job) => job.target === name);
  expect(of('a').reduce((sum, { runs }) => sum + runs, 0)).toBe(300_000);
  expect(of('b').reduce((sum, { runs }) => sum + runs, 0)).toBe(100_000);
  expect(new Set(of('a').map(({ part }) => part)).size).toBe(of('a').length);
  expect(jobs.filter(({ measure }) => measure)).toHaveLength(4);
});

test('a heap that goes on growing is told, one that has filled its caches is not', () => {
  const steady = heapWatch('it', 32);
  const growing = heapWatch('it', 32);
  const mib = 2 ** 20;
  for (const held of [20, 60, 70, 65, 80]) expect(steady.told(held * mib)).toBeUndefined();
  const told = [20, 60, 80, 100].map((held) => growing.told(held * mib));
  expect(told.slice(0, 3)).toEqual([undefined, undefined, undefined]);
  expect(told[3]).toBe('it holds 100 MiB, and held 60 MiB: it grows');
});

test('a finding is kept as bytes and as words', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'whorl-fuzz-test-'));
  try {
    const input = Buffer.from([0xff, 0x00, 0x41]);
    const file = await saveFinding(folder, { target: 'names', seed: 3, what: 'it broke', signature: 's', input }, 1);
    expect(await readFile(file)).toEqual(input);
    expect(await readFile(file.replace('.input', '.txt'), 'utf8')).toContain('it broke');
    expect(shownInput(input)).toBe('base64 /wBB');
    expect(shownInput(Buffer.from('a\0b'))).toBe(String.raw`"a\u0000b"`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
