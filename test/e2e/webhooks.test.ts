import { randomUUID } from 'node:crypto';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { signature } from '../../sim/buildkite/index.ts';
import { httpApp } from '../../src/health/http.ts';
import { type WebhookDeps, webhookRoutes } from '../../src/ingest/webhooks.ts';
import { runKey } from '../../src/pipeline/ids.ts';
import { shareOf, shareOfPipeline } from '../../src/pipeline/share.ts';
import { webhooks } from '../../src/providers/webhooks.ts';
import { buildServer } from '../../src/server/app.ts';
import { openDatabase, type Sql } from '../../src/store/db.ts';
import { listen } from '../../src/store/listen.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { addPipeline } from '../support/outbox.ts';
import { until } from '../support/until.ts';

const secret = 'the-token-of-the-notification-service';
const keys = { 'tack:knot': 'knot.example', 'tack:pipeline_rkey': 'p1', 'tack:workflow': 'ci.yml' };

let database: FreshDatabase;
let sql: Sql;
let apps: FastifyInstance[] = [];
let logged: { level: number; msg: string }[] = [];
const log = pino(
  { level: 'debug' },
  { write: (line: string) => void logged.push(JSON.parse(line) as { level: number; msg: string }) },
);

beforeAll(async () => {
  database = await freshDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());
beforeEach(async () => {
  await sql`truncate deliveries, quarantine`;
});
afterEach(async () => {
  await Promise.all(apps.map((app) => app.close()));
  [apps, logged] = [[], []];
});

const parsers = (mode: 'token' | 'signature' = 'token') =>
  webhooks({ buildkite: { mode, secrets: () => ['the-old-token', secret] } });

async function serve(deps: Partial<WebhookDeps> = {}): Promise<string> {
  const app = httpApp(log);
  apps.push(app);
  webhookRoutes(app, { sql, parsers: parsers(), log, ...deps });
  await app.listen({ host: '127.0.0.1', port: 0 });
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/webhooks/buildkite`;
}

interface Hook {
  event?: string;
  build?: string;
  meta?: Record<string, string>;
  rebuiltFrom?: string;
  more?: object;
}

const hook = ({ event = 'build.running', build = randomUUID(), meta = keys, rebuiltFrom, more }: Hook = {}): string =>
  JSON.stringify({
    event,
    build: {
      id: build,
      url: 'https://api.buildkite.com/v2/organizations/acme/pipelines/app/builds/7',
      web_url: 'https://buildkite.com/acme/app/builds/7',
      number: 7,
      state: 'running',
      env: { SECRET: 'not to be stored' },
      meta_data: meta,
      ...(rebuiltFrom === undefined ? {} : { rebuilt_from: { id: rebuiltFrom, number: 6, url: 'x' } }),
    },
    pipeline: { slug: 'app', env: { SECRET: 'not to be stored' } },
    ...more,
  });

const post = (url: string, body: string, headers: Record<string, string> = {}) =>
  fetch(url, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', 'x-buildkite-token': secret, ...headers },
  });

const stored = () => sql`select * from deliveries order by id`;
const lines = (level: 'debug' | 'warn') =>
  logged.filter((line) => line.level === log.levels.values[level]).map((line) => line.msg);

test('a webhook is committed before it is answered, with picked fields only, and dispatch is told', async () => {
  const url = await serve();
  const shares: string[] = [];
  let listening = false;
  const listener = listen(sql, ['inbox'], (channel, payload) => {
    listening = true;
    if (channel) shares.push(payload);
  });
  await until('the listener', () => listening);
  const build = randomUUID();
  const answer = await post(url, hook({ build, rebuiltFrom: 'b0' }), { 'x-buildkite-request': 'r1' });
  expect([answer.status, await answer.text()]).toEqual([200, '']);
  const [row, ...none] = await stored();
  expect(none).toEqual([]);
  expect(row).toMatchObject({ provider: 'buildkite', event: 'build.running', build, rebuilt_from: 'b0', state: 'new' });
  expect(row).toMatchObject({
    knot: 'knot.example',
    rkey: 'p1',
    job: 'ci.yml',
    share: shareOfPipeline('knot.example', 'p1'),
  });
  expect(row?.['ref']).toMatchObject({ id: build, number: 7, data: { org: 'acme', pipeline: 'app' } });
  expect(row?.['seen']).toMatchObject({ build, status: 'running' });
  expect(row?.['key']).toMatch(/^r1\/build\.running\/[0-9a-f]{64}$/);
  expect(JSON.stringify(row, (_key, value) => (typeof value === 'bigint' ? String(value) : value))).not.toContain(
    'SECRET',
  );
  await until('the notice', () => shares.length > 0);
  expect(shares).toEqual([`${shareOfPipeline('knot.example', 'p1')} deliveries`]);
  await listener.close();
});

test('a webhook that comes twice, also at once, is stored once, and one with another request id again', async () => {
  const url = await serve();
  const body = hook();
  const repeat = () => post(url, body, { 'x-buildkite-request': 'same' });
  const answers = await Promise.all([repeat(), repeat(), repeat()]);
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200]);
  expect((await repeat()).status).toBe(200);
  expect(await stored()).toHaveLength(1);
  expect((await post(url, body, { 'x-buildkite-request': 'other' })).status).toBe(200);
  expect(await stored()).toHaveLength(2);
});

test('wrong or missing credentials are 401 without a word, in both modes', async () => {
  const token = await serve();
  const signed = await serve({ parsers: parsers('signature') });
  const body = hook();
  const now = Math.floor(Date.now() / 1000);
  const tampered = { 'x-buildkite-signature': signature(secret, now, hook()) };
  const attempts = [
    post(token, body, { 'x-buildkite-token': 'wrong' }),
    post(token, body, { 'x-buildkite-token': '' }),
    fetch(token, { method: 'POST', body }),
    fetch(token, { method: 'POST' }),
    post(token, 'not JSON', { 'x-buildkite-token': 'wrong' }),
    post(signed, body),
    post(signed, body, tampered),
    post(signed, body, { 'x-buildkite-signature': signature('wrong', now, body) }),
    post(signed, body, { 'x-buildkite-signature': `timestamp=${now}` }),
  ];
  for (const answer of await Promise.all(attempts)) {
    expect([answer.status, await answer.text()]).toEqual([401, '']);
  }
  expect(await stored()).toEqual([]);
});

test('a signature counts for five minutes, and either of two secrets will do', async () => {
  const url = await serve({ parsers: parsers('signature') });
  const at = (seconds: number, key = secret) => {
    const body = hook();
    return post(url, body, { 'x-buildkite-signature': signature(key, Math.floor(Date.now() / 1000) + seconds, body) });
  };
  for (const seconds of [-360, 360]) expect((await at(seconds)).status).toBe(401);
  expect(await stored()).toEqual([]);
  for (const seconds of [-240, 0, 240]) expect((await at(seconds)).status).toBe(200);
  expect((await at(0, 'the-old-token')).status).toBe(200);
  expect(await stored()).toHaveLength(4);
});

test('a recorded request that is replayed with its signature changes nothing', async () => {
  const url = await serve({ parsers: parsers('signature') });
  const body = hook();
  const headers = {
    'x-buildkite-signature': signature(secret, Math.floor(Date.now() / 1000), body),
    'x-buildkite-request': 'r1',
  };
  for (let i = 0; i < 3; i++) expect((await post(url, body, headers)).status).toBe(200);
  expect(await stored()).toHaveLength(1);
});

test('the body is read as it is, whatever its type says', async () => {
  const url = await serve();
  const types = ['text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=latin1'];
  for (const type of types) expect((await post(url, hook(), { 'content-type': type })).status).toBe(200);
  expect(await stored()).toHaveLength(3);
});

test('a body above 1 MiB is 413, one just below is taken', async () => {
  const url = await serve();
  const filler = (size: number) => hook({ more: { filler: 'x'.repeat(size) } });
  expect((await post(url, filler(1024 * 1024))).status).toBe(413);
  const chunked = new Blob([filler(1024 * 1024)]).stream();
  const streamed = await fetch(url, {
    method: 'POST',
    body: chunked,
    duplex: 'half',
    headers: { 'x-buildkite-token': secret },
  });
  expect(streamed.status).toBe(413);
  expect(await stored()).toEqual([]);
  expect((await post(url, filler(1024 * 1024 - 2_000))).status).toBe(200);
  expect(await stored()).toHaveLength(1);
});

test('malformed JSON is 400', async () => {
  const url = await serve();
  for (const body of ['{', '', '[]', '"text"', 'null', '\u0000']) expect((await post(url, body)).status).toBe(400);
  expect(await stored()).toEqual([]);
});

test('unknown events are 200 and a debug line', async () => {
  const url = await serve();
  const ping = JSON.stringify({ event: 'ping', service: { id: 'x' }, organization: { slug: 'acme' } });
  expect((await post(url, ping)).status).toBe(200);
  expect((await post(url, JSON.stringify({ event: 'agent.lost', agent: {} }))).status).toBe(200);
  expect(await stored()).toEqual([]);
  expect(lines('debug').filter((line) => line.startsWith('webhook ignored'))).toHaveLength(2);
});

test('with an incomplete set of keys, or none, a build that is not ours is foreign: 200 and a debug line', async () => {
  const url = await serve();
  const { 'tack:workflow': _, ...incomplete } = keys;
  for (const meta of [{}, incomplete, { ...keys, 'tack:workflow': '' }, { 'tack:knot': 'knot.example' }]) {
    expect((await post(url, hook({ meta, rebuiltFrom: 'none-of-ours' }))).status).toBe(200);
  }
  expect(await stored()).toEqual([]);
  expect(lines('debug').filter((line) => line.includes('none of ours'))).toHaveLength(4);
});

test('without keys, a build of ours and a rebuild of one of ours are stored', async () => {
  const url = await serve();
  const pipeline = await addPipeline(sql, 'knot.example', 'p1', ['ci.yml']);
  await sql`insert into attempts (pipeline, job, attempt, run_key) values (${pipeline}, 'ci.yml', 1, ${runKey(pipeline, 'ci.yml', 1)})
    on conflict do nothing`;
  const ours = randomUUID();
  await sql`insert into builds (pipeline, job, attempt, provider, nonce, outcome, build)
    values (${pipeline}, 'ci.yml', 1, 'buildkite', 'n1', 'accepted', ${ours})`;
  const rebuild = randomUUID();
  expect((await post(url, hook({ build: ours, meta: {} }))).status).toBe(200);
  expect((await post(url, hook({ build: rebuild, meta: {}, rebuiltFrom: ours }))).status).toBe(200);
  expect((await stored()).map((row) => [row['build'], row['rebuilt_from'], row['share'], row['knot']])).toEqual([
    [ours, null, shareOf(ours), null],
    [rebuild, ours, shareOf(rebuild), null],
  ]);
});

test('what PostgreSQL cannot hold goes to quarantine or is mended, and is answered 200', async () => {
  const url = await serve({
    parsers: {
      buildkite: () => ({
        kind: 'delivery',
        delivery: {
          key: 'k',
          event: 'build.running',
          build: 'a\0b',
          ref: { id: 'a', number: null, url: null, data: null },
          address: { knot: 'k', rkey: 'r', job: 'j' },
          seen: { build: 'a', status: 'running', at: 0 },
        },
      }),
    },
  });
  expect((await post(url, '{}')).status).toBe(200);
  expect(await stored()).toEqual([]);
  const [row] = await sql`select source, bytes from quarantine`;
  expect(row?.['source']).toBe('webhook/buildkite');
  expect(JSON.parse(String(row?.['bytes']))).toMatchObject({ build: 'a\0b' });
});

test('an unknown provider, and another method, are 404', async () => {
  const url = await serve();
  for (const name of ['other', '__proto__', 'constructor']) {
    expect((await post(url.replace('buildkite', name), hook())).status).toBe(404);
  }
  expect((await fetch(url)).status).toBe(404);
});

test('one port can have the public face and the webhooks', async () => {
  const app = buildServer({ sql, log, hostname: 'spindle.example', owner: 'did:web:owner.example', dev: true });
  apps.push(app);
  webhookRoutes(app, { sql, parsers: parsers(), log });
  await app.ready();
  const answer = await app.inject({
    method: 'POST',
    url: '/webhooks/buildkite',
    payload: hook(),
    headers: { 'x-buildkite-token': secret },
  });
  expect(answer.statusCode).toBe(200);
  expect((await app.inject('/')).body).toContain('spindle.example');
  expect(await stored()).toHaveLength(1);
});

/** Something that stands where the database was. */
async function standIn(
  onSocket: (socket: Socket) => void,
): Promise<{ server: Server; url: string; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = new URL(database.url);
  url.port = String((server.address() as AddressInfo).port);
  return { server, url: url.href, sockets };
}

test.for([
  { how: 'refuses connections', onSocket: (socket: Socket) => void socket.destroy() },
  { how: 'takes connections and says nothing', onSocket: () => {} },
])('a database that $how means 503 within the deadline, and nothing is lost for the next try', async ({ onSocket }) => {
  const { server, url: away, sockets } = await standIn(onSocket);
  const gone = openDatabase(away, { max: 2 });
  const url = await serve({ sql: gone, deadlineMs: 300, waiting: 3 });
  const began = performance.now();
  const answers = await Promise.all(Array.from({ length: 6 }, () => post(url, hook())));
  expect(answers.map((answer) => answer.status)).toEqual([503, 503, 503, 503, 503, 503]);
  expect(answers.every((answer) => answer.headers.get('retry-after') === '5')).toBe(true);
  expect(performance.now() - began).toBeLessThan(3_000);
  expect(lines('warn').length).toBe(6);
  expect((await post(url, hook(), { 'x-buildkite-token': 'wrong' })).status).toBe(401);

  const there = await serve();
  expect((await post(there, hook())).status).toBe(200);
  expect(await stored()).toHaveLength(1);
  for (const socket of sockets) socket.destroy();
  server.close();
  await gone.end({ timeout: 0 });
});

test('the window of a signature is judged by the time of the database, since the clock of a process may be wrong', async () => {
  const url = await serve({ parsers: parsers('signature') });
  const body = JSON.stringify({ event: 'ping' });
  const send = (at: number) =>
    fetch(url, {
      method: 'POST',
      headers: { 'x-buildkite-event': 'ping', 'x-buildkite-signature': signature(secret, Math.floor(at / 1000), body) },
      body,
    });
  const real = Date.now();
  vi.useFakeTimers({ toFake: ['Date'], now: real - 600_000 });
  try {
    expect((await send(real)).status).toBe(200);
    expect((await send(real - 600_000)).status).toBe(401);
  } finally {
    vi.useRealTimers();
  }
});
