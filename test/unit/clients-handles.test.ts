import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { handleClient } from '../../src/clients/handles.ts';
import { jsonHttp } from '../../src/clients/http.ts';
import { hostPace } from '../../src/clients/pace.ts';
import { type DnsAnswer, startDns } from '../support/dns-server.ts';

const alice = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';
const bob = 'did:plc:z72i7hdynmk6r22z27h6tvur';
const { signal } = new AbortController();

type Page = RequestListener | 'away';
const page =
  (status: number, text: string, type = 'text/plain'): Page =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': type }).end(text);
const none = page(404, 'nothing');

/** Asks whose `alice.example` is. */
async function ask(answer: DnsAnswer, http: Page = none): Promise<{ whose: Promise<string | undefined> }> {
  await startDns({ '_atproto.alice.example': answer });
  const host = createServer((request, response) => {
    if (http !== 'away') http(request, response);
  });
  await new Promise<void>((resolve) => host.listen(0, '127.0.0.1', resolve));
  const { port } = host.address() as AddressInfo;
  if (http === 'away') host.close();
  const guarded = jsonHttp({ timeoutMs: 2_000 });
  onTestFinished(async () => {
    await guarded.close();
    host.close();
  });
  const placeOf = () => new URL(`http://127.0.0.1:${port}/.well-known/atproto-did`);
  const handles = handleClient({ guarded, pace: hostPace(), timeoutMs: 500, placeOf });
  return { whose: handles.didOf('alice.example', signal) };
}

test.each<[what: string, dns: DnsAnswer, http: Page | undefined, did: string | undefined]>([
  ['the DNS says it', [`did=${alice}`], undefined, alice],
  ['among other records, and twice', ['v=spf1 -all', `did=${alice}`, `did=${alice}`], undefined, alice],
  ['the DNS comes before the host', [`did=${alice}`], page(200, bob), alice],
  ['only its host says it', { code: 3 }, page(200, `${alice}\n`), alice],
  ['its host has no type for it', { code: 3 }, page(200, alice, 'application/octet-stream'), alice],
  ['the DNS has other records only', ['v=spf1 -all'], page(200, `  ${alice}  \nmore`), alice],
  ['the DNS is broken, and its host says it', { code: 2 }, page(200, alice), alice],
  ['the DNS is silent, and its host says it', 'silence', page(200, alice), alice],
  ['nobody says it', { code: 3 }, undefined, undefined],
  ['its host forbids to ask', { code: 3 }, page(403, 'no'), undefined],
])('whose a handle is: %s', async (_what, dns, http, did) => {
  const { whose } = await ask(dns, http);
  expect(await whose).toBe(did);
});

test.each<[what: string, dns: DnsAnswer, http: Page, error: { kind: string; message: RegExp }]>([
  [
    'several accounts',
    [`did=${alice}`, `did=${bob}`],
    page(200, alice),
    { kind: 'garbage', message: /several accounts/ },
  ],
  ['something that is no DID', ['did=alice'], none, { kind: 'garbage', message: /not the DID of an account/ }],
  [
    'a page of HTML',
    { code: 3 },
    page(200, '<p>', 'text/html'),
    { kind: 'garbage', message: /not the DID of an account/ },
  ],
  ['too much', { code: 3 }, page(200, 'x'.repeat(3_000)), { kind: 'tooBig', message: /2064 bytes/ }],
  ['a DNS that is broken, and nothing at its host', { code: 2 }, none, { kind: 'unreachable', message: /ESERVFAIL/ }],
  ['a host that is away', { code: 3 }, 'away', { kind: 'unreachable', message: /ECONNREFUSED/ }],
  ['a host in trouble', { code: 3 }, page(503, ''), { kind: 'status', message: /503/ }],
])('a handle of which nobody can tell whose it is: %s', async (_what, dns, http, error) => {
  const { whose } = await ask(dns, http);
  await expect(whose).rejects.toMatchObject({ kind: error.kind, message: expect.stringMatching(error.message) });
});
