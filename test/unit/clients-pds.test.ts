import { expect, onTestFinished, test } from 'vitest';
import {
  broken,
  createNetwork,
  endless,
  type Fault,
  garbage,
  hang,
  html,
  instead,
  rateLimited,
  redirect,
  startPds,
  truncated,
} from '../../sim/atproto/index.ts';
import { jsonHttp } from '../../src/clients/http.ts';
import { hostPace } from '../../src/clients/pace.ts';
import { type Page, type PdsOptions, pdsClient } from '../../src/clients/pds.ts';

const { signal } = new AbortController();
const collection = 'sh.tangled.repo';

async function world({ timeoutMs = 20_000, ...options }: Partial<PdsOptions> & { timeoutMs?: number } = {}) {
  const network = createNetwork();
  const pds = await startPds(network);
  const http = jsonHttp({ timeoutMs });
  const pace = hostPace({ perSecond: 1_000, restMinMs: 1, restMaxMs: 1 });
  const client = pdsClient({ http, pace, ...options });
  onTestFinished(async () => {
    await Promise.all([pds.close(), http.close()]);
  });
  const { did } = network.account();
  return {
    network,
    pds,
    did,
    add: (count: number) => network.fill(did, collection, count, (n) => ({ name: `repo-${n}`, knot: 'k.example' })),
    latestRev: () => client.latestRev(pds.url, did, signal),
    async pages() {
      const all: Page[] = [];
      for await (const page of client.listRecords(pds.url, did, collection, signal)) all.push(page);
      return all;
    },
  };
}

test('the latest commit of an account is known by its rev', async () => {
  const { network, did, add, latestRev } = await world();
  add(3);
  expect(await latestRev()).toBe(network.find(did)?.rev);
});

test('all pages of a collection come, each record once, in the order of the server', async () => {
  const { network, did, pds, add, pages } = await world();
  add(250);
  const rkeys = (await pages()).flatMap((page) => page.records.map(({ rkey }) => rkey));
  const expected = network
    .repoOf(did)
    .page(collection, { limit: 1_000 })
    .map(({ rkey }) => rkey);
  expect(rkeys).toEqual(expected);
  expect(rkeys).toHaveLength(250);
  // a real server says that there is nothing more with a page that is empty
  expect(pds.requests('listRecords').map(({ query }) => query.get('limit'))).toEqual(['100', '100', '100', '100']);
});

test('an account without records has one page without any', async () => {
  const { pages } = await world();
  expect(await pages()).toEqual([{ records: [], bad: [] }]);
});

test.each([
  ['RepoNotFound', 'notfound'],
  ['RepoDeactivated', 'deactivated'],
  ['RepoTakendown', 'takendown'],
  ['RepoSuspended', 'suspended'],
])('%s is a word about the account, and no failure', async (error, status) => {
  const { pds, latestRev } = await world();
  pds.fault({}, instead(400, { error, message: 'said the server' }));
  await expect(latestRev()).rejects.toMatchObject({ name: 'AccountInactive', status });
});

test('an account that is no longer to be had says so', async () => {
  const { network, did, latestRev } = await world();
  network.deactivate(did);
  await expect(latestRev()).rejects.toMatchObject({ status: 'deactivated' });
  network.takeDown(did);
  await expect(latestRev()).rejects.toMatchObject({ status: 'takendown' });
  network.deleteAccount(did);
  await expect(latestRev()).rejects.toMatchObject({ status: 'notfound' });
});

test.each<[what: string, fault: Fault, failure: object]>([
  ['hangs', hang(), { kind: 'timeout' }],
  ['is broken', broken(), { kind: 'status', status: 500 }],
  ['redirects', redirect('https://elsewhere.example/'), { kind: 'status', status: 302 }],
  ['shows a page for people', html(), { kind: 'garbage' }],
  ['sends garbage', garbage(), { kind: 'garbage' }],
  ['breaks off', truncated(), { kind: 'unreachable' }],
  ['has enough of us', rateLimited(30), { kind: 'status', status: 429 }],
  ['sends a list', instead(200, []), { kind: 'garbage' }],
  ['sends null', instead(200, 'null', { 'Content-Type': 'application/json' }), { kind: 'garbage' }],
  ['sends records that are no list', instead(200, { records: {} }), { kind: 'garbage' }],
  ['sends a cursor that is no text', instead(200, { records: [], cursor: {} }), { kind: 'garbage' }],
  ['sends a cursor without an end', instead(200, { records: [], cursor: 'x'.repeat(5_000) }), { kind: 'garbage' }],
])('a PDS that %s fails the whole list, and never gives half of it as all', async (_what, fault, failure) => {
  const { pds, add, pages } = await world(fault.name === 'hangs' ? { timeoutMs: 500 } : {});
  add(150);
  pds.fault({ where: ({ query }) => query.has('cursor') }, fault);
  await expect(pages()).rejects.toMatchObject({ name: 'ClientError', ...failure });
});

test.each([
  ['no rev', {}],
  ['a rev that is none', { rev: '2026-11-20' }],
  ['a rev of another kind', { rev: 7 }],
])('a latest commit with %s is garbage', async (_what, body) => {
  const { pds, latestRev } = await world();
  pds.fault({}, instead(200, body));
  await expect(latestRev()).rejects.toMatchObject({ kind: 'garbage' });
});

const entry = (n: number) => ({ uri: `at://did:plc:x/${collection}/${n}`, cid: 'x', value: {} });

test('a cursor that comes back is found out, however long the loop is', async () => {
  const { pds, did, pages } = await world();
  for (const loop of [1, 2, 7]) {
    let n = 0;
    const rule = pds.fault(
      { route: 'listRecords' },
      {
        name: 'loops',
        run: ({ send }) => send({ status: 200, body: { records: [entry(n)], cursor: `c${n++ % loop}` } }),
      },
      'always',
    );
    await expect(pages()).rejects.toThrow(`the list of ${collection} of ${did} comes back to where it was`);
    expect(rule.hits).toBeLessThan(loop * 4 + 4);
    rule.remove();
  }
});

test('a list that goes on and on is given up', async () => {
  const { pds, pages } = await world({ maxPages: 30 });
  let n = 0;
  const rule = pds.fault(
    { route: 'listRecords' },
    { name: 'goes on', run: ({ send }) => send({ status: 200, body: { records: [], cursor: `c${n++}` } }) },
    'always',
  );
  await expect(pages()).rejects.toThrow(/has more than 30 pages/);
  expect(rule.hits).toBe(30);
});

test('an empty page with a cursor is not the end, unless the cursor stands still', async () => {
  const { pds, pages } = await world();
  pds.fault({ route: 'listRecords' }, instead(200, { records: [], cursor: 'a' }));
  pds.fault({ route: 'listRecords' }, instead(200, { records: [], cursor: 'b' }), 2);
  expect(await pages()).toHaveLength(3);
  expect(pds.requests('listRecords').map(({ query }) => query.get('cursor'))).toEqual([null, 'a', 'b']);
});

test('entries that are no records of this account are told apart', async () => {
  const { pds, did, pages } = await world();
  const good = { uri: `at://${did}/${collection}/good`, value: { name: 'x' } };
  const bad = [
    7,
    null,
    'text',
    {},
    { uri: 7, value: {} },
    { uri: `at://did:plc:other/${collection}/x`, value: {} },
    { uri: `at://${did}/sh.tangled.repo.pull/x`, value: {} },
    { uri: `at://${did}/${collection}/`, value: {} },
    { uri: `at://${did}/${collection}/a/b`, value: {} },
    { uri: `at://${did}/${collection}/..`, value: {} },
    { uri: `at://${did}/${collection}/\0`, value: {} },
  ];
  pds.fault({ route: 'listRecords' }, instead(200, { records: [...bad, good] }));
  const [page] = await pages();
  expect(page?.records).toEqual([{ rkey: 'good', value: { name: 'x' } }]);
  expect(page?.bad.map(({ entry: one }) => one)).toEqual(bad);
});

test('records too large for one answer come in smaller pages', async () => {
  const { network, did, pds, pages } = await world();
  network.fill(did, collection, 30, (n) => ({
    name: `repo-${n}`,
    knot: 'k.example',
    description: 'x'.repeat(500_000),
  }));
  const all = await pages();
  expect(all.flatMap((page) => page.records)).toHaveLength(30);
  expect(Math.max(...all.map((page) => page.records.length))).toBeLessThan(10);
  expect(pds.requests('listRecords')[0]?.query.get('limit')).toBe('100');
});

test('an answer without an end is given up in the end', async () => {
  const { pds, pages } = await world();
  pds.fault({ route: 'listRecords' }, endless(), 'always');
  await expect(pages()).rejects.toMatchObject({ kind: 'tooBig' });
  expect(pds.requests('listRecords').map(({ query }) => query.get('limit'))).toEqual(['100', '25', '7', '2', '1']);
});
