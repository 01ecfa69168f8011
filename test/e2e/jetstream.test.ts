import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import {
  dumpAccounts,
  dumpRecords,
  dumpServed,
  type JetstreamIngestOptions,
  startAt,
  startJetstreamIngest,
} from '../support/jetstream.ts';
import { busyNetwork } from '../support/network-life.ts';
import { startNetwork, type TestNetworkOptions } from '../support/network.ts';
import { until } from '../support/until.ts';

const captured = readFileSync(new URL('../fixtures/jetstream-events.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const owner = 'did:plc:hgnnks5sjbyfk5sxbc2v77gh';
const alice = 'did:plc:u2dbtw275tbhyjymoob3d2wz';
const mallory = 'did:plc:gcytag7l3v6srtczviphcqqr';
const host = '127.0.0.1:6555';

/** What the captured frames say, word for word as they are kept: nothing of what mallory says of members. */
const expected = [
  `${mallory} sh.tangled.repo 3n2rsrepo2224 {"knot": "127.0.0.1:5555", "name": "whorl-demo", "spindle": "127.0.0.1:6555"} 3n2rtsx3yxk22`,
  `${owner} sh.tangled.spindle.member 3n2rsmember22 {"subject": "${alice}", "instance": "127.0.0.1:6555"} 3n2rtswyzb222`,
  `${owner} sh.tangled.spindle.member 3n2rsmember23 gone 3n2rtsx6jzc22`,
  `${alice} sh.tangled.repo 3n2rsrepo2222 {"knot": "127.0.0.1:5555", "name": "whorl-demo", "spindle": "127.0.0.1:6555"} 3n2rtsx2das22`,
  `${alice} sh.tangled.repo 3n2rsrepo2223 gone 3n2rtsx63ek22`,
  `${alice} sh.tangled.repo 3n2rsrepo2225 gone 3n2rtsx5iss22`,
  `${alice} sh.tangled.repo.collaborator 3n2rscollab22 {"repo": "at://${alice}/sh.tangled.repo/3n2rsrepo2222", "subject": "${mallory}"} 3n2rtsx3hf222`,
];

let db: FreshDatabase;
const cleanup: (() => unknown)[] = [];
beforeEach(async () => void (db = await freshDatabase({ max: 10 })));
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
  await db.drop();
});

async function world(options: TestNetworkOptions = {}) {
  const net = await startNetwork(options);
  const ingest = async (more: Partial<JetstreamIngestOptions> = {}) => {
    const urls = net.jetstreams.map(({ url }) => url);
    const started = await startJetstreamIngest(db.sql, { urls, owner: net.owner.did, host, ...more });
    cleanup.push(() => started.stop());
    return started;
  };
  return { ...net, ingest };
}
type Ingest = Awaited<ReturnType<typeof startJetstreamIngest>>;

const frames = (ingest: Ingest, count: number) =>
  until(`${count} frames`, () => (ingest.jetstream.stats()?.frames ?? 0) >= count);
test('the captured frames give exactly the tables that they should, also doubled and from the start again', async () => {
  const { jetstream, ingest } = await world();
  const running = await ingest({ owner });
  await jetstream.connected();
  for (const line of captured) jetstream.store(() => line);
  await until('the tables', async () => (await dumpRecords(db.sql)).length === expected.length);
  expect(await dumpRecords(db.sql)).toEqual(expected);
  expect(await dumpServed(db.sql)).toEqual([`${alice}/whorl-demo on 127.0.0.1:5555`]);

  for (const times of [2, 3, 4]) {
    jetstream.replayAll();
    await frames(running, times * captured.length);
  }
  jetstream.faults.double = true;
  jetstream.dropAll();
  await jetstream.connected(2);
  jetstream.replayAll();
  await frames(running, 6 * captured.length);
  await running.stop();
  expect(await dumpRecords(db.sql)).toEqual(expected);
  // the broken record of alice's
  expect(running.jetstream.stats()).toBeUndefined();
  const [refusal] = await db.sql`select source, reason from refused_frames`;
  expect(refusal).toEqual({ source: 'jetstream', reason: 'the record cannot be used: its knot null is not a host' });
});

test.each([1, 2, 3, 4])(
  'interleaved between accounts (%i), the captured frames and the listings come to the same',
  async (seed) => {
    const { network, jetstream, plc, ingest } = await world({ jetstream: { shuffle: { seed, windowMs: 60_000 } } });
    await startAt(db.sql, Date.now() - 60_000);
    network.replay(captured);
    jetstream.flush();
    const running = await ingest({ owner, backfill: { plcUrl: plc.url } });
    const live = expected.filter((row) => !row.includes(' gone ')).map((row) => row.split(' ').slice(0, -1).join(' '));
    const tables = async (): Promise<string> => JSON.stringify(await dumpRecords(db.sql, { live: true }));
    await until('the tables', async () => (await tables()) === JSON.stringify(live));
    await frames(running, jetstream.rows.length);
    await running.stop();
    expect(await dumpRecords(db.sql, { live: true })).toEqual(live);
    expect(await dumpServed(db.sql)).toEqual([`${alice}/whorl-demo on 127.0.0.1:5555`]);
  },
);

test('read from the start again, and into empty tables, everything comes to what it was', async () => {
  const { network, jetstream, owner: us, ingest } = await world();
  const life = busyNetwork(network, { owner: us.did, host });
  await startAt(db.sql, Date.now() - 1_000);
  const early = await ingest();
  await jetstream.connected();
  life.inviteAll();
  life.go(400);
  for (const did of life.people.slice(0, 2)) network.deactivate(did);
  for (const did of life.strangers.slice(0, 2)) network.deleteAccount(did);
  const last = life.end();
  const seen = async (): Promise<boolean> => (await db.sql`select from records where rkey = ${last}`).length === 1;
  await until('all of it', seen);
  await early.stop();
  const tables = [await dumpRecords(db.sql, { since: true }), await dumpAccounts(db.sql), await dumpServed(db.sql)];
  expect(tables[0]?.length).toBeGreaterThan(50);

  // from the start, into the same tables and into empty ones
  for (const empty of [false, true]) {
    if (empty) await db.sql`truncate records, accounts, cursors`;
    await startAt(db.sql, Date.now() - 60_000);
    const late = await ingest();
    await frames(late, jetstream.rows.length);
    await until('all of it again', seen);
    await late.stop();
    expect([await dumpRecords(db.sql, { since: true }), await dumpAccounts(db.sql), await dumpServed(db.sql)]).toEqual(
      tables,
    );
  }
});

test('an account that is away is not served, one that comes back is again, and of a deleted one nothing stays', async () => {
  const { network, jetstream, owner: us, ingest } = await world();
  const [bob, eve] = [network.account({ handle: 'bob.test' }).did, network.account({ handle: 'eve.test' }).did];
  await ingest();
  await jetstream.connected();
  network.invite(us.did, bob, host);
  network.invite(us.did, eve, host);
  for (const did of [bob, eve]) network.repo(did, { knot: 'knot.example', name: 'site', spindle: host });
  const served = (...dids: string[]) =>
    until(`${dids.length} to be served`, async () => {
      const rows = await dumpServed(db.sql);
      return JSON.stringify(rows) === JSON.stringify(dids.map((did) => `${did}/site on knot.example`).toSorted());
    });
  await served(bob, eve);
  for (const away of [network.deactivate, network.suspend, network.takeDown]) {
    away(bob);
    await served(eve);
    network.reactivate(bob);
    await served(bob, eve);
  }
  network.deleteAccount(eve);
  await served(bob);
  await until('its records to go', async () => (await db.sql`select from records where did = ${eve}`).length === 0);

  // its old commits come again
  jetstream.replayAll();
  network.repo(bob, { knot: 'knot.example', name: 'last', spindle: host }, 'last');
  await until('what comes after', async () => (await db.sql`select from records where rkey = 'last'`).length === 1);
  expect(await db.sql`select from records where did = ${eve}`).toHaveLength(0);
});

test('what a frame makes matter, matters for the next frame, however long both waited', async () => {
  const { network, jetstream, owner: us, ingest } = await world();
  const bob = network.account({ handle: 'bob.test' }).did;
  await ingest();
  await jetstream.connected();
  await until('it to read', async () => (await db.sql`select from cursors where source = 'jetstream'`).length === 1);
  // all of it is in the socket at once
  network.invite(us.did, bob, host);
  network.deactivate(bob);
  network.repo(us.did, { knot: 'knot.example', name: 'last', spindle: host }, 'last');
  await until('the end', async () => (await db.sql`select from records where rkey = 'last'`).length === 1);
  expect(await db.sql`select active, status from accounts where did = ${bob}`).toEqual([
    { active: false, status: 'deactivated' },
  ]);
});

test('an account whose identity changed is listed soon, if it is one of ours', async () => {
  const { network, jetstream, owner: us, ingest } = await world();
  const [bob, eve] = [network.account({ handle: 'bob.test' }).did, network.account({ handle: 'eve.test' }).did];
  const told: string[] = [];
  await ingest({ onIdentity: (did) => told.push(did) });
  await jetstream.connected();
  network.invite(us.did, bob, host);
  network.repo(eve, { knot: 'knot.example', name: 'site', spindle: host });
  const due = async (did: string): Promise<boolean> =>
    (await db.sql`select from accounts where did = ${did} and due_at = '-infinity'`).length === 1;
  await until('both', async () => (await dumpAccounts(db.sql)).length === 3);
  expect(await due(bob)).toBe(false);
  for (const did of [us.did, bob, eve]) network.changeHandle(did, `new-${did.slice(-4)}.test`);
  await until('the owner to be due', () => due(us.did));
  await until('the member to be due', () => due(bob));
  expect(await due(eve)).toBe(false);
  expect(told).toEqual([us.did, bob, eve]);
});

test('a record that becomes unusable does not say any more what it said', async () => {
  const { network, jetstream, owner: us, ingest } = await world();
  const running = await ingest();
  await jetstream.connected();
  const { rkey } = network.repo(us.did, { knot: 'knot.example', name: 'site', spindle: host });
  await until('it to be served', async () => (await dumpServed(db.sql)).length === 1);
  network.update(us.did, NSID.repo, rkey, { knot: 'https://knot.example/', name: 'site', spindle: host });
  await until('it not to be served', async () => (await dumpServed(db.sql)).length === 0);
  expect(running.jetstream.stats()).toMatchObject({ bad: 1, applied: 2 });
  expect(running.lines).toContainEqual(
    expect.objectContaining({ level: 40, did: us.did, collection: NSID.repo, operation: 'update', rkey }) as unknown,
  );
  network.update(us.did, NSID.repo, rkey, { knot: 'knot.example', name: 'site', spindle: host });
  await until('it to be served again', async () => (await dumpServed(db.sql)).length === 1);
});
