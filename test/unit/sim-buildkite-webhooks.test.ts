import { createHmac } from 'node:crypto';
import { expect, test } from 'vitest';
import { after, double, late, lose, reverse, signature } from '../../sim/buildkite/index.ts';
import type { BuildEvent, BuildkiteSim, WebhookSettings } from '../../sim/buildkite/index.ts';
import { BUILDS, buildkite, call, create, receiver } from '../support/buildkite.ts';
import type { Received } from '../support/buildkite.ts';

const ENDS: readonly BuildEvent[] = ['build.scheduled', 'build.running', 'build.finished'];

async function hooked(
  settings: Partial<WebhookSettings> = {},
  status: (got: Received) => number | Promise<number> = () => 200,
) {
  const sim = await buildkite();
  const target = await receiver(status);
  sim.webhook({ url: target.url, mode: 'token', secret: 'hush', events: ENDS, ...settings });
  return { sim, received: target.received };
}

const done = (sim: BuildkiteSim, count: number) =>
  sim.until(
    () => sim.deliveries.filter((one) => one.outcome !== 'waiting' && one.outcome !== 'sending').length >= count,
    `${count} deliveries`,
  );
const events = (received: readonly Received[]): unknown[] => received.map((one) => one.body.event);

test('a signature is an HMAC over timestamp, point and raw body', async () => {
  // Computed with another program: printf '<timestamp>.<body>' | openssl dgst -sha256 -hmac a-secret
  expect(signature('a-secret', 1_700_000_000, '{"event":"ping","hello":"wörld"}')).toBe(
    'timestamp=1700000000,signature=202954c510336735dfe4deb954cadedfafb9a7f853dbdc24f9671e98838041ba',
  );
  const { sim, received } = await hooked({ mode: 'signature' });
  await create(sim, { message: 'grüße' });
  await done(sim, 1);
  const header = String(received[0]?.headers['x-buildkite-signature']);
  const [, time, hex] = /^timestamp=(\d+),signature=([0-9a-f]{64})$/.exec(header) ?? [];
  expect(hex).toBe(createHmac('sha256', 'hush').update(`${time}.${received[0]?.raw}`).digest('hex'));
  expect(received[0]?.headers).not.toHaveProperty('x-buildkite-token');
});

test('a payload has the recorded shape: no organization, no jobs, times in whole seconds', async () => {
  const { sim, received } = await hooked();
  await create(sim, { meta_data: { 'tack:knot': 'k' } });
  sim.advance(1);
  sim.advance(1);
  await done(sim, 3);
  expect(events(received)).toEqual(ENDS);
  const { headers, body } = received[2] ?? expect.fail('no third webhook');
  expect(Object.keys(body).toSorted()).toEqual(['build', 'event', 'pipeline', 'sender']);
  expect(body.build).toMatchObject({
    number: 1,
    state: 'passed',
    blocked: false,
    meta_data: { 'tack:knot': 'k' },
    pull_request: null,
  });
  expect(body.build).not.toHaveProperty('jobs');
  expect(body.build).not.toHaveProperty('pipeline');
  expect(body.build.finished_at).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
  expect(body.build.url).toMatch(/\/v2\/organizations\/acme\/pipelines\/app\/builds\/1$/);
  expect(body.pipeline).toMatchObject({ slug: 'app', provider: { webhook_url: expect.stringContaining('secret') } });
  expect(headers).toMatchObject({
    'x-buildkite-event': 'build.finished',
    'x-buildkite-token': 'hush',
    'user-agent': 'Buildkite-Request',
  });
  expect(headers['x-buildkite-request']).toMatch(/^[0-9a-f-]{36}$/);
  expect(sim.deliveries[2]).toMatchObject({ outcome: 'answered', status: 200, build: { number: 1 } });
});

test('job events carry their job, and organization is sent when asked for', async () => {
  const { sim, received } = await hooked({ events: ['job.started', 'job.finished'], organization: true });
  await create(sim);
  sim.advance(1);
  sim.finish(1, 'failed');
  await done(sim, 2);
  expect(events(received)).toEqual(['job.started', 'job.finished']);
  expect(received[1]?.body).toMatchObject({
    organization: { slug: 'acme' },
    job: { state: 'failed', exit_status: 1 },
    build: { number: 1 },
  });
});

test('a blocked build is said to be finished, and goes on when it is unblocked', async () => {
  const { sim, received } = await hooked({ events: [...ENDS, 'job.activated'] });
  await create(sim);
  sim.advance(1, 'blocked');
  expect((await call(sim, 'GET', `${BUILDS}/1`)).body).toMatchObject({
    state: 'passed',
    blocked: true,
    blocked_state: 'passed',
    started_at: null,
  });
  sim.unblock(1);
  sim.finish(1, 'passed');
  await done(sim, 5);
  expect(events(received)).toEqual([
    'build.scheduled',
    'build.finished',
    'job.activated',
    'build.running',
    'build.finished',
  ]);
  expect(received.map((one) => one.body.build.blocked)).toEqual([false, true, false, false, false]);
});

test('a skipped build has its own event, and one that was not run has none', async () => {
  const { sim, received } = await hooked({ events: [...ENDS, 'build.skipped', 'job.finished'] });
  await create(sim);
  await create(sim);
  sim.finish(1, 'not_run');
  sim.finish(2, 'skipped');
  await done(sim, 3);
  expect(new Set(events(received))).toEqual(new Set(['build.scheduled', 'build.skipped']));
});

test('a webhook that is answered too late or badly is recorded and not sent again', async () => {
  const stuck = Promise.withResolvers<number>();
  const { sim, received } = await hooked({ timeout: 1500 }, (got) =>
    got.body.event === 'build.scheduled' ? stuck.promise : 503,
  );
  await create(sim);
  sim.advance(1);
  await done(sim, 2);
  stuck.resolve(200);
  expect(sim.deliveries).toMatchObject([
    { outcome: 'failed', status: null, error: expect.stringContaining('Timed out') },
    { outcome: 'answered', status: 503 },
  ]);
  expect(received).toHaveLength(2);
});

test('webhooks are lost, doubled, late, reordered or held as the rules say', async () => {
  const { sim, received } = await hooked();
  const run = async (): Promise<unknown[]> => {
    const from = received.length;
    const sent = sim.deliveries.length;
    const { body } = await create(sim);
    sim.advance(body.id);
    sim.advance(body.id);
    await done(sim, sent + 3);
    return events(received.slice(from));
  };
  const [scheduled, running, finished] = ENDS;
  const losing = sim.onWebhook({ event: 'build.running' }, lose());
  expect(await run()).toEqual([scheduled, finished]);
  expect(losing.hits).toBe(1);
  sim.onWebhook({}, lose(), 3);
  expect(await run()).toEqual([]);
  sim.onWebhook({ event: 'build.scheduled' }, after('build.finished'));
  expect(await run()).toEqual([running, finished, scheduled]);
  sim.onWebhook({}, reverse(3), 3);
  expect(await run()).toEqual([finished, running, scheduled]);
  sim.onWebhook({ event: 'build.finished' }, double());
  const before = sim.deliveries.length;
  await run();
  await done(sim, before + 4);
  expect(events(received.slice(-2))).toEqual([finished, finished]);
  expect(received.at(-1)?.headers['x-buildkite-request']).toBe(received.at(-2)?.headers['x-buildkite-request']);
  sim.onWebhook({ event: 'build.scheduled' }, late(50));
  expect(await run()).toEqual([running, finished, scheduled]);
  const held = sim.holdWebhook({ event: 'build.scheduled' });
  const { body } = await create(sim);
  expect((await held.arrived).build?.id).toBe(body.id);
  const count = received.length;
  held.release();
  await sim.until(() => received.length > count, 'the held webhook');
});

test('a body rendered at dispatch may show a later state than its event says', async () => {
  const { sim, received } = await hooked({ render: 'dispatch' });
  const held = sim.holdWebhook({ event: 'build.scheduled' });
  await create(sim);
  sim.finish(1, 'passed');
  held.release();
  await done(sim, 2);
  expect(received[0]?.body).toMatchObject({ event: 'build.scheduled', build: { state: 'passed' } });
});
