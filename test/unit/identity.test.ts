import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { register } from '../../sim/appview/register.ts';
import { buildServer, type ServerDeps } from '../../src/server/app.ts';
import { version } from '../../src/version.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';

const owner = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';
const log = pino({ level: 'silent' });
let database: FreshDatabase;
let app: FastifyInstance;
let base: string;

const build = (hostname: string, dev = false, more: Partial<ServerDeps> = {}) =>
  buildServer({ sql: database.sql, log, hostname, owner, dev, ...more });

beforeAll(async () => {
  database = await freshDatabase();
  app = build('spindle.example');
  await app.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await app.close();
  await database.drop();
});

test('an appview that asks who owns this spindle is told the DID', async () => {
  const answer = await fetch(`${base}/xrpc/sh.tangled.owner`);
  expect(answer.status).toBe(200);
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
  expect(await answer.json()).toEqual({ owner });
  expect((await fetch(`${base}/xrpc/sh.tangled.owner?x=1`)).status).toBe(200);
  const head = await fetch(`${base}/xrpc/sh.tangled.owner`, { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test('an appview registers this spindle for its owner, and for nobody else', async () => {
  expect(await register(base, owner)).toEqual({ ok: true, owner });
  expect(await register(`${base}/`, owner)).toEqual({ ok: true, owner });
  expect(await register(base, 'did:plc:eveeveeveeveeveeveeveeve')).toMatchObject({ ok: false, problem: 'mismatch' });
});

test.each([
  ['spindle.example', false, 'did:web:spindle.example', 'https://spindle.example'],
  ['spindle.example:8443', false, 'did:web:spindle.example%3A8443', 'https://spindle.example:8443'],
  ['localhost:6555', true, 'did:web:localhost%3A6555', 'http://localhost:6555'],
])('the DID document of %s (dev: %s) names %s and its address', async (hostname, dev, id, serviceEndpoint) => {
  const other = build(hostname, dev);
  const answer = await other.inject('/.well-known/did.json');
  expect(answer.headers['access-control-allow-origin']).toBe('*');
  expect(answer.json()).toEqual({
    '@context': ['https://www.w3.org/ns/did/v1'],
    id,
    service: [{ id: '#tangled_spindle', type: 'TangledSpindle', serviceEndpoint }],
  });
  await other.close();
});

test('the version is that of the package', async () => {
  const { version: ours } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(version).toBe(ours);
  expect(await (await fetch(`${base}/xrpc/_health`)).json()).toEqual({ version });
});

describe('an XRPC call that cannot be answered is refused in the shape of XRPC', () => {
  const query = 'sh.tangled.owner';
  test.each([
    ['GET', 'sh.tangled.ci.getPipeline', 501, 'MethodNotImplemented'],
    ['GET', 'sh.tangled.ci.getPipeline?pipeline=x', 501, 'MethodNotImplemented'],
    ['POST', 'sh.tangled.pipeline.cancelPipeline', 403, 'Auth'],
    ['GET', 'sh.tangled.pipeline.cancelPipeline', 405, 'InvalidRequest'],
    ['PUT', 'sh.tangled.ci.cancelPipeline', 405, 'InvalidRequest'],
    ['PUT', 'org.tangled.ci.triggerPipeline', 501, 'MethodNotImplemented'],
    ['GET', '', 400, 'InvalidRequest'],
    ['GET', 'owner', 400, 'InvalidRequest'],
    ['GET', 'sh.tangled', 400, 'InvalidRequest'],
    ['GET', 'sh.tangled.owner/more', 400, 'InvalidRequest'],
    ['GET', 'sh.tangled.own%65r', 400, 'InvalidRequest'],
    ['GET', '__proto__', 400, 'InvalidRequest'],
    ['GET', 'sh..owner', 400, 'InvalidRequest'],
    ['POST', query, 405, 'InvalidRequest'],
    ['DELETE', query, 405, 'InvalidRequest'],
    ['POST', '_health', 405, 'InvalidRequest'],
  ])('%s %s: %i %s', async (method, name, status, error) => {
    // A body that nobody reads, of a kind that nobody knows.
    const body = method === 'GET' ? undefined : 'x'.repeat(60_000);
    const answer = await app.inject({
      method: method as 'GET',
      url: `/xrpc/${name}`,
      ...(body === undefined ? {} : { body, headers: { 'content-type': 'application/x-strange' } }),
    });
    expect(answer.statusCode).toBe(status);
    expect(answer.headers['access-control-allow-origin']).toBe('*');
    const said = answer.json<{ error: string; message: string }>();
    expect(said).toEqual({ error, message: expect.stringMatching(/.{10}/) });
    const verbs = name.endsWith('cancelPipeline') ? 'POST, OPTIONS' : 'GET, HEAD, OPTIONS';
    expect(answer.headers['allow']).toBe(status === 405 ? verbs : undefined);
  });

  test('also when its body is too large', async () => {
    const url = '/xrpc/sh.tangled.ci.cancelPipeline';
    const answer = await app.inject({ method: 'POST', url, body: 'x'.repeat(100_000) });
    expect(answer.statusCode).toBe(413);
    expect(answer.headers['access-control-allow-origin']).toBe('*');
    expect(answer.json()).toEqual({ error: 'InvalidRequest', message: 'the body is larger than 64 KiB' });
  });

  test('also when its address calls too often', async () => {
    const other = build('spindle.example', false, {
      calls: { perMinute: 1 },
      readers: { trustedProxies: ['127.0.0.1'] },
    });
    const call = (from: string) =>
      other.inject({
        method: 'POST',
        url: '/xrpc/sh.tangled.ci.cancelPipeline',
        headers: { 'x-forwarded-for': from },
        body: '{}',
      });
    expect((await call('198.51.100.1')).statusCode).toBe(403);
    const answer = await call('198.51.100.1');
    expect([answer.statusCode, answer.headers['retry-after']]).toEqual([429, '60']);
    expect(answer.headers['access-control-allow-origin']).toBe('*');
    expect(answer.json()).toMatchObject({ error: 'RateLimitExceeded' });
    expect((await call('198.51.100.2')).statusCode).toBe(403);
    await other.close();
  });

  test('also when it asks for a stream', async () => {
    const headers = { connection: 'upgrade', upgrade: 'websocket' };
    const call = request(`${base}/xrpc/sh.tangled.ci.subscribePipelineLogs?pipeline=x`, { headers }).end();
    const [response] = (await once(call, 'response')) as [AsyncIterable<Buffer> & { statusCode: number }];
    let text = '';
    for await (const part of response) text += part.toString();
    expect(response.statusCode).toBe(501);
    expect(JSON.parse(text)).toMatchObject({ error: 'MethodNotImplemented' });
  });
});

test.each(['/xrpc/sh.tangled.owner', '/xrpc/sh.tangled.ci.triggerPipeline', '/.well-known/did.json'])(
  'a page of another site may call %s, and its browser is told so beforehand',
  async (url) => {
    const preflight = await app.inject({
      method: 'OPTIONS',
      url,
      headers: {
        origin: 'https://tangled.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization, atproto-proxy',
      },
    });
    expect(preflight.statusCode).toBe(204);
    expect(preflight.headers).toMatchObject({
      'access-control-allow-origin': '*',
      'access-control-allow-methods': expect.stringContaining('POST'),
      'access-control-allow-headers': 'authorization, atproto-proxy',
    });
    const answer = await app.inject({ url, headers: { origin: 'https://tangled.example' } });
    expect(answer.headers['access-control-allow-origin']).toBe('*');
  },
);

test('the first page names the routes that there are', async () => {
  const text = await (await fetch(base)).text();
  for (const route of ['spindle.example', '/events', '/logs/', '/xrpc/sh.tangled.owner', '/.well-known/did.json']) {
    expect(text).toContain(route);
  }
});
