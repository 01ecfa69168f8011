import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import {
  broken,
  delay,
  hang,
  html,
  instead,
  rateLimited,
  redirect,
  type RequestRecord,
  startPds,
} from '../../sim/atproto/index.ts';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { askForListing } from '../../src/store/accounts.ts';
import { addSources, takeLeases } from '../../src/store/leases.ts';
import { applyChange } from '../../src/store/records.ts';
import { listRefused } from '../../src/store/refused.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { type BackfillOptions, dumpTables, isListed, makeDue, startLister } from '../support/backfill.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { startNetwork } from '../support/network.ts';
import { until } from '../support/until.ts';

const host = 'spindle.example';
const knot = 'knot.example';

let db: FreshDatabase;
const cleanup: (() => unknown)[] = [];
beforeEach(async () => void (db = await freshDatabase({ max: 10 })));
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
  await db.drop();
});

async function world() {
  const net = await startNetwork();
  const owner = net.owner.did;
  await beSpindle(db.sql, { host, owner });
  const lister = (options: Partial<BackfillOptions> = {}) => {
    const started = startLister(db.sql, { plcUrl: net.plc.url, ...options });
    let stopped: Promise<void> | undefined;
    const stop = (): Promise<void> => (stopped ??= started.stop());
    cleanup.push(stop);
    return { ...started, stop };
  };
  /** A member with repositories that chose this spindle. */
  const member = (repos: number, about: { pds?: string } = {}): string => {
    const { did } = net.network.account(about);
    for (let n = 0; n < repos; n++) net.network.repo(did, { knot, name: `repo-${n}`, spindle: host });
    net.network.invite(owner, did, host);
    return did;
  };
  const listed = (did: string) =>
    until(`the listing of ${did}`, async () => {
      const rev = net.network.find(did)?.rev ?? '';
      return isListed(db.sql, { did, rev });
    });
  return { ...net, owner, lister, member, listed };
}

/** The live rows, as `did collection rkey value`; the same of the network. */
async function live(): Promise<string[]> {
  const rows = await db.sql<{ did: string; collection: string; rkey: string }[]>`
    select did, collection, rkey from records where value is not null`;
  return rows.map(({ did, collection, rkey }) => `${did} ${collection} ${rkey}`).toSorted();
}
async function served(): Promise<string[]> {
  const rows = await db.sql<{ did: string; name: string }[]>`select did, name from served where source = 'record'`;
  return rows.map(({ did, name }) => `${did}/${name}`).toSorted();
}
async function account(did: string) {
  const [row] = await db.sql<{ active: boolean; status: string | null; tries: number; problem: string | null }[]>`
    select active, status, tries, problem from accounts where did = ${did}`;
  return row;
}
/** What the live stream would do, under a lease of its own. */
async function liveStream() {
  await addSources(db.sql, ['jetstream']);
  const [held] = await takeLeases(db.sql, 'live', ['jetstream'], 1, 60_000);
  if (!held) throw new Error('no lease');
  return (
    did: string,
    collection: string,
    rkey: string,
    rev: string,
    value: Parameters<typeof applyChange>[2]['value'],
  ) => applyChange(db.sql, held, { did, collection, rkey, rev, value, at: new Date() });
}

test('an empty database comes to what the network says: members, repos and collaborators, all pages', async () => {
  const { network, owner, member, lister, listed } = await world();
  const alice = member(250);
  const bob = member(0);
  network.repo(bob, { knot, name: 'elsewhere', spindle: 'other.example' });
  network.repo(bob, { knot, name: 'none' });
  network.repo(owner, { knot: 'Knot.Example', name: 'mine', spindle: 'SPINDLE.example' });
  const stranger = network.account().did;
  network.repo(stranger, { knot, name: 'theirs', spindle: host });
  network.invite(stranger, stranger, host);
  network.invite(owner, stranger, 'other.example');
  const { uri } = network.repo(alice, { knot, name: 'shared', spindle: host });
  network.collaborator(alice, uri, bob);

  const { stats } = lister();
  for (const did of [owner, alice, bob]) await listed(did);
  const expected = [owner, alice, bob].flatMap((did) =>
    [NSID.member, NSID.repo, NSID.collaborator].flatMap((collection) =>
      network
        .repoOf(did)
        .page(collection, { limit: 1_000 })
        .map(({ rkey }) => `${did} ${collection} ${rkey}`),
    ),
  );
  expect(await live()).toEqual(expected.toSorted());
  expect(await served()).toEqual(
    [...Array.from({ length: 250 }, (_, n) => `${alice}/repo-${n}`), `${alice}/shared`, `${owner}/mine`].toSorted(),
  );
  expect(stats()).toMatchObject({ records: expected.length, bad: 0, failures: 0 });
});

test('what is gone from the server is deleted here, and what changed is changed, as of the listing', async () => {
  const { network, owner, member, lister, listed } = await world();
  const alice = member(3);
  const bob = member(2);
  lister();
  for (const did of [owner, alice, bob]) await listed(did);
  const [first, second, third] = network.repoOf(alice).page(NSID.repo, { limit: 3, reverse: true });
  if (!first || !second || !third) throw new Error('no repos');

  network.delete(alice, NSID.repo, first.rkey);
  network.update(alice, NSID.repo, second.rkey, { knot, name: 'renamed', spindle: host });
  network.update(alice, NSID.repo, third.rkey, { knot, name: 'repo-2' });
  const [bobs] = network
    .repoOf(owner)
    .page(NSID.member, { limit: 10 })
    .filter(({ record }) => JSON.stringify(record).includes(bob));
  network.delete(owner, NSID.member, bobs?.rkey ?? '');
  for (const did of [owner, alice]) {
    await makeDue(db.sql, did);
    await listed(did);
  }
  expect(await served()).toEqual([`${alice}/renamed`]);
  const tombstones = await db.sql<{ did: string; rkey: string; rev: string }[]>`
    select did, rkey, rev from records where value is null order by did = ${owner}`;
  expect([...tombstones]).toEqual([
    { did: alice, rkey: first.rkey, rev: network.find(alice)?.rev },
    { did: owner, rkey: bobs?.rkey, rev: network.find(owner)?.rev },
  ]);
});

test('an account without a new commit costs one request', async () => {
  const { pds, owner, member, lister, listed } = await world();
  const alice = member(3);
  lister();
  for (const did of [owner, alice]) await listed(did);
  const before = pds.requests().length;
  const dump = await dumpTables(db.sql);
  await makeDue(db.sql, alice);
  await listed(alice);
  expect(
    pds
      .requests()
      .slice(before)
      .map(({ route }) => route),
  ).toEqual(['getLatestCommit']);
  expect(await dumpTables(db.sql)).toEqual(dump);
});

test('a page that is older than a delete does not bring the record back, nor does it hide one that is newer', async () => {
  const { network, pds, owner, member, lister, listed } = await world();
  const alice = member(2);
  const stream = await liveStream();
  const held = pds.hold({ route: 'listRecords', did: alice, collection: NSID.repo });
  lister();
  await held.arrived;
  // all of this happens after the page was made, and reaches us before it
  const [old, changed] = network.repoOf(alice).page(NSID.repo, { limit: 2, reverse: true });
  if (!old || !changed) throw new Error('no repos');
  await stream(alice, NSID.repo, old.rkey, network.delete(alice, NSID.repo, old.rkey), null);
  const moved = { knot: 'new.example', name: 'moved', spindle: host };
  const { rev } = network.update(alice, NSID.repo, changed.rkey, moved);
  await stream(alice, NSID.repo, changed.rkey, rev, moved);
  const fresh = network.repo(alice, { knot, name: 'fresh', spindle: host });
  await stream(alice, NSID.repo, fresh.rkey, fresh.rev, { knot, name: 'fresh', spindle: host });
  held.release();
  await until('the old listing', async () => (await account(alice))?.tries === 0 && (await isOver(alice)));
  expect(await served()).toEqual([`${alice}/fresh`, `${alice}/moved`]);

  // and the next listing, which sees it all, changes nothing
  const rows = () => db.sql`select did, rkey, value, since from records order by did, rkey`;
  const before = await rows();
  await makeDue(db.sql, alice);
  await listed(alice);
  expect([...(await rows())]).toEqual([...before]);
  await listed(owner);
});
const isOver = async (did: string): Promise<boolean> =>
  (await db.sql`select from accounts where did = ${did} and listed_at is not null and due_at > clock_timestamp()`)
    .length > 0;

test('a record that is none is stepped over, kept for people to read, and counts as not being there', async () => {
  const { network, owner, member, lister, listed } = await world();
  const alice = member(2);
  const { stats } = lister();
  for (const did of [owner, alice]) await listed(did);
  const [good] = network.repoOf(alice).page(NSID.repo, { limit: 1 });
  network.update(alice, NSID.repo, good?.rkey ?? '', { knot: 7, name: null });
  network.create(alice, NSID.repo, 'text');
  network.create(alice, NSID.repo, { knot, name: 'nul\0', spindle: host });
  network.create(alice, NSID.repo, { knot, name: 'surrogate \ud800', spindle: host });
  network.create(alice, NSID.repo, { knot, name: 'odd', spindle: host, odd: [{}, 7, null, [[]]] });
  network.create(alice, NSID.collaborator, { subject: 'nobody', repo: 'x' });
  network.create(owner, NSID.member, { subject: alice, instance: {} });
  for (const did of [owner, alice]) {
    await makeDue(db.sql, did);
    await listed(did);
  }
  expect(await served()).toEqual([`${alice}/odd`, `${alice}/repo-0`]);
  expect(stats()).toMatchObject({ bad: 6, failures: 0 });
  const refused = await until('the refused records', async () => {
    const frames = await listRefused(db.sql, 'backfill');
    return frames.length >= 6 && frames;
  });
  expect(refused.map(({ reason }) => reason).join('\n')).toMatch(/its knot 7 is not a host/);
});

test('a record that is nested beyond all sense is one bad record, and the others count', async () => {
  const { pds, owner, member, lister, listed } = await world();
  const alice = member(1);
  const uri = `at://${alice}/${NSID.repo}`;
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  const records = [
    `{"uri":"${uri}/a","value":${deep}}`,
    `{"uri":"${uri}/b","value":{"knot":"${knot}","name":"fine","spindle":"${host}","odd":${deep}}}`,
  ];
  const type = { 'Content-Type': 'application/json' };
  pds.fault(
    { route: 'listRecords', did: alice, collection: NSID.repo },
    instead(200, `{"records":[${records.join()}]}`, type),
  );
  const { stats } = lister();
  for (const did of [owner, alice]) await listed(did);
  expect(await served()).toEqual([`${alice}/fine`]);
  expect(stats()).toMatchObject({ bad: 1, failures: 0 });
});

test('an account that asks not to be seen is not served, and is again when it comes back', async () => {
  const { network, owner, member, lister, listed } = await world();
  const alice = member(1);
  lister();
  for (const did of [owner, alice]) await listed(did);
  for (const [hide, status] of [
    [network.deactivate, 'deactivated'],
    [network.suspend, 'suspended'],
    [network.takeDown, 'takendown'],
  ] as const) {
    hide(alice);
    await makeDue(db.sql, alice);
    await until(`${status} to be noticed`, async () => (await account(alice))?.status === status);
    expect(await account(alice)).toMatchObject({ active: false });
    expect(await served()).toEqual([]);
    await until('the reason', async () => (await account(alice))?.problem?.includes('Repo'));

    network.reactivate(alice);
    await until('it to be back', async () => (await account(alice))?.active);
    expect(await served()).toEqual([`${alice}/repo-0`]);
    expect(await account(alice)).toEqual({ active: true, status: null, tries: 0, problem: null });
  }
});

test('an account that its server does not know counts until the server has said so three times', async () => {
  const { network, pds, owner, member, lister, listed } = await world();
  const alice = member(1);
  lister();
  for (const did of [owner, alice]) await listed(did);
  const said = pds.fault(
    { route: 'getLatestCommit', did: alice },
    instead(400, { error: 'RepoNotFound', message: 'Could not find repo' }),
    'always',
  );
  await makeDue(db.sql, alice);
  await until('it to be believed', async () => (await account(alice))?.status === 'notfound');
  expect(said.hits).toBeGreaterThanOrEqual(3);
  expect(await served()).toEqual([]);
  said.remove();
  await until('it to be back', async () => (await served()).length === 1);
  expect(network.find(alice)?.status).toBe('active');
});

test('a DID that was given up takes its records along', async () => {
  const { network, owner, member, lister, listed } = await world();
  const alice = member(1);
  lister();
  for (const did of [owner, alice]) await listed(did);
  network.tombstone(alice);
  // with its next turn, or by what the network says of it, the directory is asked
  await db.sql`select pg_notify('accounts', ${alice})`;
  await makeDue(db.sql, alice);
  await until('its records to go', async () => (await account(alice))?.status === 'deleted');
  expect(await db.sql`select from records where did = ${alice}`).toHaveLength(0);
});

test('of an account that moved, its former server is not believed', async () => {
  const { network, owner, member, lister, listed } = await world();
  const second = await startPds(network, { name: 'second' });
  onTestFinished(() => second.close());
  const alice = member(1);
  lister();
  for (const did of [owner, alice]) await listed(did);
  network.migrate(alice, 'second');
  network.repo(alice, { knot, name: 'after', spindle: host });
  await makeDue(db.sql, alice);
  await listed(alice);
  expect(await served()).toEqual([`${alice}/after`, `${alice}/repo-0`]);
  expect(await account(alice)).toMatchObject({ active: true, status: null });
  expect(second.requests('listRecords').length).toBeGreaterThan(0);
});

test.each([
  ['hangs', hang()],
  ['redirects', redirect('https://elsewhere.example/')],
  ['shows a page for people', html()],
  ['is broken', broken(503)],
])('a PDS that %s costs its own accounts a retry, and those of others nothing', async (_what, fault) => {
  const { network, owner, member, lister, listed } = await world();
  const bad = await startPds(network, { name: 'bad' });
  onTestFinished(() => bad.close());
  // more of them than may be under way at once, and all of them before the others
  const stuck = Array.from({ length: 20 }, () => member(1, { pds: 'bad' }));
  const fine = Array.from({ length: 3 }, () => member(1));
  const rule = bad.fault({}, fault, 'always');
  const { stats } = lister({ settings: { timeoutMs: 2_000, concurrency: 4 } });
  await listed(owner);
  for (const did of fine) await listed(did);
  expect(await served()).toEqual(fine.map((did) => `${did}/repo-0`).toSorted());
  await until('the reason to be kept', async () => {
    const rows =
      await db.sql`select from accounts where did = any(${stuck}) and tries > 0 and problem like '127.0.0.1%'`;
    return rows.length === stuck.length;
  });
  expect(stats().failures).toBeGreaterThan(0);
  // what hangs was never asked by more than two at once
  expect(mostAtOnce(bad.requests())).toBeLessThanOrEqual(2);

  rule.remove();
  bad.clearFaults();
  for (const did of stuck) await listed(did);
  expect(await served()).toHaveLength(23);
});

test('the owner’s account does not wait for members’ accounts that hang', async () => {
  const { network, owner, pds, member, lister, listed } = await world();
  const bad = await startPds(network, { name: 'bad' });
  onTestFinished(() => bad.close());
  const stuck = [member(0, { pds: 'bad' }), member(0, { pds: 'bad' })];
  bad.fault({}, hang(), 'always');
  lister({ settings: { concurrency: 1, timeoutMs: 60_000 } });
  await listed(owner);
  await until('a request that hangs', () => bad.requests('getLatestCommit').length > 0);
  network.repo(owner, { knot, name: 'late', spindle: host });
  await makeDue(db.sql, owner);
  await listed(owner);
  expect(await served()).toEqual([`${owner}/late`]);
  expect(stuck.map((did) => network.find(did)?.pds)).toEqual(['bad', 'bad']);
  expect(pds.requests('getLatestCommit').length).toBe(2);
});

test('a directory that is down is a failure of nobody’s records', async () => {
  const { plc, owner, member, lister, listed } = await world();
  const alice = member(1);
  lister();
  for (const did of [owner, alice]) await listed(did);
  const rule = plc.fault({}, broken(500), 'always');
  await db.sql`select pg_notify('accounts', ${alice})`;
  await makeDue(db.sql, alice);
  await until('it to fail', async () => ((await account(alice))?.tries ?? 0) >= 3);
  expect(await account(alice)).toMatchObject({ active: true });
  expect((await account(alice))?.problem).toMatch(/answered 500/);
  expect(await served()).toEqual([`${alice}/repo-0`]);
  rule.remove();
  await listed(alice);
});

test('a host that answers 429 is left alone until the time that it gave', async () => {
  const { pds, owner, member, lister, listed } = await world();
  const alice = member(1);
  pds.fault({}, rateLimited(2), 1);
  lister();
  for (const did of [owner, alice]) await listed(did);
  const [refused, next] = pds.requests();
  expect(refused?.status).toBe(429);
  expect((next?.at ?? 0) - (refused?.endedAt ?? 0)).toBeGreaterThanOrEqual(1_000);
});

test('a server that shows an older state than before is not believed', async () => {
  const { network, pds, owner, member, lister, listed } = await world();
  const alice = member(2);
  lister();
  for (const did of [owner, alice]) await listed(did);
  const older = tidAt(Date.now() - 3_600_000);
  const rule = pds.fault({ route: 'getLatestCommit', did: alice }, instead(200, { cid: 'x', rev: older }), 'always');
  await makeDue(db.sql, alice);
  await until('the reason', async () => (await account(alice))?.problem?.includes(`as it was at ${older}`));
  expect(await served()).toHaveLength(2);
  rule.remove();
  await listed(alice);
  expect(network.find(alice)?.status).toBe('active');
});

test('what somebody waits for is listed at once', async () => {
  const { network, owner, member, lister, listed } = await world();
  const alice = member(0);
  lister({ settings: { lookMaxMs: 600_000 } });
  for (const did of [owner, alice]) await listed(did);
  network.repo(alice, { knot, name: 'new', spindle: host });
  await askForListing(db.sql, alice);
  await until('the new repo', async () => (await served()).length === 1);
});

test('no second sees more than two requests at any host, with many accounts and pages', async () => {
  const { pds, plc, owner, member, lister, listed } = await world();
  const members = [member(0), member(0)];
  lister({ settings: { pace: {} } });
  for (const did of [owner, ...members]) await listed(did);
  expect(mostInASecond(pds.requests())).toBe(2);
  expect(mostInASecond(plc.requests())).toBeLessThanOrEqual(2);
});

test('a listing whose lease is lost changes nothing more', async () => {
  const { network, pds, owner, member, lister, listed } = await world();
  const alice = member(1);
  const first = lister();
  for (const did of [owner, alice]) await listed(did);
  network.repo(alice, { knot, name: 'new', spindle: host });
  const held = pds.hold({ route: 'listRecords', did: alice });
  await makeDue(db.sql, alice);
  await held.arrived;
  const before = await dumpTables(db.sql);
  await db.sql`update leases set epoch = epoch + 1, owner = ${randomUUID()} where source = 'backfill'`;
  held.release();
  // its next renewal tells it
  await until('it to notice', () => first.leases.held().length === 0);
  await first.stop();
  expect(await dumpTables(db.sql)).toEqual(before);
});

test('a lister that stops ends at once, whatever it waits for', async () => {
  const { pds, owner, member, lister, listed } = await world();
  const alice = member(1);
  const first = lister({ settings: { timeoutMs: 600_000 } });
  for (const did of [owner, alice]) await listed(did);
  pds.fault({}, delay(600_000), 'always');
  await makeDue(db.sql, alice);
  const asked = pds.requests().length;
  await until('the request', () => pds.requests().length > asked || pds.requests().at(-1)?.fault !== undefined);
  await first.stop();
  const [lease] = await db.sql<{ owner: string | null }[]>`select owner from leases where source = 'backfill'`;
  expect(lease).toEqual({ owner: null });
  expect((await account(alice))?.tries).toBe(0);
});

/** The most requests that any second saw, whenever it began. */
function mostInASecond(requests: readonly RequestRecord[]): number {
  const times = requests.map(({ at }) => at);
  return Math.max(...times.map((start) => times.filter((at) => at >= start && at < start + 1_000).length));
}

/** The most requests that were open at once. */
function mostAtOnce(requests: readonly RequestRecord[]): number {
  const open = (at: number): number =>
    requests.filter((request) => request.at <= at && (request.endedAt ?? Number.POSITIVE_INFINITY) > at).length;
  return Math.max(...requests.map(({ at }) => open(at)));
}
