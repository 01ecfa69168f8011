import { expect, onTestFinished, test } from 'vitest';
import { broken, createNetwork, hang, html, instead, redirect, startPds, startPlc } from '../../sim/atproto/index.ts';
import { AccountInactive, ClientError } from '../../src/clients/error.ts';
import { addressGuard } from '../../src/clients/guard.ts';
import { jsonHttp } from '../../src/clients/http.ts';
import { type IdentityOptions, identityClient } from '../../src/clients/identity.ts';
import { hostPace } from '../../src/clients/pace.ts';

const { signal } = new AbortController();

async function world({ timeoutMs = 20_000, ...options }: Partial<IdentityOptions> & { timeoutMs?: number } = {}) {
  const network = createNetwork();
  const pds = await startPds(network);
  const plc = await startPlc(network);
  const { dev = true } = options;
  const open = jsonHttp({ timeoutMs });
  const guarded = jsonHttp({ timeoutMs, guard: addressGuard({ dev }) });
  const pace = hostPace({ perSecond: 100, restMinMs: 1, restMaxMs: 1 });
  const identity = identityClient({ open, guarded, pace, plcUrl: plc.url, dev, ...options });
  onTestFinished(async () => {
    await Promise.all([pds.close(), plc.close(), open.close(), guarded.close()]);
  });
  return { network, pds, plc, identity, alice: network.account().did };
}

test('an account of the directory leads to its PDS, and is asked for once', async () => {
  const { pds, plc, identity, alice } = await world();
  expect(identity.known(alice)).toBeUndefined();
  expect(await identity.pdsOf(alice, signal)).toBe(pds.url);
  expect(await identity.pdsOf(alice, signal)).toBe(pds.url);
  expect(identity.known(alice)).toBe(pds.url);
  expect(plc.requests().map(({ path }) => decodeURIComponent(path))).toEqual([`/${alice}`]);
});

test('an account that was forgotten, or is known for too long, is asked for again', async () => {
  const { network, plc, identity, alice } = await world();
  const second = await startPds(network, { name: 'second' });
  onTestFinished(() => second.close());
  await identity.pdsOf(alice, signal);
  network.migrate(alice, 'second');
  identity.forget(alice);
  expect(await identity.pdsOf(alice, signal)).toBe(second.url);
  expect(plc.requests()).toHaveLength(2);

  const short = await world({ keepMs: 1 });
  await short.identity.pdsOf(short.alice, signal);
  await expect.poll(() => short.identity.known(short.alice)).toBeUndefined();
});

test('a did:web leads to its PDS by the document at its host', async () => {
  const { network, pds, plc, identity } = await world();
  const { did } = network.account({ did: plc.webDid() });
  expect(did).toMatch(/^did:web:localhost%3A\d+$/);
  expect(await identity.pdsOf(did, signal)).toBe(pds.url);
  expect(plc.requests()).toMatchObject([{ route: 'did.json' }]);
});

test('outside of development no did:web of this machine is asked for', async () => {
  const { network, plc, identity } = await world({ dev: false });
  const { did } = network.account({ did: plc.webDid() });
  await expect(identity.pdsOf(did, signal)).rejects.toMatchObject({ kind: 'refused-address' });
  expect(plc.requests()).toEqual([]);
});

test('outside of development a PDS has to be at https', async () => {
  const { network, identity, alice } = await world({ dev: false });
  await expect(identity.pdsOf(alice, signal)).rejects.toThrow(/is not at a plain https:\/\/ address/);
  network.pointTo(alice, 'https://user:pass@pds.example');
  await expect(identity.pdsOf(alice, signal)).rejects.toThrow(/is not at a plain https:\/\/ address/);
  network.pointTo(alice, 'https://pds.example');
  expect(await identity.pdsOf(alice, signal)).toBe('https://pds.example');
});

test('a directory behind a path is asked there', async () => {
  const { plc, identity, alice } = await world();
  const open = jsonHttp();
  onTestFinished(() => open.close());
  const behind = identityClient({ open, guarded: open, pace: hostPace(), plcUrl: `${plc.url}/plc`, dev: true });
  await expect(behind.pdsOf(alice, signal)).rejects.toThrow(AccountInactive);
  expect(decodeURIComponent(plc.requests().at(-1)?.path ?? '')).toBe(`/plc/${alice}`);
  await identity.pdsOf(alice, signal);
});

test('an account that the directory does not know is not found, and one that was given up is deleted', async () => {
  const { network, identity, alice } = await world();
  const nobody = identity.pdsOf('did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', signal);
  await expect(nobody).rejects.toMatchObject({ name: 'AccountInactive', status: 'notfound' });
  network.tombstone(alice);
  await expect(identity.pdsOf(alice, signal)).rejects.toMatchObject({ name: 'AccountInactive', status: 'deleted' });
});

const document = (id: string, service: unknown = [], more = {}) => ({ id, service, ...more });
const pdsService = (serviceEndpoint: string, id = '#atproto_pds', type = 'AtprotoPersonalDataServer') => [
  { id, type, serviceEndpoint },
];

test.each<[what: string, body: (did: string) => unknown, problem: RegExp]>([
  [
    'of another account',
    () => document('did:plc:bbbbbbbbbbbbbbbbbbbbbbbb', pdsService('https://x.example')),
    /is that of/,
  ],
  ['without a PDS', (did) => document(did), /names no PDS/],
  ['with another service', (did) => document(did, pdsService('https://x.example', '#labeler')), /names no PDS/],
  [
    'with a PDS of another type',
    (did) => document(did, pdsService('https://x.example', '#atproto_pds', 'X')),
    /names no PDS/,
  ],
  ['with a PDS that is no URL', (did) => document(did, pdsService('x.example')), /is none/],
  ['with a PDS at a file', (did) => document(did, pdsService('file:///etc/passwd')), /names no PDS/],
  ['that is a list', () => [], /is none/],
  ['that is null', () => null, /is none/],
  ['of numbers', () => ({ id: 7, service: 7 }), /is none/],
])('a document %s is garbage', async (_what, body, problem) => {
  const { plc, identity, alice } = await world();
  plc.fault({ route: 'did' }, instead(200, body(alice)));
  const answer = identity.pdsOf(alice, signal);
  await expect(answer).rejects.toThrow(problem);
  await expect(answer).rejects.toMatchObject({ name: 'ClientError', kind: 'garbage' });
  // and is not remembered
  expect(identity.known(alice)).toBeUndefined();
});

test.each([
  ['hangs', hang(), { kind: 'timeout' }],
  ['redirects', redirect('/elsewhere'), { kind: 'status', status: 302 }],
  ['is broken', broken(503), { kind: 'status', status: 503 }],
  ['shows a page for people', html(), { kind: 'garbage' }],
])('a directory that %s is a failure, and no word about the account', async (_what, fault, failure) => {
  const { plc, identity, alice } = await world(fault.name === 'hangs' ? { timeoutMs: 200 } : {});
  plc.fault({}, fault);
  const error: unknown = await identity.pdsOf(alice, signal).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(ClientError);
  expect(error).toMatchObject(failure);
});

test.each([
  'did:key:z6Mk',
  'did:plc:',
  'did:plc:../../admin',
  'did:web:',
  'did:web:a b',
  'did:web:host.example:path',
  'x',
  '',
])('nobody is asked for what is not the DID of an account: %j', async (did) => {
  const { plc, identity } = await world();
  await expect(identity.pdsOf(did, signal)).rejects.toMatchObject({ kind: 'garbage' });
  expect(plc.requests()).toEqual([]);
});

test('whoever gives up gets its own reason', async () => {
  const { plc, identity, alice } = await world();
  plc.fault({}, hang());
  const caller = new AbortController();
  const answer = identity.pdsOf(alice, caller.signal);
  answer.catch(() => {});
  await expect.poll(() => plc.requests().length).toBe(1);
  caller.abort(new Error('the lease is lost'));
  await expect(answer).rejects.toThrow('the lease is lost');
});
