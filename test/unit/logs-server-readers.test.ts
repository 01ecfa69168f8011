import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { pipelineId } from '../../src/pipeline/ids.ts';
import type { AttemptKey } from '../../src/store/builds.ts';
import { openDatabase, type Sql } from '../../src/store/db.ts';
import { cutSessions } from '../support/database.ts';
import { entriesOf, logWriter, readLogs, readToEnd, sayOf } from '../support/logs.ts';
import { until } from '../support/until.ts';
import { complete, knot, lines, logsHost } from '../support/logs-host.ts';

const host = logsHost();
const { serve, newJob, ended } = host;

describe('many readers, slow readers', () => {
  /** The same pool, which counts the statements that read a log. */
  function counting(): { pool: Sql; reads: () => number } {
    const texts: string[] = [];
    const pool = new Proxy(host.sql, {
      apply(target, self, args: [TemplateStringsArray, ...unknown[]]) {
        if (Array.isArray(args[0]) && 'raw' in args[0]) texts.push(args[0].join('?'));
        return Reflect.apply(target, self, args) as unknown;
      },
    });
    return { pool, reads: () => texts.filter((text) => text.includes('from log_chunks')).length };
  }

  test('200 readers of one log cost one read of the database for each batch', async () => {
    const { pool, reads } = counting();
    const base = await serve({}, pool);
    const { append, complete: finish, pipeline } = await newJob();
    await append(entriesOf(0, lines(100)));
    const readers = await Promise.all(Array.from({ length: 200 }, () => readLogs(base, `${knot}/p0/ci.yml`)));
    const all = (count: number) => () => readers.every(({ frames }) => frames.length === count);
    await until('what was there', all(100));
    const batches = 10;
    const before = reads();
    for (let batch = 1; batch <= batches; batch++) {
      await append(entriesOf(0, lines(20, 40, batch)));
      await until('a batch', all(100 + batch * 20));
    }
    expect(reads() - before).toBe(batches);
    // The first of them read what was there; the listener, and one who came before that, may have looked once more.
    expect(before).toBeLessThanOrEqual(5);
    await ended(pipeline);
    await finish();
    expect(await Promise.all(readers.map(({ closed }) => closed))).toEqual(readers.map(() => complete));
    // The status, or the end of the log.
    expect(reads() - before - batches).toBeLessThanOrEqual(3);
    for (const { frames } of readers) expect(frames).toEqual(readers[0]?.frames);
  });

  test('readers who come one after the other share what was read', async () => {
    const { pool, reads } = counting();
    const base = await serve({}, pool);
    const { append, complete: finish, pipeline } = await newJob();
    for (let n = 0; n < 20; n++) await append(entriesOf(0, lines(1_000, 100, n * 1_000)));
    await ended(pipeline);
    await finish();
    const first = await readToEnd(base, `${knot}/p0/ci.yml`);
    expect(first.frames).toHaveLength(20_000);
    const once = reads();
    for (let n = 0; n < 5; n++) expect(await readToEnd(base, `${knot}/p0/ci.yml`)).toEqual(first);
    // Each asks whether the log is over.
    expect(reads() - once).toBeLessThanOrEqual(5);
  });

  test('one that stops reading is closed with 1013, and nobody waits for it', async () => {
    const base = await serve({ writeDeadlineMs: 1_000 });
    const { append, complete: finish, pipeline } = await newJob();
    for (let n = 0; n < 60; n++) await append(entriesOf(0, lines(1_000, 200, n * 1_000)));
    const deaf = await readLogs(base, `${knot}/p0/ci.yml`);
    await until('its first lines', () => deaf.frames.length > 0);
    deaf.socket.pause();
    const other = await readLogs(base, `${knot}/p0/ci.yml`);
    await until('the whole log', () => other.frames.length === 60_000);
    await append(entriesOf(0, ['live']));
    await until('what comes', () => other.frames.length === 60_001);
    await until('the server to lose patience', () => host.logged.some((line) => line.includes('too slow')));
    deaf.socket.resume();
    expect(await deaf.closed).toMatchObject({ code: 1013 });
    expect(deaf.frames.length).toBeLessThan(60_000);
    expect(deaf.frames).toEqual(other.frames.slice(0, deaf.frames.length));
    await ended(pipeline);
    await finish();
    expect(await other.closed).toEqual(complete);
  });

  test('one that is only slow gets all of it', async () => {
    const base = await serve({ writeDeadlineMs: 1_000 });
    const { append, complete: finish, pipeline } = await newJob();
    for (let n = 0; n < 40; n++) await append(entriesOf(0, lines(1_000, 200, n * 1_000)));
    await ended(pipeline);
    await finish();
    const reader = await readLogs(base, `${knot}/p0/ci.yml`);
    reader.socket.on('message', () => {
      if (reader.frames.length % 4_000 !== 0) return;
      reader.socket.pause();
      setTimeout(() => reader.socket.resume(), 40);
    });
    expect(await reader.closed).toEqual(complete);
    expect(reader.frames).toHaveLength(40_000);
    expect(host.logged.filter((line) => line.includes('too slow'))).toEqual([]);
  });

  test('a reader is pinged, what it says is thrown away, and one that says too much is closed', async () => {
    const base = await serve({ pingMs: 30 });
    const { append } = await newJob();
    const reader = await readLogs(base, `${knot}/p0/ci.yml`);
    const loud = await readLogs(base, `${knot}/p0/ci.yml`);
    reader.socket.send('hello');
    loud.socket.send('x'.repeat(70_000));
    expect((await loud.closed).code).toBe(1009);
    await until('two pings', () => reader.pings() > 1);
    for (let n = 0; n < 20; n++) await append(entriesOf(0, lines(500, 500)));
    await until('all lines, with pings in between', () => reader.frames.length === 10_000);
  });

  test('readers are closed with 1001 when the server stops', async () => {
    const base = await serve();
    await newJob();
    const readers = [await readLogs(base, `${knot}/p0/ci.yml`), await readLogs(base, `${knot}/p0/ci.yml`)];
    const deaf = await readLogs(base, `${knot}/p0/ci.yml`);
    deaf.socket.pause();
    await host.stop();
    for (const reader of readers) expect((await reader.closed).code).toBe(1001);
  });
});

test('who has connected and said nothing does not keep the server from stopping', async () => {
  const base = await serve();
  const socket = connect(Number(new URL(base).port), '127.0.0.1');
  await once(socket, 'connect');
  expect((await fetch(base)).status).toBe(200);
  const gone = once(socket.resume(), 'close');
  await host.stop();
  await gone;
});

test('a log goes on without gap or double after every connection to the database was cut', async () => {
  const base = await serve({ cacheBytes: 4_000, pageBytes: 1 });
  const { key, append } = await newJob();
  const batch = (n: number) => entriesOf(0, lines(50, 60, n * 50));
  const admin = openDatabase(host.url, { max: 1 });
  host.alsoEnd(admin);
  const writer = logWriter(admin, key);
  await append(batch(0));
  const readers = await Promise.all(Array.from({ length: 5 }, () => readLogs(base, `${knot}/p0/ci.yml`)));
  await until('the first lines', () => readers.every(({ frames }) => frames.length === 50));
  for (let n = 1; n <= 10; n++) {
    await cutSessions(admin);
    await writer.append(batch(n));
    if (n === 5) readers.push(...(await Promise.all([1, 2].map(() => connected(base)))));
  }
  const whole = Array.from({ length: 11 }, (_, n) => batch(n)).flat();
  await until('all lines', () => readers.every(({ frames }) => frames.length >= whole.length));
  await sayOf(admin, key.pipeline, key.job, 'success');
  await writer.complete();
  for (const { closed, frames } of readers) {
    expect(await closed).toEqual(complete);
    expect(frames).toEqual(whole);
  }
});

/** While the database comes back a reader may be refused; real ones try again. */
const connected = (base: string) =>
  until('a reader to be let in', () => readLogs(base, `${knot}/p0/ci.yml`).catch(() => undefined));

describe('a watcher', () => {
  const watched = () => {
    const calls: AttemptKey[] = [];
    return { calls, watch: async (key: AttemptKey) => void calls.push(key) };
  };

  test('is one command for all readers of a log, for as long as somebody reads it and it is not over', async () => {
    const base = await serve({ watchMs: 60, pollMs: 20 });
    const { key, complete: finish, pipeline } = await newJob();
    const expiry = async () => {
      const rows = await host.sql<{ id: string; kind: string; job: string; left: number }[]>`
        select id, kind, job, extract(epoch from expires_at - clock_timestamp())::float8 as left from commands`;
      return rows;
    };
    const readers = await Promise.all(Array.from({ length: 5 }, () => readLogs(base, `${knot}/p0/ci.yml`)));
    const [row] = await until('a command', async () => {
      const rows = await expiry();
      return rows.length > 0 && rows;
    });
    expect(row).toMatchObject({ id: `watch/${pipeline}/ci.yml`, kind: 'watch', job: key.job });
    expect(row?.left).toBeGreaterThan(100);
    expect(row?.left).toBeLessThanOrEqual(150);
    await host.sql`update commands set expires_at = clock_timestamp() + interval '1 second'`;
    await until('it to be wanted for longer', async () => ((await expiry())[0]?.left ?? 0) > 100);
    await ended(pipeline);
    await finish();
    for (const { closed } of readers) await closed;
    expect(await expiry()).toHaveLength(1);
  });

  test('is asked for again and again, and not once nobody reads any more', async () => {
    const { calls, watch } = watched();
    const base = await serve({ watch, watchMs: 30, pollMs: 10 });
    const { key } = await newJob();
    const readers = [await readLogs(base, `${knot}/p0/ci.yml`), await readLogs(base, `${knot}/p0/ci.yml`)];
    await until('three words', () => calls.length > 2);
    expect(calls[0]).toEqual(key);
    for (const reader of readers) await reader.close();
    await until(
      'both to have left',
      () => host.logged.filter((line) => line.includes('a reader of /logs left')).length === 2,
    );
    const { length } = calls;
    // Another log shows that the poll has come round.
    const other = await newJob('other.yml', 'p1');
    await readLogs(base, `${knot}/p1/other.yml`);
    await until('words about the other', () => calls.filter(({ job }) => job === 'other.yml').length > 2);
    expect(calls.filter(({ job }) => job === key.job)).toHaveLength(length);
    expect(other.key.job).toBe('other.yml');
  });

  test('is not asked for when the attempt has ended, and asked for again when it could not be', async () => {
    const { calls, watch } = watched();
    let failures = 2;
    const base = await serve({
      watch: (key) => (failures-- > 0 ? Promise.reject(new Error('away')) : watch(key)),
      pollMs: 10,
    });
    const { pipeline } = await newJob('over.yml', 'p1');
    await ended(pipeline, 'over.yml');
    await readLogs(base, `${knot}/p1/over.yml`);
    await newJob();
    await readLogs(base, `${knot}/p0/ci.yml`);
    await until('a word', () => calls.length > 0);
    expect(calls.map(({ pipeline: id }) => id)).toEqual([pipelineId(knot, 'p0')]);
  });
});
