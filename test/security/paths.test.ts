import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pipelineId } from '../../src/pipeline/ids.ts';
import { logLine, stepEnd, stepStart } from '../../src/forges/tangled/log.ts';
import { buildServer } from '../../src/server/app.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { logWriter, sayOf } from '../support/logs.ts';
import { addPipeline } from '../support/outbox.ts';
import { raw, upgrade } from '../support/raw.ts';
import { until } from '../support/until.ts';

const knot = 'knot.example:5555';
const others = 'the log of somebody else';
/** Jobs whose names are tricks, each with a log that says its name. */
const named = [
  'ci.yml',
  'CI.yml',
  'a/b.yml',
  '..',
  '.',
  '../ci.yml',
  'a%2Fb.yml',
  '%',
  'é.yml',
  'ünï cødé.yml',
  'ci.yml?x',
  'c_.yml',
  "'; --",
  '*',
];

let database: FreshDatabase;
let app: FastifyInstance;
let base: string;

beforeAll(async () => {
  database = await freshDatabase();
  const { sql } = database;
  const write = async (host: string, rkey: string, job: string, text: string): Promise<void> => {
    const key = { pipeline: pipelineId(host, rkey), job, attempt: 1 };
    const log = logWriter(sql, key);
    const step = { step: 0, at: 0, name: 'x' };
    await log.append([stepStart(step), logLine({ step: 0, at: 0, text }), stepEnd(step)]);
    await sayOf(sql, key.pipeline, job, 'success');
    await log.complete();
  };
  await addPipeline(sql, knot, 'p0', named);
  for (const job of named) await write(knot, 'p0', job, `this is ${job}`);
  await addPipeline(sql, knot, 'p1', ['secret.yml']);
  await write(knot, 'p1', 'secret.yml', others);
  await addPipeline(sql, 'other.example', 'p0', ['ci.yml', 'secret.yml']);
  for (const job of ['ci.yml', 'secret.yml']) await write('other.example', 'p0', job, others);

  app = buildServer({
    sql,
    log: pino({ level: 'silent' }),
    hostname: 'spindle.example',
    owner: 'did:web:owner.example',
    dev: true,
    logs: { closeMs: 200 },
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
});
afterAll(async () => {
  await app.close();
  await database.drop();
});

/** All that comes for a target: the answer, or the whole log. The bytes of the target are sent as UTF-8. */
async function asked(target: string | Buffer): Promise<{ status: number | undefined; text: string }> {
  const [before = '', after = ''] = upgrade('\0').split('\0');
  const { socket, status, said } = await raw(
    base,
    Buffer.concat([Buffer.from(before), Buffer.from(target), Buffer.from(after)]),
  );
  const answered = await status();
  await until('all of it', () => answered !== 101 || said().includes('log stream complete') || socket.closed);
  const text = Buffer.from(said(), 'latin1').toString();
  socket.destroy();
  return { status: answered, text };
}

describe('a name leads to its own log only', () => {
  test.each<[target: string, job: string]>([
    ['ci.yml', 'ci.yml'],
    ['CI.yml', 'CI.yml'],
    ['ci%2Eyml', 'ci.yml'],
    ['%63%69.yml', 'ci.yml'],
    ['a%2Fb.yml', 'a/b.yml'],
    ['a%2fb.yml', 'a/b.yml'],
    ['a%252Fb.yml', 'a%2Fb.yml'],
    ['..', '..'],
    ['%2e%2e', '..'],
    ['.', '.'],
    ['..%2Fci.yml', '../ci.yml'],
    ['%', '%'],
    ['%25', '%'],
    ['é.yml', 'é.yml'],
    ['%C3%A9.yml', 'é.yml'],
    ['ci.yml%3Fx', 'ci.yml?x'],
    ['ci.yml?../p1/secret.yml', 'ci.yml'],
    ['c_.yml', 'c_.yml'],
    ["'; --".replaceAll(' ', '%20'), "'; --"],
    ['*', '*'],
  ])('%s', async (target, job) => {
    const { status, text } = await asked(`/logs/${knot}/p0/${target}`);
    expect(status).toBe(101);
    expect([...text.matchAll(/"content":"(this is [^"]*)"/g)].map(([, content]) => content)).toEqual([
      `this is ${job}`,
    ]);
  });
});

describe('a path that is none of a log is refused before the upgrade, and shows nothing', () => {
  const inside = `/logs/${knot}/p0`;
  test.each([
    `${inside}/secret.yml`,
    `${inside}/../p1/secret.yml`,
    `${inside}/%2e%2e/p1/secret.yml`,
    `${inside}/..%2Fp1%2Fsecret.yml`,
    `${inside}/..%252Fp1%252Fsecret.yml`,
    `${inside}/..\\p1\\secret.yml`,
    `${inside}/..%5Cp1%5Csecret.yml`,
    `${inside}/ci.yml/../../p1/secret.yml`,
    `${inside}/ci.yml/`,
    `${inside}//ci.yml`,
    `${inside}/ci.yml%00`,
    `${inside}/ci.yml%00.txt`,
    `${inside}/%00`,
    `${inside}/ci.yml%0d%0aX-Injected:%20y`,
    `${inside}/ci.yml%20`,
    `${inside}/ci.yml#x`,
    `${inside}/ci.yml;x`,
    `${inside}/ci.yml&x`,
    `${inside}/%63%25%36%39.yml`,
    // letters that look the same, or are the same in another form
    `${inside}/сi.yml`,
    `${inside}/ci․yml`,
    `${inside}/ｃｉ.yml`,
    `${inside}/e\u0301.yml`,
    `${inside}/ci.yml\u200b`,
    `${inside}/CI.YML`,
    // forms that are no UTF-8
    `${inside}/%c0%ae%c0%ae`,
    `${inside}/%c0%af`,
    `${inside}/%e0%80%ae`,
    `${inside}/%ff`,
    `${inside}/%ed%a0%80`,
    `${inside}/%u002e%u002e`,
    // what a database or a shell would read into it
    `${inside}/c%25.yml`,
    `${inside}/ci%25`,
    `${inside}/%27%20or%201=1--`,
    `${inside}/ci.ym[l]`,
    // the wrong knot, the wrong key
    `/logs/${knot.toUpperCase()}/p0/ci.yml`,
    `/logs/${knot}./p0/ci.yml`,
    `/logs/user@${knot}/p0/ci.yml`,
    `/logs/${knot}/P0/ci.yml`,
    `/logs/${knot}/p0%2Fci.yml`,
    `/logs/${knot}%2Fp0/ci.yml`,
    `/logs/pipeline%2F${knot}/p0/ci.yml`,
    `/logs/../logs/${knot}/p0/ci.yml`,
    `/logs/./${knot}/p0/ci.yml`,
    `//logs/${knot}/p0/ci.yml`,
    `/./logs/${knot}/p0/ci.yml`,
    `/events/../logs/${knot}/p0/ci.yml`,
    `/LOGS/${knot}/p0/ci.yml`,
    `/logs%2F${knot}/p0/ci.yml`,
    `/%6cogs/${knot}/p0/ci.yml`,
    `/logsx/${knot}/p0/ci.yml`,
    `http://spindle.example/logs/${knot}/p0/ci.yml`,
    `http://spindle.example/events`,
    `ws://127.0.0.1/events`,
    `file:///etc/passwd`,
    `logs/${knot}/p0/ci.yml`,
    '/events/',
    '/events/../events',
    '/Events',
    '/%65vents',
    '/events%3Fcursor=1',
    '/events#x',
    '*',
    '/',
    '/logs',
    '/logs/',
    '/logs/..',
    `/logs/${knot}`,
    `/logs/${knot}/p0/`,
    '/../../../../etc/passwd',
    '/..%2f..%2f..%2fetc/passwd',
  ])('%s', async (target) => {
    const { status, text } = await asked(target);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
    expect(text).not.toContain(others);
    expect(text).not.toContain('"kind":"data"');
    expect(text).not.toMatch(/^X-Injected/m);
  });

  test.each([
    ['bytes that are no UTF-8', Buffer.from(`${inside}/\xc0\xae\xff`, 'latin1')],
    ['a NUL', Buffer.from(`${inside}/ci.yml\0`)],
    ['controls', Buffer.from(`${inside}/ci\u001b[2J.yml`)],
    ['a tab', Buffer.from(`${inside}/ci\t.yml`)],
    ['a carriage return', Buffer.from(`${inside}/ci.yml\rX: y`)],
    ['a space', Buffer.from(`${inside}/ci.yml HTTP/1.1`)],
  ])('with %s', async (_what, target) => {
    const { status, text } = await asked(target);
    expect(status ?? 400).toBeGreaterThanOrEqual(400);
    expect(status ?? 400).toBeLessThan(500);
    expect(text).not.toContain('"kind":"data"');
  });

  test.each([1_000, 10_000, 15_000, 20_000, 100_000, 1_000_000])('with %i letters', async (length) => {
    for (const letter of ['x', '%41', '%', '/', '../', 'é', '%C3%A9']) {
      const { status } = await asked(`${inside}/${letter.repeat(Math.ceil(length / letter.length))}`);
      // what is longer than a head may be is cut off while it is sent
      expect(status ?? 431).toBeGreaterThanOrEqual(400);
      expect(status ?? 431).toBeLessThan(500);
    }
  });
});

test.each(['%2e%2e/%2e%2e', '__proto__', 'constructor', 'toString', 'sh.tangled.owner/../x', 'hasOwnProperty.a.b'])(
  'a method that is none is not called: /xrpc/%s',
  async (method) => {
    const { closed, status, socket } = await raw(
      base,
      `GET /xrpc/${method} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect([400, 404, 501]).toContain(await status());
    socket.end();
    expect(await closed).not.toContain('"owner"');
  },
);

test('what a reader asks for is not repeated to it as anything but text', async () => {
  const { text } = await asked(`/xrpc/<script>alert(1)</script>`);
  expect(text).toContain('Content-Type: application/json');
  expect(text).not.toContain('<script>');
});
