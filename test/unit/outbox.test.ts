import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pipelineId } from '../../src/pipeline/ids.ts';
import type { Status } from '../../src/pipeline/status.ts';
import { openDatabase, type Sql } from '../../src/store/db.ts';
import {
  newestCursor,
  publishStatuses,
  releaseStatuses,
  resendStatuses,
  statusesAfter,
} from '../../src/store/statuses.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { addPipeline, outboxOf } from '../support/outbox.ts';
import { until } from '../support/until.ts';

let database: FreshDatabase;
let sql: Sql;
beforeAll(async () => {
  database = await freshDatabase();
  sql = database.sql;
});
afterAll(() => database.drop());

let pipelines = 0;
const newPipeline = (jobs = ['ci.yml']) => addPipeline(sql, 'knot.example', `p${++pipelines}`, jobs);
const say = (status: Status, more: { job?: string; attempt?: number; epoch?: number; error?: string } = {}) => ({
  job: 'ci.yml',
  attempt: 1,
  epoch: 0,
  status,
  ...more,
});
const words = async (pipeline: string, state = 'sent') =>
  (await outboxOf(sql, pipeline)).filter((row) => row.state === state).map((row) => row.status);
/** Lets an hour pass for a pipeline, and shows what was withheld. */
async function anHourLater(pipeline: string) {
  await sql`update statuses set created_at = created_at - interval '1 hour' where pipeline = ${pipeline}`;
  await sql`update jobs set shown_at = shown_at - interval '1 hour' where pipeline = ${pipeline}`;
  await until('nothing to be left', async () => (await releaseStatuses(sql)).released === 0);
}

test('a status is shown at once, with a cursor, and the job is brought up to date', async () => {
  const pipeline = await newPipeline();
  const before = await newestCursor(sql);
  const entry = { ...say('failed', { error: 'exit 3', attempt: 2, epoch: 1 }), exitCode: 3, state: { at: 'end' } };
  expect(await publishStatuses(sql, pipeline, [entry])).toEqual({ published: 1, withheldUntil: null });
  const [status, ...none] = await statusesAfter(sql, before, 10);
  expect(none).toEqual([]);
  expect(status).toMatchObject({ knot: 'knot.example', pipelineRkey: `p${pipelines}`, job: 'ci.yml' });
  expect(status).toMatchObject({ status: 'failed', error: 'exit 3', exitCode: 3 });
  expect(await outboxOf(sql, pipeline)).toMatchObject([{ attempt: 2, epoch: 1, resend: false, rkey: status?.rkey }]);
  expect(status?.rkey).toMatch(/^[2-7a-z]{13}$/);
  expect(Math.abs(Number(status?.cursor) / 1e6 - Date.now())).toBeLessThan(60_000);
  expect(await newestCursor(sql)).toBe(status?.cursor);
  const [job] = await sql`select * from jobs where pipeline = ${pipeline}`;
  expect(job).toMatchObject({ attempt: 2, epoch: 1, rank: 2, status: 'failed', error: 'exit 3', exit_code: 3 });
  expect(job).toMatchObject({ state: { at: 'end' }, shown_at: new Date(status?.createdAt ?? Number.NaN) });
});

test('several jobs of one call get consecutive cursors in their order', async () => {
  const pipeline = await newPipeline(['b.yml', 'a.yml', 'c.yml']);
  const before = await newestCursor(sql);
  await publishStatuses(
    sql,
    pipeline,
    ['b.yml', 'c.yml', 'a.yml'].map((job) => say('pending', { job })),
  );
  const rows = await statusesAfter(sql, before, 10);
  expect(rows.map((row) => row.job)).toEqual(['b.yml', 'c.yml', 'a.yml']);
  expect(rows.map((row) => row.cursor - (rows[0]?.cursor ?? 0n))).toEqual([0n, 1n, 2n]);
});

test('a repeat, and what is below the latest, publishes nothing', async () => {
  const pipeline = await newPipeline();
  const end = say('success', { attempt: 2, epoch: 1 });
  await publishStatuses(sql, pipeline, [end]);
  const lower = [
    end,
    say('running', { attempt: 2, epoch: 1 }),
    say('failed', { attempt: 1, epoch: 9 }),
    say('failed', { attempt: 2, epoch: 0 }),
  ];
  for (const entry of lower) {
    expect(await publishStatuses(sql, pipeline, [entry])).toEqual({ published: 0, withheldUntil: null });
  }
  expect(await outboxOf(sql, pipeline)).toHaveLength(1);
  const [job] = await sql`select attempt, epoch, status from jobs where pipeline = ${pipeline}`;
  expect(job).toEqual({ attempt: 2, epoch: 1, status: 'success' });
});

test('a workflow that was reset and says everything again publishes nothing twice', async () => {
  const pipeline = await newPipeline();
  const story = [
    say('pending'),
    say('running'),
    say('failed', { error: 'x' }),
    say('success'),
    say('pending', { attempt: 2 }),
  ];
  const tell = async () => {
    let published = 0;
    for (const entry of story) published += (await publishStatuses(sql, pipeline, [entry])).published;
    return published;
  };
  expect(await tell()).toBe(5);
  expect(await tell()).toBe(0);
  await anHourLater(pipeline);
  expect(await words(pipeline)).toEqual(['pending', 'failed', 'success', 'pending']);
  expect(await tell()).toBe(0);
});

test('the same rank with another status, or another reason, is published', async () => {
  const pipeline = await newPipeline();
  for (const entry of [say('pending'), say('pending', { error: 'parked' }), say('timeout'), say('failed')]) {
    expect((await publishStatuses(sql, pipeline, [entry])).published).toBe(1);
  }
  await anHourLater(pipeline);
  expect(await words(pipeline)).toEqual(['pending', 'timeout', 'failed']);
});

test('one call may say several things about a job', async () => {
  const pipeline = await newPipeline();
  const answer = await publishStatuses(sql, pipeline, [say('pending'), say('failed', { error: 'not YAML' })]);
  expect(answer.published).toBe(2);
  expect(answer.withheldUntil).toBeInstanceOf(Date);
  await anHourLater(pipeline);
  expect(await words(pipeline)).toEqual(['pending', 'failed']);
});

test('createdAt is at least a second after the last one, and the status is withheld until then', async () => {
  const pipeline = await newPipeline();
  await publishStatuses(sql, pipeline, [say('pending')]);
  const { withheldUntil } = await publishStatuses(sql, pipeline, [say('failed')]);
  const after = await publishStatuses(sql, pipeline, [say('success')]);
  const [first, second, third] = await outboxOf(sql, pipeline);
  expect(second).toMatchObject({ state: 'due', cursor: null, createdAt: withheldUntil });
  expect(Number(second?.createdAt) - Number(first?.createdAt)).toBe(1000);
  expect(Number(third?.createdAt) - Number(second?.createdAt)).toBe(1000);
  expect(after.withheldUntil).toEqual(third?.createdAt);

  expect(await releaseStatuses(sql)).toMatchObject({ released: 0, nextAt: withheldUntil });
  await until('all to be released', async () => (await releaseStatuses(sql)).nextAt === null);
  const rows = await outboxOf(sql, pipeline);
  expect(rows.map((row) => row.state)).toEqual(['sent', 'sent', 'sent']);
  const cursors = rows.map((row) => row.cursor ?? 0n);
  expect(cursors).toEqual(cursors.toSorted((a, b) => (a < b ? -1 : 1)));
  for (const row of rows) expect(Number(row.cursor) / 1e6).toBeGreaterThanOrEqual(Number(row.createdAt) - 1);
});

test('with nothing withheld there is no next time to look, and not the time zero', async () => {
  expect(await releaseStatuses(sql)).toEqual({ released: 0, skipped: 0, nextAt: null, nextInMs: null });
});

test('a withheld status that is no end and is overtaken is skipped, and its time is used again', async () => {
  const pipeline = await newPipeline();
  await publishStatuses(sql, pipeline, [say('pending')]);
  await publishStatuses(sql, pipeline, [say('running')]);
  await publishStatuses(sql, pipeline, [say('success')]);
  await publishStatuses(sql, pipeline, [say('pending', { attempt: 2 })]);
  await publishStatuses(sql, pipeline, [say('running', { attempt: 2 })]);
  const rows = await outboxOf(sql, pipeline);
  const start = Number(rows[0]?.createdAt);
  expect(rows.map((row) => [row.status, row.state, Number(row.createdAt) - start])).toEqual([
    ['pending', 'sent', 0],
    ['running', 'skipped', 1000],
    ['success', 'due', 1000],
    ['pending', 'skipped', 2000],
    ['running', 'due', 2000],
  ]);
  await anHourLater(pipeline);
  expect(await words(pipeline)).toEqual(['pending', 'success', 'running']);
  expect(await words(pipeline, 'skipped')).toEqual(['running', 'pending']);
});

test('an end whose time has come, and that nobody has released yet, goes before the next attempt', async () => {
  const pipeline = await newPipeline(['ci.yml', 'other.yml']);
  const before = await newestCursor(sql);
  await publishStatuses(sql, pipeline, [say('running'), say('running', { job: 'other.yml' })]);
  expect((await publishStatuses(sql, pipeline, [say('success')])).withheldUntil).not.toBeNull();
  await sql`update statuses set created_at = created_at - interval '1 hour' where pipeline = ${pipeline}`;
  await sql`update jobs set shown_at = shown_at - interval '1 hour' where pipeline = ${pipeline}`;
  const again = [say('failed', { job: 'other.yml' }), say('pending', { attempt: 2 })];
  expect(await publishStatuses(sql, pipeline, again)).toEqual({ published: 2, withheldUntil: null });

  const shown = (await statusesAfter(sql, before, 10)).map(({ job, status }) => `${job} ${status}`);
  expect(shown).toEqual([
    'ci.yml running',
    'other.yml running',
    'ci.yml success',
    'other.yml failed',
    'ci.yml pending',
  ]);
  expect(await releaseStatuses(sql)).toMatchObject({ released: 0, skipped: 0 });
});

test('an overtaken status that its overtaker could not see is skipped when its time comes', async () => {
  const pipeline = await newPipeline();
  await publishStatuses(sql, pipeline, [say('pending')]);
  await publishStatuses(sql, pipeline, [say('running')]);
  await publishStatuses(sql, pipeline, [say('success')]);
  await sql`update statuses set state = 'due' where pipeline = ${pipeline} and status = 'running'`;
  await anHourLater(pipeline);
  expect(await words(pipeline)).toEqual(['pending', 'success']);
  expect(await words(pipeline, 'skipped')).toEqual(['running']);
});

test('the latest status of each job is shown once more, with a new rkey and the same createdAt, once for ever', async () => {
  const pipeline = await newPipeline(['a.yml', 'b.yml', 'silent.yml']);
  await publishStatuses(sql, pipeline, [say('success', { job: 'a.yml' }), say('pending', { job: 'b.yml' })]);
  const before = await newestCursor(sql);
  expect(await resendStatuses(sql, pipeline)).toEqual({ resent: 2 });
  const again = await statusesAfter(sql, before, 10);
  expect(again.map((row) => [row.job, row.status])).toEqual([
    ['a.yml', 'success'],
    ['b.yml', 'pending'],
  ]);
  const first = (await outboxOf(sql, pipeline)).filter((row) => !row.resend);
  expect(again.map((row) => row.createdAt)).toEqual(first.map((row) => row.createdAt.toISOString()));
  expect(new Set([...again, ...first].map((row) => row.rkey)).size).toBe(4);

  await publishStatuses(sql, pipeline, [say('success', { job: 'b.yml' })]);
  expect(await resendStatuses(sql, pipeline)).toEqual({ resent: 0 });
  expect((await Promise.all([1, 2, 3].map(() => resendStatuses(sql, pipeline)))).map((x) => x.resent)).toEqual([
    0, 0, 0,
  ]);
});

test('many resends at once show each job once', async () => {
  const pipeline = await newPipeline(['a.yml', 'b.yml']);
  await publishStatuses(sql, pipeline, [say('success', { job: 'a.yml' }), say('pending', { job: 'b.yml' })]);
  const answers = await Promise.all([1, 2, 3, 4, 5, 6].map(() => resendStatuses(sql, pipeline)));
  expect(answers.reduce((sum, { resent }) => sum + resent, 0)).toBe(2);
  expect((await outboxOf(sql, pipeline)).filter((row) => row.resend)).toHaveLength(2);
});

test('text that PostgreSQL cannot hold does not stop a status', async () => {
  const pipeline = await newPipeline();
  const entry = { ...say('failed', { error: 'a\0b \ud800' }), state: { why: 'c\0d \udfff' } };
  expect((await publishStatuses(sql, pipeline, [entry])).published).toBe(1);
  const [job] = await sql`select error, state from jobs where pipeline = ${pipeline}`;
  expect(job).toEqual({ error: 'a\ufffdb \ufffd', state: { why: 'c\ufffdd \ufffd' } });
});

test('a job that does not exist is left out, and an id that is none is refused', async () => {
  const pipeline = await newPipeline();
  expect(await publishStatuses(sql, pipeline, [say('pending', { job: 'other.yml' })])).toMatchObject({ published: 0 });
  expect(await publishStatuses(sql, pipeline, [])).toEqual({ published: 0, withheldUntil: null });
  await expect(publishStatuses(sql, pipelineId('', ''), [say('pending')])).rejects.toThrow('not a pipeline id');
});

/** Holds a transaction open while the work is under way. */
async function meanwhile(hold: (tx: Sql) => Promise<unknown>, work: () => Promise<unknown>): Promise<void> {
  const own = openDatabase(database.url, { max: 1 });
  const tx = await own.reserve();
  await tx`begin`;
  await hold(tx);
  await work();
  await tx`commit`;
  tx.release();
  await own.end();
}

test('a status that had to wait for another writer is dated when it is written, not when it was asked for', async () => {
  const pipeline = await newPipeline();
  let asked: Promise<unknown> = Promise.resolve();
  let freed = new Date(0);
  await meanwhile(
    (tx) => tx`select from jobs where pipeline = ${pipeline} for update`,
    async () => {
      asked = publishStatuses(sql, pipeline, [say('pending')]);
      const waiting = () =>
        sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
      await until('it to wait', async () => (await waiting()).length > 0);
      const [clock] = await sql<[{ now: Date }]>`select clock_timestamp() as now`;
      freed = clock.now;
    },
  );
  await asked;
  const [row] = await outboxOf(sql, pipeline);
  expect(row?.createdAt.getTime()).toBeGreaterThanOrEqual(freed.getTime());
});

test('a withheld status that is being overtaken is left to its overtaker, and nobody waits', async () => {
  const pipeline = await newPipeline();
  await publishStatuses(sql, pipeline, [say('pending')]);
  await publishStatuses(sql, pipeline, [say('running')]);
  await meanwhile(
    (tx) => publishStatuses(tx, pipeline, [say('success')]),
    async () => {
      await until(
        'its time',
        async () =>
          (
            await sql`
        select from statuses where pipeline = ${pipeline} and state = 'due' and created_at > clock_timestamp()`
          ).length === 0,
      );
      const late = delay(2_000, 'it waits');
      expect(await Promise.race([releaseStatuses(sql), late])).not.toBe('it waits');
      expect(await words(pipeline, 'due')).toEqual(['running']);
    },
  );
  await anHourLater(pipeline);
  expect(await words(pipeline)).toEqual(['pending', 'success']);
});

test('cursors go on upwards when the clock of the database is set back', async () => {
  const pipeline = await newPipeline(['a.yml', 'b.yml']);
  const ahead = (await newestCursor(sql)) + 3_600_000_000_000n;
  await sql`update clock set last = ${ahead}`;
  await publishStatuses(sql, pipeline, [say('pending', { job: 'a.yml' }), say('pending', { job: 'b.yml' })]);
  expect((await outboxOf(sql, pipeline)).map((row) => row.cursor)).toEqual([ahead + 1n, ahead + 2n]);
  await resendStatuses(sql, pipeline);
  expect(await newestCursor(sql)).toBe(ahead + 4n);
  await publishStatuses(sql, pipeline, [say('success', { job: 'a.yml' })]);
  await anHourLater(pipeline);
  expect(await newestCursor(sql)).toBe(ahead + 5n);
});

test('writers that race on one job never take it back, double a status, or squeeze two into one second', async () => {
  const pipeline = await newPipeline();
  const story = [1, 2, 3].flatMap((attempt) =>
    (['pending', 'running', 'failed', 'success'] as const).map((status) => say(status, { attempt })),
  );
  const pools = Array.from({ length: 8 }, () => openDatabase(database.url, { max: 1 }));
  let telling = true;
  const releasing = (async () => {
    while (telling) await releaseStatuses(sql);
  })();
  await Promise.all(
    pools.map(async (own, n) => {
      for (const entry of story) {
        if ((n + entry.attempt) % 3 === 0) await delay(0);
        await publishStatuses(own, pipeline, [entry]);
      }
      await own.end();
    }),
  );
  telling = false;
  await releasing;
  await anHourLater(pipeline);

  const rows = await outboxOf(sql, pipeline);
  const keys = rows.map((row) => `${row.attempt} ${row.status}`);
  expect(new Set(keys).size).toBe(keys.length);
  const sent = rows
    .filter((row) => row.state === 'sent')
    .toSorted((a, b) => ((a.cursor ?? 0n) < (b.cursor ?? 0n) ? -1 : 1));
  expect(sent.at(-1)).toMatchObject({ attempt: 3, status: 'success' });
  for (const [i, row] of sent.entries()) {
    const before = sent[i - 1];
    if (!before) continue;
    expect(row.attempt * 10 + row.rank).toBeGreaterThanOrEqual(before.attempt * 10 + before.rank);
    expect(Number(row.createdAt) - Number(before.createdAt)).toBeGreaterThanOrEqual(1000);
  }
});
