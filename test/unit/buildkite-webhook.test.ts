import { createHash, createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { signature, startBuildkite } from '../../sim/buildkite/index.ts';
import { buildkiteWebhook, type WebhookMode } from '../../src/providers/buildkite/webhook.ts';

const now = Date.UTC(2026, 10, 20, 10, 0, 0);
const url = 'https://api.buildkite.com/v2/organizations/acme/pipelines/app/builds/12';

const build = {
  id: '0193-build',
  url,
  web_url: 'https://buildkite.com/acme/app/builds/12',
  number: 12,
  state: 'passed',
  blocked: false,
  created_at: '2026-11-20 09:58:00 UTC',
  finished_at: '2026-11-20 09:59:30 UTC',
  meta_data: { 'tack:knot': 'knot.example:5555', 'tack:pipeline_rkey': '3m6', 'tack:workflow': 'ci.yml' },
};

const bytes = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

const sign = (secret: string, body: Buffer, seconds: number): string =>
  `timestamp=${seconds},signature=${createHmac('sha256', secret).update(`${seconds}.`).update(body).digest('hex')}`;

function parse(payload: unknown, headers: Record<string, string | string[]> = {}, mode: WebhookMode = 'token') {
  const read = buildkiteWebhook({ mode, secrets: () => ['old-secret', 'new-secret'] });
  return read({ 'x-buildkite-token': 'new-secret', ...headers }, bytes(payload), now);
}

function deliveryOf(result: ReturnType<typeof parse>) {
  if (result.kind !== 'delivery') throw new Error(`expected a delivery, got ${JSON.stringify(result)}`);
  return result.delivery;
}

describe('the token', () => {
  const status = (token: string | string[] | undefined, secrets: string[]) => {
    const result = buildkiteWebhook({ mode: 'token', secrets: () => secrets })(
      { 'x-buildkite-token': token },
      bytes({ event: 'ping' }),
      now,
    );
    return result.kind === 'refused' ? result.status : result.kind;
  };
  test.each([
    ['may be either secret', 'one', ['one', 'two'], 'ignored'],
    ['may be either secret', 'two', ['one', 'two'], 'ignored'],
    ['may not be another', 'three', ['one', 'two'], 401],
    ['may not be empty', '', [''], 401],
    ['may not be a part', 'on', ['one'], 401],
    ['may not be missing', undefined, ['one'], 401],
    ['may not come twice', ['one', 'one'], ['one'], 401],
    ['is wrong when there is no secret', 'one', [], 401],
  ])('%s: %j of %j', (_name, token, secrets, expected) => {
    expect(status(token, secrets)).toBe(expected);
  });
});

describe('the signature', () => {
  // A ping as Buildkite sent it, with other names: the known answer that its Go client is tested with.
  const org = 'https://api.buildkite.com/v2/organizations/acme-inc';
  const known = bytes({
    event: 'ping',
    service: {
      id: 'c9f8372d-c0cd-43dc-9274-768a875cf6ca',
      provider: 'webhook',
      settings: { url: 'https://server.com/webhooks' },
    },
    organization: {
      id: '49801950-1df0-474f-bb56-ad6a930c5cb9',
      graphql_id: 'T3JnYW5pemF0aW9uLS0tZTBmMzk3MgsTksGkxOWYtZTZjNzczZTJiYjEy',
      url: org,
      web_url: 'https://buildkite.com/acme-inc',
      name: 'ACME Inc',
      slug: 'acme-inc',
      agents_url: `${org}/agents`,
      emojis_url: `${org}/emojis`,
      created_at: '2021-02-03T20:34:10.486Z',
      pipelines_url: `${org}/pipelines`,
    },
    sender: { id: 'c9f8372d-c0cd-43dc-9269-bcbb7f308e3f', name: 'ACME Man' },
  });
  const key = '29b1ff5779c76bd48ba6705eb99ff970';
  const header = 'timestamp=1642080837,signature=582d496ac2d869dd97a3101c4cda346288c49a742592daf582ec64c86449f79c';
  const check = (value: string | undefined, body: Buffer, at: number, secrets = [key]) => {
    const headers = { 'x-buildkite-signature': value, 'x-buildkite-token': key };
    const result = buildkiteWebhook({ mode: 'signature', secrets: () => secrets })(headers, body, at);
    return result.kind === 'refused' ? result.status : result.kind;
  };
  const then = 1642080837_000;

  test('agrees with a known answer', () => {
    expect(known).toHaveLength(756);
    expect(createHash('sha256').update(known).digest('hex')).toBe(
      'd8f13f8dbfc7275a51a616942a049e2977a3cdb2dba08af516a0e50f3a19ab82',
    );
    expect(check(header, known, then)).toBe('ignored');
    expect(check(header.replace(',', ' , '), known, then)).toBe('ignored');
    expect(check(header, known, then, ['another', key])).toBe('ignored');
  });

  test('is wrong for another body, key, time or form', () => {
    expect(check(header, Buffer.concat([known, Buffer.from(' ')]), then)).toBe(401);
    expect(check(header, known, then, ['another'])).toBe(401);
    expect(check(header.replace('1642080837', '1642080838'), known, then)).toBe(401);
    expect(check(header.replace('582d', '582e'), known, then)).toBe(401);
    expect(check(header.slice(0, -2), known, then)).toBe(401);
    expect(check(header.replace('signature=', 'sig='), known, then)).toBe(401);
    expect(check('nonsense', known, then)).toBe(401);
    expect(check(undefined, known, then)).toBe(401);
    expect(check(header, known, then, [])).toBe(401);
  });

  test('holds for five minutes, both ways', () => {
    expect(check(header, known, then + 300_000)).toBe('ignored');
    expect(check(header, known, then - 300_000)).toBe('ignored');
    expect(check(header, known, then + 300_001)).toBe(401);
    expect(check(header, known, then - 300_001)).toBe(401);
  });

  test('may be made with either secret', () => {
    const body = bytes({ event: 'build.finished', build });
    for (const secret of ['old-secret', 'new-secret']) {
      const headers = { 'x-buildkite-signature': sign(secret, body, now / 1000) };
      expect(parse(body.toString(), headers, 'signature').kind).toBe('delivery');
    }
  });

  test('is what the simulator writes', () => {
    expect(signature(key, 1642080837, known.toString())).toBe(header);
  });
});

describe('the answer', () => {
  test('to wrong credentials gives no detail, whatever the body is', () => {
    for (const body of ['not json', { event: 'build.finished', build }]) {
      expect(parse(body, { 'x-buildkite-token': 'x' })).toEqual({
        kind: 'refused',
        status: 401,
        reason: 'unauthorized',
      });
    }
  });

  test.each(['', '{', '[]', '"x"', 'null', '7', '\ufeff{'])('to the body %j is 400', (body) => {
    expect(parse(body)).toMatchObject({ kind: 'refused', status: 400 });
  });

  test('to bytes that are no UTF-8 is 400', () => {
    const read = buildkiteWebhook({ mode: 'token', secrets: () => ['s'] });
    expect(read({ 'x-buildkite-token': 's' }, Buffer.from([0x7b, 0xff, 0x7d]), now)).toMatchObject({ status: 400 });
  });

  test.each([
    ['a ping', { event: 'ping' }],
    ['an agent', { event: 'agent.connected', agent: {} }],
    ['a cluster token', { event: 'cluster_token.registration_blocked' }],
    ['an event of tomorrow', { event: 'pipeline.created', build }],
    ['an event without a name', { build }],
    ['a build event without a build', { event: 'build.finished' }],
    ['a build without an id', { event: 'build.finished', build: { ...build, id: undefined } }],
    ['a build without an address', { event: 'build.finished', build: { ...build, url: undefined } }],
    [
      'a build that would climb out of its path',
      { event: 'build.finished', build: { ...build, url: url.replace('app', '..') } },
    ],
    ['a state of tomorrow', { event: 'build.finished', build: { ...build, state: 'new' } }],
  ])('to %s is to ignore it', (_name, payload) => {
    expect(parse(payload).kind).toBe('ignored');
  });
});

describe('a delivery', () => {
  test('is cut down to what is needed', () => {
    const secrets = { env: { TOKEN: 'hush' }, provider: { webhook_url: 'hush' }, slug: 'app' };
    const result = parse({ event: 'build.finished', build: { ...build, env: { A: 'hush' } }, pipeline: secrets });
    expect(JSON.stringify(result)).not.toContain('hush');
    const { key, ...delivery } = deliveryOf(result);
    expect(key).toMatch(/^\/build\.finished\/[0-9a-f]{64}$/);
    expect(delivery).toEqual({
      event: 'build.finished',
      build: '0193-build',
      ref: {
        id: '0193-build',
        number: 12,
        url: 'https://buildkite.com/acme/app/builds/12',
        data: { org: 'acme', pipeline: 'app', created: Date.UTC(2026, 10, 20, 9, 58, 0) },
      },
      address: { knot: 'knot.example:5555', rkey: '3m6', job: 'ci.yml' },
      seen: { build: '0193-build', status: 'success', at: Date.UTC(2026, 10, 20, 9, 59, 30) },
    });
  });

  test('is the same with and without an organization', () => {
    const payload = { event: 'build.finished', build };
    const place = deliveryOf(parse({ ...payload, organization: { slug: 'acme' }, pipeline: { slug: 'app' } })).ref;
    expect(place).toEqual(deliveryOf(parse(payload)).ref);
  });

  test('has a key of its request, event and body', () => {
    const payload = { event: 'build.finished', build };
    const key = (value: unknown, request?: string) =>
      deliveryOf(parse(value, request === undefined ? {} : { 'x-buildkite-request': request })).key;
    expect(key(payload, 'r1')).toBe(key(payload, 'r1'));
    const keys = [
      key(payload),
      key(payload, 'r1'),
      key(payload, 'r2'),
      key({ ...payload, event: 'build.running' }, 'r1'),
    ];
    expect(new Set(keys).size).toBe(keys.length);
  });

  test.each([
    ['a key missing', { 'tack:knot': 'k', 'tack:workflow': 'w' }],
    ['an empty key', { ...build.meta_data, 'tack:knot': '' }],
    ['a key that is no text', { ...build.meta_data, 'tack:workflow': true }],
    ['a key that no database keeps', { ...build.meta_data, 'tack:workflow': 'a\0' }],
    ['no meta_data', undefined],
    ['meta_data null', null],
  ])('has no address with %s', (_name, meta) => {
    const delivery = deliveryOf(parse({ event: 'build.running', build: { ...build, meta_data: meta } }));
    expect(delivery.address).toBeUndefined();
  });

  test('carries what the build was rebuilt from', () => {
    const rebuilt = { ...build, rebuilt_from: { id: 'first', number: 11, url } };
    expect(deliveryOf(parse({ event: 'build.running', build: rebuilt })).rebuiltFrom).toBe('first');
  });

  test('of a blocked build that has finished is not an end', () => {
    const { seen } = deliveryOf(parse({ event: 'build.finished', build: { ...build, blocked: true } }));
    expect(seen).toMatchObject({ status: 'running', at: 0 });
  });

  test('of a failed build is unsure', () => {
    const { seen } = deliveryOf(parse({ event: 'build.finished', build: { ...build, state: 'failed' } }));
    expect(seen).toMatchObject({ status: 'failed', unsure: true });
  });

  test('about a job tells of its build, by the state and not by the name of the event', () => {
    const payload = {
      event: 'job.finished',
      build: { ...build, state: 'running', finished_at: null },
      job: { id: 'j', state: 'failed' },
    };
    expect(deliveryOf(parse(payload)).seen).toEqual({
      build: '0193-build',
      status: 'running',
      at: 0,
      step: { name: 'job', state: 'ended' },
    });
  });

  describe('about a job', () => {
    const started = '2026-11-20 09:58:10 UTC';
    const job = { id: 'j', type: 'script', name: ':hammer: Build', state: 'running', started_at: started };
    const scheduled = { ...build, state: 'scheduled', finished_at: null };
    const about = (event: string, of: object, more: object = scheduled) =>
      deliveryOf(parse({ event, build: more, job: { ...job, ...of } })).seen;

    test.each([
      ['job.started', {}, 'running', { name: ':hammer: Build', state: 'running' }],
      [
        'job.started',
        { retry_source: { job_id: 'i' } },
        'running',
        { name: ':hammer: Build (retry 1)', state: 'running' },
      ],
      ['job.finished', { state: 'passed' }, 'running', { name: ':hammer: Build', state: 'ended' }],
      ['job.finished', { state: 'canceled', started_at: null }, 'pending', { name: ':hammer: Build', state: 'ended' }],
      ['job.scheduled', { state: 'scheduled', started_at: null }, 'pending', undefined],
      ['job.activated', { type: 'manual', state: 'unblocked' }, 'pending', { name: ':hammer: Build', state: 'ended' }],
      ['build.scheduled', {}, 'pending', undefined],
    ])('%s of %j shows its build as %s', (event, of, status, step) => {
      expect(about(event, of)).toEqual({ build: '0193-build', status, at: 0, ...(step ? { step } : {}) });
    });

    test('no job of a build that has ended, or waits for a person, opens it', () => {
      expect(about('job.started', {}, build)).toMatchObject({ status: 'success' });
      const waiting = { ...build, blocked: true, meta_data: { whorl_on_block: 'pending' } };
      expect(about('job.started', {}, waiting)).toMatchObject({ status: 'pending' });
    });

    test('a job that is garbage is left out', () => {
      for (const of of [{ id: '' }, { id: 7 }]) {
        expect(about('job.started', of)).toEqual({ build: '0193-build', status: 'pending', at: 0 });
      }
      const { seen } = deliveryOf(parse({ event: 'job.started', build: scheduled, job: 'x' }));
      expect(seen).toEqual({ build: '0193-build', status: 'pending', at: 0 });
      expect(about('job.started', { name: 'a\u001b[2Jb\n\u001b[31mc' }).step?.name).toBe('ab c');
    });
  });

  test('of another organisation is not refused here: what is not bound does not count', () => {
    const foreign = { ...build, url: url.replace('acme', 'other') };
    expect(deliveryOf(parse({ event: 'build.running', build: foreign })).ref.data).toMatchObject({ org: 'other' });
  });
});

test.each(['token', 'signature'] as const)('what the simulator sends in %s mode is read', async (mode) => {
  const sim = await startBuildkite();
  try {
    // Nobody listens there: what would be sent is in the log of deliveries all the same.
    sim.webhook({ url: 'http://127.0.0.1:1/', secret: 'secret', mode });
    const { id } = sim.create('acme', 'app', { commit: 'a'.repeat(40), branch: 'main' });
    sim.advance(id, 'running');
    sim.finish(id, 'passed');
    const last = await sim.until(
      () => sim.deliveries.find((one) => one.event === 'build.finished' && one.sentAt !== null),
      'the webhook of the end',
    );
    const read = buildkiteWebhook({ mode, secrets: () => ['secret'] });
    const headers = Object.fromEntries(
      Object.entries(last.headers).map(([name, value]) => [name.toLowerCase(), value]),
    );
    const result = read(headers, Buffer.from(last.body), Date.now());
    expect(result).toMatchObject({
      kind: 'delivery',
      delivery: { build: id, ref: { data: { org: 'acme', pipeline: 'app' } }, seen: { status: 'success' } },
    });
  } finally {
    await sim.close();
  }
});
