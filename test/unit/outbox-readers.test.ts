import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { pipelineId } from '../../src/pipeline/ids.ts';
import { openDatabase, type Sql } from '../../src/store/db.ts';
import { releaser } from '../../src/store/releaser.ts';
import { type ShownStatus, publishStatuses, statusesAfter } from '../../src/store/statuses.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { addPipeline } from '../support/outbox.ts';
import { until } from '../support/until.ts';

const log = pino({ level: 'silent' });
const knot = 'knot.example';
const pipelines = 6;
const jobs = 20;
const names = Array.from({ length: jobs }, (_, n) => `j${n}.yml`);

let database: FreshDatabase;
let sql: Sql;
let children: ChildProcess[] = [];
beforeEach(async () => {
  database = await freshDatabase();
  sql = database.sql;
  for (let i = 0; i < pipelines; i++) await addPipeline(sql, knot, `p${i}`, names);
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await database.drop();
});

/** A process that says pending, running and success for every job of every pipeline, once it may begin. */
async function writer(first: number) {
  const script = path.join(import.meta.dirname, '../support/outbox-writer.ts');
  const args = [script, database.url, knot, String(pipelines), String(jobs), String(first)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  let lines = 0;
  child.stdout.on('data', (text: Buffer) => (lines += text.toString().split('\n').length - 1));
  const ended = once(child, 'exit');
  await until('a writer to be ready', () => lines > 0);
  return { child, lines: () => lines, begin: () => child.stdin.write('go'), ended };
}

/** Follows the outbox by cursor, as `/events` does. */
function reader(page: number) {
  const seen: ShownStatus[] = [];
  let reading = true;
  const read = async (): Promise<number> => {
    const rows = await statusesAfter(sql, seen.at(-1)?.cursor ?? 0n, page);
    seen.push(...rows);
    return rows.length;
  };
  const loop = (async () => {
    while (reading) if ((await read()) < page) await delay(1);
    while ((await read()) > 0);
  })();
  return {
    seen,
    async stop() {
      reading = false;
      await loop;
      return seen;
    },
  };
}

/** What every reader must have seen: each shown row once, in the order of the cursors. */
async function expectAll(seen: ShownStatus[]): Promise<void> {
  const rows = await sql<{ cursor: bigint; rkey: string }[]>`
    select cursor, rkey from statuses where cursor is not null order by cursor`;
  expect(seen.map(({ cursor, rkey }) => ({ cursor, rkey }))).toEqual([...rows]);
}

async function expectEachJobEndedOnce(): Promise<void> {
  const [left] = await sql`select count(*)::int as n from jobs where status is distinct from 'success'`;
  expect(left).toEqual({ n: 0 });
  const [sent] = await sql`
    select count(*) filter (where state = 'due')::int as due,
      count(*) filter (where state = 'sent' and status = 'success')::int as success from statuses`;
  expect(sent).toEqual({ due: 0, success: pipelines * jobs });
}

const allReleased = () =>
  until('all to be released', async () => (await sql`select from statuses where state = 'due' limit 1`).length === 0);

test('readers miss nothing while 8 writers, one of them frozen in mid-transaction, publish', async () => {
  const releasing = [1, 2].map(() => releaser({ sql, log, pollMs: 50 }));
  for (const each of releasing) each.start();
  const readers = [7, 50, 500].map(reader);
  const writers = await Promise.all(Array.from({ length: 7 }, (_, n) => writer(n)));
  const all = (status: 'pending' | 'success') => names.map((job) => ({ job, attempt: 1, epoch: 0, status }));
  await publishStatuses(sql, pipelineId(knot, 'p3'), all('pending'));

  // The eighth holds the clock, and its rows, in a transaction that does not end.
  const own = openDatabase(database.url, { max: 1 });
  const frozen = await own.reserve();
  await frozen`set idle_in_transaction_session_timeout = 0`;
  await frozen`begin`;
  await publishStatuses(frozen, pipelineId(knot, 'p4'), all('success'));
  for (const { begin } of writers) begin();
  const waiting = () =>
    sql`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`;
  await until('the others to wait for it', async () => (await waiting()).length >= 7);
  expect(await statusesAfter(sql, 0n, 1000)).toHaveLength(jobs);
  await frozen`commit`;
  frozen.release();
  await own.end();

  await Promise.all(writers.map(({ ended }) => ended));
  await allReleased();
  await Promise.all(releasing.map((each) => each.stop()));
  for (const each of readers) await expectAll(await each.stop());
  await expectEachJobEndedOnce();
});

test('a transaction that never ends is thrown out by the database, and the other writers go on', async () => {
  const own = openDatabase(database.url, { max: 1 });
  const frozen = await own.reserve();
  await frozen`set idle_in_transaction_session_timeout = 300`;
  await frozen`begin`;
  const entry = { job: 'j0.yml', attempt: 1, epoch: 0, status: 'success' as const };
  await publishStatuses(frozen, pipelineId(knot, 'p0'), [entry]);
  expect(await publishStatuses(sql, pipelineId(knot, 'p1'), [entry])).toMatchObject({ published: 1 });
  expect((await statusesAfter(sql, 0n, 10)).map((row) => row.pipelineRkey)).toEqual(['p1']);
  await own.end({ timeout: 0 });
});

test('a process that is stopped while it publishes holds nobody up, and readers miss nothing when it goes on', async () => {
  const releasing = releaser({ sql, log, pollMs: 50 });
  releasing.start();
  const readers = [7, 500].map(reader);
  const victim = await writer(0);
  victim.begin();
  await until('the first writer to write', () => victim.lines() > 2);
  victim.child.kill('SIGSTOP');
  for (const other of [3, 4]) {
    const { begin, ended } = await writer(other);
    begin();
    expect(await ended).toEqual([0, null]);
    // A few moments more, so that it is stopped somewhere else next time.
    const lines = victim.lines();
    victim.child.kill('SIGCONT');
    await until('the stopped writer to go on', () => victim.lines() > lines || victim.child.exitCode !== null);
    victim.child.kill('SIGSTOP');
  }
  victim.child.kill('SIGCONT');
  await victim.ended;
  await allReleased();
  await releasing.stop();
  for (const each of readers) await expectAll(await each.stop());
  await expectEachJobEndedOnce();
});

test('the releaser shows a withheld status when its time comes, and not before', async () => {
  const pipeline = pipelineId(knot, 'p0');
  const releasing = releaser({ sql, log, pollMs: 60_000 });
  releasing.start();
  const entry = { job: 'j0.yml', attempt: 1, epoch: 0, status: 'pending' as const };
  await publishStatuses(sql, pipeline, [entry]);
  const { withheldUntil } = await publishStatuses(sql, pipeline, [{ ...entry, status: 'success' }]);
  releasing.wake(withheldUntil);
  const shown = await until('the second status', async () => (await statusesAfter(sql, 0n, 10))[1]);
  expect(shown.status).toBe('success');
  const late = Number(shown.cursor) / 1e6 - Number(withheldUntil);
  expect(late).toBeGreaterThanOrEqual(0);
  expect(late).toBeLessThan(1_000);
  await releasing.stop();
});
