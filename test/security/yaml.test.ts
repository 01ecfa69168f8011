import { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { planJob, planJobs } from '../../src/pipeline/plan.ts';
import { planners } from '../../src/providers/planners.ts';

const known = planners({ buildkite: { org: 'acme' } });
const plan = (raw: string) => planJob('ci.yml', raw, known);
const laughs = [
  'a: &a [x,x,x,x,x,x,x,x,x]',
  ...'bcdefghijklm'.split('').map((key, n) => `${key}: &${key} [${`*${'abcdefghijkl'[n]},`.repeat(9)}]`),
].join('\n');

/** Plans a file in a thread of its own, which is ended when it takes too long; gives the refusal. */
async function planApart(raw: string): Promise<string | undefined> {
  const source = `
    import { parentPort, workerData } from 'node:worker_threads';
    const [{ planJob }, { planners }] = await Promise.all(workerData.modules.map((each) => import(each)));
    const { refusal } = planJob('ci.yml', workerData.raw, planners({ buildkite: { org: 'acme' } }));
    parentPort.postMessage(refusal ?? 'none');`;
  const modules = ['pipeline/plan.ts', 'providers/planners.ts'].map(
    (file) => new URL(`../../src/${file}`, import.meta.url).href,
  );
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
    workerData: { raw, modules },
  });
  const ended = Promise.withResolvers<string | undefined>();
  worker.once('message', ended.resolve).once('error', ended.reject);
  const patience = setTimeout(() => ended.reject(new Error('planning it took more than 20 s')), 20_000);
  try {
    return await ended.promise;
  } finally {
    clearTimeout(patience);
    await worker.terminate();
  }
}

const bombs: Record<string, { raw: string; sentence: RegExp }> = {
  'a billion laughs': { raw: `${laughs}\ntack: { fake: *m }`, sentence: /cannot be read: .*alias/ },
  'laughs in the name of the CI': { raw: `${laughs}\ntack: *m`, sentence: /names no CI/ },
  'an alias of itself': { raw: 'tack: &a { fake: { x: *a } }', sentence: /./ },
  'a hundred thousand aliases': {
    raw: `a: &a x\nb: [${'*a,'.repeat(80_000)}]\ntack: {fake: {}}`,
    sentence: /cannot be read/,
  },
  'brackets that open': { raw: '['.repeat(250_000), sentence: /nested too deeply/ },
  'brackets that only close': { raw: ']'.repeat(250_000), sentence: /not valid YAML.* line 1, column 1$/ },
  'maps in maps': { raw: `tack: ${'{a: '.repeat(60_000)}`, sentence: /nested too deeply/ },
  'lists in lists': { raw: `tack:\n  ${'- '.repeat(100_000)}x`, sentence: /nested too deeply/ },
  'keys in keys': { raw: '? '.repeat(100_000), sentence: /nested too deeply/ },
  'commas alone': { raw: `[${','.repeat(250_000)}]`, sentence: /not valid YAML/ },
  'tags alone': { raw: `tack: ${'!a '.repeat(80_000)}`, sentence: /at most one tag/ },
  'anchors alone': { raw: '&a '.repeat(80_000), sentence: /at most one anchor/ },
  'forty thousand keys': {
    raw: `{${Array.from({ length: 40_000 }, (_, n) => n.toString(36)).join(',')}, tack: {jenkins: {}}}`,
    sentence: /./,
  },
  'more than a workflow file has': { raw: `#${'x'.repeat(300_000)}`, sentence: /larger than 256 KiB/ },
};

describe('a workflow file that is made to hurt', () => {
  test.for(Object.entries(bombs))('costs little and gets a sentence: %s', async ([, { raw, sentence }]) => {
    const refusal = await planApart(raw);
    expect(refusal).toMatch(sentence);
    expect(refusal?.length).toBeLessThan(400);
  });

  test('is one of many: of more than a mebibyte in all, the rest is refused', () => {
    const trigger = {
      knot: 'knot.example',
      rkey: 'r',
      kind: 'push',
      repo: { did: 'did:plc:x', name: 'r' },
      commit: 'a'.repeat(40),
      branch: 'main',
    };
    const raw = `tack: { fake: {} }\n#${'x'.repeat(200_000)}`;
    const workflows = Array.from({ length: 100 }, (_, n) => ({ name: `${n}.yml`, raw }));
    const refusals = planJobs({ ...trigger, workflows }, known).map(({ refusal }) => refusal);
    expect(refusals.slice(0, 5)).toEqual(Array.from({ length: 5 }));
    expect(refusals.slice(5).every((refusal) => refusal?.includes('larger than 1 MiB together'))).toBe(true);
  });
});

test('a key that comes twice is a mistake, wherever it stands', () => {
  expect(plan('tack: { fake: {} }\ntack: { buildkite: { pipeline: app } }').refusal).toBe(
    'ci.yml is not valid YAML: Map keys must be unique at line 2, column 1',
  );
  expect(plan('tack:\n  buildkite:\n    pipeline: a\n    pipeline: b\n').refusal).toMatch(
    /unique at line 4, column 5$/,
  );
  expect(plan('tack: { fake: {} }\nsteps: [{ a: 1 }, { a: 2 }]').refusal).toBeUndefined();
});

test('a merge key picks no CI and brings nothing in', () => {
  expect(plan('x: &x { fake: {} }\ntack:\n  <<: *x\n').refusal).toMatch(/asks for the CI "<<"/);
  const merged = plan('x: &x { meta_data: { a: b } }\ntack:\n  buildkite:\n    pipeline: app\n    <<: *x\n');
  expect(merged.target).toEqual({ org: 'acme', pipeline: 'app' });
});

describe('words of JavaScript as keys', () => {
  test.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype'])('pick no CI: %s', (key) => {
    expect(plan(`tack: { ${key}: {} }`).refusal).toContain(`asks for the CI "${key}"`);
  });

  test('are no properties of what is planned, and reach nothing else', () => {
    const planned = plan(
      [
        '__proto__: { tack: { fake: {} }, polluted: yes }',
        'tack:',
        '  buildkite:',
        '    pipeline: app',
        '    __proto__: { clean_checkout: true, env: { A: b } }',
        '    constructor: { prototype: { polluted: yes } }',
        '    env: { __proto__: x, constructor: y }',
        '    meta_data: { __proto__: x, toString: z }',
      ].join('\n'),
    );
    expect(planned.target).toEqual({
      org: 'acme',
      pipeline: 'app',
      env: expect.objectContaining({ constructor: 'y' }),
      meta_data: expect.objectContaining({ toString: 'z' }),
    });
    const { env, meta_data: meta } = planned.target as Record<string, object>;
    for (const map of [planned.target, env, meta]) expect(Object.getPrototypeOf(map)).toBe(Object.prototype);
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
    expect(({} as Record<string, unknown>)['clean_checkout']).toBeUndefined();
  });
});
