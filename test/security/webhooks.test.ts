import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { signature } from '../../sim/buildkite/index.ts';
import { httpApp, type HttpOptions } from '../../src/health/http.ts';
import { webhookRoutes } from '../../src/ingest/webhooks.ts';
import { webhooks } from '../../src/providers/webhooks.ts';
import type { Sql } from '../../src/store/db.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { raw } from '../support/raw.ts';
import { until } from '../support/until.ts';

const secret = 'the-token-of-the-notification-service';
const limit = 1024 * 1024;
let database: FreshDatabase;
let sql: Sql;
let apps: FastifyInstance[] = [];
let logged: string[] = [];
const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(line) });

beforeAll(async () => {
  database = await freshDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());
beforeEach(async () => void (await sql`truncate deliveries, quarantine`));
afterEach(async () => {
  await Promise.all(apps.map((app) => app.close()));
  [apps, logged] = [[], []];
});

async function serve(mode: 'token' | 'signature' = 'signature', options: HttpOptions = {}): Promise<string> {
  const app = httpApp(log, options);
  apps.push(app);
  webhookRoutes(app, { sql, parsers: webhooks({ buildkite: { mode, secrets: () => [secret] } }), log });
  await app.listen({ host: '127.0.0.1', port: 0 });
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

const hook = (more: object = {}, build: object = {}): string =>
  JSON.stringify({
    event: 'build.running',
    build: {
      id: randomUUID(),
      url: 'https://api.buildkite.com/v2/organizations/acme/pipelines/app/builds/7',
      number: 7,
      state: 'running',
      meta_data: { 'tack:knot': 'knot.example', 'tack:pipeline_rkey': 'p1', 'tack:workflow': 'ci.yml' },
      ...build,
    },
    ...more,
  });

const seconds = (): number => Math.floor(Date.now() / 1000);
const post = (base: string, body: string | Buffer, headers: Record<string, string> = {}) =>
  fetch(`${base}/webhooks/buildkite`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', 'x-buildkite-token': secret, ...headers },
  });
const signed = (base: string, body: string, headers: Record<string, string> = {}, at = seconds()) =>
  post(base, body, { 'x-buildkite-signature': signature(secret, at, body), ...headers });
const rows = async (): Promise<number> => (await sql`select from deliveries`).length;

/** The head of a request as it is written, token and all. */
const head = (...lines: string[]): string =>
  ['POST /webhooks/buildkite HTTP/1.1', 'Host: x', `X-Buildkite-Token: ${secret}`, ...lines, '', ''].join('\r\n');

describe('a webhook that comes again', () => {
  test('byte for byte is one row', async () => {
    const base = await serve();
    const body = hook();
    const headers = { 'x-buildkite-signature': signature(secret, seconds(), body), 'x-buildkite-request': 'r1' };
    const answers = await Promise.all(Array.from({ length: 10 }, () => post(base, body, headers)));
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 10 }, () => 200));
    expect(await rows()).toBe(1);
  });

  test('with the same body, signed afresh, is one row', async () => {
    const base = await serve();
    const body = hook();
    for (const at of [-200, -100, 0, 100]) {
      expect((await signed(base, body, { 'x-buildkite-request': 'r1' }, seconds() + at)).status).toBe(200);
    }
    expect(await rows()).toBe(1);
  });

  test('with another body under the old signature is refused', async () => {
    const base = await serve();
    const body = hook();
    const headers = { 'x-buildkite-signature': signature(secret, seconds(), body) };
    expect((await post(base, body.replace('running', 'passed'), headers)).status).toBe(401);
    expect((await post(base, `${body} `, headers)).status).toBe(401);
    expect(await rows()).toBe(0);
  });

  test.each([-86_400, -301, 301, 86_400, -2_000_000_000, 10_000_000_000])(
    'of %i s from now is refused',
    async (off) => {
      const base = await serve();
      expect((await signed(base, hook(), {}, Math.max(0, seconds() + off))).status).toBe(401);
      expect(await rows()).toBe(0);
    },
  );
});

describe('a body that is too large', () => {
  test('by its own word is refused before it is sent', async () => {
    const base = await serve('token');
    const { status, closed } = await raw(base, head('Content-Type: application/json', `Content-Length: ${limit + 1}`));
    expect(await status()).toBe(413);
    expect(await closed).toMatch(/^HTTP\/1\.1 413 /);
  });

  test.each(['9'.repeat(15), '9'.repeat(30), '-1', '1e3', '0x10', '1, 1', '+1'])(
    'or that says a length of %s, is refused',
    async (length) => {
      const base = await serve('token');
      const { status } = await raw(base, `${head('Content-Type: application/json', `Content-Length: ${length}`)}{}`);
      expect(await status()).toBeGreaterThanOrEqual(400);
      expect(await rows()).toBe(0);
    },
  );

  test('in chunks is refused as soon as it is, and no more of it is read', async () => {
    const base = await serve('token');
    const { socket, closed } = await raw(base, head('Content-Type: application/json', 'Transfer-Encoding: chunked'));
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    let sent = 0;
    while (!socket.closed && sent < 1_000) {
      sent++;
      const taken = socket.write(chunk);
      if (!taken) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed]);
    }
    expect(await closed).toMatch(/^HTTP\/1\.1 413 /);
    // what the system's buffers hold, and a little
    expect(sent).toBeLessThan(500);
    expect(await rows()).toBe(0);
  });
});

describe('a length that lies', () => {
  test('being too short leaves a body that is none, and what follows is no request', async () => {
    const base = await serve('token');
    const body = hook();
    const { closed } = await raw(base, `${head('Content-Type: application/json', 'Content-Length: 20')}${body}`);
    const answers = (await closed).match(/^HTTP\/1\.1 \d+/gm) ?? [];
    expect(new Set(answers)).toEqual(new Set(['HTTP/1.1 400']));
    expect(await rows()).toBe(0);
  });

  test('hides no second webhook: what follows has to prove itself', async () => {
    const base = await serve('token');
    const body = hook();
    const second = `POST /webhooks/buildkite HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    const { said, socket } = await raw(
      base,
      `${head('Content-Type: application/json', 'Content-Length: 2')}{}${second}`,
    );
    await until('two answers', () => said().match(/^HTTP\/1\.1 \d+/gm)?.length === 2);
    expect(said().match(/^HTTP\/1\.1 \d+/gm)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 401']);
    socket.destroy();
    expect(await rows()).toBe(0);
  });

  test('being too long is ended when the rest does not come', async () => {
    const base = await serve('token', { headMs: 300, requestMs: 400 });
    const body = hook();
    const { closed } = await raw(
      base,
      `${head('Content-Type: application/json', `Content-Length: ${body.length + 1}`)}${body}`,
    );
    expect(await closed).toMatch(/^HTTP\/1\.1 408 /);
    expect(await rows()).toBe(0);
  });

  test.each([
    ['two of them', ['Content-Length: 2', 'Content-Length: 3']],
    ['one beside chunks', ['Content-Length: 2', 'Transfer-Encoding: chunked']],
    ['chunks beside chunks', ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity']],
    ['chunks in disguise', ['Transfer-Encoding: xchunked']],
  ])('and %s are refused', async (_what, lines) => {
    const base = await serve('token');
    const { closed } = await raw(base, `${head(...lines)}{}\r\n0\r\n\r\n`);
    expect(await closed).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(await rows()).toBe(0);
  });

  test('a head without an end is refused', async () => {
    const base = await serve('token');
    const { closed } = await raw(base, head(...Array.from({ length: 2_000 }, (_, n) => `X-${n}: ${'y'.repeat(20)}`)));
    expect(await closed).toMatch(/^HTTP\/1\.1 431 /);
  });
});

describe('a body that is packed', () => {
  const bomb = Buffer.alloc(200 * 1024 * 1024, ' ');
  test.each([
    ['gzip', gzipSync(bomb, { level: 9 })],
    ['deflate', deflateSync(bomb, { level: 9 })],
    ['br', brotliCompressSync(Buffer.alloc(50 * 1024 * 1024, ' '))],
    ['gzip, gzip', gzipSync(gzipSync(bomb))],
  ])('is never unpacked: %s', async (encoding, body) => {
    const base = await serve('token');
    const before = process.memoryUsage().rss;
    expect((await post(base, body, { 'content-encoding': encoding })).status).toBe(400);
    expect(process.memoryUsage().rss - before).toBeLessThan(50 * 2 ** 20);
    expect(await rows()).toBe(0);
  });

  test('is not taken either when what is in it would be good', async () => {
    const base = await serve('token');
    expect((await post(base, gzipSync(hook()), { 'content-encoding': 'gzip' })).status).toBe(400);
    expect(await rows()).toBe(0);
  });
});

describe('a body with words of JavaScript', () => {
  test.each([
    ['__proto__', '{"__proto__":{"event":"build.running","polluted":true}}'],
    ['constructor', '{"constructor":{"prototype":{"polluted":true}},"event":"ping"}'],
    ['a build in it', `{"event":"build.running","__proto__":${hook()}}`],
    ['deep ones', `{"event":"build.running","build":${'{"build":'.repeat(50_000)}1${'}'.repeat(50_000)}}`],
    ['many', `[${'[],'.repeat(200_000)}1]`],
  ])('is only data: %s', async (_what, body) => {
    const base = await serve('token');
    expect((await post(base, body)).status).toBeLessThan(500);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(await rows()).toBe(0);
  });

  test('has no address but by its own keys', async () => {
    const base = await serve('token');
    const inherited = '{"__proto__":{"tack:knot":"k","tack:pipeline_rkey":"r","tack:workflow":"w"}}';
    const body = hook().replace(/"meta_data":\{[^}]*\}/, `"meta_data":${inherited}`);
    expect((await post(base, body)).status).toBe(200);
    expect(await rows()).toBe(0);
    expect(logged.some((line) => line.includes('none of ours'))).toBe(true);
  });
});

test('a secret is in no line of the log, whatever was wrong with a webhook', async () => {
  const token = await serve('token');
  const both = await serve('signature');
  await post(token, '{', { 'x-buildkite-token': secret });
  await post(token, hook(), { 'x-buildkite-token': `${secret}x` });
  await post(both, hook(), { 'x-buildkite-token': secret });
  await signed(both, hook(), {}, 0);
  expect(logged.length).toBeGreaterThan(2);
  expect(logged.join('')).not.toContain(secret);
});
