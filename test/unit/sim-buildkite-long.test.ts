import { expect, test } from 'vitest';
import { late } from '../../sim/buildkite/index.ts';
import { BUILDS, buildkite, call, create, receiver } from '../support/buildkite.ts';

test('what was delivered and answered keeps no body when the simulator runs for long', async () => {
  const sim = await buildkite({ keepBodies: false });
  const { url, received } = await receiver();
  sim.webhook({ url, mode: 'token', secret: 'hush', events: ['build.scheduled', 'build.finished'] });
  await create(sim, { env: { A: 'long' }, meta_data: { key: 'value' } });
  await call(sim, 'PUT', `${BUILDS}/1/retry_failed_jobs`, { states: 'failed' });
  sim.finish(1, 'passed');
  await sim.until(() => sim.deliveries.length === 2 && sim.pending().webhooks === 0, 'both webhooks');
  expect(received.map(({ body }) => body.event)).toEqual(['build.scheduled', 'build.finished']);
  expect(sim.deliveries.map(({ body, headers, status }) => ({ body, headers, status }))).toEqual([
    { body: '', headers: {}, status: 200 },
    { body: '', headers: {}, status: 200 },
  ]);
  await sim.until(() => sim.requests.every(({ status }) => status !== null), 'the requests');
  expect(sim.requests.map(({ body }) => body)).toEqual([{ meta_data: { key: 'value' } }, null]);
});

test('a log can be written when it is asked for, and nothing else writes one', async () => {
  const sim = await buildkite({ log: (build, job) => Buffer.from(`#${build.number} ${job.key} ${job.state}\n`) });
  await create(sim);
  sim.finish(1, 'passed');
  const id = sim.build(1).jobs[0]?.id ?? '';
  expect((await call(sim, 'GET', `${BUILDS}/1/jobs/${id}/log.txt`)).text).toBe('#1 build passed\n');
  expect(sim.log(1, 'build').toString()).toBe('#1 build passed\n');
});

test('what moves by itself and what is on its way is counted until it is done', async () => {
  const sim = await buildkite({ clock: 'auto', pace: 20 });
  const { url } = await receiver();
  sim.webhook({ url, mode: 'token', secret: 'hush', events: ['build.finished'] });
  const rule = sim.onWebhook(
    {},
    late(() => 100),
  );
  expect(sim.pending()).toEqual({ builds: 0, webhooks: 0 });
  await create(sim);
  expect(sim.pending()).toEqual({ builds: 1, webhooks: 0 });
  await sim.until(() => sim.build(1).state === 'passed', 'the end');
  await sim.until(() => sim.pending().builds === 0, 'the end of its script');
  expect(sim.pending().webhooks).toBe(1);
  expect(rule.hits).toBe(1);
  await sim.until(() => sim.pending().webhooks === 0, 'the webhook');
  expect(sim.deliveries).toMatchObject([{ outcome: 'answered', fault: 'late' }]);
});

test('a secret that is replaced signs what is sent from then on', async () => {
  const sim = await buildkite();
  const { url, received } = await receiver();
  let secret = 'before';
  sim.webhook({ url, mode: 'token', secret: () => secret, events: ['build.scheduled', 'build.running'] });
  await create(sim);
  await sim.until(() => sim.deliveries[0]?.status, 'the first webhook');
  secret = 'after';
  sim.advance(1);
  await sim.until(() => sim.deliveries[1]?.status, 'the second webhook');
  expect(received.map(({ headers }) => headers['x-buildkite-token'])).toEqual(['before', 'after']);
});

test('builds and jobs are found by what they have now', async () => {
  const sim = await buildkite({ pipelines: ['acme/app', 'acme/lint'] });
  for (let n = 1; n <= 4; n++) await create(sim, { meta_data: { same: 'yes', own: `${n}` } });
  const found = async (query: string) =>
    (await call(sim, 'GET', `${BUILDS}?${query}`)).list.map(({ number }) => number);
  expect(await found('meta_data[same]=yes')).toEqual([4, 3, 2, 1]);
  expect(await found('meta_data[same]=yes&meta_data[own]=2')).toEqual([2]);
  expect(await found('meta_data[same]=no')).toEqual([]);
  expect(await found(`commit=${'a'.repeat(40)}&meta_data[own]=3`)).toEqual([3]);
  sim.setMetaData(3, 'own', '2');
  sim.setMetaData(1, 'late', 'x');
  expect(await found('meta_data[own]=2')).toEqual([3, 2]);
  expect(await found('meta_data[own]=3')).toEqual([]);
  expect(await found('meta_data[late]=x')).toEqual([1]);

  sim.finish(1, 'failed');
  const retried = sim.retryJob(1);
  const job = await call(sim, 'GET', `/organizations/acme/jobs/${retried.id}`);
  expect(job.body).toMatchObject({ id: retried.id, state: 'scheduled' });
});

test('a pipeline counts the builds and jobs that go on', async () => {
  const sim = await buildkite();
  const counts = async () => {
    const { body } = await call(sim, 'GET', '/organizations/acme/pipelines/app');
    return Object.fromEntries(Object.entries(body).filter(([name]) => name.endsWith('_count')));
  };
  for (let n = 0; n < 4; n++) await create(sim);
  sim.advance(1);
  sim.finish(2, 'passed');
  sim.advance(3);
  sim.advance(3, 'blocked');
  expect(await counts()).toEqual({
    scheduled_builds_count: 1,
    running_builds_count: 1,
    scheduled_jobs_count: 1,
    running_jobs_count: 1,
    waiting_jobs_count: 0,
  });
  sim.finish(1, 'failed');
  sim.retryJob(1);
  sim.unblock(3);
  expect(await counts()).toMatchObject({ running_builds_count: 2, scheduled_jobs_count: 2, running_jobs_count: 0 });
});
