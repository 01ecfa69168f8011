import { afterEach, beforeEach, expect, test } from 'vitest';
import { nextDue, openDeliveries } from '../../src/store/work.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';

let db: FreshDatabase;
beforeEach(async () => void (db = await freshDatabase()));
afterEach(() => db.drop());

const deliver = (event: string, share: number, inSeconds = 0) => db.sql`
  insert into deliveries (provider, key, share, event, build, ref, seen, due_at)
  values ('buildkite', gen_random_uuid()::text, ${share}, ${event}, 'b1', '{}', '{}', clock_timestamp() + ${inSeconds} * interval '1 s')`;

test('what tells only of steps waits behind everything else, however much of it there is', async () => {
  for (let n = 0; n < 5; n += 1) await deliver('job.started', 0);
  await deliver('build.finished', 0);
  const events = (await openDeliveries(db.sql, 0, 3)).map(({ event }) => event);
  expect(events).toContain('build.finished');
  expect(events).toHaveLength(3);
});

test('one statement says for all shares what waits, and in how long it is due', async () => {
  expect(await nextDue(db.sql, [0, 1, 2, 3])).toEqual([]);
  await deliver('build.finished', 1, -5);
  await deliver('build.finished', 1, 60);
  await deliver('build.finished', 2, 60);
  await deliver('build.finished', 3);
  await db.sql`
    insert into commands (id, share, pipeline, kind, by, state) values
      ('a', 1, 'pipeline/k/r', 'cancel', 'me', 'new'), ('b', 2, 'pipeline/k/r', 'cancel', 'me', 'done')`;
  const waiting = await nextDue(db.sql, [0, 1, 2]);
  expect(waiting.map(({ share, kind }) => `${share} ${kind}`).toSorted()).toEqual([
    '1 commands',
    '1 deliveries',
    '2 deliveries',
  ]);
  const of = (share: number) => waiting.find((one) => one.share === share && one.kind === 'deliveries')?.inMs ?? NaN;
  expect(of(1)).toBeLessThanOrEqual(-5_000);
  expect(of(2)).toBeGreaterThan(0);
  expect(of(2)).toBeLessThanOrEqual(60_000);
});
