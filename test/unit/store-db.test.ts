import { randomUUID } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { NeverAnswered } from '../../src/store/answered.ts';
import { errorCode, isRefusal, isUnavailable, openDatabase } from '../../src/store/db.ts';
import { listen } from '../../src/store/listen.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());

/** The way to a server through a link that can fall silent, as when a machine between is gone. */
async function linkTo(url: string): Promise<{ url: string; silence(on?: boolean): void; reset(): void }> {
  const there = new URL(url);
  const sockets: Socket[] = [];
  let silent = false;
  const link = createServer((near) => {
    const far = connect(Number(there.port), there.hostname);
    sockets.push(near, far);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on('data', (bytes) => void (silent || to.write(bytes)));
      from.on('error', () => to.destroy());
      from.on('close', () => to.destroy());
    }
  });
  await new Promise<void>((resolve) => link.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    link.close();
  });
  const here = new URL(url);
  here.port = String((link.address() as AddressInfo).port);
  return {
    url: here.href,
    silence: (on = true) => void (silent = on),
    reset: () => sockets.forEach((socket) => socket.resetAndDestroy()),
  };
}

const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

test('int8 is a bigint, exactly', async () => {
  const [row] = await db.sql<{ n: bigint }[]>`select ${2n ** 62n + 1n}::bigint as n`;
  expect(row?.n).toBe(2n ** 62n + 1n);
});

test('a session says who it is, and is ended when it idles in a transaction', async () => {
  const [row] = await db.sql`
    select current_setting('application_name') as name,
      current_setting('idle_in_transaction_session_timeout') as idle, current_setting('statement_timeout') as statement`;
  expect(row).toEqual({ name: 'test', idle: '5s', statement: '30s' });
});

test('NUL in text, half a surrogate pair in JSON, JSON nested too deep and a broken constraint are refusals', async () => {
  const { sql } = db;
  const refused = await Promise.all([
    failure(sql`select ${'a\0b'}::text`),
    failure(sql`select ${'{"a":"\\u0000"}'}::text::jsonb`),
    failure(sql`select ${'{"a":"\\ud800"}'}::text::jsonb`),
    failure(sql`select ${'['.repeat(100_000)}::text::jsonb`),
    failure(sql`insert into repos (knot, did, name, source, chosen_at) values ('k', 'd', 'n', 'whim', now())`),
  ]);
  expect(refused.map(errorCode)).toEqual(['22021', '22P05', '22P02', '54001', '23514']);
  for (const error of refused) expect([isRefusal(error), isUnavailable(error)]).toEqual([true, false]);
});

test('no connection and a statement that took too long are not refusals', async () => {
  const nowhere = openDatabase('postgres://nobody@127.0.0.1:1/nothing');
  const [closed, slow] = await Promise.all([
    failure(nowhere`select 1`),
    failure(db.sql.begin(async (tx) => [await tx`set local statement_timeout = 1`, await tx`select pg_sleep(5)`])),
  ]);
  await nowhere.end();
  for (const error of [closed, slow]) expect([isUnavailable(error), isRefusal(error)]).toEqual([true, false]);
});

test('a statement on a link that is dead is given up, and counts as unavailable', async () => {
  const { url, silence } = await linkTo(inject('postgresUrl'));
  const sql = openDatabase(url, { max: 1, answerTimeoutMs: 500 });
  onTestFinished(() => sql.end({ timeout: 0 }));
  expect(await sql`select 1 as n`).toEqual([{ n: 1 }]);
  silence();
  const error = await failure(sql`select 2 as n`);
  expect(errorCode(error)).toBe('CONNECTION_TIMEOUT');
  expect([isUnavailable(error), isRefusal(error)]).toEqual([true, false]);
});

test('a connection that never answers is given up, and the next statement has a new one', async () => {
  const { url, silence } = await linkTo(inject('postgresUrl'));
  const sql = openDatabase(url, { max: 1, answerTimeoutMs: 2_000 });
  onTestFinished(() => sql.end({ timeout: 0 }));
  expect(await sql`select 1 as n`).toEqual([{ n: 1 }]);
  silence();
  const lost = await Promise.all([failure(sql`select 2 as n`), failure(sql`select 3 as n`)]);
  expect(lost.map(isUnavailable)).toEqual([true, true]);
  silence(false);
  expect(await sql`select 4 as n`).toEqual([{ n: 4 }]);
});

test('a connection that listens may be silent for as long as it likes', async () => {
  const heard: string[] = [];
  const { url, silence } = await linkTo(db.url);
  const sql = openDatabase(url, { max: 2, answerTimeoutMs: 200 });
  onTestFinished(() => sql.end({ timeout: 0 }));
  const listener = listen(sql, ['quiet'], (channel, payload) => heard.push(channel === undefined ? 'begun' : payload));
  await until('listening', () => heard.includes('begun'));
  silence(false);
  await failure(sql`select pg_sleep(0.15)`);
  await failure(sql`select pg_sleep(0.15)`);
  await failure(sql`select pg_sleep(0.15)`);
  await db.sql`select pg_notify('quiet', 'still here')`;
  await until('the notice', () => heard.includes('still here'));
  expect(heard).toEqual(['begun', 'still here']);
  await listener.close();
});

describe('a transaction whose connection is reset', () => {
  const resetting = async () => {
    const { url, reset } = await linkTo(inject('postgresUrl'));
    // The server goes on with a statement whose client is gone, so those of other tests must not be taken for ours.
    const name = randomUUID();
    const sql = openDatabase(url, { max: 1, answerTimeoutMs: 5_000, applicationName: name });
    onTestFinished(() => sql.end({ timeout: 0 }));
    const underWay = (): Promise<unknown> =>
      until('the statement is under way', async () => {
        const rows = await db.sql`
          select from pg_stat_activity
          where application_name = ${name} and query = 'select pg_sleep(6)' and state = 'active'`;
        return rows.length > 0;
      });
    return { sql, reset, underWay };
  };

  test('fails, and its process goes on', async () => {
    const { sql, reset, underWay } = await resetting();
    const work = failure(sql.begin(async (tx) => tx`select pg_sleep(6)`));
    await underWay();
    reset();
    expect(errorCode(await work)).toBe('ECONNRESET');
    // What would be sent after it is sent in the next turns.
    for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    expect(await sql`select 1 as n`).toEqual([{ n: 1 }]);
  });

  test('sends nothing more, whatever is made of the failure, and disturbs nobody else', async () => {
    const { sql, reset, underWay } = await resetting();
    const goOn = Promise.withResolvers<void>();
    const inside = Promise.withResolvers<unknown>();
    const work = failure(
      sql.begin(async (tx) => {
        await tx`select pg_sleep(6)`.catch(() => {});
        await goOn.promise;
        inside.resolve(await failure((async () => tx`select 2`)()));
      }),
    );
    await underWay();
    reset();
    expect(isUnavailable(await work)).toBe(true);
    // On the same connection, made anew.
    await sql.begin(async (tx) => {
      await tx`create temporary table kept (n int)`;
      await tx`insert into kept values (1)`;
      goOn.resolve();
      expect(isUnavailable(await inside.promise)).toBe(true);
      for (let turn = 0; turn < 5; turn += 1) await setImmediate();
      expect(await tx`select n from kept`).toEqual([{ n: 1 }]);
    });
    expect(await sql`select n from kept`).toEqual([{ n: 1 }]);
  });

  test('and that ends before anybody has noticed is not committed elsewhere', async () => {
    const { sql, reset } = await resetting();
    const work = failure(
      sql.begin(async (tx) => {
        await tx`select 1`;
        reset();
        await until('the reset is noticed', async () => (await failure((async () => tx`select 1`)())) !== undefined);
      }),
    );
    expect(isUnavailable(await work)).toBe(true);
    expect(await sql`select 1 as n`).toEqual([{ n: 1 }]);
  });
});

test('a pool of one goes on whenever its connection is reset, also when the next statement comes at once', async () => {
  const { url, reset } = await linkTo(inject('postgresUrl'));
  const sql = openDatabase(url, { max: 1, answerTimeoutMs: 5_000 });
  onTestFinished(() => sql.end({ timeout: 0 }));
  await sql`select 1`;
  for (let round = 0; round < 30; round++) {
    const next = failure(sql`select pg_sleep(5)`).then(async (error) => {
      // The moment between the error of a socket and its close, and those around it.
      for (let turn = 0; turn < round % 4; turn++) await setImmediate();
      return [error, await failure(sql`select 2`)];
    });
    await until('the statement is under way', async () => {
      const [row] = await db.sql`select count(*)::int as n from pg_stat_activity where query = 'select pg_sleep(5)'
        and state = 'active'`;
      return row?.['n'] > 0;
    });
    reset();
    const [cut, following] = await next;
    expect(isUnavailable(cut)).toBe(true);
    if (following !== undefined) expect(isUnavailable(following)).toBe(true);
    expect(following).not.toBeInstanceOf(NeverAnswered);
    expect(await sql`select 3 as n`).toEqual([{ n: 3 }]);
  }
});

test('statements made of parts, lists and helpers are as they were', async () => {
  const { sql } = db;
  const part = sql`n > ${1}`;
  const rows = { a: 1, b: 2 };
  expect(await sql`select n from unnest(${[1, 2, 3]}::int[]) n where ${part} order by n`).toEqual([{ n: 2 }, { n: 3 }]);
  expect(await sql`select ${sql.json(rows)}::jsonb as rows`.values()).toEqual([[rows]]);
  await expect(sql`select 1/0`).rejects.toMatchObject({ code: '22012' });
  expect(await sql`select 1 as n`.finally(() => {})).toEqual([{ n: 1 }]);
});

test('an error of our own is neither', () => {
  expect([isUnavailable(new TypeError('x')), isRefusal(new TypeError('x')), isRefusal('22000')]).toEqual([
    false,
    false,
    false,
  ]);
});

test('a listener hears notices again after its connection was cut', async () => {
  const heard: (string | undefined)[] = [];
  let begun = 0;
  const listener = listen(db.sql, ['one', 'two'], (channel, payload) => {
    if (channel === undefined) begun++;
    else heard.push(`${channel}:${payload}`);
  });
  await until('listening', () => begun === 1);
  await db.sql`select pg_notify('one', 'a')`;
  await until('the first notice', () => heard.includes('one:a'));

  await db.sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and query like 'listen %'`;
  await until('listening again', () => begun === 2);
  await db.sql`select pg_notify('two', 'b')`;
  await until('a notice after the cut', () => heard.includes('two:b'));
  await listener.close();
});
