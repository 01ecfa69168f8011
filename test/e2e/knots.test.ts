import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type KnotOptions, type KnotSim, startKnot } from '../../sim/knot/knot.ts';
import { parseFrame } from '../../src/forges/tangled/frame.ts';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { readCursor } from '../../src/store/cursors.ts';
import { pinRepo, unpinRepo } from '../../src/store/repos.ts';
import { type FreshDatabase, asAdmin, freshDatabase } from '../support/database.ts';
import { startKnotIngest } from '../support/ingest.ts';
import { until } from '../support/until.ts';

const captured = readFileSync(new URL('../fixtures/knot-events.ndjson', import.meta.url), 'utf8')
  .trim()
  .split('\n');
const repo = { did: 'did:plc:alice', name: 'demo' };
const workflows = [{ name: 'ci.yml', raw: 'tack: {}\n' }];
const minute = 60_000;
const hour = 60 * minute;

let db: FreshDatabase;
const cleanup: (() => unknown)[] = [];
beforeEach(async () => void (db = await freshDatabase({ max: 10 })));
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
  await db.drop();
});

async function knotWith(options: KnotOptions = {}): Promise<KnotSim> {
  const knot = await startKnot(options);
  cleanup.push(() => knot.close());
  return knot;
}
function ingest(options: Parameters<typeof startKnotIngest>[1] = {}) {
  const started = startKnotIngest(db.sql, options);
  cleanup.push(() => started.stop());
  return started;
}

const pin = (knot: KnotSim, since?: Date) => pinRepo(db.sql, { knot: knot.host, ...repo, since });
const push = (knot: KnotSim, rkey?: string): string =>
  knot.push({ repo, workflows, kind: 'manual', ...(rkey && { rkey }) }).rkey;
const rkeys = async (state = 'new'): Promise<string[]> =>
  (await db.sql<{ rkey: string }[]>`select rkey from triggers where state = ${state} order by id`).map((r) => r.rkey);
const arrived = (all: readonly string[], what = 'all triggers'): Promise<unknown> =>
  until(what, async () => (await rkeys()).length >= all.length);
/** The knot's events that ask for CI, in the order in which it stored them. */
const pipelines = (knot: KnotSim): string[] =>
  knot.history.filter(({ nsid }) => nsid === 'sh.tangled.pipeline').map(({ rkey }) => rkey);
const nanos = (ms: number): bigint => BigInt(ms) * 1_000_000n;
const cursorOf = async (knot: KnotSim) => await readCursor(db.sql, `knot/${knot.host}`);

test('every captured frame is stored once, also when the knot sends its history three times', async () => {
  const knot = await knotWith();
  knot.replay(captured);
  await pin(knot, new Date(0));
  const { knots } = ingest();
  const frames = () => knots.stats().get(knot.host)?.frames ?? 0;
  await until('the history', () => frames() === captured.length);
  for (const times of [2, 3, 4]) {
    knot.replayAll();
    await until(`the history for the ${times}th time`, () => frames() === times * captured.length);
  }
  const last = push(knot);
  await until('an event after it', async () => (await rkeys()).includes(last));

  const expected = captured
    .map((line) => parseFrame(line))
    .flatMap((frame) => ('problem' in frame || frame.nsid !== 'sh.tangled.pipeline' ? [] : frame.rkey));
  expect(expected.length).toBeGreaterThan(3);
  expect(await rkeys()).toEqual([...expected, last]);
});

test.each(['A', 'B'] as const)(
  '1,000 events behind and 300 at once are drained from a knot of generation %s',
  async (generation) => {
    const knot = await knotWith({ generation });
    for (let i = 0; i < 1_000; i++) push(knot);
    await pin(knot);
    ingest();
    await arrived(pipelines(knot), 'the backlog');

    for (let i = 0; i < 300; i++) {
      push(knot);
      if (i % 70 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await arrived(pipelines(knot), 'the burst');
    expect(await rkeys()).toEqual(pipelines(knot));
    // old knots are dialled for each page, newer ones send all that there is
    expect(knot.connections.length).toBeLessThan(generation === 'A' ? 16 : 5);
  },
);

test('a TID from the future does not silence a knot, nor does it skip a backlog', async () => {
  const knot = await knotWith();
  const tomorrow = tidAt(Date.now() + 24 * hour);
  for (let i = 0; i < 250; i++) push(knot, i === 5 ? tomorrow : undefined);
  await pin(knot);
  ingest();
  await arrived(pipelines(knot), 'the backlog');
  expect((await cursorOf(knot))?.position).toBeLessThan(nanos(Date.now()));

  push(knot, tidAt(Date.now() + 48 * hour));
  await arrived(pipelines(knot), 'the second one from the future');
  knot.dropAll();
  push(knot);
  await arrived(pipelines(knot), 'one after it, on the next connection');
});

test('a row that PostgreSQL refuses does not stop its knot, and its bytes are kept with the reason', async () => {
  const knot = await knotWith();
  push(knot);
  const bad = knot.push({ repo, workflows: [{ name: 'ci\0.yml', raw: '' }], kind: 'manual' }).rkey;
  push(knot);
  await pin(knot);
  const { knots } = ingest();
  const good = pipelines(knot).filter((rkey) => rkey !== bad);
  await arrived(good);
  expect(await rkeys()).toEqual(good);
  const [row] = await db.sql`select source, convert_from(bytes, 'utf8') as text, reason from quarantine`;
  expect(row).toMatchObject({ source: `knot/${knot.host}`, text: expect.stringContaining(bad) as string });
  expect(row?.['reason']).toContain('unsupported Unicode escape sequence');

  // it passes again with every rewind, and is kept once
  knot.dropAll();
  await until('the same frame again', () => (knots.stats().get(knot.host)?.quarantined ?? 0) >= 2);
  expect(await db.sql`select from quarantine`).toHaveLength(1);
});

test('frames that are none are counted and stepped over', async () => {
  const knot = await knotWith();
  await pin(knot);
  const { knots } = ingest();
  await knot.connected();
  push(knot);
  await arrived(pipelines(knot));
  const garbage = ['not JSON', '[1]', '"text"', '', '{"nsid":5}', new Uint8Array([0xff, 0xfe, 0x80])];
  for (const bytes of garbage) knot.raw(bytes);
  knot.raw('{}');
  knot.raw('{"nsid":"sh.tangled.unheard.of","rkey":"a","event":{}}');
  push(knot);
  await arrived(pipelines(knot), 'an event after the garbage');
  expect(knots.stats().get(knot.host)?.bad).toBe(garbage.length);
  expect(knot.connections).toHaveLength(1);
  expect(await db.sql`select from quarantine`).toHaveLength(0);
});

test('other events only move the cursor', async () => {
  const knot = await knotWith();
  await pin(knot);
  ingest();
  await knot.connected();
  const before = nanos(Date.now());
  knot.emit('sh.tangled.git.refUpdate', {});
  await until('the cursor to move', async () => ((await cursorOf(knot))?.position ?? 0n) >= before - 1_000_000n);
  expect(await db.sql`select from triggers`).toHaveLength(0);
});

test('a knot is read from an hour before the choice, and what is older than 10 minutes before it is early', async () => {
  const knot = await knotWith();
  const now = Date.now();
  const at = (ago: number): string => tidAt(now - ago);
  const line = (rkey: string) => JSON.stringify({ event: {}, nsid: 'sh.tangled.pipeline', rkey });
  knot.replay([2 * hour, 30 * minute, 11 * minute, 9 * minute].map((ago) => line(at(ago))));
  await pin(knot, new Date(now));
  ingest();
  await until('the one that counts', async () => (await rkeys()).length > 0);
  expect(await rkeys()).toEqual([at(9 * minute)]);
  expect(await rkeys('early')).toEqual([at(30 * minute), at(11 * minute)]);
  const [row] = await db.sql`select reason, body from triggers where state = 'early'`;
  expect(row).toMatchObject({ reason: expect.stringContaining('before choice') as string, body: null });
  expect(knot.connections[0]?.cursor).toBe(`${nanos(now - hour)}`);
});

test('a repo that is pinned again for an earlier time has its knot read again from there', async () => {
  const knot = await knotWith();
  const now = Date.now();
  const line = (rkey: string) =>
    JSON.stringify({
      event: {
        triggerMetadata: {
          kind: 'manual',
          manual: { sha: 'a'.repeat(40) },
          repo: { ...repo, repo: repo.name, knot: 'k' },
        },
      },
      nsid: 'sh.tangled.pipeline',
      rkey,
    });
  const [old, early] = [tidAt(now - 30 * hour), tidAt(now - hour / 2)];
  knot.replay([line(old), line(early)]);
  await pin(knot, new Date(now));
  ingest();
  await until('the early one', async () => (await rkeys('early')).length === 1);
  await pin(knot, new Date(now - 30 * hour));
  await until('both', async () => (await rkeys()).length === 2);
  expect((await rkeys()).toSorted()).toEqual([old, early].toSorted());
  expect((await cursorOf(knot))?.since).toEqual(new Date(now - 30 * hour));
});

test('a knot whose clock is hours behind or ahead is judged by its own clock', async () => {
  for (const clockSkew of [-3 * hour, 3 * hour]) {
    const knot = await knotWith({ clockSkew });
    for (let i = 0; i < 150; i++) push(knot);
    await pin(knot);
    const started = ingest();
    await until('what happened before', async () => (await rkeys()).length >= pipelines(knot).length);
    push(knot);
    await until('what happens now', async () => (await rkeys()).length >= pipelines(knot).length);
    const cursor = await cursorOf(knot);
    // the database's clock is told by the middle of a question and its answer
    expect(cursor?.position).toBeLessThanOrEqual(nanos(Date.now() + 100));
    // dispatch compares these times with the choice, which is of our clock
    const [far] =
      await db.sql`select count(*)::int as n from triggers where abs(extract(epoch from now() - event_at)) > 600`;
    expect(far).toEqual({ n: 0 });
    await started.stop();
    await unpinRepo(db.sql, { knot: knot.host, ...repo });
    await db.sql`delete from triggers`;
  }
});

test('a fresh connection starts a few seconds before the cursor, and a dead link is dialled again', async () => {
  const knot = await knotWith();
  await pin(knot);
  ingest({ settings: { pingMs: 50, readDeadlineMs: 400 } });
  await knot.connected();
  push(knot);
  await arrived(pipelines(knot));
  const position = (await cursorOf(knot))?.position ?? 0n;
  knot.halfOpen();
  await knot.connected(2);
  expect(knot.connections[1]?.cursor).toBe(`${position - nanos(5_000)}`);
  push(knot);
  await arrived(pipelines(knot), 'an event on the next connection');
});

test('a knot that refuses is asked again', async () => {
  const knot = await knotWith();
  knot.faults.refuse = 503;
  await pin(knot);
  const { knots } = ingest();
  await until('three tries', () => (knots.stats().get(knot.host)?.dials ?? 0) >= 3);
  push(knot);
  knot.faults.refuse = undefined;
  await arrived(pipelines(knot));
});

test('nothing is skipped while the database is away, and no more is held than fits', async () => {
  const knot = await knotWith();
  await pin(knot);
  const { knots } = ingest();
  await knot.connected();
  push(knot);
  await arrived(pipelines(knot));

  const name = db.sql.options.database;
  await asAdmin(async (admin) => {
    await admin`alter database ${admin(name)} with allow_connections false`;
    await admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`;
  });
  for (let i = 0; i < 2_000; i++) {
    push(knot);
    if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await until('frames to pile up', () => (knots.stats().get(knot.host)?.frames ?? 0) > 300);
  expect(knots.stats().get(knot.host)?.frames).toBeLessThan(1_000);
  await asAdmin((admin) => admin`alter database ${admin(name)} with allow_connections true`);

  await arrived(pipelines(knot), 'all that happened meanwhile');
  expect(await rkeys()).toEqual(pipelines(knot));
});

test('a reader whose lease has gone to another process writes nothing more, and closes', async () => {
  const knot = await knotWith();
  await pin(knot);
  const source = `knot/${knot.host}`;
  const { knots, stop } = startKnotIngest(db.sql, { ttlMs: minute });
  cleanup.push(stop);
  await knot.connected();
  push(knot);
  await arrived(pipelines(knot));
  const before = await cursorOf(knot);

  await db.sql`update leases set owner = 'other', epoch = epoch + 1 where source = ${source}`;
  const seen = await rkeys();
  push(knot);
  await until('the reader to close', () => knot.connections[0]?.closedAt);
  expect(await rkeys()).toEqual(seen);
  expect(await cursorOf(knot)).toEqual(before);
  // it has no more figures once it has ended
  expect(knots.stats().get(knot.host)?.connected ?? false).toBe(false);
});

test('knots come and go while running: one without repos is closed at once, and starts anew later', async () => {
  const [one, two] = [await knotWith(), await knotWith()];
  await pin(one);
  // no look at what is wanted comes by itself meanwhile
  const { leases } = ingest({ ttlMs: 300_000 });
  await one.connected();
  push(one);
  await arrived(pipelines(one));

  await pin(two);
  await two.connected();
  expect(leases.held().toSorted()).toEqual([`knot/${one.host}`, `knot/${two.host}`].toSorted());

  await unpinRepo(db.sql, { knot: one.host, ...repo });
  await until('the socket to close', () => one.connections[0]?.closedAt);
  await until('the cursor to be forgotten', async () => (await cursorOf(one)) === undefined);

  const again = Date.now();
  await pin(one);
  await one.connected(2);
  expect(BigInt(one.connections[1]?.cursor ?? 0)).toBeGreaterThanOrEqual(nanos(again - hour - 1_000));
  push(one);
  await arrived(pipelines(one));
  expect(two.connections).toHaveLength(1);
});

test('a name that is not host or host:port is never dialled', async () => {
  const knot = await knotWith();
  for (const name of [`${knot.host}/x`, `user:pass@${knot.host}`, `${knot.host}?a=b`, 'knot.example:99999']) {
    await pinRepo(db.sql, { knot: name, ...repo });
  }
  await pin(knot);
  const { leases } = ingest();
  await knot.connected();
  expect(leases.held()).toEqual([`knot/${knot.host}`]);
});

test('two processes share the knots', async () => {
  const knots = await Promise.all(Array.from({ length: 4 }, () => knotWith()));
  for (const knot of knots) await pin(knot);
  const [a, b] = [ingest({ ttlMs: 2_000 }), ingest({ ttlMs: 2_000 })];
  await until('two each', () => a.knots.stats().size === 2 && b.knots.stats().size === 2);
  for (const knot of knots) push(knot);
  await arrived(knots.flatMap(pipelines));
  expect((await rkeys()).toSorted()).toEqual(knots.flatMap(pipelines).toSorted());
});

test('the place of a knot survives a restart, and a stop loses nothing that came before', async () => {
  const knot = await knotWith();
  await pin(knot);
  const first = ingest();
  await knot.connected();
  for (let i = 0; i < 50; i++) push(knot);
  await until('the frames', () => (first.knots.stats().get(knot.host)?.frames ?? 0) >= 50);
  await first.stop();
  const position = (await cursorOf(knot))?.position ?? 0n;
  expect(await rkeys()).toEqual(pipelines(knot));

  push(knot);
  ingest();
  await arrived(pipelines(knot));
  expect(knot.connections.at(-1)?.cursor).toBe(`${position - nanos(5_000)}`);
});
