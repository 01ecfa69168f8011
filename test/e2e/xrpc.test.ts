import { beforeAll, describe, expect, test, vi } from 'vitest';
import { broken } from '../../sim/atproto/index.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { buildOf, isBound, jobThat } from '../support/pipelines.ts';
import { type Signer, signer } from '../support/service-auth.ts';
import { buildkiteFile, type Pushed, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const host = 'spindle.example';
const did = `did:web:${host}`;
const oldCancel = 'sh.tangled.pipeline.cancelPipeline';
const middleCancel = 'sh.tangled.ci.pipeline.cancelPipeline';
const newCancel = 'sh.tangled.ci.cancelPipeline';
const retry = 'org.tangled.ci.retryPipeline';
const repoDid = 'did:plc:repoaaaaaaaaaaaaaaaaaaaa';

let whorl: Spindle;
let operator: Signer;
let owner: Signer;
let helper: Signer;
let stranger: Signer;
/** The key of the record of the owner's repository. */
let record: string;

beforeAll(async () => {
  whorl = await spindle({ shared: true, network: true, durations: { cancelConfirm: 60_000 } });
  const { network } = whorl.network;
  operator = await signer(network, whorl.network.owner.did, did);
  owner = await signer(network, network.account().did, did);
  helper = await signer(network, network.account().did, did, 'p256');
  stranger = await signer(network, network.account().did, did);
  network.invite(operator.did, owner.did, host);
  const repository = network.repo(owner.did, { knot: whorl.knot.host, name: 'site', spindle: host, repoDid });
  record = repository.rkey;
  network.collaborator(owner.did, repository.uri, helper.did);
  await until('the records are known', async () => {
    const rows = await whorl.sql`select from records where collection = 'sh.tangled.repo.collaborator'`;
    return rows.length > 0;
  });
  return () => whorl.close();
});

const uriOf = () => `at://${owner.did}/sh.tangled.repo/${record}`;
const pipelineUri = (pushed: Pushed) => `at://did:web:${whorl.knot.host}/sh.tangled.pipeline/${pushed.rkey}`;
const files = { 'a.yml': buildkiteFile(), 'b.yml': buildkiteFile('lint') };
const push = (workflows: Record<string, string> = files) =>
  whorl.push(workflows, { repo: { did: owner.did, name: 'site', repoDid } });

async function call(who: Signer | undefined, method: string, body: unknown, token?: string) {
  const bearer = token ?? (await who?.token(method));
  const answer = await fetch(`${whorl.url}/xrpc/${method}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: {
      'content-type': 'application/json',
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
    },
  });
  const text = await answer.text();
  return { status: answer.status, body: text === '' ? undefined : (JSON.parse(text) as Record<string, unknown>) };
}

const done = { status: 200, body: undefined };
const notFound = { status: 400, body: { error: 'PipelineNotFound', message: expect.any(String) } };
const ciState = (id: string) => whorl.ci.builds().find((build) => build.id === id)?.state;

/** A pipeline of two jobs whose builds run. */
async function running(workflows: Record<string, string> = files): Promise<{ pushed: Pushed; builds: string[] }> {
  const pushed = push(workflows);
  const builds: string[] = [];
  for (const job of Object.keys(workflows)) {
    const { id } = await buildOf(whorl, pushed, job);
    await isBound(pushed, job);
    whorl.ci.advance(id, 'running');
    await pushed.shows(job, 'running');
    builds.push(id);
  }
  return { pushed, builds };
}

describe('cancel', () => {
  test.each([
    [
      'the first appviews',
      oldCancel,
      (pushed: Pushed) => ({ repo: uriOf(), pipeline: pipelineUri(pushed), workflow: 'a.yml' }),
    ],
    [
      'the lexicon in between',
      middleCancel,
      (pushed: Pushed) => ({ repo: repoDid, pipeline: pushed.rkey, workflows: ['a.yml'] }),
    ],
    [
      'an appview in between',
      middleCancel,
      (pushed: Pushed) => ({ repo: uriOf(), pipeline: pipelineUri(pushed), workflow: 'a.yml', workflows: null }),
    ],
    [
      'the new lexicon',
      newCancel,
      (pushed: Pushed) => ({ repo: repoDid, pipeline: pushed.rkey, workflows: ['a.yml'] }),
    ],
  ])('as %s ask for it stops one job, and the other goes on', async (_who, method, body) => {
    const { pushed, builds } = await running();
    const [a = '', b = ''] = builds;
    expect(await call(owner, method, body(pushed))).toEqual(done);
    await until('the CI stops', () => ciState(a) === 'canceling');
    whorl.ci.advance(a, 'canceled');
    await pushed.shows('a.yml', 'cancelled');
    expect((await jobThat(pushed, 'why', ({ status }) => status === 'cancelled', 'a.yml')).error).toBe(
      `Cancelled by ${owner.did}.`,
    );
    whorl.ci.finish(b, 'passed');
    await pushed.shows('b.yml', 'success');
    await pushed.ended();
    const published = await whorl.sql`
      select status, error from statuses where pipeline = ${pushed.id} and job = 'a.yml' and not resend order by id`;
    expect(published.at(-1)).toEqual({ status: 'cancelled', error: `Cancelled by ${owner.did}.` });
  });

  test('may be asked for by whom the knot lets work in the repository, and by nobody when it does not know them', async () => {
    const { pushed, builds } = await running();
    const asked = { repo: uriOf(), pipeline: pipelineUri(pushed) };
    whorl.knot.collaborators.set(repoDid, [helper.did]);
    expect(await call(stranger, oldCancel, asked)).toEqual(notFound);
    whorl.knot.faults.refuse = 503;
    expect(await call(stranger, oldCancel, asked)).toMatchObject({ status: 503 });
    expect(await call(owner, oldCancel, { ...asked, workflow: 'none.yml' })).toMatchObject({ status: 400 });
    whorl.knot.faults.refuse = undefined;
    whorl.knot.collaborators.set(repoDid, [helper.did, stranger.did]);
    await until('the knot is asked again', async () => (await call(stranger, oldCancel, asked)).status === 200);
    whorl.knot.collaborators.clear();
    for (const build of builds) await until('the CI stops', () => ciState(build) === 'canceling');
  });

  test('without a workflow stops all; a collaborator and the operator may, and again is well too', async () => {
    const { pushed, builds } = await running();
    expect(await call(helper, newCancel, { repo: uriOf(), pipeline: pushed.rkey, workflows: [] })).toEqual(done);
    for (const id of builds) {
      await until('the CI stops', () => ciState(id) === 'canceling');
      whorl.ci.advance(id, 'canceled');
    }
    await pushed.ended();
    expect(await call(operator, oldCancel, { repo: uriOf(), pipeline: pipelineUri(pushed) })).toEqual(done);
    const rows = await until('both are settled', async () => {
      const found = await whorl.sql<{ by: string; state: string; result: string }[]>`
        select by, state, result from commands where pipeline = ${pushed.id} and state <> 'new' order by seq`;
      return found.length === 2 && found;
    });
    expect([...rows]).toEqual([
      { by: helper.did, state: 'done', result: 'Cancelling a.yml, b.yml.' },
      { by: operator.did, state: 'refused', result: expect.stringMatching(/ended/) },
    ]);
  });

  test('that the end has overtaken leaves the CI’s truth, and the log and `show` say so', async () => {
    const { pushed, builds } = await running({ 'a.yml': buildkiteFile() });
    const held = whorl.ci.hold({ route: 'cancel' }, 'arrival');
    expect(await call(owner, newCancel, { repo: repoDid, pipeline: pushed.rkey })).toEqual(done);
    await held.arrived;
    whorl.ci.finish(builds[0] ?? '', 'passed');
    await pushed.shows('a.yml', 'success');
    held.release();
    await pushed.ended();
    const said = `cancel asked for by ${owner.did}, but the build had already ended: success`;
    const [job] = await whorl.sql<{ status: string; note: string }[]>`
      select status, state ->> 'note' as note from jobs where pipeline = ${pushed.id}`;
    expect(job).toEqual({ status: 'success', note: said });
    const log = await logOf(pushed, 'a.yml');
    expect(log).toContain(said);
  });
});

test('a rerun of what has ended makes a new attempt of the same pipeline', async () => {
  const { pushed, builds } = await running();
  const [a = '', b = ''] = builds;
  whorl.ci.finish(a, 'failed');
  whorl.ci.finish(b, 'passed');
  await pushed.ended();
  const body = { repo: repoDid, pipeline: pushed.rkey, workflows: ['a.yml'] };
  expect(await call(helper, retry, body)).toEqual({ status: 200, body: { pipeline: pushed.rkey } });
  const again = await buildOf(whorl, pushed, 'a.yml', 2);
  whorl.ci.advance(again.id, 'running');
  whorl.ci.finish(again.id, 'passed');
  await pushed.shows('a.yml', 'success');
});

describe('nobody else', () => {
  let pushed: Pushed;
  beforeAll(async () => {
    ({ pushed } = await running());
  });
  const commands = () => whorl.sql`select from commands where pipeline = ${pushed.id} and kind <> 'watch'`;

  test('may, and all of them are told the same', async () => {
    const body = { repo: uriOf(), pipeline: pushed.rkey };
    const other = `at://${stranger.did}/sh.tangled.repo/${record}`;
    const answers = [
      await call(stranger, newCancel, body),
      await call(stranger, newCancel, { ...body, pipeline: '3aaaaaaaaaaaa' }),
      await call(stranger, newCancel, { ...body, repo: other }),
      // whoever may act upon one repository names a pipeline of another
      await call(owner, newCancel, { ...body, repo: other }),
      await call(operator, newCancel, { ...body, repo: other }),
      await call(owner, newCancel, {
        ...body,
        pipeline: `at://did:web:other.example/sh.tangled.pipeline/${pushed.rkey}`,
      }),
      await call(stranger, retry, body),
    ];
    for (const answer of answers) expect(answer).toEqual(notFound);
    expect(new Set(answers.map(({ body: said }) => said?.['message'])).size).toBe(1);
    expect(await commands()).toHaveLength(0);
  });

  test('comes in without a token of their own, for this spindle and this method, that counts now', async () => {
    const now = Math.floor(Date.now() / 1_000);
    const body = { repo: uriOf(), pipeline: pushed.rkey };
    const wrong = {
      none: '',
      'no JWT': 'abc',
      'another method': await owner.token(oldCancel),
      'no method': await owner.token(newCancel, { claims: { lxm: undefined } }),
      'another spindle': await owner.token(newCancel, { claims: { aud: 'did:web:other.example' } }),
      'another service': await owner.token(newCancel, { claims: { aud: `${did}#atproto_pds` } }),
      expired: await owner.token(newCancel, { claims: { exp: now - 60 } }),
      'no expiry': await owner.token(newCancel, { claims: { exp: undefined } }),
      'made tomorrow': await owner.token(newCancel, { claims: { iat: now + 600, exp: now + 660 } }),
      'for years': await owner.token(newCancel, { claims: { exp: now + 100_000_000 } }),
      'no signature': await owner.token(newCancel, { header: { alg: 'none' } }),
      'another alg': await owner.token(newCancel, { header: { alg: 'ES256' } }),
      'an access token': await owner.token(newCancel, { header: { typ: 'at+jwt' } }),
      'another key': await owner.token(newCancel, { header: { kid: '#other' } }),
      'another issuer': await stranger.token(newCancel, { claims: { iss: owner.did } }),
      'nobody’s issuer': await stranger.token(newCancel, { claims: { iss: 'did:plc:nobodynobodynobodynobody' } }),
    };
    for (const [why, token] of Object.entries(wrong)) {
      const answer = await call(undefined, newCancel, body, token);
      expect({ why, ...answer }).toEqual({
        why,
        status: 403,
        body: { error: 'Auth', message: expect.stringContaining('signature verification failed: ') },
      });
    }
    expect(await commands()).toHaveLength(0);
  });
});

test('a token counts once, with a jti and without, also when it comes several times at once', async () => {
  const { pushed, builds } = await running();
  const body = { repo: uriOf(), pipeline: pushed.rkey, workflow: 'a.yml' };
  for (const claims of [{}, { jti: undefined }]) {
    const token = await owner.token(newCancel, { claims });
    const answers = await Promise.all([1, 2, 3].map(() => call(undefined, newCancel, body, token)));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 403, 403]);
    expect(await call(undefined, newCancel, { ...body, workflow: 'b.yml' }, token)).toMatchObject({
      status: 403,
      body: { error: 'Auth', message: expect.stringContaining('used before') },
    });
  }
  const rows = await whorl.sql`select job from commands where pipeline = ${pushed.id}`;
  expect([...rows]).toEqual([{ job: 'a.yml' }, { job: 'a.yml' }]);
  for (const id of builds) whorl.ci.finish(id, 'passed');
});

test('every way to write the audience counts', async () => {
  const { pushed } = await running({ 'a.yml': buildkiteFile() });
  for (const aud of [did, `${did}#tangled_spindle`, 'did:web:Spindle.Example']) {
    const token = await owner.token(newCancel, { claims: { aud } });
    expect(await call(undefined, newCancel, { repo: repoDid, pipeline: pushed.rkey }, token)).toEqual(done);
  }
});

test('whoever has a new key is known by it, and the old one does not count any more', async () => {
  const { pushed } = await running({ 'a.yml': buildkiteFile() });
  const body = { repo: repoDid, pipeline: pushed.rkey };
  expect(await call(helper, newCancel, body)).toEqual(done);
  const old = await helper.token(newCancel);
  await helper.rotate('secp256k1');
  await expect.poll(async () => (await call(helper, newCancel, body)).status, { timeout: 20_000 }).toBe(200);
  expect((await call(undefined, newCancel, body, old)).status).toBe(403);
  await helper.forge();
  expect((await call(helper, newCancel, body)).status).toBe(403);
  await helper.rotate();
});

test('a pinned repository without any record goes by its name', async () => {
  const { network } = whorl.network;
  const pinner = await signer(network, network.account().did, did);
  await pinRepo(whorl.sql, { knot: whorl.knot.host, did: pinner.did, name: 'pinned' });
  const pushed = whorl.push({ 'a.yml': buildkiteFile() }, { repo: { did: pinner.did, name: 'pinned' } });
  const { id } = await buildOf(whorl, pushed, 'a.yml');
  await isBound(pushed, 'a.yml');
  const repo = `at://${pinner.did}/sh.tangled.repo/pinned`;
  expect(await call(owner, oldCancel, { repo, pipeline: pipelineUri(pushed) })).toEqual(notFound);
  expect(await call(pinner, oldCancel, { repo, pipeline: pipelineUri(pushed) })).toEqual(done);
  await until('the CI stops', () => ciState(id) === 'canceling');
});

test('a repository that is not served any more is cancelled, but not run again', async () => {
  const { network } = whorl.network;
  const leaver = await signer(network, network.account().did, did);
  const invitation = network.invite(operator.did, leaver.did, host);
  const { rkey, uri } = network.repo(leaver.did, { knot: whorl.knot.host, name: 'left', spindle: host });
  await until('it is served', async () => {
    return (await whorl.sql`select from served where did = ${leaver.did}`).length > 0;
  });
  const pushed = whorl.push(
    { 'a.yml': 'tack: { fake: { delay: 10ms } }\n' },
    { repo: { did: leaver.did, name: 'left' } },
  );
  await pushed.shows('a.yml', 'success');
  network.delete(operator.did, 'sh.tangled.spindle.member', invitation.rkey);
  await until('it is not served', async () => {
    return (await whorl.sql`select from served where did = ${leaver.did}`).length === 0;
  });
  const body = { repo: uri, pipeline: pushed.rkey };
  expect(await call(leaver, retry, body)).toMatchObject({ status: 400, body: { error: 'AccessControl' } });
  expect(await call(leaver, newCancel, body)).toEqual(done);
  expect(rkey).not.toBe('');
});

test.each([
  ['no JSON', '{', 'the body must be JSON'],
  ['a list', '[]', 'must be an object'],
  ['no repo', '{"pipeline":"3aaaaaaaaaaaa"}', 'repo is missing'],
  ['a handle', '{"repo":"at://alice.example/sh.tangled.repo/x","pipeline":"3aaaaaaaaaaaa"}', 'repo must be'],
  [
    'another record',
    '{"repo":"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa","pipeline":"at://did:web:k/sh.tangled.repo/x"}',
    'pipeline must be',
  ],
  ['too many', JSON.stringify({ repo: 'did:plc:a', pipeline: 'x', workflows: Array(51).fill('x') }), 'at most 50'],
])('a call with %s is refused', async (_what, body, sentence) => {
  const token = await owner.token(newCancel);
  const answer = await fetch(`${whorl.url}/xrpc/${newCancel}`, {
    method: 'POST',
    body,
    headers: { authorization: `Bearer ${token}` },
  });
  expect(answer.status).toBe(400);
  expect(answer.headers.get('access-control-allow-origin')).toBe('*');
  expect(await answer.json()).toEqual({ error: 'InvalidRequest', message: expect.stringContaining(sentence) });
});

test('a workflow that the pipeline does not have is named to whoever may know', async () => {
  const { pushed } = await running({ 'a.yml': buildkiteFile() });
  const body = { repo: repoDid, pipeline: pushed.rkey, workflow: 'c.yml' };
  expect(await call(owner, newCancel, body)).toEqual({
    status: 400,
    body: { error: 'InvalidRequest', message: 'the pipeline has no workflow of that name; it has: a.yml' },
  });
  expect(await call(stranger, newCancel, body)).toEqual(notFound);
});

test('while the database takes nothing, a call may come again with the same token', async () => {
  const { pushed } = await running({ 'a.yml': buildkiteFile() });
  const body = { repo: repoDid, pipeline: pushed.rkey };
  const token = await owner.token(newCancel);
  await whorl.sql`
    create function gone() returns trigger language plpgsql as $$ begin raise exception 'gone' using errcode = '57P01'; end $$`;
  await whorl.sql`create trigger gone before insert on commands for each statement execute function gone()`;
  const refused = await call(undefined, newCancel, body, token);
  await whorl.sql`drop trigger gone on commands`;
  expect(refused).toMatchObject({ status: 503, body: { error: 'InternalServerError' } });
  expect(await whorl.sql`select from commands where pipeline = ${pushed.id}`).toHaveLength(0);
  expect(await call(undefined, newCancel, body, token)).toEqual(done);
});

test('used tokens are forgotten when they have expired by themselves', async () => {
  const { pushed } = await running({ 'a.yml': buildkiteFile() });
  await whorl.sql`insert into service_tokens values ('did:plc:old', 'x', now() - interval '1 day')`;
  expect(await call(owner, newCancel, { repo: repoDid, pipeline: pushed.rkey })).toEqual(done);
  const left = await whorl.sql<{ issuer: string }[]>`select issuer from service_tokens`;
  expect(left.map(({ issuer }) => issuer)).toContain(owner.did);
  expect(left.map(({ issuer }) => issuer)).not.toContain('did:plc:old');
});

test('while the directory is away nobody is refused for good', async () => {
  const { network, plc } = whorl.network;
  const fresh = await signer(network, network.account().did, did);
  const fault = plc.fault({ route: 'did' }, broken(503), 'always');
  const answer = await call(fresh, newCancel, { repo: repoDid, pipeline: '3aaaaaaaaaaaa' });
  expect(answer).toMatchObject({ status: 503, body: { error: 'InternalServerError' } });
  fault.remove();
  await expect
    .poll(async () => (await call(fresh, newCancel, { repo: repoDid, pipeline: '3aaaaaaaaaaaa' })).status, {
      timeout: 30_000,
    })
    .toBe(400);
});

async function logOf(pushed: Pushed, job: string): Promise<string> {
  const socket = new WebSocket(`${whorl.url.replace('http', 'ws')}/logs/${whorl.knot.host}/${pushed.rkey}/${job}`);
  const parts: string[] = [];
  socket.addEventListener('message', ({ data }) => parts.push(String(data)));
  await new Promise((resolve) => socket.addEventListener('close', resolve));
  return parts.join('\n');
}
