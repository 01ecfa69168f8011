import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { pipelineId, runKey } from '../../src/pipeline/ids.ts';
import { planBuildkite } from '../../src/providers/buildkite/plan.ts';
import { fakeProvider } from '../../src/providers/fake/fake.ts';
import { planFake } from '../../src/providers/fake/plan.ts';
import { planners } from '../../src/providers/planners.ts';
import { requestFor } from '../conformance/provider.ts';

const never = (): AbortSignal => new AbortController().signal;

test('every workflow file that a real knot sent is planned', () => {
  const fixture = readFileSync(new URL('../fixtures/knot-events.ndjson', import.meta.url), 'utf8');
  const raws = fixture
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line): { raw: string }[] => JSON.parse(line).event?.workflows ?? [])
    .map(({ raw }) => parse(raw).tack?.buildkite);
  expect(raws.length).toBeGreaterThan(0);
  const plans = raws.map((options) => planBuildkite({ org: 'acme' })(options));
  expect(plans.filter(({ ok }) => !ok)).toEqual([]);
  expect(plans).toContainEqual({
    ok: true,
    target: { org: 'acme', pipeline: 'whorl-demo', env: { RUST_BACKTRACE: '1' } },
  });
  expect(plans).toContainEqual({ ok: true, target: { org: 'acme', pipeline: 'lint', branch: 'main' } });
});

test('the organisation of the file goes before ours, and one of them must be there', () => {
  const plan = planBuildkite({ org: 'ours' });
  expect(plan({ pipeline: 'app', org: 'theirs' })).toEqual({ ok: true, target: { org: 'theirs', pipeline: 'app' } });
  expect(plan({ pipeline: 'app', org: null })).toEqual({ ok: true, target: { org: 'ours', pipeline: 'app' } });
  expect(planBuildkite({})({ pipeline: 'app' })).toMatchObject({
    ok: false,
    reason: expect.stringContaining('tack.buildkite.org is missing'),
  });
});

test('unknown keys pass, empty ones are absent, and scalars become text', () => {
  const options = parse(`
pipeline: app
shiny: { new: true }
branch:
message: hello
env: { A: 1, B: true, C: , D: x }
meta_data: { team: core, size: 2 }
metadata: { team: other, more: yes }
on_block: pending
`);
  expect(planBuildkite({ org: 'acme' })(options)).toEqual({
    ok: true,
    target: {
      org: 'acme',
      pipeline: 'app',
      message: 'hello',
      env: { A: '1', B: 'true', C: '', D: 'x' },
      meta_data: { team: 'core', size: '2', more: 'yes' },
      on_block: 'pending',
    },
  });
});

test('only configured providers can be planned for, and no word of JavaScript is one', () => {
  expect(Object.keys(planners({}))).toEqual(['fake']);
  expect(Object.keys(planners({ buildkite: { org: 'acme' } }))).toEqual(['buildkite', 'fake']);
  for (const word of ['constructor', 'toString', '__proto__']) expect(planners({})[word]).toBeUndefined();
});

test.each([{}, null, undefined])('the fake provider passes when nothing is said: %j', (options) => {
  expect(planFake(options)).toEqual({
    ok: true,
    target: {
      runs: [
        {
          steps: [
            { status: 'running', at: 200 },
            { status: 'success', at: 400 },
          ],
        },
      ],
      logs: [],
    },
  });
});

test('a fake build follows its script', async () => {
  let now = 1_800_000_000_000;
  const provider = fakeProvider({ now: () => now });
  const options = parse(`
states:
  - { state: running, after: 1s }
  - { state: failed, after: 0.5m }
  - { state: passed, after: 1 }
exit_code: 42
error: it was told to
`);
  const built = await provider.create(requestFor({ plan: planFake, provider, now: () => now }, options), never());
  const seen = async () => (await provider.read([built.ref], never()))[0]?.seen;
  expect(built.seen.status).toBe('pending');
  now += 1000;
  expect(await seen()).toEqual({ build: built.ref.id, status: 'running', at: 0 });
  now += 60_000;
  expect(await seen()).toEqual({
    build: built.ref.id,
    status: 'failed',
    at: 1_800_000_031_000,
    exitCode: 42,
    error: 'it was told to',
  });
});

test('a list of results is for the first run, its retry and its rerun', async () => {
  let now = 1_800_000_000_000;
  const provider = fakeProvider({ now: () => now });
  const request = requestFor({ plan: planFake, provider, now: () => now }, { result: ['failed', 'passed'] });
  const { ref } = await provider.create(request, never());
  now += 1000;
  expect(await provider.read([ref], never())).toMatchObject([{ seen: { status: 'failed' } }]);
  const retried = await provider.retry(ref, never());
  now += 1000;
  expect(await provider.read([retried], never())).toMatchObject([{ seen: { status: 'success' } }]);

  const second = { ...request, runKey: runKey(pipelineId('knot.example', '3m6'), 'ci.yml', 2) };
  const rerun = await provider.create({ ...second, postedAt: new Date(now) }, never());
  expect(rerun.ref.id).not.toBe(ref.id);
  now += 1000;
  expect(await provider.read([rerun.ref], never())).toMatchObject([{ seen: { status: 'success' } }]);
});

test('a fake build that fails to be made does so each time', async () => {
  const provider = fakeProvider();
  const request = requestFor({ plan: planFake, provider }, { fail_create: 'Forbidden' });
  for (let n = 0; n < 2; n += 1) {
    await expect(provider.create(request, never())).rejects.toMatchObject({ failure: 'Forbidden', ambiguous: false });
  }
});
