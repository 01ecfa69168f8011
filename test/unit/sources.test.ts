import pino from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startKnot } from '../../sim/knot/knot.ts';
import type { Lease } from '../../src/ingest/leases.ts';
import { sourceNews } from '../../src/ingest/source-news.ts';
import { addSources, takeLeases } from '../../src/store/leases.ts';
import { openDatabase } from '../../src/store/db.ts';
import { pinRepo, unpinRepo } from '../../src/store/repos.ts';
import { listSources, type SourceRow } from '../../src/store/sources.ts';
import { commandLine } from '../support/cli.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { startKnotIngest } from '../support/ingest.ts';
import { until } from '../support/until.ts';

let db: FreshDatabase;
const cleanup: (() => unknown)[] = [];
beforeEach(async () => void (db = await freshDatabase()));
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
  await db.drop();
});
const whorl = commandLine(() => db.url);
const log = pino({ level: 'silent' });
const repo = { did: 'did:plc:alice', name: 'demo' };

async function reading(options: Parameters<typeof startKnot>[0] = {}) {
  const knot = await startKnot(options);
  cleanup.push(() => knot.close());
  await pinRepo(db.sql, { knot: knot.host, ...repo });
  const ingest = startKnotIngest(db.sql, { owner: 'host:1:abc', settings: { newsMs: 50 } });
  cleanup.push(() => ingest.stop());
  return { knot, ingest };
}
const sourceThat = (what: string, fits: (row: SourceRow) => unknown): Promise<SourceRow> =>
  until(what, async () => (await listSources(db.sql)).find((row) => fits(row)));

test('a knot that is read is live, with who reads it, how far, and how late', async () => {
  const { knot } = await reading();
  await sourceThat('it is live', ({ state }) => state === 'live');
  expect((await whorl('knots')).code).toBe(0);
  knot.push({ repo, workflows: [{ name: 'ci.yml', raw: 'tack: {}\n' }], kind: 'manual' });
  const row = await sourceThat('its frame was counted', ({ frames }) => frames > 0);
  expect(row).toMatchObject({
    source: `knot/${knot.host}`,
    state: 'live',
    holder: 'host:1:abc',
    tries: 0,
    error: null,
  });
  expect(Math.abs(row.lagMs ?? Infinity)).toBeLessThan(60_000);
  const { code, out, err } = await whorl('knots');
  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(out).toMatch(new RegExp(`knot/${knot.host} +live `));
  expect(out).toContain('read by host:1:abc');
  expect(JSON.parse((await whorl('knots --json')).out)).toEqual([
    expect.objectContaining({ source: `knot/${knot.host}` }),
  ]);
});

test('a knot that is down waits, with how often it was tried and why; one that nobody reads is unread', async () => {
  const { knot, ingest } = await reading();
  await sourceThat('it is live', ({ state }) => state === 'live');
  await knot.close();
  const row = await sourceThat('it waits', ({ state, tries }) => state === 'waiting' && tries > 0);
  expect(row.error).toEqual(expect.any(String));
  const down = await whorl('knots');
  expect(down).toMatchObject({ code: 1, err: `whorl: knot/${knot.host} is waiting` });
  expect(down.out).toMatch(/last trouble \d+s ago: \S/);
  await ingest.stop();
  expect((await whorl('knots')).err).toBe(`whorl: knot/${knot.host} is unread`);
});

test('a clock that is wrong is told', async () => {
  const { knot } = await reading({ clockSkew: -3_600_000 });
  const row = await sourceThat('its clock is known', ({ skewMs }) => skewMs !== null && skewMs !== 0);
  expect(row.skewMs).toBeLessThan(-3_500_000);
  const { out } = await whorl('knots');
  expect(out).toMatch(/(?:59m|60m) behind/);
  expect(knot.host).toBeTruthy();
});

test('what is not wanted any more goes', async () => {
  const { knot } = await reading();
  await sourceThat('it is live', ({ state }) => state === 'live');
  await unpinRepo(db.sql, { knot: knot.host, ...repo });
  await until('its row is gone', async () => (await db.sql`select from sources`).length === 0);
  expect(await whorl('knots')).toMatchObject({ code: 0, out: expect.stringContaining('Nothing is to be read') });
});

/** A source with a lease of its own, and the statements that were sent. */
async function told(restMs: number, url = db.url) {
  await addSources(db.sql, ['knot/x']);
  const [held] = await takeLeases(db.sql, 'me', ['knot/x'], 1, 600_000);
  if (!held) throw new Error('no lease');
  const lost = new AbortController();
  const sent: string[] = [];
  const sql = openDatabase(url, { max: 1, connectTimeoutMs: 500 });
  const counted = new Proxy(sql, {
    apply: (target, self, args) => {
      const text = String((args[0] as string[])[0]);
      if (text.includes('insert into sources')) sent.push(text);
      return Reflect.apply(target as never, self, args) as unknown;
    },
  });
  const lease: Lease = { ...held, signal: lost.signal };
  const news = sourceNews({ sql: counted, source: 'knot/x', lease, log, now: () => Date.now(), restMs });
  cleanup.push(async () => {
    news.close();
    await sql.end({ timeout: 1 });
  });
  return { news, sent, lost };
}
const rowOf = async () => (await db.sql<{ state: string; frames: bigint }[]>`select state, frames from sources`)[0];

test('a flood of frames is one write in a while, and without news there is none', async () => {
  const { news, sent } = await told(3_000);
  news.connecting();
  news.live();
  await until('it is live', async () => (await rowOf())?.state === 'live');
  const before = sent.length;
  for (let n = 0; n < 10_000; n++) news.frame(Date.now());
  news.live();
  expect(sent).toHaveLength(before);
  await until('the frames are counted', async () => Number((await rowOf())?.frames) === 10_000);
  expect(sent).toHaveLength(before + 1);
});

test('a source that is tried again and again writes no more often than that', async () => {
  const { news, sent } = await told(3_600_000);
  for (let n = 0; n < 100; n++) {
    news.connecting();
    news.ended('refused');
  }
  await until('it waits', async () => (await rowOf())?.state === 'waiting');
  const before = sent.length;
  for (let n = 0; n < 100; n++) {
    news.connecting();
    news.ended('refused');
  }
  news.live();
  await until('it is live', async () => (await rowOf())?.state === 'live');
  expect(sent.length).toBeLessThanOrEqual(before + 1);
});

test('a database that is away disturbs nobody, and what was counted meanwhile comes later', async () => {
  const { news, sent } = await told(50, db.url.replace(/:\d+\//, ':1/'));
  news.live();
  news.frame(1);
  await until('it was tried again', () => sent.length > 1);
  news.close();
  expect(await rowOf()).toBeUndefined();
});

test('whoever has lost the lease writes nothing', async () => {
  const { news, lost, sent } = await told(10);
  await db.sql`update leases set epoch = epoch + 1 where source = 'knot/x'`;
  news.live();
  await until('it was tried', () => sent.length > 0);
  lost.abort();
  news.frame(1);
  expect(await rowOf()).toBeUndefined();
});

test('a reason and a time that the database would refuse do no harm', async () => {
  const { news } = await told(10);
  news.event(2n ** 80n);
  news.ended(`nul \0, half \ud83e, and ${'long '.repeat(1000)}`);
  expect(await until('it waits', async () => (await rowOf())?.state)).toBe('waiting');
});
