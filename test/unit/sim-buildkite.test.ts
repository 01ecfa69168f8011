import { describe, expect, test } from 'vitest';
import { BUILDS, SHA, buildkite as start, call, create } from '../support/buildkite.ts';

describe('creating a build', () => {
  test('a create is answered 201 with the whole build, as the token user made it', async () => {
    const sim = await start();
    const { status, body, headers } = await create(sim, {
      message: 'hi',
      env: { A: '1' },
      meta_data: { 'tack:knot': 'k', b: true },
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      number: 1,
      state: 'scheduled',
      blocked: false,
      source: 'api',
      commit: SHA,
      branch: 'main',
      message: 'hi',
      env: { A: '1' },
      meta_data: { 'tack:knot': 'k', b: 'true' },
      creator: { id: sim.user.id },
      started_at: null,
      finished_at: null,
      rebuilt_from: null,
      url: `${sim.apiUrl}${BUILDS}/1`,
      web_url: `${sim.url}/acme/app/builds/1`,
      pipeline: { slug: 'app' },
      jobs: [{ type: 'script', state: 'scheduled', exit_status: null }],
    });
    expect(body.created_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(headers.get('ratelimit-user-limit')).toBe('50');
    expect(headers.get('ratelimit-limit')).toBe('200');
    expect(sim.requests).toMatchObject([{ method: 'POST', route: 'create', status: 201, build: { number: 1 } }]);
  });

  test('what is missing, unknown or not allowed is refused in the words of Buildkite', async () => {
    const sim = await start({ pipelines: ['acme/app', { org: 'acme', slug: 'off', branchesDisabled: true }] });
    expect(await create(sim, { commit: undefined })).toMatchObject({
      status: 422,
      body: { message: 'Validation Failed', errors: [{ field: 'commit' }] },
    });
    expect((await call(sim, 'POST', BUILDS, '{"commit":')).status).toBe(400);
    const none = await create(sim, {}, '/organizations/acme/pipelines/none/builds');
    expect(none).toMatchObject({ status: 404, body: { message: 'No pipeline found' } });
    const foreign = await create(sim, {}, '/organizations/other/pipelines/app/builds');
    expect(foreign).toMatchObject({ status: 404, body: { message: 'No organization found' } });
    const off = '/organizations/acme/pipelines/off/builds';
    expect((await create(sim, {}, off)).body.message).toBe('Branches have been disabled for this pipeline');
    expect((await create(sim, { ignore_pipeline_branch_filters: true }, off)).status).toBe(201);
    const reader = sim.addToken({ scopes: ['read_builds'] });
    const forbidden = await call(
      sim,
      'POST',
      BUILDS,
      { commit: SHA, branch: 'x' },
      { authorization: `Bearer ${reader.token}` },
    );
    expect(forbidden).toMatchObject({
      status: 403,
      body: { message: "Your access token doesn't have the write_builds scope" },
    });
    sim.revokeToken(sim.token);
    expect((await create(sim)).status).toBe(401);
    expect(sim.builds()).toHaveLength(1);
  });

  test('unknown pipelines are made when the simulator is told to make them', async () => {
    const sim = await start({ autoPipelines: true });
    expect((await create(sim, {}, '/organizations/o/pipelines/p/builds')).status).toBe(201);
  });
});

describe('reading builds', () => {
  test('a list is filtered by meta_data, commit, branch, state and time, newest first, in pages', async () => {
    let now = Date.parse('2026-11-20T10:00:00.000Z');
    const sim = await start({ now: () => now, pipelines: ['acme/app', 'acme/two'] });
    for (const key of ['a', 'b', 'c']) {
      await create(sim, { meta_data: { 'tack:run': key }, branch: `feature/${key}`, commit: key.repeat(40) });
      now += 60_000;
    }
    await create(sim, { meta_data: { 'tack:run': 'a' } }, '/organizations/acme/pipelines/two/builds');
    const numbers = async (query: string, path = BUILDS) =>
      (await call(sim, 'GET', `${path}?${query}`)).list.map((build) => `${build.pipeline.slug}${build.number}`);
    expect(await numbers('')).toEqual(['app3', 'app2', 'app1']);
    expect(await numbers('meta_data%5Btack%3Arun%5D=a')).toEqual(['app1']);
    expect(await numbers('meta_data%5Btack%3Arun%5D=a', '/organizations/acme/builds')).toEqual(['two1', 'app1']);
    expect(await numbers('meta_data[tack:run]=a', '/builds')).toEqual(['two1', 'app1']);
    expect(await numbers(`commit=${'b'.repeat(40)}`)).toEqual(['app2']);
    expect(await numbers(`commit[]=${'b'.repeat(40)}&commit[]=${'c'.repeat(40)}`)).toEqual(['app3', 'app2']);
    expect(await numbers('branch=feature/*')).toHaveLength(3);
    expect(await numbers('created_from=2026-11-20T10:00:30Z&created_to=2026-11-20T10:01:30Z')).toEqual(['app2']);
    expect(await numbers(`creator=${sim.person.id}`)).toEqual([]);
    sim.finish({ org: 'acme', pipeline: 'app', number: 2 }, 'skipped');
    sim.finish({ org: 'acme', pipeline: 'app', number: 3 }, 'passed');
    expect(await numbers('state=finished')).toEqual(['app3']);
    expect(await numbers('state[]=skipped&state[]=scheduled')).toEqual(['app2', 'app1']);
    const page = await call(sim, 'GET', `${BUILDS}?per_page=2&exclude_jobs=true&exclude_pipeline=true`);
    expect(page.list[0]).not.toHaveProperty('jobs');
    expect(page.list[0]).not.toHaveProperty('pipeline');
    const next = /<([^>]+)>; rel="next"/.exec(page.headers.get('link') ?? '')?.[1] ?? '';
    expect((await call(sim, 'GET', next)).list.map((build) => build.number)).toEqual([1]);
  });

  test('a list whose index lags does not show a build that can be read by its number', async () => {
    const sim = await start({ indexLag: 'manual' });
    await create(sim);
    expect((await call(sim, 'GET', BUILDS)).body).toEqual([]);
    expect((await call(sim, 'GET', `${BUILDS}/1`)).body.number).toBe(1);
    sim.reindex();
    expect((await call(sim, 'GET', BUILDS)).body).toHaveLength(1);
  });

  test('a read without jobs still counts their states', async () => {
    const sim = await start();
    sim.script(() => ({ jobs: [{ name: 'a' }, { name: 'b' }], steps: [] }));
    await create(sim);
    sim.moveJob(1, 'a', 'running');
    const { body } = await call(sim, 'GET', `${BUILDS}/1?exclude_jobs=true`);
    expect(body).toMatchObject({
      state: 'running',
      job_state_counts: { total: 2, states: { running: 1, scheduled: 1 } },
    });
    expect(body).not.toHaveProperty('jobs');
    expect((await call(sim, 'GET', `${BUILDS}/2`)).body.message).toBe('No build found');
  });
});

describe('cancel, rebuild, retry', () => {
  test('a cancel passes through canceling, and a second one is refused', async () => {
    const sim = await start();
    await create(sim);
    sim.advance(1);
    expect((await call(sim, 'PUT', `${BUILDS}/1/cancel`)).body).toMatchObject({
      state: 'canceling',
      jobs: [{ state: 'canceling' }],
    });
    expect((await call(sim, 'PUT', `${BUILDS}/1/cancel`)).body.message).toContain('already being canceled');
    sim.advance(1);
    expect(sim.build(1)).toMatchObject({ state: 'canceled', jobs: [{ state: 'canceled' }] });
    expect(await call(sim, 'PUT', `${BUILDS}/1/cancel`)).toMatchObject({
      status: 422,
      body: { message: expect.stringContaining('already been canceled') },
    });
    await create(sim);
    sim.finish(2, 'passed');
    expect(await call(sim, 'PUT', `${BUILDS}/2/cancel`)).toMatchObject({
      status: 422,
      body: { message: expect.stringContaining('already finished') },
    });
  });

  test('a rebuild copies env and not meta_data, and says what it was rebuilt from', async () => {
    const sim = await start();
    await create(sim, { env: { TACK_KNOT: 'k' }, meta_data: { 'tack:knot': 'k' } });
    sim.finish(1, 'failed');
    const { status, body } = await call(sim, 'PUT', `${BUILDS}/1/rebuild`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      number: 2,
      source: 'api',
      env: { TACK_KNOT: 'k' },
      meta_data: {},
      rebuilt_from: { number: 1 },
    });
    expect(sim.rebuild(1)).toMatchObject({ number: 3, source: 'ui', creator: sim.person });
  });

  test('a retried job is a new job, and the failed build runs again', async () => {
    const sim = await start();
    await create(sim);
    sim.finish(1, 'failed');
    const failed = sim.build(1).jobs[0];
    const retried = await call(sim, 'PUT', `${BUILDS}/1/jobs/${failed?.id}/retry`);
    expect(retried).toMatchObject({ status: 200, body: { state: 'scheduled', retries_count: 1 } });
    expect(await call(sim, 'GET', `${BUILDS}/1`)).toMatchObject({ body: { state: 'running', finished_at: null } });
    expect((await call(sim, 'GET', `${BUILDS}/1`)).body.jobs).toHaveLength(1);
    expect((await call(sim, 'GET', `${BUILDS}/1/jobs`)).body.items).toMatchObject([
      { retried: true, retried_in_job_id: retried.body.id, state: 'failed', exit_status: 1 },
      { retried: false, retry_source: { retry_type: 'manual', job_id: failed?.id } },
    ]);
    expect((await call(sim, 'PUT', `${BUILDS}/1/jobs/${failed?.id}/retry`)).status).toBe(422);
    sim.finish(1, 'passed');
    expect(sim.build(1).history.map((entry) => entry.state)).toEqual([
      'creating',
      'scheduled',
      'failed',
      'running',
      'passed',
    ]);
  });

  test('jobs that timed out, expired or failed softly show as such', async () => {
    const sim = await start();
    sim.script(() => ({ jobs: [{ name: 'a' }, { name: 'b' }], steps: ['running'] }));
    await create(sim);
    sim.advance(1);
    sim.finish(1, 'failed', { jobs: 'timed_out' });
    await create(sim);
    sim.finish(2, 'failed', { jobs: 'expired' });
    await create(sim);
    sim.finish(3, 'passed', { jobs: { b: { state: 'failed', softFailed: true, exitStatus: 3 } } });
    const jobs = async (number: number) => (await call(sim, 'GET', `${BUILDS}/${number}`)).body.jobs;
    expect(await jobs(1)).toMatchObject([{ state: 'timed_out' }, { state: 'timed_out' }]);
    expect(await jobs(2)).toMatchObject([{ state: 'expired', expired_at: expect.any(String) }, { state: 'expired' }]);
    expect(await jobs(3)).toMatchObject([{ state: 'passed' }, { state: 'failed', soft_failed: true, exit_status: 3 }]);
  });
});
