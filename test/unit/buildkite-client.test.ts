import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  answer,
  type BuildkiteSim,
  loseAnswer,
  rateLimited,
  refuse,
  slow,
  startBuildkite,
} from '../../sim/buildkite/index.ts';
import { buildkite, type BuildkiteOptions } from '../../src/providers/buildkite/client.ts';
import { planBuildkite } from '../../src/providers/buildkite/plan.ts';
import type { BuildRef, Built, CreateRequest, Limiter, Priority } from '../../src/providers/provider.ts';
import { freeLimiter, requestFor } from '../conformance/provider.ts';

let sim: BuildkiteSim;
beforeAll(async () => {
  sim = await startBuildkite({ pipelines: ['acme/app', 'acme/other'] });
});
afterEach(() => {
  sim.clearFaults();
  sim.setLimits('off');
  sim.setIndexLag(0);
  sim.reindex();
});
afterAll(() => sim.close());

const never = (): AbortSignal => new AbortController().signal;

const client = (options: Partial<BuildkiteOptions> = {}) =>
  buildkite({ apiUrl: sim.apiUrl, token: () => sim.token, limiter: freeLimiter, ...options });

const request = (options: Record<string, unknown> = {}): CreateRequest =>
  requestFor({ plan: planBuildkite({ org: 'acme' }), provider: client() }, { pipeline: 'app', ...options });

const find =
  (provider = client()) =>
  (made: CreateRequest, told: BuildRef[] = []) =>
    provider.find(
      { runKey: made.runKey, spec: made.spec, posts: [{ nonce: made.nonce, postedAt: made.postedAt }], told },
      never(),
    );

const ids = (built: Built[]): string[] => built.map(({ ref }) => ref.id);
const requestsTo = (route: string) => sim.requests.filter((one) => one.route === route);

/** A budget that writes down what it was asked, and answers with the given times one after the other. */
function countingLimiter(times: (() => Date)[] = []) {
  const asked: { bucket: string; key: string; priority: Priority }[] = [];
  const blocked: Date[] = [];
  const limiter: Limiter = {
    async reserve(bucket, key, priority) {
      asked.push({ bucket, key, priority });
      return times.shift()?.() ?? new Date(0);
    },
    async block(_bucket, until) {
      blocked.push(until);
    },
  };
  return { limiter, asked, blocked };
}

describe('create', () => {
  test('writes the keys of tack and ours, and the variables', async () => {
    const made = request();
    const { ref } = await client().create(made, never());
    const build = sim.build(ref.id);
    expect(build.metaData).toEqual({
      'tack:knot': 'knot.example:5555',
      'tack:pipeline_rkey': made.spec.rkey,
      'tack:workflow': 'ci.yml',
      whorl_run: expect.stringMatching(/^[0-9a-f]{32}$/),
      whorl_nonce: made.nonce,
    });
    expect(build.env).toEqual({
      TACK_KNOT: 'knot.example:5555',
      TACK_PIPELINE_RKEY: made.spec.rkey,
      TACK_WORKFLOW: 'ci.yml',
      TACK_COMMIT: 'a'.repeat(40),
      TACK_BRANCH: 'main',
    });
    expect(build).toMatchObject({ source: 'api', author: null, branch: 'main', message: 'a push' });
    expect(sim.requests.at(-1)?.body).toMatchObject({ ignore_pipeline_branch_filters: true });
    expect(ref).toMatchObject({ number: build.number, data: { org: 'acme', pipeline: 'app' } });
    expect(ref.url).toContain(`/acme/app/builds/${build.number}`);
  });

  test('lets the workflow file overrule commit, branch, message and variables, but no key of ours', async () => {
    const made = request({
      commit: 'HEAD',
      branch: 'release',
      message: 'mine',
      env: { RUST_BACKTRACE: 1, TACK_BRANCH: 'x' },
      meta_data: { team: 'core' },
      clean_checkout: true,
      on_block: 'success',
    });
    const { ref } = await client().create(made, never());
    const build = sim.build(ref.id);
    expect(build).toMatchObject({ commit: 'HEAD', branch: 'release', message: 'mine' });
    expect(build.env).toMatchObject({ RUST_BACKTRACE: '1', TACK_BRANCH: 'x', TACK_COMMIT: 'HEAD' });
    expect(build.metaData).toMatchObject({ team: 'core', 'tack:workflow': 'ci.yml', whorl_on_block: 'success' });
    expect(sim.requests.at(-1)?.body).toMatchObject({ clean_checkout: true });
    expect(ids(await find()(made))).toEqual([ref.id]);
  });

  test('works on a pipeline whose branches are disabled', async () => {
    sim.pipeline({ org: 'acme', slug: 'closed', branchesDisabled: true });
    const { seen } = await client().create(request({ pipeline: 'closed' }), never());
    expect(seen.status).toBe('pending');
  });
});

describe('a failure is', () => {
  const failing = async (act: Promise<unknown>) => {
    try {
      await act;
    } catch (error) {
      return error;
    }
    throw new Error('expected a failure');
  };

  test.each([
    ['CredentialsRejected for 401', answer(401), { failure: 'CredentialsRejected', ambiguous: false }],
    ['Forbidden for 403', answer(403), { failure: 'Forbidden', ambiguous: false }],
    ['TargetMissing for 404', answer(404), { failure: 'TargetMissing', ambiguous: false }],
    ['TargetMissing for a redirect', answer(301, { headers: { location: '/' } }), { failure: 'TargetMissing' }],
    ['Transient and ambiguous for 500', answer(500), { failure: 'Transient', ambiguous: true }],
    ['Transient and ambiguous for 502', answer(502), { failure: 'Transient', ambiguous: true }],
    ['Transient and ambiguous for a lost answer', loseAnswer(), { failure: 'Transient', ambiguous: true }],
    ['Transient and ambiguous for a broken connection', refuse(), { failure: 'Transient', ambiguous: true }],
    [
      'Transient and ambiguous for a 2xx without a build',
      answer(201, { body: '<html>' }),
      { failure: 'Transient', ambiguous: true },
    ],
    [
      'Transient and ambiguous for a 2xx with half a build',
      answer(201, { body: { id: 'x' } }),
      { failure: 'Transient', ambiguous: true },
    ],
  ])('%s', async (_name, action, expected) => {
    sim.onRequest({ route: 'create' }, action);
    expect(await failing(client().create(request(), never()))).toMatchObject(expected);
  });

  test('InvalidDefinition for 422, with the reason of Buildkite', async () => {
    sim.onRequest(
      { route: 'create' },
      answer(422, { body: { message: 'Branches have been disabled for this pipeline' } }),
    );
    expect(await failing(client().create(request(), never()))).toMatchObject({
      failure: 'InvalidDefinition',
      message: expect.stringContaining('acme/app: Branches have been disabled'),
    });
    const errors = [{ field: 'commit', code: 'missing_field' }];
    sim.onRequest({ route: 'create' }, answer(422, { body: { message: 'Validation Failed', errors } }));
    expect(await failing(client().create(request(), never()))).toMatchObject({
      message: expect.stringContaining('Validation Failed: commit missing_field'),
    });
  });

  test('RateLimited for 429, at the time that Buildkite gives, for every process', async () => {
    const { limiter, blocked } = countingLimiter();
    sim.onRequest({ route: 'create' }, rateLimited(42));
    const error = await failing(client({ limiter }).create(request(), never()));
    expect(error).toMatchObject({ failure: 'RateLimited', ambiguous: false });
    const wait = (blocked[0]?.getTime() ?? 0) - Date.now();
    expect(wait).toBeGreaterThan(40_000);
    expect(wait).toBeLessThanOrEqual(42_000);
    expect(error).toMatchObject({ retryAt: blocked[0] });
  });

  test('Transient and ambiguous for a time-out', async () => {
    sim.onRequest({ route: 'create' }, slow(2000));
    const error = await failing(client({ timeoutMs: 100 }).create(request(), never()));
    expect(error).toMatchObject({ failure: 'Transient', ambiguous: true, message: expect.stringContaining('in time') });
  });

  test('Transient and ambiguous when the caller stops a POST on its way', async () => {
    const held = sim.hold({ route: 'create' });
    const stop = new AbortController();
    const call = failing(client().create(request(), stop.signal));
    await held.arrived;
    stop.abort(new Error('enough'));
    expect(await call).toMatchObject({ failure: 'Transient', ambiguous: true, cause: { message: 'enough' } });
    held.release();
  });

  test('Transient and not ambiguous when nobody listens', async () => {
    const gone = await startBuildkite();
    await gone.close();
    const error = await failing(client({ apiUrl: gone.apiUrl }).create(request(), never()));
    expect(error).toMatchObject({
      failure: 'Transient',
      ambiguous: false,
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test('never ambiguous for a read', async () => {
    const { ref } = await client().create(request(), never());
    for (const action of [answer(500), loseAnswer(), answer(200, { body: '<html>' })]) {
      sim.onRequest({ route: 'get' }, action);
      expect(await failing(client().read([ref], never()))).toMatchObject({ failure: 'Transient', ambiguous: false });
    }
  });

  test('without the token in its message', async () => {
    sim.onRequest({ route: 'create' }, answer(422, { body: { message: `bad token ${sim.token}` } }));
    const error = await failing(client().create(request(), never()));
    expect(error).toMatchObject({ message: expect.stringContaining('[token]') });
    expect(String(error)).not.toContain(sim.token);
  });

  test('Internal for a target that another provider wrote', async () => {
    const made = request();
    const error = await failing(client().create({ ...made, spec: { ...made.spec, target: { org: '..' } } }, never()));
    expect(error).toMatchObject({ failure: 'Internal' });
  });
});

test('a token that is replaced counts at once', async () => {
  let token = 'wrong';
  const provider = client({ token: () => token });
  await expect(provider.create(request(), never())).rejects.toMatchObject({ failure: 'CredentialsRejected' });
  token = sim.token;
  await expect(provider.create(request(), never())).resolves.toMatchObject({ seen: { status: 'pending' } });
});

describe('the allow-list', () => {
  const rule = (repo: string, target: string) => ({ repo, target });
  test('lets through what one rule allows whole', async () => {
    const allow = [rule('did:plc:bob/app', 'acme/other'), rule('did:plc:alice/app', 'acme/app')];
    await expect(client({ allow: { rules: allow } }).create(request(), never())).resolves.toBeDefined();
  });
  test.each([
    ['no rule', []],
    ['another repository', [rule('did:plc:bob/app', 'acme/app')]],
    ['two rules that each allow half', [rule('did:plc:alice/app', 'acme/other'), rule('did:plc:bob/app', 'acme/app')]],
  ])('refuses with %s, and asks Buildkite nothing', async (_name, allow) => {
    const before = sim.requests.length;
    await expect(client({ allow: { rules: allow } }).create(request(), never())).rejects.toMatchObject({
      failure: 'Forbidden',
      message: expect.stringMatching(/did:plc:alice\/app.*acme\/app.*allow-list/),
    });
    expect(sim.requests).toHaveLength(before);
  });
});

describe('find', () => {
  test('finds a build whose answer was lost, also by a client that knows nothing', async () => {
    const made = request();
    sim.onRequest({ route: 'create' }, loseAnswer());
    await expect(client().create(made, never())).rejects.toMatchObject({ ambiguous: true });
    const found = await find()(made);
    expect(found).toHaveLength(1);
    expect(sim.build(found[0]?.ref.id ?? '').metaData['whorl_nonce']).toBe(made.nonce);
  });

  test('finds nothing while the index lags, and the build when it has caught up', async () => {
    sim.setIndexLag('manual');
    const made = request();
    const { ref } = await client().create(made, never());
    expect(await find()(made)).toEqual([]);
    sim.reindex();
    expect(ids(await find()(made))).toEqual([ref.id]);
  });

  test('finds a build that no list knows yet when somebody told of it, and believes nobody that it is ours', async () => {
    sim.setIndexLag('manual');
    const provider = client();
    const made = request();
    const { ref } = await provider.create(made, never());
    const { metaData, commit, branch } = sim.build(ref.id);
    const theirs = sim.create('acme', 'app', { commit, branch, metaData });
    const elsewhere = sim.create('acme', 'other', { commit, branch, metaData, source: 'api', creator: sim.user });
    const refTo = ({ id, number, pipeline }: { id: string; number: number; pipeline: string }) => ({
      ...ref,
      id,
      number,
      data: { org: 'acme', pipeline },
    });
    const told = [refTo(theirs), refTo(elsewhere), { ...ref, id: randomUUID(), number: 999_999 }];
    expect(ids(await find(provider)(made, told))).toEqual([]);
    expect(ids(await find(provider)(made, [...told, ref]))).toEqual([ref.id]);
    sim.reindex();
    expect(ids(await find(provider)(made, [...told, ref]))).toEqual([ref.id]);
  });

  test('finds a build by commit and time when a job has changed our key', async () => {
    const made = request();
    const { ref } = await client().create(made, never());
    sim.setMetaData(ref.id, 'whorl_run', 'stolen');
    expect(ids(await find()(made))).toEqual([ref.id]);
  });

  test('gives the builds of two POSTs, the older first', async () => {
    const provider = client();
    const first = request();
    const second = { ...first, nonce: 'second' };
    const a = await provider.create(first, never());
    const b = await provider.create(second, never());
    const posts = [second, first].map(({ nonce, postedAt }) => ({ nonce, postedAt }));
    const found = await provider.find({ runKey: first.runKey, spec: first.spec, posts }, never());
    expect(ids(found)).toEqual([a.ref.id, b.ref.id]);
  });

  test('knows nobody else’s build with our meta_data, nor a rebuild, another commit, pipeline or nonce', async () => {
    const provider = client();
    const made = request();
    const { ref } = await provider.create(made, never());
    const { metaData, commit, branch } = sim.build(ref.id);
    const copy = { commit, branch, metaData };
    const stranger = sim.addToken({ user: { email: 'mallory@users.example' } });
    sim.create('acme', 'app', copy);
    sim.create('acme', 'app', { ...copy, source: 'api' });
    sim.create('acme', 'app', { ...copy, source: 'api', creator: stranger.user });
    sim.create('acme', 'app', { ...copy, source: 'api', creator: null });
    sim.create('acme', 'app', { ...copy, source: 'ui', creator: sim.user });
    sim.create('acme', 'app', { ...copy, source: 'api', creator: sim.user, commit: 'b'.repeat(40) });
    sim.create('acme', 'other', { ...copy, source: 'api', creator: sim.user });
    sim.create('acme', 'app', {
      ...copy,
      source: 'api',
      creator: sim.user,
      metaData: { ...metaData, whorl_nonce: 'x' },
    });
    const rebuilt = sim.rebuild(ref.id, 'api');
    for (const [key, value] of Object.entries(metaData)) sim.setMetaData(rebuilt.id, key, value);
    expect(ids(await find(provider)(made))).toEqual([ref.id]);
    expect(ids(await find()(made))).toEqual([ref.id]);
  });
});

describe('read', () => {
  const crowd = async (provider = client()) => {
    const built: Built[] = [];
    for (let n = 0; n < 7; n += 1) built.push(await provider.create(request(), never()));
    return built.map(({ ref }) => ref);
  };

  test('asks for many builds by one list, and singly only for a failure and what the list does not know', async () => {
    const provider = client();
    const refs = await crowd(provider);
    sim.advance(refs[0]?.id ?? '', 'running');
    sim.advance(refs[1]?.id ?? '', 'running');
    sim.finish(refs[1]?.id ?? '', 'failed');
    sim.setIndexLag('manual');
    const hidden = (await provider.create(request(), never())).ref;
    const [lists, gets] = [requestsTo('list').length, requestsTo('get').length];
    const seen = await provider.read([...refs, hidden], never());
    expect(requestsTo('list').length - lists).toBe(1);
    expect(requestsTo('get').length - gets).toBe(2);
    expect(ids(seen)).toEqual([...refs, hidden].map(({ id }) => id));
    expect(seen[0]?.seen).toMatchObject({ status: 'running' });
    expect(seen[1]?.seen).toMatchObject({ status: 'failed', exitCode: 1 });
  });

  test('tells a time-out from a failure', async () => {
    const provider = client();
    const { ref } = await provider.create(request(), never());
    sim.advance(ref.id, 'running');
    sim.finish(ref.id, 'failed', { jobs: 'timed_out' });
    expect((await provider.read([ref], never()))[0]?.seen).toMatchObject({ status: 'timeout' });
  });

  test('says that a build is gone when its pipeline is, but not when the token lost the organisation', async () => {
    sim.pipeline('acme/short');
    const provider = client();
    const { ref } = await provider.create(request({ pipeline: 'short' }), never());
    const narrow = sim.addToken({ organizations: ['elsewhere'] });
    await expect(client({ token: () => narrow.token }).read([ref], never())).rejects.toMatchObject({
      failure: 'TargetMissing',
    });
    sim.removePipeline('acme', 'short');
    const [gone] = await provider.read([ref], never());
    expect(gone?.seen).toMatchObject({ status: 'cancelled', at: 0, error: expect.stringContaining('gone') });
    await expect(provider.cancel(ref, never())).resolves.toEqual(ref);
  });

  test('leaves a build out whose state it does not know, and says so', async () => {
    const warned: unknown[] = [];
    const provider = client({ log: { warn: (fields) => warned.push(fields) } });
    const { ref } = await provider.create(request(), never());
    sim.onRequest({ route: 'get' }, answer(200, { body: { id: ref.id, state: 'new' } }));
    expect(await provider.read([ref], never())).toEqual([]);
    expect(warned).toEqual([{ build: ref.id, state: 'new' }]);
  });

  test('reads a blocked build as on_block says', async () => {
    const provider = client();
    for (const [word, status] of [
      ['pending', 'pending'],
      ['success', 'success'],
      ['running', 'running'],
    ] as const) {
      const { ref } = await provider.create(request({ on_block: word }), never());
      sim.advance(ref.id, 'running');
      sim.advance(ref.id, 'blocked');
      expect((await provider.read([ref], never()))[0]?.seen).toMatchObject({ status, at: 0 });
    }
  });
});

describe('retry', () => {
  test('of a cancelled or a passed build is refused with a reason', async () => {
    const provider = client();
    const { ref: cancelled } = await provider.create(request(), never());
    sim.finish(cancelled.id, 'canceled');
    const { ref: passed } = await provider.create(request(), never());
    sim.finish(passed.id, 'passed');
    for (const ref of [cancelled, passed]) {
      await expect(provider.retry(ref, never())).rejects.toMatchObject({
        failure: 'InvalidDefinition',
        message: expect.stringContaining(`#${ref.number}`),
      });
    }
  });

  test('asked twice is success once the build goes on', async () => {
    const provider = client();
    const { ref } = await provider.create(request(), never());
    sim.advance(ref.id, 'running');
    sim.finish(ref.id, 'failed');
    await provider.retry(ref, never());
    await expect(provider.retry(ref, never())).resolves.toEqual(ref);
  });
});

describe('the rate budget', () => {
  test('is asked before every request, by a name that a repeated call has too, and never by the token', async () => {
    const { limiter, asked } = countingLimiter();
    const provider = client({ limiter });
    const made = request();
    const before = sim.requests.length;
    const { ref } = await provider.create(made, never());
    await provider.create({ ...made, nonce: 'another' }, never());
    await provider.read([ref], never());
    await provider.steps(ref, never());
    await provider.cancel(ref, never());
    expect(asked).toHaveLength(sim.requests.length - before);
    expect(asked.map(({ priority }) => priority)).toEqual(['create', 'create', 'read', 'log', 'cancel']);
    expect(asked[0]?.key).toBe(asked[1]?.key);
    expect(new Set(asked.map(({ bucket }) => bucket)).size).toBe(1);
    expect(JSON.stringify(asked)).not.toContain(sim.token);
  });

  test('lets a call wait for a near slot, and come back for a far one', async () => {
    const soon = countingLimiter([() => new Date(Date.now() + 120)]);
    const began = performance.now();
    await client({ limiter: soon.limiter }).create(request(), never());
    expect(performance.now() - began).toBeGreaterThan(100);
    expect(soon.asked).toHaveLength(2);

    const at = new Date(Date.now() + 60_000);
    const before = sim.requests.length;
    const far = client({ limiter: countingLimiter([() => at]).limiter });
    await expect(far.create(request(), never())).rejects.toMatchObject({ failure: 'RateLimited', retryAt: at });
    expect(sim.requests).toHaveLength(before);
  });

  test('can be left while waiting', async () => {
    const { limiter } = countingLimiter([() => new Date(Date.now() + 1400)]);
    const stop = new AbortController();
    const call = client({ limiter }).create(request(), stop.signal);
    stop.abort();
    await expect(call).rejects.toMatchObject({ failure: 'Transient', ambiguous: false });
  });

  test('that fails is Transient', async () => {
    const limiter: Limiter = { ...freeLimiter, reserve: () => Promise.reject(new Error('down')) };
    await expect(client({ limiter }).create(request(), never())).rejects.toMatchObject({ failure: 'Transient' });
  });

  test('is shown as Buildkite last told it', async () => {
    const provider = client();
    expect(provider.limits()).toEqual({ remaining: null, limit: null, resetAt: null });
    sim.setLimits({ organization: 200, user: 50, window: 60_000 });
    await provider.create(request(), never());
    expect(provider.limits()).toMatchObject({ remaining: 49, limit: 50, resetAt: expect.any(Date) });
  });
});

describe('health', () => {
  const health = (token: string) => client({ token: () => token }).health(never());
  test('tells missing scopes, a near end, a wrong token and a silent server', async () => {
    expect(await health(sim.token)).toMatchObject({ ok: true });
    expect(await health(sim.addToken({ scopes: ['read_builds'] }).token)).toMatchObject({
      ok: false,
      detail: expect.stringContaining('write_builds, read_build_logs'),
    });
    const expiring = sim.addToken({ expiresAt: Date.now() + 3 * 24 * 3600_000 });
    expect(await health(expiring.token)).toMatchObject({ ok: true, detail: expect.stringContaining('expires') });
    expect(await health('wrong')).toMatchObject({ ok: false, detail: expect.stringContaining('token') });
    sim.onRequest({ route: 'access_token' }, answer(503));
    expect(await health(sim.token)).toMatchObject({ ok: false, detail: expect.stringContaining('503') });
  });
});

test('an answer without end is not read to its end', async () => {
  let server: Server | undefined;
  try {
    let sent = 0;
    server = createServer((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(1024 * 1024, 'x'))) sent += 1;
      };
      response.on('drain', more).writeHead(200, { 'content-type': 'application/json' });
      more();
    });
    await new Promise<void>((listening) => server?.listen(0, '127.0.0.1', listening));
    const { port } = server.address() as AddressInfo;
    await expect(client({ apiUrl: `http://127.0.0.1:${port}` }).create(request(), never())).rejects.toMatchObject({
      failure: 'Internal',
      ambiguous: true,
    });
    expect(sent).toBeLessThan(100);
  } finally {
    server?.closeAllConnections();
    server?.close();
  }
});
