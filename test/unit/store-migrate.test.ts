import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { openDatabase } from '../../src/store/db.ts';
import { checkSchema, migrate, ownSchema } from '../../src/store/migrate.ts';
import { type FreshDatabase, emptyDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

let db: FreshDatabase;
let old: string;
let newer: string;
const root = path.join(import.meta.dirname, '../../src/store/migrations');

beforeEach(async () => {
  db = await emptyDatabase();
  // a name that is a pattern to a glob
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-[migrations]-(1)-'));
  [old, newer] = [path.join(dir, 'old'), path.join(dir, 'newer')];
  await cp(root, old, { recursive: true });
  await cp(root, newer, { recursive: true });
});
afterEach(async () => {
  await db.drop();
  await rm(path.dirname(old), { recursive: true, force: true });
});

const addMigration = async (compatibleFrom: number): Promise<number> => {
  const version = (await ownSchema(old)).version + 1;
  const script = `-- compatible from: ${compatibleFrom}\n\ncreate table later (x int);\n`;
  await writeFile(path.join(newer, `${String(version).padStart(3, '0')}.do.later.sql`), script);
  return version;
};

test('a database without tables is refused, with what to do', async () => {
  await expect(checkSchema(db.sql)).rejects.toThrow('the database has no tables of Whorl yet: run "whorl migrate"');
});

test('eight processes may migrate at once, and each step is done once', async () => {
  const own = await ownSchema();
  const clients = Array.from({ length: 8 }, () => openDatabase(db.url, { max: 1 }));
  const done: string[] = [];
  await Promise.all(clients.map((sql) => migrate(sql, { log: (line) => done.push(line) })));
  await Promise.all(clients.map((sql) => sql.end()));

  expect(done).toHaveLength(own.version);
  expect(await checkSchema(db.sql)).toEqual(own);
});

test('an older release goes on with a newer schema that is compatible, and its migrate changes nothing', async () => {
  const version = await addMigration(1);
  await migrate(db.sql, { dir: newer });
  expect(await migrate(db.sql, { dir: old })).toEqual({ version, compatibleFrom: 1 });
  expect(await checkSchema(db.sql, { dir: old })).toEqual({ version, compatibleFrom: 1 });
});

test('an older release refuses a schema that is not compatible with it', async () => {
  const version = await addMigration((await ownSchema(old)).version + 1);
  await migrate(db.sql, { dir: newer });
  const refusal = `works with releases of schema ${version} and later; this one has schema ${version - 1}`;
  await expect(checkSchema(db.sql, { dir: old })).rejects.toThrow(refusal);
  await expect(migrate(db.sql, { dir: old })).rejects.toThrow(refusal);
});

test('a newer release refuses an older schema, and says how to bring it up', async () => {
  const version = await addMigration(1);
  await migrate(db.sql, { dir: old });
  await expect(checkSchema(db.sql, { dir: newer })).rejects.toThrow(
    `the database is at schema ${version - 1}, and this release needs ${version}: run "whorl migrate"`,
  );
});

test('a migration that fails changes nothing', async () => {
  const version = await addMigration(1);
  const file = path.join(newer, `${String(version).padStart(3, '0')}.do.later.sql`);
  await writeFile(file, '-- compatible from: 1\n\ncreate table later (x int);\nselect 1 / 0;\n');
  await expect(migrate(db.sql, { dir: newer })).rejects.toThrow(
    'a migration failed, and nothing was changed: division',
  );
  await expect(checkSchema(db.sql, { dir: newer })).rejects.toThrow('no tables of Whorl yet');
});

test('a migration that was changed after it was applied is refused', async () => {
  await migrate(db.sql, { dir: old });
  await writeFile(path.join(old, '001.do.spine.sql'), '-- compatible from: 1\n\nselect 1;\n');
  await expect(migrate(db.sql, { dir: old })).rejects.toThrow('its file was changed after it was applied');
});

test('a migration that does not say what is compatible with it is refused', async () => {
  const version = await addMigration(1);
  await writeFile(path.join(newer, `${String(version).padStart(3, '0')}.do.later.sql`), 'select 1;\n');
  await expect(ownSchema(newer)).rejects.toThrow('its first line must be "-- compatible from: N"');
});

test('a migration that is chosen to give way to what runs begins anew', async () => {
  await migrate(db.sql);
  const version = (await ownSchema(old)).version + 1;
  const script = `-- compatible from: 1

lock table triggers in access exclusive mode;
lock table jobs in access exclusive mode;
create table later (x int);
`;
  await writeFile(path.join(newer, `${String(version).padStart(3, '0')}.do.later.sql`), script);
  const said: string[] = [];
  const busy = openedFor(db.url);
  // Whoever waits for so long looks whether there is a deadlock, and gives way.
  const [, found] = await Promise.all([
    busy.begin(async (tx) => {
      await tx`set local deadlock_timeout = '1min'`;
      await tx`lock table jobs in access exclusive mode`;
      await until('the migration waits for it', async () => {
        const rows = await db.sql`select from pg_locks where relation = 'jobs'::regclass and not granted`;
        return rows.length > 0;
      });
      await tx`lock table triggers in access exclusive mode`;
    }),
    migrate(openedFor(db.url), { dir: newer, log: (line) => said.push(line) }),
  ]);
  expect(found).toEqual({ version, compatibleFrom: 1 });
  expect(said).toContain('the database is busy with what runs; trying again');
  expect(await db.sql`select * from later`).toEqual([]);
});

function openedFor(url: string) {
  const sql = openDatabase(url, { max: 1 });
  onTestFinished(() => sql.end());
  return sql;
}
