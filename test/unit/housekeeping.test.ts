import { randomUUID } from 'node:crypto';
import { MockActivityEnvironment } from '@temporalio/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { houseActivities, type HouseDeps } from '../../src/activities/housekeeping.ts';
import { createLogger } from '../../src/log.ts';
import { acceptDelivery } from '../../src/store/deliveries.ts';
import type { Sql } from '../../src/store/db.ts';
import { completeLog, openLog } from '../../src/store/logs.ts';
import { quarantine } from '../../src/store/quarantine.ts';
import { keepRefused, listRefused } from '../../src/store/refused.ts';
import { newestCursor, publishStatuses, resendStatuses, statusesAfter } from '../../src/store/statuses.ts';
import { settleDeliveries } from '../../src/store/work.ts';
import type { HouseActivities, Tidied } from '../../src/workflows/contract.ts';
import { quiet } from '../support/custody.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { mortal } from '../support/mortal.ts';
import { addPipeline, outboxOf } from '../support/outbox.ts';

let database: FreshDatabase;
let sql: Sql;
beforeAll(async () => {
  database = await freshDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());

const log = createLogger({ level: 'silent', format: 'json' });
const logs = { days: 30, spaceBytes: 2 ** 40 };

/** One activity, as a worker runs it. */
const tidy = (kind: keyof HouseActivities, deps: Partial<HouseDeps> = {}): Promise<Tidied> =>
  new MockActivityEnvironment({}, { logger: quiet }).run(
    houseActivities({ sql, log, logs, keepDays: 30, ...deps })[kind],
  ) as Promise<Tidied>;

const removed = async (kind: keyof HouseActivities, deps?: Partial<HouseDeps>): Promise<number> =>
  (await tidy(kind, deps)).removed;

let pipelines = 0;
const newPipeline = () => addPipeline(sql, 'knot.example', `p${++pipelines}`, ['ci.yml']);
type Said = Parameters<typeof publishStatuses>[2][number];
const say = (status: Said['status'], more: Partial<Said> = {}): Said => ({
  job: 'ci.yml',
  attempt: 1,
  epoch: 0,
  status,
  ...more,
});
const day = 86_400_000_000_000n;

/** Lets all that a pipeline has shown be some days older; whatever was withheld has been shown meanwhile. */
async function later(pipeline: string, days: number): Promise<void> {
  const age = sql`${days} * interval '1 day'`;
  await sql`update jobs set shown_at = shown_at - ${age} where pipeline = ${pipeline}`;
  await sql`
    update statuses set created_at = created_at - ${age}, state = case state when 'due' then 'sent' else state end,
      cursor = coalesce(cursor, (extract(epoch from created_at) * 1e9)::bigint + id) - ${(BigInt(days) * day).toString()}::bigint
    where pipeline = ${pipeline}`;
}

const standing = async (pipeline: string): Promise<string[]> =>
  (await outboxOf(sql, pipeline)).map(
    ({ status, attempt, epoch, error, resend }) =>
      `${status}/${attempt}/${epoch}${error ? ` ${error}` : ''}${resend ? ' again' : ''}`,
  );

describe('statuses', () => {
  const life: Said[] = [
    say('pending'),
    say('pending', { error: 'waiting' }),
    say('running'),
    say('failed', { error: 'exit 1' }),
    say('success'),
  ];
  async function lived(): Promise<Awaited<ReturnType<typeof newPipeline>>> {
    const pipeline = await newPipeline();
    for (const entry of life) {
      await publishStatuses(sql, pipeline, [entry]);
      await later(pipeline, 0);
      await sql`update jobs set shown_at = shown_at - interval '1 minute' where pipeline = ${pipeline}`;
    }
    await resendStatuses(sql, pipeline);
    return pipeline;
  }

  test('that were overtaken go when nobody may ask for them any more, and a repeat of them is not published again', async () => {
    const pipeline = await lived();
    const all = await standing(pipeline);
    expect(all).toHaveLength(6);
    await later(pipeline, 29);
    expect(await removed('tidyStatuses')).toBe(0);
    expect(await standing(pipeline)).toEqual(all);

    await later(pipeline, 2);
    expect(await removed('tidyStatuses')).toBe(3);
    const left = ['failed/1/0 exit 1', 'success/1/0', 'success/1/0 again'];
    expect(await standing(pipeline)).toEqual(left);

    for (const entry of [...life, ...life.toReversed()]) await publishStatuses(sql, pipeline, [entry]);
    expect(await resendStatuses(sql, pipeline)).toEqual({ resent: 0 });
    expect(await standing(pipeline)).toEqual(left);
    const [job] = await sql`select status, rank from jobs where pipeline = ${pipeline}`;
    expect(job).toEqual({ status: 'success', rank: 2 });
  });

  test('that a later rerun overtakes go in their turn, and the latest one never does', async () => {
    const pipeline = await lived();
    await later(pipeline, 60);
    await tidy('tidyStatuses');
    await publishStatuses(sql, pipeline, [say('pending', { attempt: 2 })]);
    await publishStatuses(sql, pipeline, [say('success', { attempt: 2 })]);
    await tidy('tidyStatuses');
    expect(await standing(pipeline)).toContain('failed/1/0 exit 1');

    await later(pipeline, 40);
    await sql`delete from housekeeping`;
    await tidy('tidyStatuses', { batch: 1 });
    expect(await standing(pipeline)).toEqual(['success/1/0 again', 'success/2/0']);
    await later(pipeline, 4_000);
    await sql`delete from housekeeping`;
    await tidy('tidyStatuses');
    expect(await standing(pipeline)).toEqual(['success/1/0 again', 'success/2/0']);
  });

  test('that are young stay for readers with a cursor, all of them', async () => {
    const pipeline = await lived();
    const before = await newestCursor(sql);
    const frames = await statusesAfter(sql, 0n, 1_000);
    await tidy('tidyStatuses', { batch: 2 });
    const after = await statusesAfter(sql, 0n, 1_000);
    expect(after.filter(({ pipelineRkey }) => pipeline.endsWith(`/${pipelineRkey}`))).toHaveLength(6);
    expect(frames.length).toBeGreaterThanOrEqual(after.length);
    expect(await newestCursor(sql)).toBe(before);
  });

  test('are walked over once: what has been looked at costs nothing any more', async () => {
    const pipeline = await lived();
    await later(pipeline, 31);
    await tidy('tidyStatuses');
    const [first] = await sql<{ position: bigint }[]>`select position from housekeeping where kind = 'statuses'`;
    expect(await tidy('tidyStatuses')).toMatchObject({ removed: 0 });
    const [second] = await sql<{ position: bigint }[]>`select position from housekeeping where kind = 'statuses'`;
    expect(second?.position).toBe(first?.position);
    expect(first?.position).toBeGreaterThan(0n);
  });
});

describe('webhooks', () => {
  const delivery = () => ({
    key: randomUUID(),
    event: 'build.finished',
    build: 'b-1',
    address: { knot: 'knot.example', rkey: 'p1', job: 'ci.yml' },
    ref: { id: 'b-1' },
    seen: { build: 'b-1', status: 'success' as const, at: 1 },
  });
  type Delivery = Parameters<typeof acceptDelivery>[2];

  test('lose their contents after their time, and one that is sent again is still known', async () => {
    const [old, young, open] = [delivery(), delivery(), delivery()] as unknown as [Delivery, Delivery, Delivery];
    for (const each of [old, young, open]) expect(await acceptDelivery(sql, 'buildkite', each)).toBe('stored');
    const rows = await sql<{ id: bigint; key: string }[]>`select id, key from deliveries`;
    const idOf = ({ key }: Delivery): bigint => rows.find((row) => row.key === key)?.id ?? 0n;
    await settleDeliveries(sql, [idOf(old), idOf(young)], 'done', null);
    await sql`update deliveries set settled_at = now() - interval '31 days' where key = ${old.key}`;
    // It waits since long ago, because nobody could carry it: nothing of it may be lost.
    await sql`update deliveries set received_at = now() - interval '90 days' where key = ${open.key}`;

    expect(await removed('tidyDeliveries', { batch: 1 })).toBe(1);
    const full = async ({ key }: Delivery) =>
      (await sql`select from deliveries where key = ${key} and ref is not null and seen is not null`).length === 1;
    expect(await Promise.all([old, young, open].map(full))).toEqual([false, true, true]);
    expect(await acceptDelivery(sql, 'buildkite', old)).toBe('known');
    expect(await full(old)).toBe(false);
    expect(await removed('tidyDeliveries')).toBe(0);
  });
});

test('quarantined rows, refused frames, expired tokens and forgotten streams go; the others stay', async () => {
  for (const source of ['old', 'young']) {
    await quarantine(sql, { source, bytes: Buffer.from(source), reason: 'no' });
    await keepRefused(sql, [{ source, bytes: Buffer.from(source), reason: 'no', receivedAt: new Date() }]);
    await sql`insert into sources (source, state) values (${source}, 'live')`;
    await sql`insert into service_tokens values (${source}, 'id', now() + ${source === 'old' ? -2 : -0.5} * interval '1 hour')`;
  }
  await sql`update quarantine set received_at = now() - interval '31 days' where source = 'old'`;
  await sql`update refused_frames set received_at = now() - interval '31 days' where source = 'old'`;
  await sql`update sources set updated_at = now() - interval '31 days' where source = 'old'`;

  expect(await removed('tidyQuarantine', { batch: 1 })).toBe(2);
  expect(await removed('tidyTokens', { batch: 1 })).toBe(1);
  expect(await removed('tidySources', { batch: 1 })).toBe(1);
  expect(await sql`select source from quarantine`).toEqual([{ source: 'young' }]);
  expect((await listRefused(sql)).map(({ source }) => source)).toEqual(['young']);
  expect(await sql`select issuer from service_tokens`).toEqual([{ issuer: 'young' }]);
  expect(await sql`select source from sources`).toEqual([{ source: 'young' }]);
});

test('logs go, and what is left of everything has a size', async () => {
  const pipeline = await newPipeline();
  const key = { pipeline, job: 'ci.yml', attempt: 1 };
  await openOf(key);
  await sql`update logs set created_at = now() - interval '31 days' where pipeline = ${pipeline}`;
  const tidied = await tidy('tidyLogs');
  expect(tidied.removed).toBe(1);
  expect(tidied.bytes).toBeGreaterThan(8_000);
  expect((await openLog(sql, key))?.removed).toBe(true);
});

async function openOf(key: { pipeline: string; job: string; attempt: number }): Promise<void> {
  await sql`insert into logs (pipeline, job, attempt) values (${key.pipeline}, ${key.job}, ${key.attempt})`;
  await completeLog(sql, key as Parameters<typeof completeLog>[1], 0);
}

const kinds: (keyof HouseActivities)[] = [
  'tidyLogs',
  'tidyDeliveries',
  'tidyStatuses',
  'tidyQuarantine',
  'tidyTokens',
  'tidySources',
];

test('a process that dies at any moment leaves nothing that the next one does not finish', async () => {
  const pipeline = await newPipeline();
  await publishStatuses(sql, pipeline, [say('pending')]);
  await publishStatuses(sql, pipeline, [say('success')]);
  await later(pipeline, 31);
  for (let n = 0; n < 5; n += 1) await quarantine(sql, { source: `dying-${n}`, bytes: Buffer.from('x'), reason: 'no' });
  await sql`update quarantine set received_at = now() - interval '31 days' where source like 'dying-%'`;

  let moments = 1;
  for (let done = false; !done; moments += 1) {
    const { sql: dying } = mortal({ sql, provider: () => ({}) as never }, moments);
    const all = (async () => {
      for (const kind of kinds) await tidy(kind, { sql: dying, batch: 2 });
    })();
    await all.then(
      () => (done = true),
      () => {},
    );
  }
  expect(moments).toBeGreaterThan(20);
  expect(await standing(pipeline)).toEqual(['success/1/0']);
  expect(await sql`select from quarantine where source like 'dying-%'`).toHaveLength(0);
});

test('when there is nothing to do, a run costs fourteen statements', async () => {
  for (const kind of kinds) await tidy(kind);
  const { sql: counted } = mortal({ sql, provider: () => ({}) as never }, 2 * 14);
  for (const kind of kinds) await tidy(kind, { sql: counted });
});
