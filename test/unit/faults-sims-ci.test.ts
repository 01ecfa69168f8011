import { expect, test } from 'vitest';
import type { CiControl, CiFault, Remote } from '../../faults/contract.ts';
import { simulator, webhookEnd } from '../support/faults-sims.ts';
import { until } from '../support/until.ts';

const secret = 'the-webhook-secret';
const token = 'the-token-of-our-user';
const planted = 'a-planted-secret-value';
const over = ['passed', 'failed', 'canceled', 'skipped', 'not_run'];

async function ci(paceMs = 30) {
  const ask = simulator<CiControl>('ci');
  const { port } = await ask.start({
    seed: 1,
    paceMs,
    token,
    webhookSecret: secret,
    oldWebhookSecret: 'the-secret-before',
    pipelines: ['acme/app', 'acme/lint'],
    secrets: [planted, token],
    hidden: [],
  });
  const hooks = await webhookEnd(secret);
  await ask.webhooksTo(hooks.url);
  const base = `http://127.0.0.1:${port}/v2/organizations/acme/pipelines`;
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(base + path, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, text, body: JSON.parse(text) as { id: string; number: number }[] };
  };
  const create = (n = 0, pipeline = 'app') =>
    call('POST', `/${pipeline}/builds`, {
      commit: `${n}`.padStart(40, '0'),
      branch: 'main',
      env: { TOKEN: planted },
      meta_data: { 'tack:workflow': 'ci.yml', 'tack:knot': 'knot.example', 'tack:pipeline_rkey': `r${n}` },
    });
  const quiet = () =>
    until('the CI is quiet', async () => {
      const { builds, webhooks } = await ask.busy();
      return builds + webhooks === 0;
    });
  return { ask, hooks, call, create, quiet };
}

/** Does it with a fault on all of it, and says how often that acted. */
async function during(ask: Remote<CiControl>, fault: CiFault, act: () => Promise<unknown>): Promise<number> {
  const number = await ask.on(fault);
  await act();
  return ask.off(number);
}

test('each build ends by itself, and its webhooks say so with a right signature', async () => {
  const { ask, hooks, create, quiet } = await ci();
  for (let n = 0; n < 60; n++) await create(n, n % 2 ? 'app' : 'lint');
  expect((await ask.busy()).builds).toBeGreaterThan(0);
  await quiet();
  const { builds, requests, deliveries, user } = await ask.truth();
  expect(builds).toHaveLength(60);
  expect(builds.filter(({ state }) => !over.includes(state))).toEqual([]);
  expect(builds.filter(({ state }) => state === 'passed').length).toBeGreaterThan(30);
  expect(new Set(builds.map(({ creator }) => creator?.id))).toEqual(new Set([user]));
  expect(hooks.arrived.filter(({ status }) => status !== 200)).toEqual([]);
  expect(deliveries.filter(({ outcome, forged }) => outcome !== 'answered' || forged)).toEqual([]);
  const told = builds.filter(({ state }) => state !== 'not_run');
  for (const { id, state } of told) expect(hooks.arrived.findLast(({ build }) => build === id)?.state).toBe(state);
  expect(requests[0]).toMatchObject({ route: 'create', status: 201, build: { number: 1 } });
  expect(requests[0]?.body).toEqual({
    meta_data: { 'tack:workflow': 'ci.yml', 'tack:knot': 'knot.example', 'tack:pipeline_rkey': 'r0' },
  });
});

test('secrets are in the logs and in the webhooks, and not in what is told of the truth', async () => {
  const { ask, hooks, call, create, quiet } = await ci();
  await create();
  await quiet();
  const truth = await ask.truth();
  const job = truth.builds[0]?.jobs.find(({ startedAt }) => startedAt !== null);
  const log = await call('GET', `/app/builds/1/jobs/${job?.id}/log`);
  expect(log.text).toContain(planted);
  expect(log.text).toContain(token);
  expect(hooks.arrived[0]?.body).toContain(planted);
  expect(JSON.stringify(truth)).not.toContain(planted);
  expect(JSON.stringify(truth)).not.toContain(token);
});

test('an answer is lost, or says 500, when the work is done', async () => {
  const { ask, create } = await ci();
  expect(
    await during(ask, { kind: 'answer-lost', share: 1 }, () => expect(create(1)).rejects.toThrow('fetch failed')),
  ).toBe(1);
  expect(
    await during(ask, { kind: 'accepted-500', share: 1 }, async () => expect((await create(2)).status).toBe(500)),
  ).toBe(1);
  expect((await create(3)).status).toBe(201);
  const { builds, requests } = await ask.truth();
  expect(builds).toHaveLength(3);
  expect(requests.map(({ lost, status }) => [lost, status])).toEqual([
    [true, null],
    [false, 500],
    [false, 201],
  ]);
});

test('a storm answers before anything is done', async () => {
  const { ask, call, create } = await ci();
  const statuses = new Set<number>();
  const storm = async () => {
    for (let n = 0; n < 20; n++) statuses.add((await create(n)).status);
  };
  expect(await during(ask, { kind: 'storm-5xx', share: 1 }, storm)).toBe(20);
  expect(statuses).toEqual(new Set([500, 502, 503]));
  await during(ask, { kind: 'storm-429', resetS: 2, share: 1 }, async () => {
    expect((await call('GET', '/app/builds')).status).toBe(429);
  });
  expect((await ask.truth()).builds).toEqual([]);
});

test('a share of the requests is chosen by the seed', async () => {
  const chosen = async () => {
    const { ask, call } = await ci();
    const statuses: number[] = [];
    const hits = await during(ask, { kind: 'storm-429', resetS: 1, share: 0.3 }, async () => {
      for (let n = 0; n < 40; n++) statuses.push((await call('GET', '/app/builds')).status);
    });
    expect(hits).toBe(statuses.filter((status) => status === 429).length);
    return statuses;
  };
  const first = await chosen();
  expect(await chosen()).toEqual(first);
  expect(new Set(first)).toEqual(new Set([200, 429]));
});

test('the lists know a build late', async () => {
  const { ask, call, create } = await ci();
  const filter = '/app/builds?meta_data[tack:pipeline_rkey]=r7';
  const hits = await during(ask, { kind: 'index-lag', ms: 3_000 }, async () => {
    await create(7);
    expect((await call('GET', filter)).body).toEqual([]);
  });
  expect(hits).toBe(1);
  await until('the list knows it', async () => (await call('GET', filter)).body.length === 1);
});

test('webhooks are lost, doubled, overtaken, and late', async () => {
  const { ask, hooks, create, quiet } = await ci();
  const meanwhile = async (fault: CiFault) => {
    hooks.arrived.length = 0;
    const hits = await during(ask, fault, async () => {
      for (let n = 0; n < 5; n++) await create(n);
      await until('all events', async () => (await ask.busy()).builds === 0);
    });
    await quiet();
    return { hits, arrived: hooks.arrived.map(({ build, event, requestId }) => ({ build, event, requestId })) };
  };
  const lost = await meanwhile({ kind: 'webhooks-lost', share: 1 });
  expect(lost.arrived).toEqual([]);
  expect(lost.hits).toBeGreaterThan(5);
  const doubled = await meanwhile({ kind: 'webhooks-doubled', share: 1 });
  expect(doubled.arrived).toHaveLength(doubled.hits * 2);
  expect(new Set(doubled.arrived.map(({ requestId }) => requestId)).size).toBe(doubled.hits);
  const reordered = await meanwhile({ kind: 'webhooks-reordered', share: 0.5 });
  const { deliveries } = await ask.truth();
  expect(reordered.hits).toBeGreaterThan(0);
  const late = deliveries.filter(({ sentAt, at }) => (sentAt ?? 0) - at > 30);
  expect(late.length).toBeGreaterThan(0);
  const before = deliveries.length;
  await during(ask, { kind: 'webhooks-late', ms: 500, share: 1 }, async () => {
    await create();
    await until('all events', async () => (await ask.busy()).builds === 0);
  });
  // Nothing is quiet before they were sent.
  await quiet();
  const after = (await ask.truth()).deliveries.slice(before);
  expect(after.length).toBeGreaterThan(0);
  for (const { sentAt, at, outcome } of after) {
    expect(outcome).toBe('answered');
    expect((sentAt ?? 0) - at).toBeGreaterThanOrEqual(490);
  }
});

test('the answer to a create comes after the first webhooks of the build', async () => {
  const { ask, hooks, create } = await ci();
  const hits = await during(ask, { kind: 'webhooks-early', share: 1 }, async () => {
    for (let n = 0; n < 8; n++) {
      const { body } = await create(n);
      const [id] = [body].flat().map((build) => build.id);
      expect(hooks.arrived.filter(({ build }) => build === id).length).toBeGreaterThan(0);
    }
  });
  expect(hits).toBe(8);
});

test('webhooks are signed with the secret that was replaced', async () => {
  const { ask, hooks, create, quiet } = await ci();
  const hits = await during(ask, { kind: 'webhooks-old-secret' }, async () => {
    await create();
    await quiet();
  });
  expect(hits).toBe(hooks.arrived.length);
  expect(new Set(hooks.arrived.map(({ status }) => status))).toEqual(new Set([401]));
  await create();
  await quiet();
  expect(hooks.arrived.at(-1)?.status).toBe(200);
});

test('a forged webhook is recorded as that, and only a genuine one of another build is believed to be the CI’s', async () => {
  const { ask, hooks, create, quiet } = await ci();
  await create(1);
  await quiet();
  const answers: Record<string, number> = {};
  for (let n = 0; n < 7; n++) {
    const { what, status } = await ask.forge((n + 0.5) / 7);
    answers[what] = status;
  }
  await quiet();
  expect(answers).toEqual({
    'no signature': 401,
    'a wrong signature': 401,
    'a signature of ten minutes ago': 401,
    'signed with a wrong secret': 401,
    "another person's build with our meta_data": 200,
    'an oversized body': 413,
    garbage: 400,
  });
  const { user, builds, deliveries } = await ask.truth();
  const [ours, theirs] = builds;
  expect(builds).toHaveLength(2);
  expect(theirs?.pipeline).toBe('elsewhere');
  expect(theirs?.creator?.id).not.toBe(user);
  expect(theirs?.metaData).toEqual(ours?.metaData);
  const forged = deliveries.filter((delivery) => delivery.forged);
  expect(new Set(forged.map(({ fault }) => fault).filter(Boolean))).toEqual(new Set(Object.keys(answers)));
  // That build is really there, so the CI tells of it too.
  expect(forged.filter(({ build }) => build?.id === theirs?.id).length).toBeGreaterThan(1);
  expect(deliveries.filter((one) => !one.forged).every(({ build }) => build?.id === ours?.id)).toBe(true);
  expect(hooks.arrived).toHaveLength(deliveries.length);
});

test('people rebuild, cancel and retry what can be', async () => {
  const { ask, create, quiet } = await ci(200);
  expect(await ask.person('rebuild', 0.5)).toBeUndefined();
  expect(await ask.person('cancel', 0.5)).toBeUndefined();
  let made = 0;
  for (; made < 40; made++) await create(made);
  const cancelled = await until('one that has not ended', async () => {
    made++;
    await create(made);
    return ask.person('cancel', 0.2);
  });
  expect(cancelled).toMatch(/^cancels build acme\/app #\d+ /);
  await quiet();
  expect(await ask.person('rebuild', 0.9)).toMatch(new RegExp(`^rebuilds build acme/app #\\d+ .* as #${made + 1}$`));
  const retried = await ask.person('retry-job', 0.3);
  expect(retried).toMatch(/^retries job \w+ of build acme\/app #\d+ /);
  await quiet();
  const { builds, user } = await ask.truth();
  expect(builds).toHaveLength(made + 1);
  expect(builds.at(-1)?.rebuiltFrom).not.toBeNull();
  expect(builds.at(-1)?.creator?.id).not.toBe(user);
  expect(builds.filter(({ jobs }) => jobs.some(({ retriedInJobId }) => retriedInJobId !== null))).toHaveLength(1);
  expect(builds.filter(({ state }) => !over.includes(state))).toEqual([]);
  expect(builds.filter(({ cancelReason }) => cancelReason !== null)).toHaveLength(1);
});
