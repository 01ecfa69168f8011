import { randomUUID } from 'node:crypto';
import { beforeAll, expect, test, vi } from 'vitest';
import { answer, type BuildEvent, lose } from '../../sim/buildkite/index.ts';
import {
  boundTo,
  createOf,
  digested,
  endsRight,
  historyOf,
  newSha,
  scheduledOf,
  send,
  theBuild,
  webhookOf,
} from '../support/ci.ts';
import { buildkiteFile, type Pushed, secret, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

/** Stands in the pipeline's settings at the CI, which every webhook carries in clear. */
const ciSecret = 'a-variable-of-the-ci-pipeline';
const logText = 'a line that the job has logged';

let whorl: Spindle;
beforeAll(async () => {
  whorl = await spindle({
    shared: true,
    buildkite: { pipelines: [{ org: 'acme', slug: 'app', env: { DEPLOY_KEY: ciSecret } }] },
  });
  // A webhook that is set up as the documentation says sends no more than these.
  const wanted = new Set<string>(['build.scheduled', 'build.running', 'build.finished'] satisfies BuildEvent[]);
  whorl.ci.onWebhook({ where: ({ event }) => !wanted.has(event) }, lose(), 'always');
  return () => whorl.close();
});

/** The history when nothing is under way, and the status was sent once more. */
async function atRest(pushed: Pushed) {
  await until(
    'the resend',
    async () => (await whorl.sql`select from statuses where pipeline = ${pushed.id} and resend`)[0],
  );
  return until('a quiet workflow', async () => {
    const { raw } = await pushed.handle.describe();
    const history = await historyOf(pushed);
    return !raw.pendingWorkflowTask && !raw.pendingActivities?.length && history;
  });
}

/** The whole history as text, with what is in its payloads. */
const textOf = (history: unknown): string =>
  JSON.stringify(history, (key, item: unknown) =>
    key === 'data' && typeof item === 'string' ? Buffer.from(item, 'base64').toString('utf8') : item,
  ).replaceAll('\\"', '"');

test.concurrent('one job with three webhooks, each on its own, stays under 60 events with its resend, and under 75 with its log', async () => {
  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  const { id } = await theBuild(whorl, pushed);
  await pushed.shows('ci.yml', 'pending');
  await atRest(pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  await atRest(pushed);
  whorl.ci.finish(id, 'passed');
  await endsRight(whorl, pushed, 'success');

  const history = await historyOf(pushed);
  expect(whorl.ci.deliveries.filter(({ build, outcome }) => build?.id === id && outcome === 'answered')).toHaveLength(
    3,
  );
  expect(scheduledOf(history, /^create:/)).toBe(1);
  expect(scheduledOf(history, /^read:/)).toBe(0);
  expect(scheduledOf(history, /^logs:/)).toBe(1);
  expect(history.length).toBeLessThan(75);
  // what bringing the log costs: the activity, and the task that hears of its end
  expect(history.length - 6).toBeLessThan(60);
});

test.concurrent('a job is one scheduled create, however often it is tried', async () => {
  const sha = newSha();
  whorl.ci.onRequest(createOf(sha), answer(500), 2);
  const files = { 'a.yml': buildkiteFile(), 'b.yml': buildkiteFile(), 'c.yml': 'tack: { fake: }\n' };
  const pushed = whorl.push(files, { newSha: sha });
  const builds = await until('both builds', () => {
    const found = whorl.ci.builds().filter(({ commit }) => commit === sha);
    return found.length === 2 && found;
  });
  for (const { id } of builds) whorl.ci.finish(id, 'passed');
  await Promise.all(Object.keys(files).map((name) => pushed.shows(name, 'success')));
  await pushed.ended();
  const history = await historyOf(pushed);
  for (const name of Object.keys(files)) expect(scheduledOf(history, new RegExp(`^create:${name}$`))).toBe(1);
  expect(scheduledOf(history, /^create:/)).toBe(3);
});

test.concurrent('a webhook that comes again adds nothing; one that says the same anew adds one signal and its task', async () => {
  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  const { id } = await theBuild(whorl, pushed);
  await boundTo(whorl, pushed);
  whorl.ci.advance(id, 'running');
  await pushed.shows('ci.yml', 'running');
  const before = await atRest(pushed);

  for (const event of ['build.scheduled', 'build.running'] as const) {
    expect(await send(whorl, webhookOf(whorl, id, event))).toBe(200);
  }
  await digested(whorl);
  expect(await atRest(pushed)).toHaveLength(before.length);

  expect(await send(whorl, { ...webhookOf(whorl, id, 'build.running'), requestId: randomUUID() })).toBe(200);
  await digested(whorl);
  const after = await until('the signal’s task', async () => {
    const history = await atRest(pushed);
    return history.length > before.length && history;
  });
  const added = after
    .slice(before.length)
    .flatMap((event) => Object.keys(event).filter((key) => key.endsWith('Attributes')));
  expect(added).toEqual([
    'workflowExecutionSignaledEventAttributes',
    'workflowTaskScheduledEventAttributes',
    'workflowTaskStartedEventAttributes',
    'workflowTaskCompletedEventAttributes',
  ]);
  whorl.ci.finish(id, 'passed');
  await endsRight(whorl, pushed, 'success');
});

test.concurrent('no YAML, no secret and no line of a log is in a history', async () => {
  const sha = newSha();
  const marks = {
    yaml: 'a comment of the author',
    variable: 'a variable of the author',
    fake: 'a line of the fake build',
  };
  // What a CI repeats in its error becomes the failure that a person reads.
  whorl.ci.onRequest(
    createOf(sha),
    answer(500, { accepted: true, body: { message: `no luck with ${whorl.ci.token}` } }),
  );
  const pushed = whorl.push(
    {
      'ci.yml': `# ${marks.yaml}\n${buildkiteFile()}    env:\n      KEY: ${marks.variable}\n`,
      'fake.yml': `# ${marks.yaml}\ntack:\n  fake: { delay: 50ms, logs: [${marks.fake}], result: failed }\n`,
    },
    { newSha: sha },
  );
  const { id } = await theBuild(whorl, pushed);
  expect(whorl.ci.build(id).env['KEY']).toBe(marks.variable);
  whorl.ci.advance(id, 'running');
  whorl.ci.appendLog(id, 'build', `${logText}\r\n`);
  await pushed.shows('ci.yml', 'running');
  whorl.ci.finish(id, 'failed', { jobs: { build: { state: 'failed', exitStatus: 2, log: logText } } });
  await endsRight(whorl, pushed, 'failed', 'ci.yml');
  // The failure of a create is in the history with the attempt that came after it.
  await pushed.ended();

  expect(webhookOf(whorl, id, 'build.finished').body).toContain(ciSecret);
  const text = textOf(await historyOf(pushed));
  const there = ['ci.yml', 'fake.yml', id, 'exit status 2', 'no luck with [token]'];
  expect(there.filter((each) => !text.includes(each))).toEqual([]);
  const never = [whorl.ci.token, secret, ciSecret, logText, 'tack:', whorl.databaseUrl, ...Object.values(marks)];
  expect(never.filter((each) => text.includes(each))).toEqual([]);
});
