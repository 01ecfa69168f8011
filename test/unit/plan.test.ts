import { expect, test } from 'vitest';
import { planJob, titleOf } from '../../src/pipeline/plan.ts';

const planners = {
  buildkite: (options: unknown) =>
    typeof options === 'object' && options !== null && 'pipeline' in options
      ? { ok: true as const, target: options }
      : { ok: false as const, reason: '"tack.buildkite.pipeline" is missing.' },
  fake: () => ({ ok: true as const, target: null }),
};
const plan = (raw: string) => planJob('ci.yml', raw, planners);

test('the first key under tack picks the provider, as tack reads it', () => {
  expect(plan('tack:\n  buildkite:\n    pipeline: app\n  fake: {}\n')).toEqual({
    name: 'ci.yml',
    provider: 'buildkite',
    target: { pipeline: 'app' },
  });
  expect(plan('tack:\n  fake: {}\n  buildkite:\n    pipeline: app\n')).toEqual({
    name: 'ci.yml',
    provider: 'fake',
    target: null,
  });
});

test('what the forge reads is left alone', () => {
  expect(plan('engine: nixery\nwhen:\n  - event: push\nsteps: []\ntack: {fake: {}}')).toMatchObject({
    provider: 'fake',
    target: null,
  });
});

test.each([
  ['tack: [', /ci\.yml is not valid YAML: .*line 1/],
  ['- a\n- b\n', /not a YAML mapping/],
  ['', /not a YAML mapping/],
  ['engine: nixery\n', /no "tack:" block.*Add one/],
  ['tack:\n', /names no CI.*buildkite, fake/],
  ['tack: hello\n', /names no CI/],
  ['tack:\n  jenkins: {}\n', /asks for the CI "jenkins".*It has: buildkite, fake/],
  ['tack:\n  constructor: {}\n', /asks for the CI "constructor"/],
  ['tack:\n  buildkite: {}\n', /ci\.yml: "tack\.buildkite\.pipeline" is missing/],
  [
    `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefgh'
      .split('')
      .map((key, n) => `${key}: &${key} [${`*${'abcdefg'[n]},`.repeat(9)}]`)
      .join('\n')}\ntack: {fake: *h}`,
    /cannot be read/,
  ],
  [`# ${'x'.repeat(300_000)}`, /larger than 256 KiB/],
])('a file that is wrong gets a sentence for its author: %.40s', (raw, sentence) => {
  const planned = plan(raw);
  expect(planned.refusal).toMatch(sentence);
  expect(planned.refusal).not.toContain('\n');
});

test('a title for people', () => {
  expect(
    titleOf({ kind: 'pull_request', branch: 'feature/x', commit: 'c132516e9745a0ed0666e03d6a0a1d8d2b5a76bc' }),
  ).toBe('pull request feature/x @ c132516');
});
