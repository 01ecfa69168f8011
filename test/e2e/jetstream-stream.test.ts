import { afterEach, beforeEach, expect, test } from 'vitest';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { jetstreamSource } from '../../src/ingest/jetstream.ts';
import { readCursor } from '../../src/store/cursors.ts';
import { listRefused } from '../../src/store/refused.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { asAdmin, type FreshDatabase, freshDatabase } from '../support/database.ts';
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

const host = 'spindle.example';
const minute = 60_000;
const never = 3_600_000;

let db: FreshDatabase;
const cleanup: (() => unknown)[] = [];
beforeEach(async () => void (db = await freshDatabase({ max: 10 })));
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
  await db.drop();
});

async function world(options: TestNetworkOptions = {}) {
  const net = await startNetwork(options);
  const us = net.owner.did;
  const ingest = async (more: Partial<JetstreamIngestOptions> = {}) => {
    const urls = net.jetstreams.map(({ url }) => url);
    const started = await startJetstreamIngest(db.sql, { urls, owner: us, host, ...more });
    cleanup.push(() => started.stop());
    return started;
  };
  /** A record of the owner's, by its name. */
  const write = (name: string) => net.network.repo(us, { knot: 'knot.example', name, spindle: host }, name);
  return { ...net, us, ingest, write };
}
type Ingest = Awaited<ReturnType<typeof startJetstreamIngest>>;

const frames = (ingest: Ingest, count: number) =>
  until(`${count} frames`, () => (ingest.jetstream.stats()?.frames ?? 0) >= count);
const arrived = (name: string) =>
  until(`${name} to arrive`, async () => (await db.sql`select from records where rkey = ${name}`).length === 1);
const cursor = async (): Promise<bigint | undefined> => (await readCursor(db.sql, 'jetstream'))?.position;
const nanos = (ms: number): bigint => BigInt(ms) * 1_000_000n;
/** The database's clock is told from here by the middle of a question and its answer, so it may be a little ahead. */
const soon = (): bigint => nanos(Date.now() + 100);
const micros = (position: bigint | undefined): string => `${(position ?? 0n) / 1_000n}`;
const said = (ingest: Ingest, text: string): boolean => ingest.lines.some(({ msg }) => String(msg).includes(text));
const dueSoon = async (did: string): Promise<boolean> =>
  (await db.sql`select from accounts where did = ${did} and due_at <= clock_timestamp()`).length === 1;
/** As after a listing: nothing is due for a long time. */
async function listed(owner: string): Promise<void> {
  await beSpindle(db.sql, { host, owner });
  await db.sql`update accounts set due_at = clock_timestamp() + interval '5 hours'`;
}

test('the first start reads from now, and says so in the database before anything comes', async () => {
  const { jetstream, ingest, write } = await world();
  write('before');
  jetstream.faults.refuse = 503;
  const began = nanos(Date.now());
  const first = await ingest();
  const place = await until('the cursor', cursor);
  expect(place).toBeGreaterThanOrEqual(began - nanos(100));
  expect(place).toBeLessThanOrEqual(soon());
  await until('tries', () => (first.jetstream.stats()?.dials ?? 0) >= 3);
  // it ends without ever having been connected, and something happens meanwhile
  await first.stop();
  write('meanwhile');

  jetstream.faults.refuse = undefined;
  await ingest();
  await arrived('meanwhile');
  expect(jetstream.connections[0]?.cursor).toBe(micros(place - nanos(5_000)));
  const { query } = jetstream.connections[0] ?? {};
  expect(query?.getAll('wantedCollections').toSorted()).toEqual([NSID.repo, NSID.collaborator, NSID.member].toSorted());
});

test('a fresh connection starts 5 seconds before the cursor, and a dead link is dialled again', async () => {
  const { jetstream, ingest, write } = await world();
  await ingest({ settings: { pingMs: 50, readDeadlineMs: 400 } });
  await jetstream.connected();
  write('one');
  await arrived('one');
  const place = await cursor();
  jetstream.halfOpen();
  await jetstream.connected(2);
  expect(jetstream.connections[1]?.cursor).toBe(micros((place ?? 0n) - nanos(5_000)));
  write('two');
  await arrived('two');
});

test.each(['v1', 'v2'] as const)('a server of the kind %s is read', async (kind) => {
  const { jetstream, ingest, write } = await world({ jetstream: { version: kind === 'v1' ? 1 : 2 } });
  await ingest();
  await jetstream.connected();
  write('one');
  await arrived('one');
  jetstream.dropAll();
  write('two');
  await arrived('two');
});

test.each(['gone', 'refusing', 'hanging'] as const)(
  'when a host is %s, the next one is read from half a minute before the cursor, and nothing is missing',
  async (how) => {
    const { jetstreams, ingest, write } = await world({ jetstreams: 3 });
    const [first, second, third] = jetstreams;
    if (!first || !second || !third) throw new Error('three hosts');
    const running = await ingest({ settings: { dialTimeoutMs: 1_000 } });
    await first.connected();
    write('one');
    await arrived('one');
    const place = (await cursor()) ?? 0n;

    if (how === 'gone') await first.stop();
    else if (how === 'refusing') first.faults.refuse = 500;
    else first.faults.hang = true;
    write('between');
    first.dropAll();
    await second.connected();
    expect(second.connections[0]?.cursor).toBe(micros(place - nanos(30_000)));
    await arrived('between');
    expect(running.jetstream.stats()?.host).toBe(new URL(second.url).host);

    // the second is gone too, and the third; then the first is back
    await second.stop();
    await third.connected();
    write('two');
    await arrived('two');
    first.faults.refuse = undefined;
    first.faults.hang = false;
    await first.start();
    await third.stop();
    write('three');
    await arrived('three');
  },
);

test('a host that answers pings and tells nothing is left for the next one', async () => {
  const { jetstreams, ingest, write } = await world({ jetstreams: 2 });
  const [first, second] = jetstreams;
  if (!first || !second) throw new Error('two hosts');
  await ingest({ settings: { idleMs: 500, pingMs: 50, readDeadlineMs: 5_000 } });
  await first.connected();
  write('one');
  await arrived('one');
  const place = (await cursor()) ?? 0n;
  first.pause();
  write('stuck');
  await second.connected();
  expect(second.connections[0]?.cursor).toBe(micros(place - nanos(30_000)));
  await arrived('stuck');
});

test('hosts whose clocks are apart lose nothing when one follows the other', async () => {
  const { network, jetstream, us, ingest, write } = await world({ jetstream: { skewMs: 20_000 } });
  const { startJetstream } = await import('../../sim/atproto/index.ts');
  const behind = await startJetstream(network, { skewMs: -5_000 });
  cleanup.push(() => behind.close());
  await ingest({ urls: [jetstream.url, behind.url] });
  await jetstream.connected();
  write('one');
  await arrived('one');
  expect(await cursor()).toBeLessThanOrEqual(soon());
  write('between');
  // the next one breaks before it has shown where its own clock is
  behind.dropAfter(1);
  await jetstream.stop();
  write('after');
  await behind.connected(2);
  expect(behind.connections[1]?.cursor).toBe(behind.connections[0]?.cursor);
  for (const name of ['between', 'after']) await arrived(name);
  network.delete(us, NSID.repo, 'one');
  await until('the delete', async () => (await dumpServed(db.sql)).length === 2);
});

test('nothing is skipped while the database is away, and no more is held than fits', { timeout: 120_000 }, async () => {
  const { network, jetstream, us, ingest, write } = await world();
  const life = busyNetwork(network, { owner: us, host });
  const running = await ingest({ settings: { maxWaiting: 50 } });
  await jetstream.connected();
  write('one');
  await arrived('one');

  const name = db.sql.options.database;
  await asAdmin(async (admin) => {
    await admin`alter database ${admin(name)} with allow_connections false`;
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`;
  });
  life.inviteAll();
  // who was invited meanwhile, and is away
  network.deactivate(life.people[4] ?? '');
  network.reactivate(life.people[4] ?? '');
  network.deactivate(life.people[3] ?? '');
  const count = network.events.length;
  for (let i = 0; i < 1_000; i++) write(`repo${i}`);
  await until('frames to pile up', () => (running.jetstream.stats()?.frames ?? 0) >= 50);
  expect(running.jetstream.stats()?.frames).toBeLessThan(count + 700);
  await asAdmin((admin) => admin`alter database ${admin(name)} with allow_connections true`);

  const all = async (): Promise<boolean> => (await dumpServed(db.sql)).length === 1_001;
  await until('all that happened meanwhile', all, 100_000);
  const away = (await dumpAccounts(db.sql)).filter((row) => row.includes('deactivated'));
  expect(away).toEqual([expect.stringContaining(life.people[3] ?? '') as string]);
  const members = await db.sql`select from records where collection = ${NSID.member} and value is not null`;
  expect(members).toHaveLength(5);
});

test('what PostgreSQL refuses is kept as bytes with the reason, and stepped over', async () => {
  const { jetstream, ingest, write } = await world();
  await db.sql`alter table records add constraint no_evil check (rkey <> 'evil')`;
  const running = await ingest();
  await jetstream.connected();
  for (const name of ['one', 'evil', 'two']) write(name);
  await arrived('two');
  expect(await dumpServed(db.sql)).toHaveLength(2);
  const [row] = await db.sql`select source, convert_from(bytes, 'utf8') as text, reason from quarantine`;
  expect(row).toMatchObject({ source: 'jetstream', reason: expect.stringContaining('no_evil') as string });
  expect(row?.['text']).toContain('"rkey":"evil"');
  // and again with the next connection, once
  jetstream.dropAll();
  await until('the same frame again', () => (running.jetstream.stats()?.quarantined ?? 0) >= 2);
  expect(await db.sql`select from quarantine`).toHaveLength(1);
  expect(await db.sql`select from refused_frames`).toHaveLength(0);
});

test('what is no frame, and what is too large or too deep, is stepped over on the same connection, and can be read', async () => {
  const { jetstream, us, ingest, write } = await world();
  const running = await ingest();
  await jetstream.connected();
  write('one');
  await arrived('one');
  const event = (fields: object, time = Date.now() * 1_000): string =>
    JSON.stringify({ did: us, time_us: time, kind: 'commit', ...fields });
  const commit = { rev: '3n2rtswyzb222', operation: 'create', collection: NSID.repo, rkey: 'evil' };
  const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`;
  const wrong = [
    '',
    'not JSON',
    '[1]',
    'null',
    new Uint8Array([0xff, 0xfe, 0x80]),
    'x'.repeat(5_000_000),
    deep,
    event({}),
    event({ commit: { ...commit, rev: 'never' } }),
    event({ commit: { ...commit, rkey: '../..' } }),
    event({ commit: { ...commit, operation: 'upsert' } }),
    event({ commit: { ...commit, record: { knot: 'knot.example', name: 'a\0b', spindle: host } } }),
    event({ commit: { ...commit, record: { knot: '#', name: 'a', spindle: host } } }).replace('"#"', deep),
    event({ commit: { ...commit, record: null } }),
    event({ kind: 'account' }),
  ];
  for (const bytes of wrong) jetstream.raw(bytes, typeof bytes !== 'string');
  // these are none of ours, and fine
  jetstream.raw(event({ kind: 'identity', identity: {} }));
  jetstream.raw(event({ kind: 'from the future' }));
  jetstream.raw(JSON.stringify({ time_us: Date.now() * 1_000, kind: 'info' }));
  write('two');
  await arrived('two');
  expect(running.jetstream.stats()).toMatchObject({ bad: wrong.length, dials: 1 });
  expect(await dumpServed(db.sql)).toHaveLength(2);
  expect(await db.sql`select from quarantine`).toHaveLength(0);
  // said once, and all of it can be read
  expect(running.lines.filter(({ level }) => level === 40)).toHaveLength(1);
  const kept = await until('all of it to be kept', async () => {
    const all = await listRefused(db.sql, 'jetstream');
    return all.length === wrong.length && all;
  });
  const size = (bytes: string | Uint8Array): number => Math.min(64 * 1024, bytes.length);
  expect(kept.map(({ bytes }) => bytes.length)).toEqual(wrong.map(size));
});

test('a flood of what strangers do is not written down, and the cursor is saved now and then', async () => {
  const { network, jetstream, us, ingest, write } = await world();
  const running = await ingest({ settings: { saveMs: never } });
  await jetstream.connected();
  const start = await until('the cursor', cursor);
  const flood = (): void => {
    for (let i = 0; i < 150; i++) {
      const { did } = network.account({ handle: `stranger${network.accounts().length}.test` });
      network.invite(did, did, host);
      network.repo(did, { knot: 'knot.example', name: 'site', spindle: 'elsewhere.example' });
      network.collaborator(did, us, did);
      network.changeHandle(did, `renamed${network.accounts().length}.test`);
      network.deactivate(did);
    }
  };
  flood();
  await frames(running, 150 * 7);
  await until('nothing to wait', async () => (await cursor()) === start);
  expect(await dumpRecords(db.sql)).toEqual([]);
  expect(await dumpAccounts(db.sql)).toHaveLength(1);

  // what is ours is written at once, and stopping saves the rest
  write('one');
  await arrived('one');
  const place = (await cursor()) ?? 0n;
  expect(place).toBeGreaterThan(start);
  flood();
  await frames(running, 300 * 7 + 1);
  expect(await cursor()).toBe(place);
  await running.stop();
  expect(await cursor()).toBeGreaterThan(place);

  // a stream that never rests is saved, too
  const busy = await ingest({ settings: { saveMs: 20 } });
  await jetstream.connected(2);
  const before = (await cursor()) ?? 0n;
  await until('the cursor to move in the middle of it', async () => {
    flood();
    return ((await cursor()) ?? 0n) > before;
  });
  await busy.stop();
});

test.each([
  ['of the future', () => BigInt(Date.now() + 10 * minute) * 1_000_000n, 'in the future'],
  ['that is no time', () => 12n, 'no time'],
  ['that is none', () => null, 'there is no cursor'],
])('a cursor %s is a warning, a reading from now, and a listing of all', async (_about, position, reason) => {
  const { jetstream, us, ingest, write } = await world();
  await db.sql`insert into cursors (source, position) values ('jetstream', ${position()})`;
  await listed(us);
  const running = await ingest();
  await jetstream.connected();
  write('one');
  await arrived('one');
  expect(said(running, reason)).toBe(true);
  await until('a listing to be due', () => dueSoon(us));
  const place = (await cursor()) ?? 0n;
  expect(place).toBeLessThanOrEqual(soon());
  expect(place).toBeGreaterThan(nanos(Date.now() - minute));
});

test('after a long absence everybody is listed, after a short one nobody', async () => {
  const { jetstream, us, ingest, write } = await world();
  for (const [ago, due] of [
    [29, false],
    [31, true],
  ] as const) {
    await startAt(db.sql, Date.now() - ago * minute);
    // the beginning of our own account would have us listed, too
    jetstream.forget();
    await listed(us);
    const running = await ingest({ settings: { lateMs: never } });
    write(`after${ago}`);
    await arrived(`after${ago}`);
    expect(await dueSoon(us)).toBe(due);
    expect(running.jetstream.stats()?.gaps).toBe(due ? 1 : 0);
    await running.stop();
  }
  expect(jetstream.connections).toHaveLength(2);
});

test('a host that has forgotten what it was asked for makes everybody be listed, and a quiet one does not', async () => {
  const { jetstream, us, ingest, write } = await world();
  write('lost');
  jetstream.forget();
  await startAt(db.sql, Date.now() - 20 * minute);
  await listed(us);
  const running = await ingest();
  await jetstream.connected();
  expect(await dueSoon(us)).toBe(false);
  write('one');
  await arrived('one');
  expect(await dueSoon(us)).toBe(true);
  expect(running.jetstream.stats()?.gaps).toBe(1);

  // the first frame of the next connection comes right after the last one of this
  await listed(us);
  jetstream.dropAll();
  await jetstream.connected(2);
  write('two');
  await arrived('two');
  expect(await dueSoon(us)).toBe(false);
  expect(running.jetstream.stats()?.gaps).toBe(1);
});

test('a reader whose lease has gone to another process writes nothing more, and closes', async () => {
  const { jetstream, ingest, write } = await world();
  const running = await ingest({ ttlMs: minute });
  await jetstream.connected();
  write('one');
  await arrived('one');
  const before = await cursor();
  await db.sql`update leases set owner = 'other', epoch = epoch + 1 where source = 'jetstream'`;
  write('two');
  await jetstream.until(() => jetstream.connections[0]?.closedAt, 'the reader to close');
  expect(await dumpServed(db.sql)).toHaveLength(1);
  expect(await cursor()).toBe(before);
  // the manager of leases may have noticed, too, and put it away
  expect(running.jetstream.stats()?.connected ?? false).toBe(false);
});

test('listings may begin when the stream is open, here or elsewhere, or when it does not come', async () => {
  const { jetstream, us, ingest } = await world();
  const signal = new AbortController().signal;
  jetstream.faults.refuse = 503;
  const here = await ingest({ openMs: never });
  let open = false;
  const opened = here.jetstream.opened(signal).then(() => (open = true));
  await until('tries', () => (here.jetstream.stats()?.dials ?? 0) >= 3);
  expect(open).toBe(false);
  const log = { warn() {}, debug() {}, child: () => log } as never;
  const about = { sql: db.sql, urls: [jetstream.url], owner: us, log, refused: { add() {}, async close() {} } };
  // one that does not read it itself sees that somebody does
  await jetstreamSource({ ...about, openMs: never }).opened(signal);
  jetstream.faults.refuse = undefined;
  await opened;
  await here.stop();

  await db.sql`delete from cursors`;
  jetstream.faults.refuse = 503;
  const late = await ingest({ openMs: 300 });
  await late.jetstream.opened(signal);
  expect(late.jetstream.stats()?.connected).toBe(false);
});
