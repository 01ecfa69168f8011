import { beforeAll, expect, test, vi } from 'vitest';
import {
  boundTo,
  buildsOf,
  byHand,
  digested,
  endsRight,
  newSha,
  pushHeld,
  send,
  theBuild,
  webhookOf,
} from '../support/ci.ts';
import { buildkiteFile, type Pushed, secret, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 60_000 });

const files = { 'ci.yml': buildkiteFile() };
const words = ['build.scheduled', 'build.running', 'build.finished'] as const;
let whorl: Spindle;

beforeAll(async () => {
  whorl = await spindle({ shared: true, durations: { createTimeout: 20_000 } });
  return () => whorl.close();
});

const metaOf = (build: string): Record<string, string> => ({ ...whorl.ci.build(build).metaData });

/** Somebody else's build: made in the page by a person, or with another token. It fails and starts once more, to stay. */
async function foreignBuild(
  by: 'a person' | 'another token',
  meta: Record<string, string>,
  sha: string,
): Promise<string> {
  byHand(whorl, sha);
  const given = { commit: sha, branch: 'main' };
  const id =
    by === 'a person'
      ? whorl.ci.create('acme', 'app', { ...given, metaData: meta }).id
      : await createByApi({ ...given, meta_data: meta });
  whorl.ci.advance(id, 'running');
  whorl.ci.finish(id, 'failed');
  whorl.ci.retryJob(id);
  return id;
}

async function createByApi(body: unknown): Promise<string> {
  const { token } = whorl.ci.addToken();
  const response = await fetch(`${whorl.ci.apiUrl}/organizations/acme/pipelines/app/builds`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const { id } = (await response.json()) as { id: string };
  return id;
}

/** All that it has to say, and that it had passed: a success needs no read to be believed. */
async function sendAllOf(build: string): Promise<void> {
  for (const event of words) expect(await send(whorl, webhookOf(whorl, build, event))).toBe(200);
  const { body, ...finished } = webhookOf(whorl, build, 'build.finished');
  const passed = body.replace('"state":"failed"', '"state":"passed"');
  expect(passed).not.toBe(body);
  expect(await send(whorl, { ...finished, body: passed })).toBe(200);
  await digested(whorl);
}

/** A pipeline whose build is bound and has not begun. */
async function pending(): Promise<{ pushed: Pushed; id: string }> {
  const pushed = whorl.push(files);
  const { id } = await theBuild(whorl, pushed);
  await boundTo(whorl, pushed);
  await pushed.shows('ci.yml', 'pending');
  await until('the workflow knows its build', async () => JSON.stringify(await stateOf(pushed)).includes(id));
  return { pushed, id };
}

/** Without what it waits for, which has its times: a word about another build is a reason to look at the clock. */
const stateOf = async ({ handle }: Pushed): Promise<unknown> => {
  const { waits: _, ...state } = await handle.query<Record<string, unknown>>('state');
  return state;
};

/** What was published, which builds it has, and where its jobs stand. */
const traceOf = async (pushed: Pushed): Promise<unknown> => ({
  statuses: [
    ...(await whorl.sql`select job, status, error from statuses where pipeline = ${pushed.id} and not resend`),
  ],
  builds: [...(await whorl.sql`select build, outcome from builds where pipeline = ${pushed.id}`)],
  state: await stateOf(pushed),
});

/** Our own build goes on, and its pipeline ends as if nothing had been; the stranger was left alone. */
async function endsWithout(stranger: string, pushed: Pushed, id: string): Promise<void> {
  whorl.ci.advance(id, 'running');
  await send(whorl, webhookOf(whorl, id, 'build.running'));
  await pushed.shows('ci.yml', 'running');
  whorl.ci.finish(id, 'passed');
  await send(whorl, webhookOf(whorl, id, 'build.finished'));
  await endsRight(whorl, pushed, 'success');
  expect(pushed.seen('ci.yml')).toEqual(['pending', 'running', 'success']);
  expect(buildsOf(whorl, pushed).filter((build) => build.id !== stranger)).toHaveLength(1);
  expect(whorl.ci.build(stranger).state).toBe('running');
  expect(whorl.ci.requests.filter(({ build, method }) => build?.id === stranger && method === 'PUT')).toEqual([]);
}

const forged = {
  'a signature of another key': {
    'x-buildkite-signature': `timestamp=${Math.floor(Date.now() / 1000)},signature=${'0'.repeat(64)}`,
  },
  'no credentials': { 'x-buildkite-signature': '' },
  'our secret in clear, where signatures are wanted': { 'x-buildkite-signature': '', 'x-buildkite-token': secret },
};

test.concurrent.for(Object.entries(forged))('a webhook with %s is refused and changes nothing', async ([, headers]) => {
  const { pushed, id } = await pending();
  const before = await traceOf(pushed);
  const sent = webhookOf(whorl, id, 'build.scheduled');
  const body = sent.body.replace('"state":"scheduled"', '"state":"canceled"');
  expect(body).not.toBe(sent.body);
  expect(await send(whorl, { ...sent, body, event: 'build.finished' }, headers)).toBe(401);
  await digested(whorl);
  expect(await traceOf(pushed)).toEqual(before);

  whorl.ci.finish(id, 'passed');
  await endsRight(whorl, pushed, 'success');
});

test('in token mode a wrong token is refused and changes nothing, and the right one counts', async () => {
  const own = await spindle({ env: { WHORL_BUILDKITE_WEBHOOK_MODE: 'token' }, ready: true });
  const pushed = own.push(files);
  const { id } = await theBuild(own, pushed);
  await boundTo(own, pushed);
  const done = own.ci.finish(id, 'passed');
  expect(done.state).toBe('passed');
  const sent = webhookOf(own, id, 'build.finished');
  expect(await send(own, sent)).toBe(401);
  expect(await send(own, sent, { 'x-buildkite-token': `${secret}x` })).toBe(401);
  expect(await own.sql`select from deliveries`).toHaveLength(0);
  expect(await send(own, sent, { 'x-buildkite-token': secret })).toBe(200);
  await endsRight(own, pushed, 'success');
});

const strangers = ['a person', 'another token'] as const;

test.concurrent.for(strangers)(
  'a build of %s with our meta_data, before our create is answered, is neither bound nor shown',
  async (by) => {
    const { pushed, build, answer } = await pushHeld(whorl, files);
    await pushed.shows('ci.yml', 'pending');
    const stranger = await foreignBuild(by, metaOf(build), pushed.sha);
    await sendAllOf(stranger);
    // The word about a build that nobody knows starts a search: it finds ours and not the stranger.
    expect(await boundTo(whorl, pushed)).toBe(build);
    expect(pushed.seen('ci.yml')).toEqual(['pending']);
    answer();
    await endsWithout(stranger, pushed, build);
  },
);

test.concurrent.for(strangers)('a build of %s with our meta_data, after our create, changes nothing', async (by) => {
  const { pushed, id } = await pending();
  const before = await traceOf(pushed);
  const stranger = await foreignBuild(by, metaOf(id), pushed.sha);
  await sendAllOf(stranger);
  expect(await traceOf(pushed)).toEqual(before);
  await endsWithout(stranger, pushed, id);
});

test.concurrent('a build of ours that names another pipeline speaks for its own only', async () => {
  const [one, other] = await Promise.all([pending(), pending()]);
  const before = await traceOf(other.pushed);
  whorl.ci.setMetaData(one.id, 'tack:pipeline_rkey', other.pushed.rkey);
  whorl.ci.finish(one.id, 'failed');
  await endsRight(whorl, one.pushed, 'failed');
  await digested(whorl);
  expect(await traceOf(other.pushed)).toEqual(before);
  whorl.ci.finish(other.id, 'passed');
  await endsRight(whorl, other.pushed, 'success');
});

test.concurrent.for(['tack:knot', 'tack:pipeline_rkey', 'tack:workflow'])(
  'a build that lacks %s is nobody’s: nothing is stored',
  async (missing) => {
    const { pushed, id } = await pending();
    const before = await traceOf(pushed);
    const { [missing]: _, ...some } = metaOf(id);
    const stranger = await foreignBuild('a person', some, newSha());
    await sendAllOf(stranger);
    expect(await whorl.sql`select from deliveries where build = ${stranger}`).toHaveLength(0);
    expect(await traceOf(pushed)).toEqual(before);
    await endsWithout(stranger, pushed, id);
  },
);
