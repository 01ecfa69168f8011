import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import Postgrator from 'postgrator';
import { type Sql, type Tx, errorCode } from './db.ts';

const migrationsDir = path.join(import.meta.dirname, 'migrations');
/** any number, the same in every process: whoever migrates holds this advisory lock */
const lockKey = 8_037_004_011;

const mostTries = 10;

export type SchemaVersions = {
  /** the number of the last migration */
  version: number;
  /** the oldest release, named by its last migration, that can work with this schema */
  compatibleFrom: number;
};

export class SchemaError extends Error {
  override name = 'SchemaError';
}

/** What this release brings: the numbers of its own migrations. */
export async function ownSchema(dir: string = migrationsDir): Promise<SchemaVersions> {
  let own: SchemaVersions = { version: 0, compatibleFrom: 0 };
  for (const file of await readdir(dir)) {
    const version = Number(/^(\d+)\.do\..*\.sql$/.exec(file)?.[1] ?? 0);
    if (version > own.version) own = { version, compatibleFrom: await compatibleFrom(path.join(dir, file), version) };
  }
  return own;
}

/** Every migration opens with `-- compatible from: N`: release N and later can work once it was applied. */
async function compatibleFrom(file: string, version: number): Promise<number> {
  const declared = Number(/^-- compatible from: (\d+)$/m.exec(await readFile(file, 'utf8'))?.[1] ?? Number.NaN);
  if (declared >= 1 && declared <= version) return declared;
  throw new SchemaError(
    `migration ${path.basename(file)} does not say which releases can work with it: ` +
      `its first line must be "-- compatible from: N", N from 1 to ${version}`,
  );
}

export type MigrateOptions = { dir?: string | undefined; log?: ((line: string) => void) | undefined };

/**
 * Brings the schema up to this release. Any number of processes may do so at once, and an older release changes
 * nothing. All in one transaction: it happens whole or not at all. Gives the schema as it is then.
 */
export async function migrate(sql: Sql, options: MigrateOptions = {}): Promise<SchemaVersions> {
  const { dir = migrationsDir, log = () => {} } = options;
  const own = await ownSchema(dir);
  const found = await untilNoDeadlock(log, () =>
    sql.begin(async (tx) => {
      await tx`set local statement_timeout = 0`;
      await tx`set local idle_in_transaction_session_timeout = 0`;
      await tx`select pg_advisory_xact_lock(${lockKey}::bigint)`;
      const before = await readSchema(tx);
      if (before !== undefined && before.version > own.version) return before;

      const postgrator = new Postgrator({
        driver: 'pg',
        schemaTable: 'schema_migrations',
        migrationPattern: path.join(dir.replaceAll(/[?*()[\]{}]/g, '[$&]'), '*.sql'),
        execQuery: async (query) => ({ rows: await tx.unsafe(query) }),
        execSqlScript: async (script) => void (await tx.unsafe(script)),
      });
      postgrator.on('migration-started', ({ version, name }) => log(`applying migration ${version} (${name})`));
      await postgrator.migrate().catch(explain);
      await tx`create table if not exists schema_info (
      one boolean primary key default true check (one), version int not null, compatible_from int not null)`;
      await tx`insert into schema_info (version, compatible_from) values (${own.version}, ${own.compatibleFrom})
      on conflict (one) do update set version = excluded.version, compatible_from = excluded.compatible_from`;
      return own;
    }),
  );
  refuseNewer(found, own);
  return found;
}

/** What runs meanwhile holds locks in an order of its own, so one of both may have to begin anew. Then nothing was changed. */
async function untilNoDeadlock<T>(log: (line: string) => void, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const isDeadlock = String(error instanceof Error ? error.message : error).includes('deadlock detected');
      if (!isDeadlock || tries === mostTries) throw error;
      log('the database is busy with what runs; trying again');
      await delay(100 * tries * (1 + Math.random()));
    }
  }
}

/** Throws a `SchemaError` unless this release can work with the database as it is. */
export async function checkSchema(sql: Sql, options: { dir?: string | undefined } = {}): Promise<SchemaVersions> {
  const own = await ownSchema(options.dir);
  const found = await readSchema(sql);
  if (found === undefined) {
    throw new SchemaError('the database has no tables of Whorl yet: run "whorl migrate"');
  }
  if (found.version < own.version) {
    throw new SchemaError(
      `the database is at schema ${found.version}, and this release needs ${own.version}: run "whorl migrate"`,
    );
  }
  refuseNewer(found, own);
  return found;
}

function refuseNewer(found: SchemaVersions, own: SchemaVersions): void {
  if (found.compatibleFrom <= own.version) return;
  throw new SchemaError(
    `a newer release has migrated the database to schema ${found.version}, which works with releases of schema ` +
      `${found.compatibleFrom} and later; this one has schema ${own.version}: upgrade this process`,
  );
}

async function readSchema(sql: Sql | Tx): Promise<SchemaVersions | undefined> {
  const [there] = await sql<{ there: boolean }[]>`select to_regclass('schema_info') is not null as there`;
  if (there?.there !== true) return undefined;
  const [row] = await sql<{ version: number; compatible_from: number }[]>`
    select version, compatible_from from schema_info`;
  return row && { version: row.version, compatibleFrom: row.compatible_from };
}

function explain(error: unknown): never {
  const message = error instanceof Error ? error.message : String(error);
  if (message.startsWith('MD5 checksum failed')) {
    throw new SchemaError(
      `${message}: its file was changed after it was applied to this database. Restore the file, ` +
        'or start with an empty database',
      { cause: error },
    );
  }
  if (errorCode(error) === undefined) throw error;
  throw new SchemaError(`a migration failed, and nothing was changed: ${message}`, { cause: error });
}
