import { getPdsEndpoint } from '@atcute/identity';
import { PlcDidDocumentResolver } from '@atcute/identity-resolver';
import { afterEach, describe, expect, test } from 'vitest';
import { cidOf } from '../../sim/atproto/cid.ts';
import * as sim from '../../sim/atproto/index.ts';

const REPO = 'sh.tangled.repo';
const MEMBER = 'sh.tangled.spindle.member';

const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
});

async function world() {
  const network = sim.createNetwork();
  const pds = await sim.startPds(network);
  const plc = await sim.startPlc(network);
  cleanup.push(
    () => pds.close(),
    () => plc.close(),
  );
  const alice = network.account({ handle: 'alice.test' });
  return { network, pds, plc, alice };
}

type Body = { records: { uri: string; cid: string; value: unknown }[]; cursor?: string; error?: string; rev?: string };

/** an XRPC query: status and body */
async function ask(pds: sim.PdsSim, method: string, params: Record<string, string> = {}, init: RequestInit = {}) {
  const response = await fetch(`${pds.url}/xrpc/${method}?${new URLSearchParams(params).toString()}`, init);
  return { status: response.status, body: (await response.json()) as Body };
}

/** a whole listing, page by page; `between` is done after each page */
async function list(
  pds: sim.PdsSim,
  repo: string,
  collection: string,
  more: Record<string, string> = {},
  between = () => {},
) {
  const rkeys: string[] = [];
  for (let cursor: string | undefined, pages = 0; pages < 1000; pages++) {
    const { body } = await ask(pds, 'com.atproto.repo.listRecords', {
      repo,
      collection,
      ...more,
      ...(cursor && { cursor }),
    });
    rkeys.push(...body.records.map(({ uri }) => uri.split('/').at(-1) ?? ''));
    cursor = body.cursor;
    if (cursor === undefined) return { rkeys, pages: pages + 1 };
    between();
  }
  throw new Error('the listing has no end');
}

describe('a PDS', () => {
  test('lists the newest first, fifty a page, and a cursor with every page that has records', async () => {
    const { network, pds, alice } = await world();
    network.fill(alice.did, REPO, 120, (n) => ({ $type: REPO, name: `r${n}` }));
    const made = network.repoOf(alice.did).commits.map(({ rkey }) => rkey);
    const whole = await list(pds, alice.did, REPO);
    expect(whole).toEqual({ rkeys: made.toReversed(), pages: 4 });
    expect(await list(pds, 'alice.test', REPO, { limit: '100', reverse: 'true' })).toEqual({ rkeys: made, pages: 3 });
    const { body } = await ask(pds, 'com.atproto.repo.listRecords', { repo: alice.did, collection: REPO, limit: '1' });
    const record = { $type: REPO, name: 'r119' };
    expect(body.records).toEqual([
      { uri: `at://${alice.did}/${REPO}/${made.at(-1)}`, cid: cidOf(record), value: record },
    ]);
    expect(pds.requests('listRecords')).toHaveLength(8);
    expect(pds.requests()[0]).toMatchObject({ method: 'GET', path: '/xrpc/com.atproto.repo.listRecords', status: 200 });
  });

  test('keeps its place while records are written', async () => {
    const { network, pds, alice } = await world();
    network.fill(alice.did, REPO, 30, () => ({}));
    const made = network
      .repoOf(alice.did)
      .commits.map(({ rkey }) => rkey)
      .toReversed();
    const { rkeys } = await list(pds, alice.did, REPO, { limit: '10' }, () => network.create(alice.did, REPO, {}));
    expect(rkeys).toEqual(made);
  });

  test.each([
    ['listRecords', { collection: REPO }, 'InvalidRequest', 'must have the property "repo"'],
    ['listRecords', { repo: 'ALICE' }, 'InvalidRequest', 'must have the property "collection"'],
    [
      'listRecords',
      { repo: 'ALICE', collection: REPO, limit: '101' },
      'InvalidRequest',
      'limit can not be greater than 100',
    ],
    ['listRecords', { repo: 'ALICE', collection: REPO, limit: '0' }, 'InvalidRequest', 'limit can not be less than 1'],
    ['listRecords', { repo: 'ALICE', collection: REPO, limit: 'x' }, 'InvalidRequest', 'limit must be an integer'],
    [
      'listRecords',
      { repo: 'did:plc:nobody', collection: REPO },
      'InvalidRequest',
      'Could not find repo: did:plc:nobody',
    ],
    ['describeRepo', { repo: 'nobody.test' }, 'InvalidRequest', 'Could not find repo: nobody.test'],
    [
      'getRecord',
      { repo: 'ALICE', collection: REPO, rkey: 'none' },
      'RecordNotFound',
      'Could not locate record: at://',
    ],
  ])('answers %s of %o with %s', async (method, params: Record<string, string>, error, message) => {
    const { pds, alice } = await world();
    const given = params['repo'] === 'ALICE' ? { ...params, repo: alice.did } : params;
    const { status, body } = await ask(pds, `com.atproto.repo.${method}`, given);
    expect({ status, body }).toEqual({ status: 400, body: { error, message: expect.stringContaining(message) } });
  });

  test('answers 501 for what it does not speak and 405 for the wrong verb', async () => {
    const { pds } = await world();
    expect(await ask(pds, 'com.atproto.repo.nothing')).toEqual({
      status: 501,
      body: { error: 'MethodNotImplemented', message: 'Method Not Implemented' },
    });
    expect((await ask(pds, 'com.atproto.server.describeServer', {}, { method: 'POST' })).status).toBe(405);
  });

  test('gives one record, by its CID too, and says what there is', async () => {
    const { network, pds, alice } = await world();
    const { rkey, uri } = network.put(alice.did, REPO, 'one', { name: 'a' });
    const where = { repo: alice.did, collection: REPO, rkey };
    const cid = cidOf({ name: 'a' });
    const found = { status: 200, body: { uri, cid, value: { name: 'a' } } };
    expect(await ask(pds, 'com.atproto.repo.getRecord', where)).toEqual(found);
    expect(await ask(pds, 'com.atproto.repo.getRecord', { ...where, cid })).toEqual(found);
    expect((await ask(pds, 'com.atproto.repo.getRecord', { ...where, cid: cidOf({}) })).body.error).toBe(
      'RecordNotFound',
    );
    expect((await ask(pds, 'com.atproto.repo.describeRepo', { repo: alice.did })).body).toMatchObject({
      handle: 'alice.test',
      did: alice.did,
      collections: [REPO],
      handleIsCorrect: true,
    });
    expect((await ask(pds, 'com.atproto.server.describeServer')).body).toMatchObject({ did: 'did:web:pds.test' });
    expect((await ask(pds, 'com.atproto.identity.resolveHandle', { handle: 'alice.test' })).body).toEqual({
      did: alice.did,
    });
    expect((await ask(pds, 'com.atproto.identity.resolveHandle', { handle: 'bob.test' })).status).toBe(400);
  });

  test('gives the latest commit, or says what is the matter with the account', async () => {
    const { network, pds, alice } = await world();
    const latest = () => ask(pds, 'com.atproto.sync.getLatestCommit', { did: alice.did });
    const { rev } = network.put(alice.did, REPO, 'one', {});
    expect(await latest()).toEqual({ status: 200, body: { rev, cid: expect.stringMatching(/^bafyrei/) } });
    const listing = () => ask(pds, 'com.atproto.repo.listRecords', { repo: alice.did, collection: REPO });
    for (const [change, error] of [
      [network.deactivate, 'RepoDeactivated'],
      [network.suspend, 'RepoSuspended'],
      [network.takeDown, 'RepoTakendown'],
    ] as const) {
      change(alice.did);
      expect(await latest()).toMatchObject({ status: 400, body: { error } });
      expect(await listing()).toMatchObject({ status: 400, body: { error: 'InvalidRequest' } });
    }
    network.reactivate(alice.did);
    expect((await latest()).body.rev).toBe(rev);

    const other = await sim.startPds(network, { name: 'other' });
    cleanup.push(() => other.close());
    expect((await ask(other, 'com.atproto.sync.getLatestCommit', { did: alice.did })).body.error).toBe('RepoNotFound');
    network.migrate(alice.did, 'other');
    expect((await latest()).body.error).toBe('RepoDeactivated');
    expect((await ask(other, 'com.atproto.sync.getLatestCommit', { did: alice.did })).body.rev).toBe(rev);
    expect((await list(other, alice.did, REPO)).rkeys).toEqual(['one']);

    network.deleteAccount(alice.did);
    expect((await ask(other, 'com.atproto.sync.getLatestCommit', { did: alice.did })).body.error).toBe('RepoNotFound');
    expect((await latest()).body.error).toBe('RepoNotFound');
  });

  test('lets anybody write over HTTP', async () => {
    const { network, pds } = await world();
    const call = async (method: string, body: object) => {
      const init = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
      return ask(pds, method, {}, init);
    };
    const made = await call('com.atproto.server.createAccount', { handle: 'carol.test' });
    const did = network.didOf('carol.test') ?? '';
    expect(made).toEqual({ status: 200, body: { did, handle: 'carol.test' } });
    const at = { repo: did, collection: REPO, rkey: 'one' };
    expect((await call('com.atproto.repo.createRecord', { ...at, record: { n: 1 } })).body).toMatchObject({
      uri: `at://${did}/${REPO}/one`,
      cid: cidOf({ n: 1 }),
      commit: { rev: network.find(did)?.rev },
    });
    await call('com.atproto.repo.putRecord', { ...at, record: { n: 2 } });
    expect(network.repoOf(did).get(REPO, 'one')?.record).toEqual({ n: 2 });
    await call('com.atproto.repo.deleteRecord', at);
    expect(await call('com.atproto.repo.deleteRecord', at)).toEqual({ status: 200, body: {} });
    expect(network.repoOf(did).get(REPO, 'one')).toBeUndefined();
    expect((await call('com.atproto.repo.createRecord', { repo: 'nobody' })).status).toBe(400);
    await call('com.atproto.server.deactivateAccount', { did });
    expect(network.find(did)?.status).toBe('deactivated');
    await call('com.atproto.server.activateAccount', { did });
    await call('com.atproto.server.deleteAccount', { did });
    expect(network.find(did)?.status).toBe('deleted');
  });
});

describe('the directory', () => {
  test('is one that a real resolver reads', async () => {
    const { network, pds, plc, alice } = await world();
    const resolver = new PlcDidDocumentResolver({ apiUrl: plc.url });
    const did = alice.did as `did:plc:${string}`;
    const document = await resolver.resolve(did);
    expect(document.alsoKnownAs).toEqual(['at://alice.test']);
    expect(document.verificationMethod?.[0]).toMatchObject({ id: `${did}#atproto`, type: 'Multikey', controller: did });
    expect(getPdsEndpoint(document)).toBe(pds.url);
    network.changeHandle(did, 'alicia.test');
    network.pointTo(did, 'http://10.0.0.1:8080');
    const changed = await resolver.resolve(did);
    expect(changed.alsoKnownAs).toEqual(['at://alicia.test']);
    expect(getPdsEndpoint(changed)).toBe('http://10.0.0.1:8080');
    expect(network.didOf('alice.test')).toBeUndefined();
  });

  test('answers 404 for the unknown, 410 for a tombstone, 400 for what is no DID', async () => {
    const { network, plc, alice } = await world();
    const get = async (path: string) => {
      const response = await fetch(plc.url + path);
      return [response.status, ((await response.json()) as { message: string }).message];
    };
    const nobody = `did:plc:${'a'.repeat(24)}`;
    expect(await get(`/${nobody}`)).toEqual([404, `DID not registered: ${nobody}`]);
    expect(await get('/did:plc:short')).toEqual([400, 'Not a valid DID: did:plc:short']);
    network.deleteAccount(alice.did);
    expect((await fetch(`${plc.url}/${alice.did}`)).status).toBe(200);
    network.tombstone(alice.did);
    expect(await get(`/${encodeURIComponent(alice.did)}`)).toEqual([410, `DID not available: ${alice.did}`]);
  });

  test('serves the document of a did:web account at its own host', async () => {
    const { network, pds, plc } = await world();
    const did = plc.webDid('127.0.0.1');
    expect((await fetch(`${plc.url}/.well-known/did.json`)).status).toBe(404);
    network.account({ did });
    const document = (await (await fetch(`${plc.url}/.well-known/did.json`)).json()) as {
      id: string;
      service: unknown;
    };
    expect(document).toMatchObject({ id: did, service: [{ id: '#atproto_pds', serviceEndpoint: pds.url }] });
  });
});

describe('a fault', () => {
  const listing = (pds: sim.PdsSim, did: string, init?: RequestInit) =>
    fetch(`${pds.url}/xrpc/com.atproto.repo.listRecords?repo=${did}&collection=${MEMBER}`, init);

  test('acts on what it matches, as often as it was told', async () => {
    const { network, pds, alice } = await world();
    const bob = network.account();
    const rule = pds.fault({ route: 'listRecords', did: alice.did, collection: MEMBER }, sim.broken(503), 2);
    const always = pds.fault({ where: ({ query }) => query.get('limit') === '7' }, sim.broken(), 'always');
    const statuses = async (...dids: string[]) => {
      const seen: number[] = [];
      for (const did of dids) seen.push((await listing(pds, did)).status);
      return seen;
    };
    expect(await statuses(bob.did, alice.did, alice.did, alice.did)).toEqual([200, 503, 503, 200]);
    expect(rule.hits).toBe(2);
    for (let n = 0; n < 3; n++)
      expect((await ask(pds, 'com.atproto.server.describeServer', { limit: '7' })).status).toBe(500);
    expect(always.hits).toBe(3);
    always.remove();
    pds.fault({}, sim.broken(), 'always');
    pds.clearFaults();
    expect(await statuses(alice.did)).toEqual([200]);
    expect(pds.requests().map(({ fault }) => fault)).toEqual([
      undefined,
      'answers 503',
      'answers 503',
      undefined,
      ...Array<string>(3).fill('answers 500'),
      undefined,
    ]);
  });

  test('is what it says: 429 with its headers, a redirect, HTML, garbage, any other answer', async () => {
    const { pds, alice } = await world();
    const meet = (fault: sim.Fault) => {
      pds.fault({}, fault);
      return listing(pds, alice.did, { redirect: 'manual' });
    };
    const limited = await meet(sim.rateLimited(7));
    expect(limited.status).toBe(429);
    expect(limited.headers.get('retry-after')).toBe('7');
    expect(limited.headers.get('ratelimit-remaining')).toBe('0');
    expect(Number(limited.headers.get('ratelimit-reset'))).toBeGreaterThan(Date.now() / 1000);
    expect(await limited.json()).toEqual({ error: 'RateLimitExceeded', message: 'Rate Limit Exceeded' });
    expect((await meet(sim.rateLimited(7, { retryAfter: false }))).headers.has('retry-after')).toBe(false);
    const redirect = await meet(sim.redirect('http://169.254.169.254/latest'));
    expect([redirect.status, redirect.headers.get('location')]).toEqual([302, 'http://169.254.169.254/latest']);
    const page = await meet(sim.html());
    expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    await expect((await meet(sim.garbage())).json()).rejects.toThrow();
    expect(await (await meet(sim.instead(200, { records: 7 }))).json()).toEqual({ records: 7 });
    await expect(meet(sim.reset())).rejects.toThrow('fetch failed');
    expect(pds.requests().at(-1)?.status).toBeUndefined();
  });

  test('can hang, until the caller has had enough', async () => {
    const { pds, alice } = await world();
    pds.fault({}, sim.hang());
    const giveUp = new AbortController();
    const asked = listing(pds, alice.did, { signal: giveUp.signal });
    const request = await pds.until(() => pds.requests('listRecords')[0], 'a request');
    giveUp.abort();
    await expect(asked).rejects.toThrow('aborted');
    await pds.until(() => request.endedAt !== undefined, 'the end of the request');
    expect(request.status).toBeUndefined();
  });

  test('can be late, slow, endless or cut short', async () => {
    const { network, pds, alice } = await world();
    const right = await (await listing(pds, alice.did)).text();
    pds.fault({}, sim.delay(30));
    network.put(alice.did, MEMBER, 'one', {});
    expect(await (await listing(pds, alice.did)).text()).not.toBe(right);
    network.delete(alice.did, MEMBER, 'one');
    pds.fault({}, sim.drip(1));
    expect(await (await listing(pds, alice.did)).text()).toBe(right);
    pds.fault({}, sim.truncated());
    await expect((await listing(pds, alice.did)).text()).rejects.toThrow('terminated');
    pds.fault({}, sim.endless());
    const response = await listing(pds, alice.did);
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > 2_000_000) break;
    }
    expect(bytes).toBeGreaterThan(2_000_000);
    await pds.until(() => pds.requests().at(-1)?.endedAt !== undefined, 'the end of the endless');
  });

  test('can show what was true at an earlier rev', async () => {
    const { network, pds, alice } = await world();
    const { rev } = network.put(alice.did, MEMBER, 'one', {});
    network.put(alice.did, MEMBER, 'two', {});
    network.delete(alice.did, MEMBER, 'one');
    pds.fault({}, sim.stale(rev), 2);
    expect((await ask(pds, 'com.atproto.sync.getLatestCommit', { did: alice.did })).body.rev).toBe(rev);
    expect((await list(pds, alice.did, MEMBER, { limit: '100' })).rkeys).toEqual(['one']);
    expect((await list(pds, alice.did, MEMBER)).rkeys).toEqual(['two']);
  });

  test('can hold an answer that gets old, or a request that does not', async () => {
    const { network, pds, alice } = await world();
    network.put(alice.did, MEMBER, 'one', {});
    for (const [at, left] of [
      ['answer', ['one']],
      ['request', []],
    ] as const) {
      network.put(alice.did, MEMBER, 'one', {});
      const held = pds.hold({ route: 'listRecords' }, at);
      const asked = listing(pds, alice.did);
      expect((await held.arrived).route).toBe('listRecords');
      network.delete(alice.did, MEMBER, 'one');
      held.release();
      const { records } = (await (await asked).json()) as Body;
      expect(records.map(({ uri }) => uri.split('/').at(-1))).toEqual(left);
    }
  });

  test('works on the directory too', async () => {
    const { plc, alice } = await world();
    plc.fault({ did: alice.did }, sim.html(200));
    const resolver = new PlcDidDocumentResolver({ apiUrl: plc.url });
    await expect(resolver.resolve(alice.did as `did:plc:${string}`)).rejects.toThrow();
    expect(plc.requests('did')).toMatchObject([{ fault: 'HTML', status: 200 }]);
    await expect(resolver.resolve(alice.did as `did:plc:${string}`)).resolves.toMatchObject({ id: alice.did });
  });
});
