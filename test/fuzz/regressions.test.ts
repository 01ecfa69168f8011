import { expect, test } from 'vitest';
import { parseFrame } from '../../src/forges/tangled/frame.ts';
import { parsePipeline } from '../../src/forges/tangled/trigger.ts';
import { skewOf, startOf } from '../../src/ingest/knot-clock.ts';
import { toTrigger } from '../../src/ingest/knot-trigger.ts';
import { allows } from '../../src/allow.ts';
import { loadConfig } from '../../src/config/index.ts';
import { planJob, planJobs } from '../../src/pipeline/plan.ts';
import { planners } from '../../src/providers/planners.ts';
import { planBuildkite } from '../../src/providers/buildkite/plan.ts';
import { observe } from '../../src/providers/buildkite/state.ts';
import { stepsOf } from '../../src/providers/buildkite/steps.ts';
import { buildkiteWebhook } from '../../src/providers/buildkite/webhook.ts';
import { parseBuild } from '../../src/providers/buildkite/wire.ts';

const now = Date.UTC(2026, 10, 21);

test.each(['+275760-09-13T00:00:00.000Z', '-271821-04-20T00:00:00.000Z', 'Thu, 01 Jan 1970 00:00:00 GMT'])(
  'a knot whose clock shows %s is read, and the times of its events are dates',
  (date) => {
    const skew = skewOf(date, now);
    const frame = parseFrame('{"nsid":"sh.tangled.pipeline","rkey":"3n2rsm36hgg22","created":9223372036854775807}');
    if ('problem' in frame) throw new Error(frame.problem);
    expect(() => toTrigger('knot.example', frame, undefined, skew).eventAt?.toISOString()).not.toThrow();
    expect(startOf(new Date(now), { now, skew })).toBeGreaterThan(0n);
  },
);

test('a workflow file whose name is longer than any file can have is dropped: its job could not be stored', () => {
  const event = (name: string): unknown => ({
    triggerMetadata: {
      kind: 'push',
      push: { newSha: 'c'.repeat(40), ref: 'refs/heads/main' },
      repo: { did: 'did:plc:a', knot: 'knot.example', repo: 'demo' },
    },
    workflows: [{ name, raw: 'tack: {fake: {}}' }, { name: 'ci.yml' }],
  });
  const names = (name: string): string[] => {
    const parsed = parsePipeline(event(name));
    if (!parsed.ok) throw new Error(parsed.reason);
    expect(parsed.trigger.dropped).toBe(2 - parsed.trigger.workflows.length);
    return parsed.trigger.workflows.map((each) => each.name);
  };
  expect(names('a'.repeat(256))).toEqual(['ci.yml']);
  expect(names('a'.repeat(255))).toEqual(['a'.repeat(255), 'ci.yml']);
});

test('what is said of a webhook of an unknown state does not hold the whole state', () => {
  const body = { event: 'build.finished', build: { id: 'b', number: 1, url: address, state: 'x'.repeat(5_000) } };
  const result = buildkiteWebhook({ mode: 'token', secrets: () => ['s'] })(
    { 'x-buildkite-token': 's' },
    Buffer.from(JSON.stringify(body)),
    now,
  );
  expect(result.kind === 'ignored' && result.reason.length < 200).toBe(true);
});

const address = 'https://api.buildkite.com/v2/organizations/acme/pipelines/app/builds/1';

test('a reason that is cut in the middle of a character ends with a whole one', () => {
  const long = `${'a'.repeat(199)}🧵`;
  const cancelled = parseBuild({ id: 'b', state: 'canceled', cancel_reason: long });
  const failed = parseBuild({ id: 'b', state: 'failed', jobs: [{ id: 'j', name: long, state: 'failed' }] });
  for (const build of [cancelled, failed]) expect(build && observe(build)?.error?.isWellFormed()).toBe(true);
  const question = { id: 'j', type: 'manual', state: 'unblocked', unblocked_by: { name: `${'a'.repeat(399)}🧵` } };
  const steps = parseBuild({ id: 'b', state: 'passed', jobs: [question] });
  expect(steps && stepsOf(steps).every(({ remark }) => remark?.isWellFormed())).toBe(true);
});

const allowed = (rules: string) =>
  loadConfig({
    WHORL_HOSTNAME: 'spindle.example',
    WHORL_OWNER_DID: 'did:plc:z72i7hdynmk6r22z27h6tvur',
    WHORL_BUILDKITE_TOKEN: 'bkua_x',
    WHORL_BUILDKITE_WEBHOOK_SECRET: 'x',
    WHORL_BUILDKITE_ALLOW: rules,
  }).config.buildkite?.allow ?? [];

test.each([
  '*/*a*a*a*b -> acme/*',
  '*/x -> acme/+(a|aa)b',
  `*/x -> acme\\/x`,
  '*a*/*b* -> a/b',
  `${'a'.repeat(300)}/b -> a/b`,
])('a rule of the allow-list that a long name could hold up for ever is refused: %s', (rule) => {
  expect(() => allowed(rule)).toThrow(/at most two stars in a name/);
});

test('the rules that people write are taken, and match the longest names there are at once', () => {
  const rules = allowed('*/* -> acme/*, alice.test/{a,b}* -> acme/[a-z]*-app-*, did:plc:x/site -> a?me/site');
  expect(rules).toHaveLength(3);
  expect(allows(rules, [`${'a'.repeat(512)}/${'-'.repeat(256)}`], `acme/${'-app-'.repeat(40)}`)).toBe(true);
});

test('a slug that is longer than any is refused, since rules of globs are matched against it', () => {
  const planned = planBuildkite({ org: 'acme' })({ pipeline: 'a'.repeat(201) });
  expect(planned).toEqual({ ok: false, reason: expect.stringContaining('is longer than any slug') });
});

test('a workflow file whose keys are mappings in one another is refused at once, and its reason is short', () => {
  const [job] = planJobs(
    {
      knot: 'knot.example',
      rkey: '3n2rsm36hgg22',
      kind: 'push',
      repo: { did: 'did:plc:a', name: 'demo' },
      commit: 'c'.repeat(40),
      branch: 'main',
      workflows: [{ name: 'ci.yml', raw: `tack: { fake: {} }\nx:\n  ${'? '.repeat(600)}` }],
    },
    planners({}),
  );
  expect(job?.refusal).toMatch(/A key must be a text, and not a list or a mapping at line 3/);
});

test('a reason that quotes a workflow file is cut', () => {
  const job = planJob('ci.yml', `tack: { ${'🧶'.repeat(100_000)}: {} }`, planners({}));
  expect(job.refusal?.length).toBeLessThanOrEqual(502);
  expect(job.refusal?.isWellFormed()).toBe(true);
});

test('a kind of trigger without end is cut where it is told', () => {
  const parsed = parsePipeline({
    triggerMetadata: { kind: '🧵'.repeat(500), repo: { did: 'did:plc:a', knot: 'knot.example', repo: 'demo' } },
    workflows: [],
  });
  if (parsed.ok) throw new Error('it names no commit');
  expect(parsed.reason).toMatch(/^its 🧵+ trigger names no commit$/u);
  expect(parsed.reason.length).toBeLessThan(100);
});
