import { beforeAll, expect, test, vi } from 'vitest';
import { answer } from '../../sim/buildkite/index.ts';
import { buildsOf, createOf, endsRight, jobOf, newSha, postsOf, theBuild } from '../support/ci.ts';
import { buildkiteFile, repo, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

let whorl: Spindle;
beforeAll(async () => {
  const allow = `${repo.did}/* -> acme/app`;
  whorl = await spindle({ shared: true, env: { WHORL_BUILDKITE_ALLOW: allow } });
  return () => whorl.close();
});

const mistakes: Record<string, { raw: string; sentence: RegExp }> = {
  'torn.yml': { raw: 'tack: [unclosed\n  - {', sentence: /^torn\.yml is not valid YAML: \S.* at line \d+/ },
  'text.yml': { raw: 'just a sentence', sentence: /^text\.yml is not a YAML mapping, so it holds no "tack:" block/ },
  'bare.yml': { raw: 'engine: nixery\nsteps: []\n', sentence: /^bare\.yml has no "tack:" block.* for example: tack:/ },
  'nobody.yml': {
    raw: 'tack: {}\n',
    sentence: /^The "tack:" block of nobody\.yml names no CI\. Name one of: .*buildkite/,
  },
  'jenkins.yml': { raw: 'tack:\n  jenkins: {}\n', sentence: /asks for the CI "jenkins".* It has: .*buildkite.*fake/ },
  'nameless.yml': { raw: buildkiteFile('""'), sentence: /tack\.buildkite\.pipeline is empty; it is the last part of/ },
  'missing.yml': { raw: 'tack:\n  buildkite:\n    branch: main\n', sentence: /tack\.buildkite\.pipeline is missing/ },
  'script.yml': {
    raw: 'tack:\n  fake:\n    result: splendid\n',
    sentence: /tack\.fake\.result must be one of .*success/,
  },
};
const right = { 'good.yml': 'tack:\n  fake: { delay: 50ms }\n', 'ci.yml': buildkiteFile() };

test('each mistake of an author is a failed status that says what to do, and holds up no other file', async () => {
  const files = Object.fromEntries(Object.entries(mistakes).map(([name, { raw }]) => [name, raw]));
  const pushed = whorl.push({ ...files, ...right });
  const { id } = await theBuild(whorl, pushed);
  whorl.ci.finish(id, 'passed');
  await endsRight(whorl, pushed, 'success', 'ci.yml');
  expect(jobOf(whorl, pushed, 'good.yml').status).toBe('success');
  for (const [name, { sentence }] of Object.entries(mistakes)) {
    const job = jobOf(whorl, pushed, name);
    expect([name, job.status, pushed.seen(name)]).toEqual([name, 'failed', ['failed']]);
    expect(job.error).toMatch(sentence);
  }
  expect(buildsOf(whorl, pushed)).toHaveLength(1);
});

test.concurrent('a push of mistakes alone ends at once', async () => {
  const pushed = whorl.push({ 'bare.yml': 'engine: nixery\n' });
  await pushed.shows('bare.yml', 'failed');
  expect(await pushed.ended()).toEqual({ 'bare.yml': 'failed' });
  expect(buildsOf(whorl, pushed)).toEqual([]);
});

test.concurrent('what Buildkite refuses is a failed status with its reason, and is not sent again', async () => {
  const sha = newSha();
  const body = { message: 'Validation failed', errors: [{ field: 'branch', code: 'is not allowed here' }] };
  whorl.ci.onRequest(createOf(sha), answer(422, { body }), 'always');
  const pushed = whorl.push({ 'ci.yml': buildkiteFile(), 'good.yml': right['good.yml'] }, { newSha: sha });
  await endsRight(whorl, pushed, 'failed', 'ci.yml');
  await endsRight(whorl, pushed, 'success', 'good.yml');
  const { error } = jobOf(whorl, pushed);
  expect(error).toMatch(/Buildkite refused the build for acme\/app: Validation failed: branch is not allowed here/);
  expect(postsOf(whorl, pushed)).toHaveLength(1);
});

test.concurrent('a target outside the allow-list waits and says why; other jobs and other pipelines go on', async () => {
  const pushed = whorl.push({ 'lint.yml': buildkiteFile('lint'), ...right });
  const other = whorl.push(right);
  for (const each of [pushed, other]) {
    const { id } = await theBuild(whorl, each);
    whorl.ci.finish(id, 'passed');
    await each.shows('ci.yml', 'success');
    await each.shows('good.yml', 'success');
  }
  await other.ended();
  const { error } = await until('the reason', () => {
    const job = jobOf(whorl, pushed, 'lint.yml');
    return job.error === undefined ? undefined : job;
  });
  expect(error).toMatch(
    new RegExp(`does not let ${repo.did}/${repo.name} use the Buildkite pipeline acme/lint.*allow-list`),
  );
  expect(pushed.seen('lint.yml')).not.toContain('failed');
  expect(jobOf(whorl, pushed, 'lint.yml').status).toBe('pending');
  expect(buildsOf(whorl, pushed).map(({ pipeline }) => pipeline)).toEqual(['app']);
  expect(whorl.appview.problems).toEqual([]);
  await pushed.handle.terminate();
});

const scripts: { what: string; raw: string; shown: { status: string; error?: string; exitCode?: number } }[] = [
  { what: 'passes', raw: 'tack: { fake: }\n', shown: { status: 'success' } },
  {
    what: 'fails with exit code 7',
    raw: 'tack:\n  fake: { delay: 50ms, result: failed, exit_code: 7, error: two tests failed }\n',
    shown: { status: 'failed', error: 'two tests failed', exitCode: 7 },
  },
  { what: 'times out', raw: 'tack:\n  fake: { delay: 50ms, result: timed_out }\n', shown: { status: 'timeout' } },
  {
    what: 'is cancelled after it ran',
    raw: 'tack:\n  fake:\n    states: [{ state: running, after: 10ms }, { state: cancelled, after: 50ms }]\n',
    shown: { status: 'cancelled' },
  },
];

test.concurrent.for(scripts)('a fake build whose script $what is shown so', async ({ raw, shown }) => {
  const pushed = whorl.push({ 'fake.yml': raw });
  const { history } = await endsRight(whorl, pushed, shown.status, 'fake.yml');
  const { status, error, exitCode } = history.at(-1) ?? {};
  expect({ status, error, exitCode }).toEqual({ error: undefined, exitCode: undefined, ...shown });
});
