import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { jsonHttp } from '../../src/clients/http.ts';
import { knotClient } from '../../src/clients/knot.ts';
import { hostPace } from '../../src/clients/pace.ts';

const repo = 'did:plc:repoaaaaaaaaaaaaaaaaaaaa';
const person = (n: number): string => `did:plc:person${String(n).padStart(18, 'a')}`;
const item = (subject: string) => ({ subject, addedBy: person(0), createdAt: '2026-05-01T00:00:00Z' });

/** A knot that answers so, and what it was asked. */
async function knot(answer: (url: URL) => { status?: number; body: unknown }) {
  const asked: URL[] = [];
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url ?? '/', 'http://knot');
    asked.push(url);
    const { status = 200, body } = answer(url);
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const http = jsonHttp({ timeoutMs: 2_000 });
  onTestFinished(async () => {
    await http.close();
    server.close();
  });
  const client = knotClient({ http, pace: hostPace({ perSecond: 100 }), dev: true });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { asked, collaborators: () => client.collaboratorsOf(host, repo, AbortSignal.timeout(5_000)) };
}

test('all pages are read, and each person is there once', async () => {
  const { asked, collaborators } = await knot((url) =>
    url.searchParams.get('cursor') === 'next'
      ? { body: { items: [item(person(2)), item(person(1))] } }
      : { body: { cursor: 'next', items: [item(person(1))] } },
  );
  expect(await collaborators()).toEqual([person(1), person(2)]);
  expect(asked.map(({ pathname }) => pathname)).toEqual(Array(2).fill('/xrpc/sh.tangled.repo.listCollaborators'));
  expect(asked[0]?.searchParams.get('subject')).toBe(repo);
});

test('a list without an end is not followed for ever', async () => {
  const { asked, collaborators } = await knot(() => ({ body: { cursor: 'again', items: [item(person(1))] } }));
  expect(await collaborators()).toEqual([person(1)]);
  expect(asked).toHaveLength(5);
});

test.for([400, 404, 405, 501])('a knot that answers %i lets nobody in', async (status) => {
  const { collaborators } = await knot(() => ({ status, body: { error: 'MethodNotImplemented' } }));
  expect(await collaborators()).toEqual([]);
});

test.for<[what: string, answer: { status?: number; body: unknown }, kind: string]>([
  ['in trouble', { status: 500, body: {} }, 'status'],
  ['that names nobody by a DID', { body: { items: [item('alice.example')] } }, 'garbage'],
  ['that gives no list', { body: { items: 'all' } }, 'garbage'],
  ['with far too much to say', { body: { items: Array(20_000).fill(item(person(1))) } }, 'tooBig'],
])('a knot %s is an error', async ([, answer, kind]) => {
  const { collaborators } = await knot(() => answer);
  await expect(collaborators()).rejects.toMatchObject({ kind });
});
