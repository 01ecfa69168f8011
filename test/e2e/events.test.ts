import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import type { FastifyInstance } from 'fastify';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startAppview } from '../../sim/appview/appview.ts';
import { pipelineId } from '../../src/pipeline/ids.ts';
import type { Status } from '../../src/pipeline/status.ts';
import { buildServer, type ServerDeps } from '../../src/server/app.ts';
import { openDatabase, type Sql } from '../../src/store/db.ts';
import { releaser } from '../../src/store/releaser.ts';
import { newestCursor, publishStatuses } from '../../src/store/statuses.ts';
import { cutSessions, type FreshDatabase, freshDatabase } from '../support/database.ts';
import { addPipeline } from '../support/outbox.ts';
import { readEvents } from '../support/reader.ts';
import { until } from '../support/until.ts';

const knot = 'knot.example';
const jobNames = Array.from({ length: 20 }, (_, n) => `j${n}.yml`);
const pipelines = 12;

let database: FreshDatabase;
let sql: Sql;
let apps: FastifyInstance[] = [];
let children: ChildProcess[] = [];
let logged: string[] = [];
const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(line) });

beforeEach(async () => {
  database = await freshDatabase();
  sql = database.sql;
  for (let i = 0; i < pipelines; i++) await addPipeline(sql, knot, `p${i}`, jobNames);
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(apps.map((app) => app.close()));
  [apps, children, logged] = [[], [], []];
  await database.drop();
});

async function serve(events: ServerDeps['events'] = {}): Promise<string> {
  const app = buildServer({
    sql,
    log,
    hostname: 'spindle.example',
    owner: 'did:web:owner.example',
    dev: true,
    events: { rewindMs: 0, closeMs: 200, ...events },
  });
  apps.push(app);
  await app.listen({ host: '127.0.0.1', port: 0 });
  return `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
}

const say = (rkey: string, job: string, status: Status = 'success') =>
  publishStatuses(sql, pipelineId(knot, rkey), [{ job, attempt: 1, epoch: 0, status }]);
const shownAfter = async (cursor: bigint) =>
  (await sql<{ rkey: string }[]>`select rkey from statuses where cursor > ${cursor} order by cursor`).map(
    (x) => x.rkey,
  );

/** Puts many large statuses into the outbox at once, more than the system's buffers hold. */
async function flood(count: number): Promise<void> {
  await sql`
    with tick as (update clock set last = greatest(last, 1000) + ${count} returning last - ${count} as base)
    insert into statuses (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, error, rkey, created_at, state, cursor)
    select ${pipelineId(knot, 'p0')}, ${knot}, 'p0', 'j0.yml', n, 0, 2, 'failed', repeat('x', 4000) || (base + n),
      'r' || (base + n), now(), 'sent', base + n
    from tick, generate_series(1, ${count}::int) n`;
  await sql.notify('statuses', '');
}

async function startWriter(first: number): Promise<{ begin(): void; lines(): number; ended: Promise<unknown> }> {
  const script = path.join(import.meta.dirname, '../support/outbox-writer.ts');
  const args = [script, database.url, knot, String(pipelines), String(jobNames.length), String(first)];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  let lines = 0;
  child.stdout.on('data', (text: Buffer) => (lines += text.toString().split('\n').length - 1));
  const ended = once(child, 'exit');
  await until('a writer to be ready', () => lines > 0);
  return { begin: () => void child.stdin.write('go'), lines: () => lines, ended };
}

test('a reader that connects at any cursor while several processes write sees each status once and in order', async () => {
  const base = await serve({ pageSize: 7 });
  const releasing = releaser({ sql, log, pollMs: 50 });
  releasing.start();
  const writers = await Promise.all([0, 1, 3].map(startWriter));
  for (const { begin } of writers) begin();
  let writing = true;
  const ended = Promise.all(writers.map((writer) => writer.ended)).then(() => (writing = false));

  const readers = [{ cursor: 1n, reader: await readEvents(base, 1n) }];
  while (writing && readers.length < 30) {
    const some = await sql<{ cursor: bigint }[]>`
      select cursor from statuses where cursor is not null order by random() limit 3`;
    const newest = await newestCursor(sql);
    const cursors = [...some.map((row) => row.cursor), newest, newest - 1n].filter((cursor) => cursor > 0n);
    readers.push(
      ...(await Promise.all(cursors.map(async (cursor) => ({ cursor, reader: await readEvents(base, cursor) })))),
    );
  }
  await ended;
  await until(
    'all to be shown',
    async () => (await sql`select from statuses where state = 'due' limit 1`).length === 0,
  );
  await releasing.stop();

  expect(readers.length).toBeGreaterThan(10);
  for (const { cursor, reader } of readers) {
    const expected = await shownAfter(cursor);
    await until('a reader to get all', () => reader.frames.length >= expected.length);
    expect(reader.rkeys()).toEqual(expected);
    expect(reader.binary()).toBe(0);
    await reader.close();
  }
});

test.for(['in the backlog', 'live'])(
  'a reader that stops reading %s is closed, and loses nothing when it comes back',
  async (where) => {
    const base = await serve({ writeDeadlineMs: 1_000 });
    if (where === 'in the backlog') await flood(5_000);
    const reader = await readEvents(base, 1n);
    if (where === 'in the backlog') await until('the first frame', () => reader.frames.length > 0);
    reader.socket.pause();
    const other = await readEvents(base, 1n);
    if (where === 'live') await flood(5_000);
    await until('the server to lose patience', () => logged.some((line) => line.includes('too slow')));
    reader.socket.resume();
    expect(await reader.closed).toBe(1013);

    const all = await shownAfter(0n);
    expect(reader.frames.length).toBeLessThan(all.length);
    const last = reader.frames.at(-1)?.rkey ?? '';
    const [row] = await sql<[{ cursor: bigint }]>`select cursor from statuses where rkey = ${last}`;
    const back = await readEvents(base, row.cursor);
    await until('the rest', () => reader.frames.length + back.frames.length >= all.length);
    expect([...reader.rkeys(), ...back.rkeys()]).toEqual(all);
    // The one that kept reading was not held up.
    expect(other.rkeys()).toEqual(all);
  },
);

test('a reader that is only slow is served from the database at its own pace', async () => {
  const base = await serve({ writeDeadlineMs: 1_000, highWater: 64 * 1024 });
  const reader = await readEvents(base);
  let pauses = 0;
  reader.socket.on('message', () => {
    if (reader.frames.length % 500 !== 0) return;
    pauses++;
    reader.socket.pause();
    setTimeout(() => reader.socket.resume(), 40);
  });
  await flood(3_000);
  await flood(2_000);
  await until('all of it', () => reader.frames.length >= 5_000);
  expect(reader.rkeys()).toEqual(await shownAfter(0n));
  expect(pauses).toBe(10);
  expect(logged.filter((line) => line.includes('too slow'))).toEqual([]);
});

test.for([undefined, '', '0', 'abc', '1.5', '99999999999999999999', '%00'])(
  'the cursor %j means live only',
  async (cursor) => {
    const base = await serve();
    await say('p0', 'j0.yml');
    const reader = await readEvents(base, cursor);
    await say('p0', 'j1.yml');
    await say('p1', 'j0.yml');
    await until('two frames', () => reader.frames.length >= 2);
    expect(reader.frames.map(({ event }) => [event.pipeline, event.workflow])).toEqual([
      [`at://did:web:${knot}/sh.tangled.pipeline/p0`, 'j1.yml'],
      [`at://did:web:${knot}/sh.tangled.pipeline/p1`, 'j0.yml'],
    ]);
  },
);

test('a negative cursor lies before everything', async () => {
  const base = await serve({ rewindMs: 30_000 });
  await say('p0', 'j0.yml');
  for (const cursor of ['-1', '-9223372036854775808']) {
    const reader = await readEvents(base, cursor);
    await until('a frame', () => reader.frames.length > 0);
  }
});

test('a reader starts some time before its cursor, and never after the newest status', async () => {
  const base = await serve({ rewindMs: 1_000 });
  for (const job of ['j0.yml', 'j1.yml', 'j2.yml']) await say('p0', job);
  const second = 1_000_000_000n;
  const newest = await newestCursor(sql);
  await sql`update statuses set cursor = ${newest - 3n * second} where job = 'j0.yml'`;
  await sql`update statuses set cursor = ${newest - 2n * second} where job = 'j1.yml'`;

  const jobs = async (cursor: bigint, count: number) => {
    const reader = await readEvents(base, cursor);
    await until(`${count} frames`, () => reader.frames.length >= count);
    return reader.frames.map(({ event }) => event.workflow);
  };
  expect(await jobs(newest - 2n * second, 2)).toEqual(['j1.yml', 'j2.yml']);
  expect(await jobs(newest - second + 1n, 1)).toEqual(['j2.yml']);
  // By a clock that is an hour ahead.
  const ahead = await readEvents(base, newest + 3_600n * second);
  await say('p0', 'j3.yml');
  await until('what came after', () => ahead.frames.length > 0);
  expect(ahead.frames.map(({ event }) => event.workflow)).toEqual(['j3.yml']);
});

test('a reader is pinged, and what it says is thrown away', async () => {
  const base = await serve({ pingMs: 30 });
  const reader = await readEvents(base);
  reader.socket.send('hello');
  await until('two pings', () => reader.pings() > 1);
  await say('p0', 'j0.yml');
  await until('a frame', () => reader.frames.length === 1);
});

test('statuses go on after every connection to the database was cut, without a poll', async () => {
  const base = await serve({ pollMs: 600_000, retryMs: 20 });
  const reader = await readEvents(base);
  await say('p0', 'j0.yml');
  await until('the first', () => reader.frames.length === 1);
  const admin = openDatabase(database.url, { max: 1 });
  await cutSessions(admin);
  await publishStatuses(admin, pipelineId(knot, 'p0'), [{ job: 'j1.yml', attempt: 1, epoch: 0, status: 'success' }]);
  await until('the second', () => reader.frames.length === 2);
  await admin.end();
});

test('a lost notice only makes a status late', async () => {
  const base = await serve({ pollMs: 50 });
  const reader = await readEvents(base);
  await sql`
    insert into statuses (pipeline, knot, pipeline_rkey, job, attempt, epoch, rank, status, rkey, created_at, state, cursor)
    values (${pipelineId(knot, 'p0')}, ${knot}, 'p0', 'j0.yml', 1, 0, 2, 'failed', 'quiet', now(), 'sent', 5)`;
  await until('the status', () => reader.frames.length === 1);
});

test('readers are closed with 1001 when the server stops', async () => {
  const base = await serve();
  const readers = [await readEvents(base), await readEvents(base, 1n)];
  const deaf = await readEvents(base);
  deaf.socket.pause();
  await apps.pop()?.close();
  for (const reader of readers) expect(await reader.closed).toBe(1001);
});

test('other paths are refused before the upgrade, and strange ones do no harm', async () => {
  const base = await serve();
  const { port } = new URL(base);
  const upgrade = async (target: string, protocol = 'websocket') => {
    const headers = { connection: 'upgrade', upgrade: protocol };
    const call = request({ port, host: '127.0.0.1', path: target, headers });
    call.end();
    const [response] = (await once(call, 'response')) as [{ statusCode: number; resume(): void }];
    response.resume();
    return response.statusCode;
  };
  expect(await upgrade('/other')).toBe(404);
  expect(await upgrade('//')).toBe(404);
  expect(await upgrade('/events')).toBe(400);
  expect(await upgrade('/', 'h2c')).toBe(200);
  expect((await fetch(`${base}/events`)).status).toBe(426);
  expect((await fetch(`${base}/nothing`)).status).toBe(404);
  expect(await (await fetch(base)).text()).toContain('spindle.example');
});

test('a strict appview sees every job end right, also when its link breaks and it resumes by its own clock', async () => {
  const base = await serve({ rewindMs: 30_000 });
  const appview = startAppview({ spindleUrl: base, pipelinesFrom: () => true, redialMs: 50 });
  const releasing = releaser({ sql, log, pollMs: 50 });
  releasing.start();
  await appview.connected();
  await Promise.all(jobNames.map((job) => say('p0', job, 'pending')));
  appview.disconnect();
  await Promise.all(jobNames.map((job) => say('p0', job, 'success')));
  const view = await appview.wait(knot, 'p0', ({ jobs }) => {
    const all = Object.values(jobs);
    return all.length === jobNames.length && all.every(({ status }) => status === 'success');
  });
  expect(Object.keys(view.jobs).toSorted()).toEqual(jobNames.toSorted());
  expect(appview.problems).toEqual([]);
  appview.close();
  await releasing.stop();
});
