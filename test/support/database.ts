import { createHash, randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import postgres from 'postgres';
import { inject } from 'vitest';
import { type Database, openDatabase } from '../../src/store/db.ts';
import { migrate } from '../../src/store/migrate.ts';

export type FreshDatabase = {
  url: string;
  sql: Database;
  /** Closes `sql`, ends all other sessions, and removes the database. */
  drop(): Promise<void>;
};

/** A database of its own, migrated: a copy of a template that the first test of the run makes. */
export async function freshDatabase(options: { max?: number } = {}): Promise<FreshDatabase> {
  return await create(await template(), options);
}

/** A database of its own without any table. */
export async function emptyDatabase(options: { max?: number } = {}): Promise<FreshDatabase> {
  return await create('template1', options);
}

async function create(from: string, { max = 5 }: { max?: number }): Promise<FreshDatabase> {
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await asAdmin((admin) => admin`create database ${admin(name)} template ${admin(from)}`);
  const url = urlOf(name);
  const sql = openDatabase(url, { max, applicationName: 'test' });
  return {
    url,
    sql,
    async drop() {
      await sql.end({ timeout: 1 });
      await asAdmin((admin) => admin`drop database if exists ${admin(name)} with (force)`);
    },
  };
}

async function template(): Promise<string> {
  const name = `template_${await migrationsHash()}`;
  await asAdmin(async (admin) => {
    // test files run in several processes
    await admin`select pg_advisory_lock(1)`;
    const [there] = await admin`select from pg_database where datname = ${name}`;
    if (there) return;
    const draft = `${name}_draft`;
    await admin`drop database if exists ${admin(draft)} with (force)`;
    await admin`create database ${admin(draft)}`;
    const sql = openDatabase(urlOf(draft), { max: 1 });
    try {
      await migrate(sql);
    } finally {
      await sql.end();
    }
    await admin`alter database ${admin(draft)} rename to ${admin(name)}`;
  });
  return name;
}

async function migrationsHash(): Promise<string> {
  const dir = path.join(import.meta.dirname, '../../src/store/migrations');
  const hash = createHash('sha256');
  for (const file of (await readdir(dir)).sort()) hash.update(await readFile(path.join(dir, file)));
  return hash.digest('hex').slice(0, 16);
}

function urlOf(database: string): string {
  const url = new URL(inject('postgresUrl'));
  url.pathname = `/${database}`;
  return url.href;
}

/** One connection to the cluster itself, not to one of the tests' databases. */
export async function asAdmin<T>(work: (admin: postgres.Sql) => Promise<T>): Promise<T> {
  const admin = postgres(inject('postgresUrl'), { max: 1, onnotice: () => {} });
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}

/**
 * Ends the other sessions of a database, as when PostgreSQL is restarted. Those in which postgres.js still asks for
 * types are left alone: the failure of that question cannot be caught anywhere, and would end the test run.
 */
export const cutSessions = (admin: Database) => admin`
  select pg_terminate_backend(pid) from pg_stat_activity
  where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
    and query <> '' and query not like '%typarray%'`;
