import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { moveCursor, placeCursor, readCursor } from '../../src/store/cursors.ts';
import { isRefusal } from '../../src/store/db.ts';
import { type IncomingTrigger, intake } from '../../src/store/intake.ts';
import { addSources, takeLeases } from '../../src/store/leases.ts';
import { quarantine } from '../../src/store/quarantine.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { hearNotices, type Notices } from '../support/notices.ts';

const knot = 'knot.example';
const source = `knot/${knot}`;
const nsid = 'sh.tangled.pipeline';

let db: FreshDatabase;
let notices: Notices;

beforeAll(async () => {
  db = await freshDatabase();
  notices = await hearNotices(db.sql, ['inbox']);
});
afterAll(async () => {
  await notices.close();
  await db.drop();
});
beforeEach(async () => {
  await db.sql`truncate triggers, cursors, leases, quarantine`;
  await notices.heard();
});

const lease = async (): Promise<bigint> => {
  await addSources(db.sql, [source]);
  await db.sql`update leases set expires_at = '-infinity' where source = ${source}`;
  const [held] = await takeLeases(db.sql, 'me', [source], 1, 10_000);
  return held?.epoch ?? 0n;
};
const trigger = (rkey: string, more: Partial<IncomingTrigger> = {}): IncomingTrigger => ({
  nsid,
  rkey,
  share: 1,
  body: '{"a": 1}',
  ...more,
});
const stored = () => db.sql`select rkey, state, reason, body from triggers order by id`;

test('triggers and the cursor are stored together, in order, and dispatch is woken once for each share', async () => {
  const epoch = await lease();
  await placeCursor(db.sql, { source, epoch, position: 5n, since: new Date(0) });
  const triggers = [trigger('b'), trigger('a', { share: 2 }), trigger('c')];
  const result = await intake(db.sql, { knot, source, epoch, triggers, position: 2n ** 60n });

  expect(result).toMatchObject({ mine: true, moved: true, inserted: 3 });
  expect((await stored()).map((row) => row['rkey'])).toEqual(['b', 'a', 'c']);
  expect(await readCursor(db.sql, source)).toEqual({ position: 2n ** 60n, since: new Date(0) });
  expect((await notices.heard()).toSorted()).toEqual(['inbox:1 triggers', 'inbox:2 triggers']);
});

test('a trigger that is there already stays as it is and wakes nobody, also when it comes twice at once', async () => {
  const epoch = await lease();
  await intake(db.sql, { knot, source, epoch, triggers: [trigger('a')] });
  await notices.heard();
  const again = trigger('a', { body: '{"a": 2}' });
  const result = await intake(db.sql, { knot, source, epoch, triggers: [again, again] });

  expect(result.inserted).toBe(0);
  expect(await stored()).toMatchObject([{ rkey: 'a', body: { a: 1 } }]);
  expect(await notices.heard()).toEqual([]);
});

test('an older epoch writes nothing and moves nothing', async () => {
  const before = await lease();
  await placeCursor(db.sql, { source, epoch: before, position: 5n });
  const after = await lease();
  expect(after).toBe(before + 1n);

  const late = { knot, source, epoch: before, triggers: [trigger('a')], position: 9n };
  expect(await intake(db.sql, late)).toMatchObject({ mine: false, moved: false, inserted: 0 });
  expect(await moveCursor(db.sql, { source, epoch: before, position: 9n })).toBe(false);
  expect(await placeCursor(db.sql, { source, epoch: before, position: 9n })).toBe(false);
  expect(await stored()).toEqual([]);
  expect(await readCursor(db.sql, source)).toMatchObject({ position: 5n });
  expect(await notices.heard()).toEqual([]);
});

test('a cursor moves forward only, is put back on purpose only, and stays forgotten', async () => {
  const epoch = await lease();
  await placeCursor(db.sql, { source, epoch, position: 5n });
  await moveCursor(db.sql, { source, epoch, position: 3n });
  await intake(db.sql, { knot, source, epoch, triggers: [], position: 4n });
  expect(await readCursor(db.sql, source)).toMatchObject({ position: 5n });
  await placeCursor(db.sql, { source, epoch, position: 2n });
  expect(await readCursor(db.sql, source)).toMatchObject({ position: 2n });

  await db.sql`delete from cursors`;
  const result = await intake(db.sql, { knot, source, epoch, triggers: [trigger('a')], position: 7n });
  expect(result).toMatchObject({ mine: true, moved: false, inserted: 1 });
  expect(await moveCursor(db.sql, { source, epoch, position: 8n })).toBe(true);
  expect(await readCursor(db.sql, source)).toBeUndefined();
});

test('an early trigger keeps its key and reason without a body, and becomes new when it counts after all', async () => {
  const epoch = await lease();
  const early = trigger('a', { state: 'early', reason: 'before choice' });
  await intake(db.sql, { knot, source, epoch, triggers: [early] });
  expect(await stored()).toMatchObject([{ state: 'early', reason: 'before choice', body: null }]);
  expect(await notices.heard()).toEqual([]);

  await intake(db.sql, { knot, source, epoch, triggers: [early] });
  expect(await stored()).toMatchObject([{ state: 'early' }]);
  const result = await intake(db.sql, { knot, source, epoch, triggers: [trigger('a')] });
  expect(result.inserted).toBe(1);
  expect(await stored()).toMatchObject([{ state: 'new', reason: null, body: { a: 1 } }]);
  expect(await notices.heard()).toEqual(['inbox:1 triggers']);
});

test('one refused row refuses them all, and its bytes can be kept, once', async () => {
  const epoch = await lease();
  await placeCursor(db.sql, { source, epoch, position: 1n });
  const triggers = [trigger('a'), trigger('b', { body: '{"name": "\\u0000"}' })];
  const refusal = await intake(db.sql, { knot, source, epoch, triggers, position: 9n }).catch((e: unknown) => e);

  expect(isRefusal(refusal)).toBe(true);
  expect(await stored()).toEqual([]);
  expect(await readCursor(db.sql, source)).toMatchObject({ position: 1n });

  const bytes = Buffer.from([0, 255, 1]);
  await quarantine(db.sql, { source, bytes, reason: 'it has a \0' });
  await quarantine(db.sql, { source, bytes, reason: 'again' });
  expect(await db.sql`select source, bytes, reason from quarantine`).toEqual([{ source, bytes, reason: 'it has a ␀' }]);
});
