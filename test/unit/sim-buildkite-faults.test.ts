import { expect, test } from 'vitest';
import { answer, loseAnswer, rateLimited, refuse, slow } from '../../sim/buildkite/index.ts';
import { BUILDS, buildkite, call, create, receiver } from '../support/buildkite.ts';

test('an answer comes after the webhooks of its build when told to', async () => {
  const sim = await buildkite();
  const { url, received } = await receiver();
  sim.webhook({ url, mode: 'token', secret: 'hush', events: ['build.scheduled', 'build.running', 'build.finished'] });
  sim.onRequest({ route: 'create' }, sim.afterWebhooks('build.running', 'build.finished'));
  const answered = create(sim);
  await sim.until(() => sim.builds()[0], 'the build');
  sim.advance(1);
  sim.advance(1);
  expect((await answered).status).toBe(201);
  expect(received.at(-1)?.body).toMatchObject({ event: 'build.finished', build: { state: 'passed' } });
});

test('a held answer has done its work, a held request has not', async () => {
  const sim = await buildkite();
  const first = sim.hold({ route: 'create' });
  const one = create(sim);
  expect((await first.arrived).build?.number).toBe(1);
  expect(sim.requests[0]?.status).toBeNull();
  first.release();
  expect((await one).status).toBe(201);
  const second = sim.hold({ route: 'create' }, 'arrival');
  const two = create(sim);
  expect((await second.arrived).build).toBeNull();
  expect(sim.builds()).toHaveLength(1);
  second.release();
  expect((await two).body.number).toBe(2);
});

test('an answer is lost after or before the work, replaced, or slow', async () => {
  const sim = await buildkite();
  sim.onRequest({ route: 'create', pipeline: 'acme/app' }, loseAnswer());
  await expect(create(sim)).rejects.toThrow('fetch failed');
  expect(sim.builds()).toHaveLength(1);
  expect(sim.requests[0]).toMatchObject({ lost: true, status: null, build: { number: 1 }, fault: 'answer lost' });
  sim.onRequest({ route: 'create' }, refuse());
  await expect(create(sim)).rejects.toThrow('fetch failed');
  sim.onRequest({ route: 'create' }, answer(500));
  expect(await create(sim)).toMatchObject({ status: 500, body: { message: 'Internal Server Error' } });
  expect(sim.builds()).toHaveLength(1);
  sim.onRequest({ route: 'create' }, [slow(20), answer(500, { accepted: true })]);
  expect((await create(sim)).status).toBe(500);
  expect(sim.builds()).toHaveLength(2);
  const always = sim.onRequest({ path: /builds/ }, rateLimited(42), 'always');
  const limited = await create(sim);
  expect(limited).toMatchObject({ status: 429, body: { reset: 42, scope: 'rest_user' } });
  expect(limited.headers.get('ratelimit-user-reset')).toBe('42');
  always.remove();
  sim.onRequest({ where: (request) => request.method === 'GET' }, answer(401));
  expect((await call(sim, 'GET', BUILDS)).status).toBe(401);
  expect((await call(sim, 'GET', BUILDS)).body).toHaveLength(2);
});

test('on its own clock a build runs through its script, chosen by a rule', async () => {
  const sim = await buildkite({ clock: 'auto', pace: 5 });
  sim.script((build) =>
    build.branch === 'bad'
      ? ['creating', 'scheduled', 'running', { to: 'failing', jobs: 'failed' }, 'failed']
      : undefined,
  );
  await create(sim);
  const { body } = await create(sim, { branch: 'bad' });
  expect(body.state).toBe('creating');
  await sim.until(() => sim.build(1).state === 'passed' && sim.build(2).state === 'failed', 'both ends');
  expect(sim.build(2).history.map((entry) => entry.state)).toEqual([
    'creating',
    'scheduled',
    'running',
    'failing',
    'failed',
  ]);
  sim.retryJob(2);
  await sim.until(() => sim.build(2).state === 'passed', 'the retried build');
  expect(sim.build(2).failingAt).not.toBeNull();
});

test('a person sees the builds at the root and a build where its web_url points', async () => {
  const sim = await buildkite();
  const { body } = await create(sim, { message: '<script>', meta_data: { 'tack:knot': 'k' } });
  const html = await fetch(sim.url, { headers: { accept: 'text/html' } });
  expect(await html.text()).toContain('/acme/app/builds/1');
  const page = await (await fetch(body.web_url)).text();
  expect(page).toContain('tack:knot');
  expect(page).not.toContain('<script>');
  await fetch(`${body.web_url}/pass`, { method: 'POST', redirect: 'manual' });
  expect(sim.build(1).state).toBe('passed');
});
