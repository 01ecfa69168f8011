import { once } from 'node:events';
import { type AddressInfo, createServer as createPlain } from 'node:net';
import { createServer, type TlsOptions } from 'node:tls';
import { expect, onTestFinished, test } from 'vitest';
import { tlsProblem, type TlsSettings } from '../../src/temporal/tls-problem.ts';
import { freePorts } from '../../src/embedded/ports.ts';
import { authority } from '../support/certificates.ts';

const ours = authority('a test authority');
const client = ours.issue('whorl');
const trusting = { serverRootCACertificate: Buffer.from(ours.ca) };
const known = {
  ...trusting,
  clientCertPair: { crt: Buffer.from(client.cert), key: Buffer.from(client.key) },
};

async function serving(options: TlsOptions = {}): Promise<string> {
  const server = createServer({ ...ours.issue('localhost'), ALPNProtocols: ['h2'], ...options }, (socket) => {
    socket.on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `localhost:${(server.address() as AddressInfo).port}`;
}

test('nothing is wrong where TLS works, where none is meant, and where nobody answers', async () => {
  const address = await serving();
  expect(await tlsProblem(address, trusting)).toBeUndefined();
  for (const off of [false, null, undefined]) expect(await tlsProblem(address, off)).toBeUndefined();
  const [port = 0] = await freePorts(1);
  expect(await tlsProblem(`localhost:${port}`, trusting)).toBeUndefined();
  expect(await tlsProblem('no-such-host.invalid:7233', true)).toBeUndefined();
});

test.for<[what: string, options: TlsOptions, tls: TlsSettings, says: RegExp]>([
  ['an authority that is not ours', {}, true, /^TLS: .*(certificate|self.signed)/i],
  ['another name', {}, { ...trusting, serverNameOverride: 'temporal.example' }, /^TLS: .*temporal\.example/],
  ['a server that wants a certificate of ours', { requestCert: true, ca: ours.ca }, trusting, /^TLS: .*certificate/i],
])('%s is told', async ([, options, tls, says]) => {
  expect(await tlsProblem(await serving(options), tls)).toMatch(says);
});

test('a certificate that is asked for and given is fine', async () => {
  expect(await tlsProblem(await serving({ requestCert: true, ca: ours.ca }), known)).toBeUndefined();
});

test('a server without TLS is told', async () => {
  const plain = createPlain((socket) => socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  plain.listen(0, '127.0.0.1');
  await once(plain, 'listening');
  onTestFinished(() => void plain.close());
  expect(await tlsProblem(`localhost:${(plain.address() as AddressInfo).port}`, trusting)).toMatch(/^TLS: /);
});

test('a server that says nothing holds nobody up', async () => {
  const silent = createPlain((socket) => void socket.on('error', () => {}));
  silent.listen(0, '127.0.0.1');
  await once(silent, 'listening');
  onTestFinished(() => void silent.close());
  expect(await tlsProblem(`localhost:${(silent.address() as AddressInfo).port}`, trusting)).toBeUndefined();
});
