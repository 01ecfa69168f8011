import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test, type TestContext, vi } from 'vitest';
import { answer } from '../../sim/buildkite/index.ts';
import {
  buildOf,
  buildsOf,
  failingActivity,
  isParked,
  jobThat,
  ownSpindle,
  parkedCauses,
} from '../support/pipelines.ts';
import { buildkiteFile, type Pushed, type Spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const oneFile = { 'ci.yml': buildkiteFile() };

/** What a reader of `/events` is told about a job that waits. */
async function reasonShown(
  { appview, knot }: Spindle,
  { rkey }: Pushed,
  says: string,
  job = 'ci.yml',
): Promise<string> {
  const view = await appview.wait(knot.host, rkey, ({ jobs }) => jobs[job]?.error?.includes(says) === true, 20_000);
  return view.jobs[job]?.status ?? '';
}

async function passes(whorl: Spindle, pushed: Pushed, job = 'ci.yml'): Promise<void> {
  const { id } = await buildOf(whorl, pushed, job);
  whorl.ci.finish(id, 'passed');
  await pushed.shows(job, 'success');
}

async function tokenFile({ onTestFinished }: TestContext, token: string) {
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-token-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'token');
  const replace = (text: string) => writeFile(file, `${text}\n`);
  await replace(token);
  return { file, replace };
}

test.concurrent('a rejected token parks the job, says why, and the job goes on after the token is replaced and a retry', async (context) => {
  const { file, replace } = await tokenFile(context, 'the-first-token');
  const whorl = await ownSpindle(context, {
    buildkite: { token: { token: 'the-first-token' } },
    env: { WHORL_BUILDKITE_TOKEN: '', WHORL_BUILDKITE_TOKEN_FILE: file },
  });
  const { ci, command } = whorl;
  ci.revokeToken('the-first-token');
  const pushed = whorl.push(oneFile);

  const { parked } = await isParked(pushed);
  expect(parked).toContain('does not accept the API token');
  expect(await parkedCauses(pushed)).toEqual(['CredentialsRejected']);
  expect(await reasonShown(whorl, pushed, 'does not accept the API token')).toBe('pending');

  // a retry alone mends nothing: it parks again
  expect(await command('retry', pushed.id)).toEqual({ state: 'done', result: 'Trying again: ci.yml.' });
  await until('another try', () => ci.requests.filter(({ status }) => status === 401).length >= 2);
  expect((await isParked(pushed)).parked).toBe(parked);

  await replace(ci.addToken({ token: 'the-second-token' }).token);
  await command('retry', pushed.id, 'ci.yml');
  await passes(whorl, pushed);
  await pushed.ended();
  expect(await parkedCauses(pushed)).toEqual([]);
  expect(pushed.seen('ci.yml')).toEqual(['pending', 'success']);
  expect(buildsOf(whorl, pushed)).toHaveLength(1);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('a job whose CI pipeline is missing waits for it, and holds up no other job', async (context) => {
  const whorl = await ownSpindle(context);
  const pushed = whorl.push({ ...oneFile, 'late.yml': buildkiteFile('made-later') });
  expect((await isParked(pushed, 'late.yml')).parked).toContain('acme/made-later');
  expect(await parkedCauses(pushed)).toEqual(['TargetMissing']);
  expect(await reasonShown(whorl, pushed, 'made-later', 'late.yml')).toBe('pending');
  await passes(whorl, pushed);

  const nothing = await whorl.command('retry', pushed.id, 'ci.yml');
  expect(nothing).toEqual({ state: 'refused', result: 'ci.yml is not parked.' });

  whorl.ci.pipeline('acme/made-later');
  await whorl.command('retry', pushed.id);
  await passes(whorl, pushed, 'late.yml');
  await pushed.ended();
  expect(whorl.ci.builds()).toHaveLength(2);
  expect(whorl.appview.problems).toEqual([]);
});

test.concurrent('a token without the right to create builds parks as Forbidden and names the scopes', async (context) => {
  const token = 'a-token-that-only-reads';
  const whorl = await ownSpindle(context, {
    buildkite: { token: { token, scopes: ['read_builds'] }, pipelines: ['acme/app'] },
  });
  const pushed = whorl.push(oneFile);
  expect((await isParked(pushed)).parked).toContain('write_builds');
  expect(await parkedCauses(pushed)).toEqual(['Forbidden']);

  whorl.ci.addToken({ token });
  await whorl.command('retry', pushed.id);
  await passes(whorl, pushed);
});

test.concurrent('a repository outside the allow-list parks and says so, and the reason that nobody mends in time ends the job', async (context) => {
  const whorl = await ownSpindle(context, {
    env: { WHORL_BUILDKITE_ALLOW: 'did:plc:somebody/else → acme/*' },
    durations: { parkLimit: 1_500 },
  });
  const pushed = whorl.push({ ...oneFile, 'fake.yml': 'tack:\n  fake: {}\n' });
  expect((await isParked(pushed)).parked).toContain('allow');
  expect(await parkedCauses(pushed)).toEqual(['Forbidden']);

  await pushed.shows('ci.yml', 'failed');
  expect(await reasonShown(whorl, pushed, 'Nobody mended this in time.')).toBe('failed');
  await pushed.shows('fake.yml', 'success');
  await pushed.ended();
  expect(await parkedCauses(pushed)).toEqual([]);
  expect(whorl.ci.builds()).toEqual([]);
});

test.concurrent('a step that meets a 5xx is pending with its last failure, and runs at once when it is reset', async (context) => {
  const whorl = await ownSpindle(context, { durations: { looks: [600_000] } });
  const { ci, client } = whorl;
  ci.onRequest({ route: 'create' }, answer(502, { accepted: true }));
  const pushed = whorl.push(oneFile);

  const pending = await failingActivity(pushed, 'create:ci.yml');
  expect(pending.lastFailure?.message).toContain('Buildkite answered 502');
  expect(pending.lastFailure?.applicationFailureInfo?.type).toBe('Transient');

  await client.workflowService.resetActivity({
    namespace: client.options.namespace,
    execution: { workflowId: pushed.id },
    identity: 'a person at the Temporal UI',
    id: 'create:ci.yml',
  });
  await jobThat(pushed, 'the build is found', ({ build }) => build === ci.builds()[0]?.id);
  await passes(whorl, pushed);
  expect(ci.builds()).toHaveLength(1);
});

test.concurrent('a status that cannot be written is tried until it can, and ends nothing', async (context) => {
  const whorl = await ownSpindle(context);
  await whorl.sql`alter table statuses rename to statuses_away`;
  const pushed = whorl.push(oneFile);
  await until('many tries', async () => ((await failingActivity(pushed, 'publish:0.1')).attempt ?? 0) > 6);
  await whorl.sql`alter table statuses_away rename to statuses`;
  await passes(whorl, pushed);
  expect(await pushed.ended()).toEqual({ 'ci.yml': 'success' });
});
