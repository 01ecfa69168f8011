import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { LookupAddress } from 'node:dns';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { ClientError } from '../../src/clients/error.ts';
import { addressGuard, type GuardOptions, isPublic, RefusedAddress } from '../../src/clients/guard.ts';
import { jsonHttp } from '../../src/clients/http.ts';
import { dial } from '../../src/ingest/stream-socket.ts';

const refused: [what: string, address: string][] = [
  ['loopback', '127.0.0.1'],
  ['loopback', '127.255.255.254'],
  ['unspecified', '0.0.0.0'],
  ['this network', '0.1.2.3'],
  ['private', '10.0.0.1'],
  ['private', '172.16.0.1'],
  ['private', '172.31.255.255'],
  ['private', '192.168.1.1'],
  ['link-local, where clouds keep secrets', '169.254.169.254'],
  ['carrier-grade NAT', '100.64.0.1'],
  ['carrier-grade NAT, where a cloud keeps secrets', '100.100.100.200'],
  ['public by looks, but Azure’s own', '168.63.129.16'],
  ['IETF protocols', '192.0.0.8'],
  ['documentation', '192.0.2.1'],
  ['documentation', '198.51.100.7'],
  ['documentation', '203.0.113.9'],
  ['benchmarks', '198.18.0.1'],
  ['6to4 relays', '192.88.99.1'],
  ['multicast', '224.0.0.1'],
  ['multicast', '239.255.255.255'],
  ['reserved', '240.0.0.1'],
  ['broadcast', '255.255.255.255'],
  ['unspecified', '::'],
  ['loopback', '::1'],
  ['IPv4-compatible', '::7f00:1'],
  ['IPv4-compatible, public', '::808:808'],
  ['IPv4-mapped loopback', '::ffff:127.0.0.1'],
  ['IPv4-mapped private', '::ffff:10.0.0.1'],
  ['IPv4-mapped private, in hex', '::ffff:a00:1'],
  ['IPv4-translated', '::ffff:0:10.0.0.1'],
  ['NAT64 of private', '64:ff9b::10.0.0.1'],
  ['NAT64 of link-local', '64:ff9b::a9fe:a9fe'],
  ['NAT64 of a network’s own', '64:ff9b:1::8.8.8.8'],
  ['6to4 of private', '2002:a00:1::1'],
  ['6to4 of loopback', '2002:7f00:1::'],
  ['Teredo', '2001:0:808:808::1'],
  ['ORCHID', '2001:10::1'],
  ['ORCHID', '2001:20::1'],
  ['documentation', '2001:db8::1'],
  ['documentation', '3fff::1'],
  ['segment routing', '5f00::1'],
  ['discard', '100::1'],
  ['unique local', 'fc00::1'],
  ['unique local, where a cloud keeps secrets', 'fd00:ec2::254'],
  ['link-local', 'fe80::1'],
  ['link-local with a zone', 'fe80::1%eth0'],
  ['site-local', 'fec0::1'],
  ['multicast', 'ff02::1'],
  ['given out to nobody', '4000::1'],
  ['no address', 'example.com'],
  ['no address', ''],
];

const allowed = [
  '8.8.8.8',
  '172.15.255.255',
  '172.32.0.1',
  '100.63.255.255',
  '100.128.0.1',
  '169.253.0.1',
  '2606:4700:4700::1111',
  '::ffff:8.8.8.8',
  '64:ff9b::8.8.8.8',
  '2002:808:808::1',
];

test.each(refused)('an address that is not public is refused: %s, %s', (_what, address) => {
  expect(isPublic(address)).toBe(false);
});

test.each(allowed)('a public address is allowed: %s', (address) => {
  expect(isPublic(address)).toBe(true);
});

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function serve(): Promise<{ server: Server; port: number; requests: string[] }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.headers.host ?? '');
    response.writeHead(200, { 'content-type': 'application/json' }).end('{"secret":true}');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return { server, port: (server.address() as AddressInfo).port, requests };
}

/** DNS that gives these answers, one after the other, and then the last one again. */
function dns(...answers: string[][]) {
  const asked: string[] = [];
  const resolve = ((hostname: string, _options: unknown, callback: (e: null, found: LookupAddress[]) => void) => {
    const answer = answers[Math.min(asked.length, answers.length - 1)] ?? [];
    asked.push(hostname);
    setImmediate(
      callback,
      null,
      answer.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
    );
  }) as unknown as NonNullable<GuardOptions['resolve']>;
  return { resolve, asked };
}

function client(options: Partial<GuardOptions> = {}) {
  const http = jsonHttp({ guard: addressGuard({ dev: false, ...options }), timeoutMs: 5_000 });
  closing.push(() => http.close());
  const { signal } = new AbortController();
  return (url: string): Promise<unknown> =>
    http.get(new URL(url), { maxBytes: 1_000, signal }).catch((error: unknown) => {
      if (error instanceof ClientError) return error.kind;
      throw error;
    });
}

test.each([
  '127.0.0.1',
  '2130706433',
  '0x7f000001',
  '0x7f.1',
  '0177.0.0.1',
  '127.1',
  '127.0.0.1.',
  '①②⑦.0.0.1',
  '[::1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[64:ff9b::7f00:1]',
  'localhost',
])('no spelling of this machine in a URL leads to it: %s', async (host) => {
  const { port, requests } = await serve();
  expect(await client()(`http://${host}:${port}/`)).toBe('refused-address');
  expect(requests).toEqual([]);
});

test('a name that leads to a private address is refused, and nothing is sent', async () => {
  const { port, requests } = await serve();
  const { resolve, asked } = dns(['127.0.0.1']);
  expect(await client({ resolve })(`http://pds.example:${port}/`)).toBe('refused-address');
  expect(asked).toEqual(['pds.example']);
  expect(requests).toEqual([]);
});

test('a trailing dot makes no other name of it', async () => {
  const { port, requests } = await serve();
  const { resolve, asked } = dns(['127.0.0.1']);
  expect(await client({ resolve })(`http://LOCALHOST.:${port}/`)).toBe('refused-address');
  expect(asked).toEqual(['localhost.']);
  expect(requests).toEqual([]);
});

test('a name that leads nowhere is refused', async () => {
  expect(await client(dns([]))('http://pds.example/')).toBe('refused-address');
});

test('of a name’s addresses only the public ones are dialled', () => {
  const { resolve } = dns(['10.0.0.1', '93.184.215.14', '::1', '2606:4700::1']);
  const { lookup } = addressGuard({ dev: false, resolve });
  const { promise, resolve: done } = Promise.withResolvers<unknown>();
  lookup('pds.example', { all: true }, (_error, found) => done(found));
  return expect(promise).resolves.toEqual([
    { address: '93.184.215.14', family: 4 },
    { address: '2606:4700::1', family: 6 },
  ]);
});

test('a name that led to a public address and then to this machine is judged by where the connection goes', async () => {
  const { port, requests } = await serve();
  // TEST-NET would not answer: the first look is the one of a check that is made before
  const { resolve, asked } = dns(['93.184.215.14'], ['127.0.0.1']);
  const guard = addressGuard({ dev: false, resolve });
  const first = Promise.withResolvers<unknown>();
  guard.lookup('pds.example', {}, (error, address) => first.resolve(error ?? address));
  expect(await first.promise).toBe('93.184.215.14');

  const http = jsonHttp({ guard });
  closing.push(() => http.close());
  const url = new URL(`http://pds.example:${port}/`);
  const answer = http.get(url, { maxBytes: 100, signal: new AbortController().signal });
  await expect(answer).rejects.toMatchObject({
    kind: 'refused-address',
    message: 'pds.example leads to 127.0.0.1, which is not a public address',
  });
  expect(asked).toHaveLength(2);
  expect(requests).toEqual([]);
});

test('in development everything is allowed', async () => {
  const { port, requests } = await serve();
  const get = client({ dev: true });
  expect(await get(`http://127.0.0.1:${port}/`)).toEqual({ secret: true });
  expect(await get(`http://localhost:${port}/`)).toEqual({ secret: true });
  expect(requests).toHaveLength(2);
});

test('what is not guarded may be anywhere: PLC is the operator’s choice', async () => {
  const { port } = await serve();
  const http = jsonHttp();
  closing.push(() => http.close());
  const url = new URL(`http://127.0.0.1:${port}/`);
  expect(await http.get(url, { maxBytes: 100, signal: new AbortController().signal })).toEqual({ secret: true });
});

test.each(['127.0.0.1', '2130706433', '[::ffff:127.0.0.1]', 'localhost', 'knot.example'])(
  'a knot’s stream is not dialled at a private address: %s',
  async (host) => {
    const { server, port } = await serve();
    const sockets = new WebSocketServer({ server });
    let dialled = 0;
    sockets.on('connection', () => dialled++);
    const options = {
      onFrame() {},
      dialTimeoutMs: 5_000,
      pingMs: 5_000,
      readDeadlineMs: 5_000,
      signal: new AbortController().signal,
    };
    const guard = addressGuard({ dev: false, ...(host === 'knot.example' && dns(['127.0.0.1'])) });
    const url = `ws://${host}:${port}/events`;
    await expect(dial(url, { ...options, guard })).rejects.toThrow(/is not a public address/);
    expect(dialled).toBe(0);

    if (host === 'knot.example') return;
    const mine = host.startsWith('[') ? '127.0.0.1' : host;
    const socket = await dial(`ws://${mine}:${port}/events`, { ...options, guard: addressGuard({ dev: true }) });
    expect(dialled).toBe(1);
    socket.close('done');
    sockets.close();
  },
);

test('a refusal says what was refused', () => {
  const guard = addressGuard({ dev: false });
  expect(() => guard.check('[::1]')).toThrow(RefusedAddress);
  expect(() => guard.check('10.1.2.3')).toThrow('10.1.2.3 is not a public address');
  expect(() => guard.check('pds.example')).not.toThrow();
});
