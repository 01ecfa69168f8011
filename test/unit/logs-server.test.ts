import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { followLog, logUrl, readLog } from '../../sim/appview/log-reader.ts';
import { openDatabase } from '../../src/store/db.ts';
import { removeLogs } from '../../src/store/log-retention.ts';
import { releaser } from '../../src/store/releaser.ts';
import { entriesOf, logWriter, readLogs, readToEnd, sayOf } from '../support/logs.ts';
import { until } from '../support/until.ts';
import { complete, knot, lines, logsHost } from '../support/logs-host.ts';

const host = logsHost();
const { serve, newJob, ended, followed } = host;

/** What an attempt to connect is answered with. */
async function refusal(base: string, target: string, headers: Record<string, string> = upgradeHeaders) {
  const { port } = new URL(base);
  const call = request({ port, host: '127.0.0.1', path: target, headers });
  call.end();
  const [response] = (await once(call, 'response')) as [AsyncIterable<Buffer> & { statusCode: number }];
  let text = '';
  for await (const part of response) text += part.toString();
  return { status: response.statusCode, ...(JSON.parse(text) as { error: string }) };
}
const upgradeHeaders = {
  connection: 'upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

describe('what a reader gets', () => {
  test('the entries in the order of their arrival, what was there and what comes, and 1000 at the end', async () => {
    const base = await serve();
    const releasing = releaser({ sql: host.sql, log: host.log, pollMs: 50 });
    releasing.start();
    onTestFinished(() => releasing.stop());
    const { append, complete: finish, pipeline } = await newJob();
    const first = entriesOf(0, ['one', 'two'], { open: true });
    await append(first);
    const reader = await readLogs(base, `${knot}/p0/ci.yml`);
    await until('what was there', () => reader.frames.length === first.length);
    const second = entriesOf(0, ['three', '', 'fünf\ttabs'], { close: true });
    await append(second);
    await until('what came', () => reader.frames.length === first.length + second.length);
    await sayOf(host.sql, pipeline, 'ci.yml', 'running');
    await append(entriesOf(1, ['six'], { open: true, close: true }));
    await finish();
    await until('the end of the log', () => reader.contents().includes('six'));
    expect(reader.socket.readyState).toBe(reader.socket.OPEN);
    await ended(pipeline);
    expect(await reader.closed).toEqual(complete);
    expect(reader.frames).toEqual([...first, ...second, ...entriesOf(1, ['six'], { open: true, close: true })]);
    // It is the same later, and at another server.
    expect(await readToEnd(base, `${knot}/p0/ci.yml`)).toEqual({ frames: reader.frames, ...complete });
    expect(await readToEnd(await serve(), `${knot}/p0/ci.yml`)).toEqual({ frames: reader.frames, ...complete });
  });

  test('all that an appview can show: steps with their lines, and nothing that is lost', async () => {
    const base = await serve();
    const { append, complete: finish, pipeline } = await newJob('two keys é.yml');
    const url = logUrl(base, knot, 'p0', 'two keys é.yml');
    const live = followLog(url);
    await append(entriesOf(0, ['one', 'two'], { open: true, close: true }));
    await live.wait(({ lineCount }) => lineCount === 2);
    await append(entriesOf(1, ['\u001b[31mthree\u001b[0m'], { open: true, close: true }));
    await ended(pipeline, 'two keys é.yml');
    await finish();
    const seen = await live.ended();
    expect(seen).toMatchObject({ lost: [], problems: [], closed: { ...complete, graceful: true } });
    expect(seen.blocks.map(({ name, kind, lines: shown }) => [name, kind, shown])).toEqual([
      ['Step 0', 'user', ['one', 'two']],
      ['Step 1', 'user', ['three']],
    ]);
    expect((await readLog(url)).digest).toBe(seen.digest);
    const { pipeline: failed } = await newJob('bad.yml', 'p1');
    await sayOf(host.sql, failed, 'bad.yml', 'failed', 'The workflow file is not YAML.');
    await host.sql`update jobs set shown_at = now() - interval '1 day'`;
    const reason = await readLog(logUrl(base, knot, 'p1', 'bad.yml'));
    expect(reason).toMatchObject({ lost: [], problems: [], closed: complete });
    expect(reason.blocks.flatMap(({ lines: shown }) => shown)).toEqual(['The workflow file is not YAML.']);
    expect(await readLog(logUrl(base, knot, 'p1', 'none.yml'))).toMatchObject({ refused: 404 });
  });

  test('a job that has said nothing yet keeps its readers, and they see its log from the first line', async () => {
    const base = await serve();
    const { append, complete: finish, pipeline } = await newJob();
    const reader = await readLogs(base, `${knot}/p0/ci.yml`);
    await followed();
    await sayOf(host.sql, pipeline, 'ci.yml', 'pending');
    await append(entriesOf(0, ['at last'], { open: true, close: true }));
    await ended(pipeline);
    await until('the line', () => reader.contents().includes('at last'));
    expect(reader.socket.readyState).toBe(reader.socket.OPEN);
    await finish();
    expect(await reader.closed).toEqual(complete);
  });

  test('byte for byte the same live, later, and after a restart of the server in the middle', async () => {
    const { append, complete: finish, pipeline } = await newJob();
    const whole: string[] = [];
    const write = async (first: number, count: number) => {
      const texts = lines(count, 200, first).map((text, n) => (n % 7 === 0 ? `${text}\u001b[1;31mred\u001b[0m` : text));
      const entries = entriesOf(0, texts, { open: first === 0 });
      whole.push(...entries.map((entry) => entry.replaceAll(/\\u001b\[[0-9;]*m/g, '')));
      await append(entries);
    };
    const one = await serve();
    const live = await readLogs(one, `${knot}/p0/ci.yml`);
    await write(0, 3_000);
    await until('the first half', () => live.frames.length === whole.length);
    const seen = [...live.frames];
    await host.stop();
    expect((await live.closed).code).toBe(1001);
    const two = await serve();
    const again = await readLogs(two, `${knot}/p0/ci.yml`);
    for (let batch = 1; batch < 30; batch++) await write(batch * 3_000, 100);
    await ended(pipeline);
    await finish();
    expect(await again.closed).toEqual(complete);
    const later = await readToEnd(await serve(), `${knot}/p0/ci.yml`);
    expect(seen).toEqual(whole.slice(0, seen.length));
    expect(again.frames).toEqual(whole);
    expect(later).toEqual({ frames: whole, ...complete });
  });

  test('the newest attempt; who reads an older one is let go when that is over', async () => {
    const base = await serve();
    const { append, complete: finish, pipeline } = await newJob();
    await append(entriesOf(0, ['first attempt']));
    await sayOf(host.sql, pipeline, 'ci.yml', 'running');
    const old = await readLogs(base, `${knot}/p0/ci.yml`);
    await until('the first attempt', () => old.frames.length === 1);
    await sayOf(host.sql, pipeline, 'ci.yml', 'pending', undefined, 2);
    const writer = logWriter(host.sql, { pipeline, job: 'ci.yml', attempt: 2 });
    await writer.append(entriesOf(0, ['second attempt']));
    const young = await readLogs(base, `${knot}/p0/ci.yml`);
    await until('the second attempt', () => young.frames.length === 1);
    expect(young.contents()).toEqual(['second attempt']);
    await finish();
    expect(await old.closed).toEqual(complete);
    expect(old.contents()).toEqual(['first attempt']);
    expect(young.socket.readyState).toBe(young.socket.OPEN);
  });

  test.each([
    [true, 'a \u001b[31mred\u001b[0m word'],
    [false, 'a red word'],
  ])('colours are left in: %s', async (colours, shown) => {
    const base = await serve({ colours });
    const { append, complete: finish, pipeline } = await newJob();
    await append(entriesOf(0, ['a \u001b[31mred\u001b[0m word', String.raw`literally \u001b[31m`]));
    await ended(pipeline);
    await finish();
    await readToEnd(base, `${knot}/p0/ci.yml`).then(({ frames }) =>
      expect(frames.map((frame) => (JSON.parse(frame) as { content: string }).content)).toEqual([
        shown,
        String.raw`literally \u001b[31m`,
      ]),
    );
  });

  test('a lost notice only makes it late', async () => {
    const base = await serve({ pollMs: 50 });
    const { append, complete: finish, pipeline } = await newJob();
    const reader = await readLogs(base, `${knot}/p0/ci.yml`);
    await append(entriesOf(0, ['one']));
    await until('a line', () => reader.frames.length === 1);
    await ended(pipeline);
    await finish();
    await reader.closed;
    await host.sql`update logs set complete = -1`;
    const other = await readLogs(base, `${knot}/p0/ci.yml`);
    await until('a line', () => other.frames.length === 1);
    await host.sql`update logs set complete = 0`;
    expect(await other.closed).toEqual(complete);
  });
});

describe('a log that has nothing to show is one step that says why', () => {
  const shown = async () => {
    const { frames, ...end } = await readToEnd(await serve(), `${knot}/p0/ci.yml`);
    const entries = frames.map((frame) => JSON.parse(frame) as Record<string, unknown>);
    expect(end).toEqual(complete);
    expect(entries[0]).toMatchObject({ kind: 'control', step_id: 0, step_status: 'start', step_kind: 1 });
    expect(entries.at(-1)).toMatchObject({ kind: 'control', step_id: 0, step_status: 'end', step_kind: 1 });
    expect(entries.every(({ time }) => !Number.isNaN(Date.parse(String(time))))).toBe(true);
    return entries.slice(1, -1).map(({ kind, stream, content }) => [kind, stream, content]);
  };

  test('when it was removed', async () => {
    const { append, complete: finish, pipeline } = await newJob();
    await append(entriesOf(0, ['old']));
    await ended(pipeline);
    await finish();
    await host.sql`update logs set created_at = now() - interval '30 days'`;
    expect(await removeLogs(host.sql, { days: 14, spaceBytes: 1e9 })).toBe(1);
    expect(await shown()).toEqual([['data', 'stdout', expect.stringMatching(/^This log was removed on \d{4}-/)]]);
  });

  test('when a release that kept no logs ran it, and it failed', async () => {
    const { pipeline } = await newJob();
    await sayOf(host.sql, pipeline, 'ci.yml', 'failed', 'The workflow file\nis not YAML.');
    await host.sql`update jobs set shown_at = now() - interval '1 day'`;
    expect(await shown()).toEqual([
      ['data', 'stdout', 'The workflow file'],
      ['data', 'stdout', 'is not YAML.'],
    ]);
  });

  test('when a release that kept no logs ran it, and it succeeded', async () => {
    const { pipeline } = await newJob();
    await ended(pipeline);
    await host.sql`update jobs set shown_at = now() - interval '1 day'`;
    expect(await shown()).toEqual([['data', 'stdout', 'There is no log: this job ended as success without one.']]);
  });

  test('when it is whole and empty', async () => {
    const { complete: finish, pipeline } = await newJob();
    await sayOf(host.sql, pipeline, 'ci.yml', 'timeout', 'It took too long.');
    await finish();
    expect(await shown()).toEqual([['data', 'stdout', 'It took too long.']]);
  });

  test('but a job that has just ended may still get one, so its readers wait for it', async () => {
    const base = await serve();
    const { append, complete: finish, pipeline } = await newJob();
    await ended(pipeline);
    const reader = await readLogs(base, `${knot}/p0/ci.yml`);
    await append(entriesOf(0, ['late']));
    await finish();
    expect(await reader.closed).toEqual(complete);
    expect(reader.contents()).toEqual(['late']);
  });

  test('and who was in the middle when it was removed is told so in a step of its own', async () => {
    const base = await serve({ pollMs: 30, cacheBytes: 1_000 });
    const { append } = await newJob();
    await append(entriesOf(0, ['one'], { open: true, close: true }));
    const reader = await readLogs(base, `${knot}/p0/ci.yml`);
    await until('the first step', () => reader.frames.length === 3);
    await removeLogs(host.sql, { days: 14, spaceBytes: 0 });
    expect(await reader.closed).toEqual(complete);
    const ids = reader.frames.map((frame) => (JSON.parse(frame) as { step_id: number }).step_id);
    expect(ids).toEqual([0, 0, 0, 1, 1, 1]);
    expect(reader.contents()[4]).toContain('This log was removed');
  });
});

describe('names and refusals', () => {
  const name = 'two keys é.yml';

  test.each([
    ['percent-encoded', `${encodeURIComponent(knot)}/p0/${encodeURIComponent(name)}`],
    ['with a raw host', `${knot}/p0/${encodeURIComponent(name)}`],
    ['raw, as bytes', `${knot}/p0/${name}`],
    ['half raw', `${knot}/p0/two%20keys%20é.yml`],
    ['encoded in small letters, with a query', `127.0.0.1%3a5555/p0/two%20keys%20%c3%a9.yml?x=/y`],
  ])('a workflow is found by its name: %s', async (_how, target) => {
    const base = await serve();
    const { append } = await newJob(name);
    await append(entriesOf(0, ['found']));
    const socket = connect(Number(new URL(base).port), '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    const headers = Object.entries(upgradeHeaders).map(([key, value]) => `${key}: ${value}\r\n`);
    socket.write(`GET /logs/${target} HTTP/1.1\r\nhost: x\r\n${headers.join('')}\r\n`);
    let got = '';
    socket.on('data', (bytes) => (got += bytes.toString()));
    await until('the line', () => got.includes('"content":"found"'));
    expect(got).toMatch(/^HTTP\/1\.1 101 /);
  });

  test('a notice finds a log whose name has spaces', async () => {
    const base = await serve();
    const { append } = await newJob(name);
    const reader = await readLogs(base, `${knot}/p0/${encodeURIComponent(name)}`);
    await append(entriesOf(0, ['one']));
    await until('a line', () => reader.frames.length === 1);
    await append(entriesOf(0, ['two']));
    await until('another line', () => reader.frames.length === 2);
  });

  test('a percent sign that encodes nothing stands for itself, and so does a name that only looks encoded', async () => {
    const base = await serve();
    for (const [rkey, job] of [
      ['p1', '100%.yml'],
      ['p2', 'a%20b.yml'],
    ] as const) {
      const { append, complete: finish, pipeline } = await newJob(job, rkey);
      await append(entriesOf(0, [job]));
      await ended(pipeline, job);
      await finish();
      expect((await readToEnd(base, `${knot}/${rkey}/${job}`)).frames).toHaveLength(1);
      expect((await readToEnd(base, `${knot}/${rkey}/${encodeURIComponent(job)}`)).frames).toHaveLength(1);
    }
  });

  test.each([
    '/logs',
    '/logs/',
    `/logs/${knot}`,
    `/logs/${knot}/p0`,
    `/logs/${knot}/p0/`,
    `/logs//p0/ci.yml`,
    '/logs///',
  ])('%s lacks a part: 400, with an upgrade or without', async (target) => {
    const base = await serve();
    await newJob();
    expect(await refusal(base, target)).toMatchObject({ status: 400, error: expect.stringContaining('/logs/<knot>') });
    expect(await refusal(base, target, {})).toMatchObject({ status: 400 });
  });

  test.each([
    `/logs/${knot}/p0/other.yml`,
    `/logs/${knot}/p1/ci.yml`,
    '/logs/knot.example/p0/ci.yml',
    `/logs/${knot}/p0/ci.yml/more`,
    `/logs/${knot}/p0/ci.yml%00`,
    `/logs/${knot}/p0/%ff.yml`,
    `/logs/${knot}/p0/\u00ff.yml`,
    `/logs/%00/p0/ci.yml`,
    '/logsx/a/b/c',
  ])('%s is nothing of ours: 404 before the upgrade', async (target) => {
    const base = await serve();
    await newJob();
    expect(await refusal(base, target)).toMatchObject({ status: 404 });
  });

  test('without an upgrade it says that it is a WebSocket', async () => {
    const base = await serve();
    expect((await fetch(`${base}/logs/${knot}/p0/ci.yml`)).status).toBe(426);
  });

  test('a database that is away, or does not answer, is 503', async () => {
    const mute = createServer(() => {});
    mute.listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const silent = openDatabase(`postgres://x@127.0.0.1:${portOf(mute)}/x`, { max: 1 });
    const away = openDatabase('postgres://x@127.0.0.1:1/x', { max: 1 });
    host.alsoEnd(silent, away);
    for (const pool of [silent, away]) {
      const base = await serve({ findMs: 300 }, pool);
      expect(await refusal(base, `/logs/${knot}/p0/ci.yml`)).toMatchObject({ status: 503 });
    }
    mute.close();
  });
});

const portOf = (server: Server): number => (server.address() as AddressInfo).port;
