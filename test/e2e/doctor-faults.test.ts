import https from 'node:https';
import { createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { didDocument } from '../../src/server/identity.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { authority } from '../support/certificates.ts';
import { freshDatabase } from '../support/database.ts';
import { doctor, examined, finding, wrong } from '../support/doctor.ts';
import { repo } from '../support/spindle.ts';

const stops: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (let stop = stops.pop(); stop; stop = stops.pop()) await stop();
});

/** Something that listens, and does this with whoever comes. Gives host:port. */
async function listener(onSocket: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    onSocket(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const everythingAt = (host: string, databaseUrl = `postgres://whorl:pw@${host}/whorl`): NodeJS.ProcessEnv => ({
  WHORL_HOSTNAME: host,
  WHORL_OWNER_DID: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz',
  WHORL_DEV: 'true',
  WHORL_JETSTREAM_URL: `ws://${host}/subscribe`,
  WHORL_PLC_URL: `http://${host}`,
  WHORL_DATABASE_URL: databaseUrl,
  WHORL_BUILDKITE_TOKEN: 'a-token',
  WHORL_BUILDKITE_ORG: 'acme',
  WHORL_BUILDKITE_ALLOW: '*/* -> acme/*',
  WHORL_BUILDKITE_WEBHOOK_SECRET: 'a-secret',
  WHORL_BUILDKITE_API_URL: `http://${host}/v2`,
  TEMPORAL_ADDRESS: host,
});

const broken = ['temporal: reachable', 'network: jetstream', 'network: owner', 'ci: token', 'public: address'];

test(
  'services that take calls and never answer: each check ends in its time, and says so',
  { timeout: 60_000 },
  async () => {
    const silent = await listener(() => {});
    const { report, code } = await examined(everythingAt(silent), ['--timeout', '1s']);
    expect(code).toBe(1);
    expect(wrong(report)).toEqual(['database: reachable', ...broken]);
  },
);

test('services that hang up at once', { timeout: 60_000 }, async () => {
  const rude = await listener((socket) => socket.destroy());
  const { report } = await examined(everythingAt(rude), ['--timeout', '2s']);
  expect(wrong(report)).toEqual(['database: reachable', ...broken]);
});

const page = '<html>\u001b[2J\u202eWelcome to a portal</html>';
const portal = (socket: Socket): void => {
  socket.once('data', () => {
    const head = `HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: ${Buffer.byteLength(page)}`;
    socket.end(`${head}\r\nConnection: close\r\n\r\n${page}`);
  });
};

test('a portal that answers everything with a page is not taken for any service', { timeout: 60_000 }, async () => {
  const db = await freshDatabase();
  stops.push(() => db.drop());
  const host = await listener(portal);
  await pinRepo(db.sql, { knot: host, ...repo });
  const env = everythingAt(host, db.url);
  const { report } = await examined(env, ['--timeout', '2s']);
  expect(wrong(report)).toEqual([
    'temporal: reachable',
    'ingest: processes',
    `knots: ${host} events`,
    'network: jetstream',
    'network: owner',
    'ci: token',
    'public: owner',
    'public: did.json',
    'public: events',
    'webhooks: reachable',
  ]);
  const { out, err } = await doctor(env, ['--timeout', '2s']);
  for (const acting of ['\u001b', '\u202e']) expect(out + err).not.toContain(acting);
});

test('a secret is sent to nobody who does not refuse what nobody signed', async () => {
  const seen: string[] = [];
  const host = await listener((socket) => {
    socket.on('data', (bytes) => seen.push(bytes.toString('latin1')));
    portal(socket);
  });
  const env = { ...everythingAt(host), WHORL_BUILDKITE_WEBHOOK_MODE: 'token' };
  await examined(env, ['--timeout', '1s', '--only', 'webhooks']);
  expect(seen.join()).toContain('POST /webhooks/buildkite');
  expect(seen.join()).not.toContain('a-secret');
});

test('an endless answer is not read to its end', async () => {
  const host = await listener((socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n');
      const more = (): void => {
        while (!socket.destroyed && socket.write(`1000\r\n${'x'.repeat(4096)}\r\n`));
        if (!socket.destroyed) socket.once('drain', more);
      };
      more();
    });
  });
  const { report } = await examined(everythingAt(host), ['--timeout', '5s', '--only', 'public']);
  expect(wrong(report)).toEqual(['public: owner', 'public: did.json', 'public: events']);
});

test('a certificate that nobody vouches for, and one that ends soon', async () => {
  const { ca, issue } = authority('doctors');
  const { cert, key } = issue('localhost');
  const owner = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';
  const server = https.createServer({ cert, key }, (request, response) => {
    const body =
      request.url === '/.well-known/did.json' ? didDocument({ hostname: 'localhost', owner, dev: false }) : { owner };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const env = { ...everythingAt('localhost'), WHORL_DEV: 'false' };
  const args = ['--only', 'public', '--url', `https://localhost:${port}`];

  const stranger = await examined(env, args);
  expect(wrong(stranger.report)).toEqual(['public: address']);
  expect(finding(stranger.report, 'public: address')).toMatchObject({
    state: 'fail',
    found: expect.stringMatching(/^the certificate of localhost:\d+ is not good: /),
  });

  const known = tls.getCACertificates();
  tls.setDefaultCACertificates([...known, ca]);
  stops.push(() => tls.setDefaultCACertificates(known));
  const ending = await examined(env, args);
  // It is no server of ours, so it takes no readers.
  expect(wrong(ending.report)).toEqual(['public: address', 'public: events']);
  expect(finding(ending.report, 'public: address')).toMatchObject({
    state: 'warn',
    found: expect.stringMatching(/its certificate is good for (24|23) h/),
    advice: expect.stringContaining('renew'),
  });
});
