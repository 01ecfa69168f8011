import fc from 'fast-check';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { openLink } from '../../faults/links/index.ts';
import { statementOf } from '../../faults/links/statement.ts';
import { createArms } from '../../faults/links/arms.ts';
import { postgresTap } from '../../faults/links/postgres.ts';
import type { Way } from '../../faults/links/pair.ts';
import type { Armed, Link } from '../../faults/contract.ts';
import { openDatabase, type Database } from '../../src/store/db.ts';
import { emptyDatabase, type FreshDatabase } from '../support/database.ts';

let database: FreshDatabase;
beforeAll(async () => {
  database = await emptyDatabase();
  await database.sql`create table notes (n int primary key, text text not null)`;
  await database.sql`create function reserve_slot(note int) returns int language plpgsql as $$
    begin insert into notes values (note, 'slot'); return note; end $$`;
  return () => database.drop();
});

async function linked(max = 2): Promise<{ link: Link; sql: Database }> {
  const url = new URL(database.url);
  const link = await openLink({ name: 'db', protocol: 'postgres', to: [url.host] });
  url.host = `127.0.0.1:${link.port}`;
  const sql = openDatabase(url.href, { max, applicationName: 'linked' });
  onTestFinished(async () => {
    await sql.end({ timeout: 1 });
    await link.close();
    await database.sql`truncate notes`;
  });
  return { link, sql };
}

const noted = async (): Promise<number[]> => {
  const rows = await database.sql<{ n: number }[]>`select n from notes order by n`;
  return rows.map(({ n }) => n);
};

const code = (error: unknown): string =>
  error instanceof Error && 'code' in error ? String(error.code) : String(error);

/**
 * The error of a statement. After a reset postgres.js must be left alone until its socket has closed, for it loses what
 * it is given before that; the `close` comes between the first and the second of these turns.
 */
const failed = async (statement: PromiseLike<unknown>): Promise<string> => {
  const how = await statement.then(() => 'no error', code);
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  return how;
};

const ended = /CONNECTION_CLOSED|ECONNRESET|EPIPE/;

test('a text of SQL is known to change rows, or to end a transaction, by its words', () => {
  const writing = [
    'insert into a values (1)',
    ' -- why\n UPDATE a set b = 1',
    'delete from a',
    'merge into a using b on true when matched then delete',
    'with x as (select 1) insert into a select * from x',
    'with x as materialized (\n insert into a values (1) returning *) select * from x',
    'with x as (select 1 from a for share), y as (update a set b = 1) select 1',
    'with x as (delete from a returning *) select count(*) from x',
    'select reserve_slot($1, $2)',
    'select at from reserve_slot($1) as at',
    'select 1; insert into a values (2)',
  ];
  const others = [
    'select 1',
    'select \'insert into a\' as "update" -- delete from a',
    'select * from a where b = $1 for update',
    'with x as (select f(b) from a order by f(b) for update skip locked) select * from x',
    "with x as (select ')insert into a') select 1",
    'create function f() returns void language plpgsql as $$ begin insert into a values (1); end $$',
    'create function reserve_slot() returns void language sql as $f$ update a set b = $$x$$ $f$',
    'listen a',
    '',
  ];
  expect(writing.filter((text) => !statementOf(text).writes)).toEqual([]);
  expect(others.filter((text) => statementOf(text).writes)).toEqual([]);
  const turns = (text: string): string => statementOf(text).turns.join();
  expect(turns('BEGIN isolation level serializable')).toBe('begin');
  expect(turns('start transaction; commit; ')).toBe('begin,commit');
  expect(turns(' end')).toBe('commit');
  expect(['rollback', 'abort'].map(turns)).toEqual(['rollback', 'rollback']);
  expect(
    ['rollback to s1', 'rollback to savepoint s1', 'savepoint s1', "commit prepared 'x'"].map(turns).join(''),
  ).toBe('');
});

test('a link in the middle changes nothing over 5,000 mixed statements of a few connections', async () => {
  const { link, sql } = await linked(4);
  const wide = 'ü'.repeat(300_000);
  const kinds: ((n: number) => Promise<unknown>)[] = [
    async (n) => expect(await sql`select ${n}::int as n`).toMatchObject([{ n }]),
    async (n) => expect(await sql`insert into notes values (${n}, 'a') returning n`).toMatchObject([{ n }]),
    async (n) => expect(await sql`select n::int from generate_series(1, ${n % 300}) n`).toHaveLength(n % 300),
    async () => expect(await failed(sql`select 1 / ${0}::int as never`)).toBe('22012'),
    async () => expect(await failed(sql`select nothing from nowhere`)).toBe('42P01'),
    async (n) => expect(await sql.unsafe(`select ${n} as n; select ${n + 1} as n`).simple()).toHaveLength(2),
    async (n) =>
      expect(
        await sql.begin(async (tx) => {
          await tx`insert into notes values (${n}, 'in a transaction')`;
          return await tx`select text from notes where n = ${n}`;
        }),
      ).toMatchObject([{ text: 'in a transaction' }]),
    async (n) =>
      expect(await sql`with x as (insert into notes values (${n}, 'x') returning n) select n from x`).toMatchObject([
        { n },
      ]),
  ];
  // Something is always armed, so that every statement is looked at as closely as can be.
  const never = [
    link.arm({ when: 'before', what: 'write', match: /never/ }, () => 'drop'),
    link.arm({ when: 'after', what: 'write', match: /never/ }, () => 'drop'),
  ];
  let passed = 0;
  const counting = (): Armed => {
    const armed = link.arm({ when: passed % 2 === 0 ? 'before' : 'after', what: 'write' }, () => 'pass');
    void armed.hit.then((what) => {
      if (what === undefined) return;
      passed += 1;
      last = counting();
    });
    return armed;
  };
  let last = counting();
  for (let from = 0; from < 5_000; from += 500) {
    const some: Promise<unknown>[] = Array.from(
      { length: 500 },
      async (_, n) => await kinds[(from + n) % kinds.length]?.(from + n),
    );
    some.push(
      sql`select ${wide}::text as wide`.then((rows) => expect(rows[0]?.['wide']).toBe(wide)),
      sql`insert into notes values (${-from - 1}, ${wide})`,
    );
    await Promise.all(some);
  }
  expect(await noted()).toHaveLength(5_000 * (3 / 8) + 10);
  expect(passed).toBeGreaterThan(100);
  for (const armed of [...never, last]) armed.disarm();
  expect(await never[0]?.hit).toBeUndefined();
});

test('a write that is dropped before it is passed on leaves no row, and after it leaves the row', async () => {
  const { link, sql } = await linked();
  const before = link.arm({ when: 'before', what: 'write', match: /into notes/ }, () => 'drop');
  await sql`select 1`;
  expect(await failed(sql`insert into notes values (${1}, 'one')`)).toMatch(ended);
  expect(await before.hit).toBe("insert into notes values ($1, 'one')");
  expect(await noted()).toEqual([]);

  const after = link.arm({ when: 'after', what: 'write' }, () => 'drop');
  expect(await failed(sql`insert into notes values (${2}, 'two')`)).toMatch(ended);
  expect(await after.hit).toContain('into notes');
  expect(await noted()).toEqual([2]);

  await sql`insert into notes values (${3}, 'three')`;
  expect(await noted()).toEqual([2, 3]);
});

test.for(['before', 'after'] as const)(
  'what is hit %s is the statement that was armed for, whatever else is under way on the connection',
  async (when) => {
    const { link, sql } = await linked(1);
    const plain = (n: number) => sql`insert into notes values (${n}, ${'plain'})`;
    const special = (n: number) => sql`insert into notes values (${n}, ${'special'}) returning n`;
    // Both are prepared, so that all is sent without waiting for an answer.
    await plain(1);
    await special(2);
    const armed = link.arm({ when, what: 'write', match: /returning/ }, () => 'pass');
    const many = (from: number) => Array.from({ length: 90 }, (_, n) => plain(from + n));
    await Promise.all([...many(100), special(3), ...many(200), special(4)]);
    expect(await armed.hit).toContain('returning');

    const dropped = link.arm({ when, what: 'write', match: /returning/ }, () => 'drop');
    const fates = await Promise.all([...many(300), special(5), ...many(400), special(6)].map(failed));
    expect(await dropped.hit).toContain('returning');
    expect(fates[90]).toMatch(ended);
    const there = new Set(await noted());
    expect(there.has(5)).toBe(when === 'after');
    const answered = fates.slice(0, 90).flatMap((fate, n) => (fate === 'no error' ? [300 + n] : []));
    expect(answered.filter((n) => !there.has(n))).toEqual([]);
  },
);

test('none of an answer is passed back before it was decided, and one with a number comes so much later', async () => {
  const { link, sql } = await linked(1);
  await sql`select 1`;
  let answered = false;
  let rows: Promise<number[]> = Promise.resolve([]);
  const start = performance.now();
  const armed = link.arm({ when: 'after', what: 'write' }, () => {
    expect(answered).toBe(false);
    rows = noted();
    return 150;
  });
  const statement = sql`insert into notes select n, 'many' from generate_series(1, ${2_000}) n returning n`.then(
    (all) => {
      answered = true;
      return all.length;
    },
  );
  await armed.hit;
  expect(await rows).toHaveLength(2_000);
  expect(answered).toBe(false);
  expect(await statement).toBe(2_000);
  expect(performance.now() - start).toBeGreaterThanOrEqual(149);
});

test('a write with a number before it reaches the database so much later, and those behind it with it', async () => {
  const { link, sql } = await linked(1);
  await sql`insert into notes values (${1}, ${'first'})`;
  const start = performance.now();
  const armed = link.arm({ when: 'before', what: 'write' }, () => 150);
  const both = Promise.all([
    sql`insert into notes values (${2}, ${'second'})`,
    sql`select count(*)::int as count from notes`,
  ]);
  await armed.hit;
  expect(await noted()).toEqual([1]);
  const [, [row]] = await both;
  expect(row).toEqual({ count: 2 });
  expect(performance.now() - start).toBeGreaterThanOrEqual(149);
});

test('a commit is a point of its own: before it nothing is kept, after it everything', async () => {
  const { link, sql } = await linked();
  const twoRows = (n: number): Promise<unknown> =>
    sql.begin(async (tx) => {
      await tx`insert into notes values (${n}, 'a')`;
      await tx`insert into notes values (${n + 1}, 'b')`;
    });
  await twoRows(1);
  const before = link.arm({ when: 'before', what: 'commit' }, () => 'drop');
  expect(await failed(twoRows(3))).toMatch(ended);
  expect(await before.hit).toBe('commit');
  expect(await noted()).toEqual([1, 2]);
  const after = link.arm({ when: 'after', what: 'commit' }, () => 'drop');
  expect(await failed(twoRows(5))).toMatch(ended);
  expect(await after.hit).toBe('commit');
  expect(await noted()).toEqual([1, 2, 5, 6]);
  // Without a transaction that is open it is none; nor is a rollback.
  const none = link.arm({ when: 'before', what: 'commit' }, () => 'drop');
  await sql.unsafe('commit').simple();
  await failed(
    sql.begin(async (tx) => {
      await tx`insert into notes values (${7}, 'a')`;
      throw new Error('changed our mind');
    }),
  );
  none.disarm();
  expect(await none.hit).toBeUndefined();
  expect(await noted()).toEqual([1, 2, 5, 6]);
});

test('a function that is known to change rows is a write, and so is a simple query', async () => {
  const { link, sql } = await linked();
  const slot = link.arm({ when: 'after', what: 'write' }, () => 'drop');
  expect(await failed(sql`select reserve_slot(${1})`)).toMatch(ended);
  expect(await slot.hit).toContain('reserve_slot');
  const simple = link.arm({ when: 'before', what: 'write' }, () => 'drop');
  expect(await failed(sql.unsafe("select 1; insert into notes values (2, 'x')").simple())).toMatch(ended);
  expect(await simple.hit).toContain('insert');
  expect(await noted()).toEqual([1]);
});

test('points are matched in the order in which they were armed, and each once', async () => {
  const { link, sql } = await linked();
  const order: string[] = [];
  const arm = (name: string, match?: RegExp): Armed =>
    link.arm({ when: 'before', what: 'write', ...(match ? { match } : {}) }, () => {
      order.push(name);
      return 'pass';
    });
  const all = [arm('other', /delete/g), arm('first'), arm('second', /insert/g), arm('disarmed'), arm('third')];
  all[3]?.disarm();
  for (const n of [1, 2, 3, 4]) await sql`insert into notes values (${n}, 'x')`;
  await sql`delete from notes`;
  expect(order).toEqual(['first', 'second', 'third', 'other']);
  expect(await all[3]?.hit).toBeUndefined();
});

test('a signal that is sent in a decision comes before the bytes', async () => {
  const { link, sql } = await linked(1);
  await sql`select 1`;
  const seen: string[] = [];
  const armed = link.arm({ when: 'before', what: 'write' }, () => {
    seen.push('decided');
    return 'pass';
  });
  await sql`insert into notes values (${1}, 'x')`.then(() => seen.push('answered'));
  await armed.hit;
  expect(seen).toEqual(['decided', 'answered']);
});

test('notices of the server pass at once, also through a link where something waits', async () => {
  const { link, sql } = await linked();
  link.arm({ when: 'after', what: 'write', match: /never/ }, () => 'drop');
  const heard = Promise.withResolvers<string>();
  const { unlisten } = await sql.listen('news', heard.resolve);
  await database.sql`select pg_notify('news', 'something')`;
  expect(await heard.promise).toBe('something');
  await unlisten();
});

test('a connection cut in the middle of a statement is an ordinary error for the client, and the next one works', async () => {
  const { link, sql } = await linked();
  const statement = failed(sql`select pg_sleep(${60})`);
  await expect.poll(() => link.open).toBeGreaterThan(0);
  const asleep = (): Promise<{ there: boolean }[]> => database.sql`
    select true as there from pg_stat_activity where application_name = 'linked' and query like '%pg_sleep%' and state = 'active'`;
  await expect.poll(asleep, { timeout: 10_000 }).toHaveLength(1);
  link.cut();
  expect(await statement).toMatch(ended);
  expect(await sql`select 1 as one`).toMatchObject([{ one: 1 }]);
});

/** A startup, and messages of both sides, as bytes. */
const message = (type: string, body: Buffer): Buffer => {
  const head = Buffer.alloc(5);
  head.write(type, 'latin1');
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
};
const text = (...strings: string[]): Buffer => Buffer.from(strings.map((string) => `${string}\0`).join(''));
const startup = Buffer.concat([Buffer.from([0, 0, 0, 17, 0, 3, 0, 0]), text('user', 'me'), Buffer.from([0])]);
const ready = message('Z', Buffer.from('I'));

test('whatever the pieces in which bytes come, they pass unchanged, and every write is seen once', () => {
  const unit = fc.oneof(
    fc.record({ kind: fc.constant('write' as const), size: fc.nat(3_000) }),
    fc.record({ kind: fc.constant('read' as const), size: fc.nat(3_000) }),
  );
  fc.assert(
    fc.property(
      fc.array(unit, { maxLength: 12 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 700 })),
      (units, cuts) => {
        const client: Buffer[] = [startup];
        const server: Buffer[] = [message('R', Buffer.alloc(4)), ready];
        units.forEach(({ kind, size }, n) => {
          const sql = kind === 'write' ? `insert into ${'x'.repeat(size)} values (1)` : 'select 1';
          client.push(
            message('P', Buffer.concat([text(`s${n}`, sql), Buffer.alloc(2)])),
            message('B', Buffer.concat([text('', `s${n}`), Buffer.alloc(size)])),
            message('E', Buffer.concat([text(''), Buffer.alloc(4)])),
            message('S', Buffer.alloc(0)),
          );
          server.push(
            message('1', Buffer.alloc(0)),
            message('D', Buffer.alloc(size)),
            message('A', Buffer.alloc(9)),
            ready,
          );
        });
        const arms = createArms('db', ['write', 'commit']);
        let hits = 0;
        const again = (when: 'before' | 'after'): void =>
          void arms.arm({ when, what: 'write' }, () => {
            hits += 1;
            again(when);
            return 'pass';
          });
        again('before');
        again('after');
        const out: [Buffer[], Buffer[]] = [[], []];
        const way = (n: 0 | 1): Way => ({
          pass: (what) => void (typeof what === 'string' ? undefined : out[n].push(what)),
          later: () => {},
        });
        const tap = postgresTap(arms)(way(0), way(1), () => {});
        for (const [bytes, read] of [
          [Buffer.concat(client), tap.forth],
          [Buffer.concat(server), tap.back],
        ] as const) {
          for (let at = 0; at < bytes.length;) {
            const end: number = at + Number(cuts.next().value);
            read(bytes.subarray(at, end));
            at = end;
          }
        }
        expect(Buffer.concat(out[0]).equals(Buffer.concat(client))).toBe(true);
        expect(Buffer.concat(out[1]).equals(Buffer.concat(server))).toBe(true);
        expect(hits).toBe(2 * units.filter(({ kind }) => kind === 'write').length);
      },
    ),
    { numRuns: 200 },
  );
});
