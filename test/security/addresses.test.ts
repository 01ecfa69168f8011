import { randomUUID } from 'node:crypto';
import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { pino } from 'pino';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { createNetwork, startPlc } from '../../sim/atproto/index.ts';
import { ClientError } from '../../src/clients/error.ts';
import { addressGuard, type GuardOptions } from '../../src/clients/guard.ts';
import { jsonHttp } from '../../src/clients/http.ts';
import { identityClient } from '../../src/clients/identity.ts';
import { hostPace } from '../../src/clients/pace.ts';
import { pdsClient } from '../../src/clients/pds.ts';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { knotSource } from '../../src/ingest/knots.ts';
import { leaseManager } from '../../src/ingest/leases.ts';
import { dial } from '../../src/ingest/stream-socket.ts';
import type { Sql } from '../../src/store/db.ts';
import { addSources, takeLeases } from '../../src/store/leases.ts';
import { applyChange } from '../../src/store/records.ts';
import { refusedFrames } from '../../src/store/refused.ts';
import { pinRepo, unpinRepo } from '../../src/store/repos.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { freshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

const owner = 'did:web:owner.example';
const repo = { did: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz', name: 'site' };
const { signal } = new AbortController();

/** What only this machine can reach. It says nothing, and keeps what it is told. */
async function secretPlace(): Promise<{ port: number; told: Buffer[]; connections(): number }> {
  const told: Buffer[] = [];
  let connections = 0;
  const server: Server = createServer((socket) => {
    connections++;
    socket.on('data', (chunk: Buffer) => told.push(chunk)).on('error', () => {});
    socket.once('data', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    await once(server, 'close');
  });
  return { port: (server.address() as AddressInfo).port, told, connections: () => connections };
}

/** DNS that gives these answers, one after the other, and then the last one again. */
function dns(...answers: string[][]) {
  const asked: string[] = [];
  const resolve = ((hostname: string, _options: unknown, callback: (e: null, found: LookupAddress[]) => void) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)] ?? [];
    asked.push(hostname);
    const found = answer.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));
    setImmediate(callback, null, found);
  }) as unknown as NonNullable<GuardOptions['resolve']>;
  return { resolve, asked };
}

/** Spellings of this machine, and of names for it. */
const here = [
  '127.0.0.1',
  '127.8.9.10',
  '0.0.0.0',
  '127.1',
  '2130706433',
  '0x7f000001',
  '0x7f.0.0.1',
  '017700000001',
  '[::1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[64:ff9b::7f00:1]',
  '[2002:7f00:1::]',
  'localhost',
  'LocalHost',
];
/** What clouds and networks keep to themselves. */
const inside = ['169.254.169.254', '100.100.100.200', '10.0.0.1', '192.168.1.1', '[fd00:ec2::254]', '[fe80::1]'];

describe('a knot', () => {
  let sql: Sql;
  beforeEach(async ({ onTestFinished: after }) => {
    const database = await freshDatabase();
    ({ sql } = database);
    after(() => database.drop());
  });

  /** The owner's own record of a repository, which names this knot. */
  async function chooseByRecord(knot: string): Promise<void> {
    await beSpindle(sql, { host: 'spindle.example', owner });
    await addSources(sql, ['jetstream']);
    const [held] = await takeLeases(sql, 'me', ['jetstream'], 1, 60_000);
    if (!held) throw new Error('no lease');
    await applyChange(sql, held, {
      did: owner,
      collection: 'sh.tangled.repo',
      rkey: randomUUID(),
      rev: tidAt(Date.now()),
      value: { knot, name: 'site', spindle: 'spindle.example' },
      at: new Date(),
    });
  }

  /** What reads knots in production. */
  function readKnots(resolve?: GuardOptions['resolve']) {
    const lines: { msg: string; reason?: string }[] = [];
    const write = (line: string): void => void lines.push(JSON.parse(line) as { msg: string });
    const log = pino({ level: 'info' }, { write });
    const refused = refusedFrames({ sql, log });
    const settings = { redialMinMs: 20, redialMaxMs: 50, dialTimeoutMs: 2_000 };
    const knots = knotSource({ sql, dev: false, log, refused, settings, resolve });
    const leases = leaseManager({
      sql,
      log,
      owner: randomUUID(),
      wanted: () => knots.wanted(),
      start: (source, lease) => knots.start(source, lease),
    });
    onTestFinished(async () => {
      await leases.stop();
      await refused.close();
    });
    const refusals = () =>
      lines.filter(({ msg, reason }) => `${msg} ${reason}`.match(/not a public address|cannot read a knot/));
    return { knots, leases, lines, refusals };
  }

  test.each([...here, ...inside])('that a record names is not dialled at %s', async (host) => {
    const place = await secretPlace();
    await chooseByRecord(`${host.toLowerCase()}:${place.port}`);
    const { refusals } = readKnots();
    await until(
      'it is refused twice, or for good',
      () => refusals().some(({ msg }) => msg.includes('cannot')) || refusals().length >= 2,
    );
    expect(place.connections()).toBe(0);
  });

  test.each([
    ['a private address', [['127.0.0.1']]],
    ['several, none of them public', [['10.0.0.1', '127.0.0.1', '::1', '169.254.169.254']]],
    ['another private one each time', [['10.0.0.1'], ['127.0.0.1'], ['::ffff:127.0.0.1']]],
    ['nothing', [[]]],
  ])('whose name leads to %s is not dialled, and its name is looked up once for each dial', async (_what, answers) => {
    const place = await secretPlace();
    const names = dns(...answers);
    await chooseByRecord(`knot.example:${place.port}`);
    const { knots, refusals } = readKnots(names.resolve);
    await until('it is refused three times', () => refusals().length >= 3);
    const dials = knots.stats().get(`knot.example:${place.port}`)?.dials ?? 0;
    // no look before the one that the connection is made by: two of them may differ
    expect(dials - names.asked.length).toBeGreaterThanOrEqual(0);
    expect(dials - names.asked.length).toBeLessThanOrEqual(1);
    expect(place.connections()).toBe(0);
  });

  test.each([
    'user@127.0.0.1:80',
    'knot.example/..',
    'knot.example?x',
    'knot.example#x',
    'knot.example\\@127.0.0.1',
    'knot.example:80:80',
    'knot.example:0',
    'knot.example:99999',
    '127.0.0.1%00',
    '①②⑦.0.0.1',
    ' localhost',
    '',
  ])('that is no host at all is not dialled: %j', async (knot) => {
    await pinRepo(sql, { knot, ...repo });
    const { lines, knots } = readKnots();
    await until('it says so', () => lines.some(({ msg }) => msg.includes('cannot read a knot')));
    expect([...knots.stats().keys()]).toEqual([]);
  });

  test.each(['127.0.0.1', 'localhost', 'knot.internal'])(
    'that an operator pinned may be at a private address: %s',
    async (host) => {
      const place = await secretPlace();
      const knot = `${host}:${place.port}`;
      await pinRepo(sql, { knot, ...repo });
      const { refusals } = readKnots(dns(['127.0.0.1']).resolve);
      await until('it is dialled', () => place.told.length > 0);
      // what comes is the hello of TLS: a pin is no reason to speak in clear
      expect(place.told[0]?.[0]).toBe(0x16);
      expect(refusals()).toEqual([]);
    },
  );

  test('whose pin is taken away is refused, though a record names it still', async () => {
    const place = await secretPlace();
    const knot = `127.0.0.1:${place.port}`;
    await pinRepo(sql, { knot, ...repo });
    await chooseByRecord(knot);
    const { leases, refusals } = readKnots();
    await until('it is dialled', () => place.connections() > 0);
    await unpinRepo(sql, { knot, ...repo });
    leases.notify();
    await until('it is refused', () => refusals().length > 0);
    const connections = place.connections();
    await until('it is refused again', () => refusals().length > 2);
    expect(place.connections()).toBe(connections);
  });

  test('that another pin is about is refused like any other', async () => {
    const [place, mine] = [await secretPlace(), await secretPlace()];
    await pinRepo(sql, { knot: `127.0.0.1:${mine.port}`, ...repo });
    await chooseByRecord(`127.0.0.1:${place.port}`);
    const { refusals } = readKnots();
    await until('the pinned one is dialled, the other refused', () => mine.connections() > 0 && refusals().length > 1);
    expect(place.connections()).toBe(0);
  });
});

describe('an account', () => {
  async function clients(resolve?: GuardOptions['resolve']) {
    const network = createNetwork();
    const plc = await startPlc(network);
    const open = jsonHttp({ timeoutMs: 5_000 });
    const guarded = jsonHttp({ timeoutMs: 5_000, guard: addressGuard({ dev: false, resolve }) });
    onTestFinished(async () => void (await Promise.all([plc.close(), open.close(), guarded.close()])));
    const pace = hostPace({ perSecond: 1_000, restMinMs: 1, restMaxMs: 1 });
    const identity = identityClient({ open, guarded, pace, plcUrl: plc.url, dev: false });
    const pds = pdsClient({ http: guarded, pace });
    return {
      network,
      plc,
      /** The account's latest rev, as the backfill asks for it; the kind of the failure when there is none. */
      async revOf(did: string): Promise<string> {
        try {
          return await pds.latestRev(await identity.pdsOf(did, signal), did, signal);
        } catch (error) {
          if (error instanceof ClientError) return error.kind;
          throw error;
        }
      },
    };
  }

  test.each([...here, ...inside])('whose PDS is at %s is not asked there', async (host) => {
    const place = await secretPlace();
    const { network, revOf } = await clients();
    const { did } = network.account();
    network.pointTo(did, `https://${host}:${place.port}`);
    expect(await revOf(did)).toBe('refused-address');
    expect(place.connections()).toBe(0);
  });

  test.each([
    (port: number) => `http://127.0.0.1:${port}`,
    (port: number) => `https://user:word@127.0.0.1:${port}`,
    (port: number) => `https://pds.example@127.0.0.1:${port}`,
    (port: number) => `ws://127.0.0.1:${port}`,
    (port: number) => `gopher://127.0.0.1:${port}/_x`,
    () => 'file:///etc/passwd',
    () => 'javascript:1',
    () => '//127.0.0.1',
    () => '',
  ])('whose PDS has no plain address is not asked: %s', async (address) => {
    const place = await secretPlace();
    const { network, revOf } = await clients();
    const { did } = network.account();
    network.pointTo(did, address(place.port));
    expect(await revOf(did)).toBe('garbage');
    expect(place.connections()).toBe(0);
  });

  test('whose PDS has a name that leads here is not asked, whatever the name led to before', async () => {
    const place = await secretPlace();
    const names = dns(['127.0.0.1'], ['10.0.0.1'], ['::1']);
    const { network, revOf } = await clients(names.resolve);
    const { did } = network.account();
    network.pointTo(did, `https://pds.example:${place.port}`);
    // its host rests a moment after each failure
    await until('it was looked up three times', async () => {
      expect(await revOf(did)).toBe('refused-address');
      return names.asked.length >= 3;
    });
    expect(place.connections()).toBe(0);
  });

  test.each([
    (port: number) => `did:web:127.0.0.1%3A${port}`,
    (port: number) => `did:web:localhost%3A${port}`,
    (port: number) => `did:web:2130706433%3A${port}`,
    (port: number) => `did:web:0x7f.1%3A${port}`,
    (port: number) => `did:web:pds.example%40127.0.0.1%3A${port}`,
    (port: number) => `did:web:127.0.0.1%3A${port}%2F`,
    (port: number) => `did:web:127.0.0.1%3A${port}:path`,
    (port: number) => `did:web:%5B%3A%3A1%5D%3A${port}`,
    () => 'did:web:169.254.169.254',
    () => 'did:web:..',
    () => 'did:web:',
    () => 'did:plc:../../x',
    () => 'did:plc:%2e%2e%2fx',
    (port: number) => `did:key:127.0.0.1:${port}`,
  ])('whose DID names what is not public has no document: %s', async (did) => {
    const place = await secretPlace();
    const { plc, revOf } = await clients(dns(['127.0.0.1']).resolve);
    expect(await revOf(did(place.port))).toMatch(/^(refused-address|garbage)$/);
    expect(place.connections()).toBe(0);
    expect(plc.requests()).toEqual([]);
  });
});

/** A web server that ends with the test. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createHttpServer(listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.each(['gzip', 'deflate', 'br'])('an answer that is packed is not unpacked: %s', async (encoding) => {
  const bomb = Buffer.alloc(100 * 2 ** 20, ' ');
  const packed =
    encoding === 'gzip' ? gzipSync(bomb) : encoding === 'br' ? brotliCompressSync(bomb) : deflateSync(bomb);
  const host = await serve((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-encoding': encoding }).end(packed);
  });
  const http = jsonHttp();
  onTestFinished(() => http.close());
  const before = process.memoryUsage().rss;
  const answer = http.get(new URL(`http://${host}/xrpc/x`), { maxBytes: 2 ** 20, signal });
  await expect(answer).rejects.toMatchObject({ kind: 'garbage' });
  expect(process.memoryUsage().rss - before).toBeLessThan(50 * 2 ** 20);
});

describe('a redirect', () => {
  /** A server that sends everybody elsewhere. */
  const redirecting = (status: number, location: string): Promise<string> =>
    serve((_request, response) => void response.writeHead(status, { location }).end());

  test.each([301, 302, 303, 307, 308])('of a server of records leads nowhere: %i', async (status) => {
    const place = await secretPlace();
    const host = await redirecting(status, `http://127.0.0.1:${place.port}/`);
    const http = jsonHttp();
    onTestFinished(() => http.close());
    const answer = http.get(new URL(`http://${host}/xrpc/x`), { maxBytes: 100, signal });
    await expect(answer).rejects.toMatchObject({ kind: 'status', status });
    expect(place.connections()).toBe(0);
  });

  test.each([301, 302, 303, 307, 308])('of a knot leads nowhere: %i', async (status) => {
    const place = await secretPlace();
    const host = await redirecting(status, `ws://127.0.0.1:${place.port}/`);
    const times = { dialTimeoutMs: 5_000, pingMs: 5_000, readDeadlineMs: 5_000 };
    const dialled = dial(`ws://${host}/events`, { ...times, signal, onFrame() {} });
    await expect(dialled).rejects.toThrow(`${status}`);
    expect(place.connections()).toBe(0);
  });
});
