import { readFile, statfs } from 'node:fs/promises';
import path from 'node:path';
import { isUnavailable, type Sql } from '../store/db.ts';
import { lackingPrivileges, type ServerFacts, serverFacts } from '../store/examine.ts';
import { checkSchema } from '../store/migrate.ts';
import {
  ahead,
  type Check,
  checkWith,
  fail,
  type Need,
  need,
  ok,
  sized,
  Skip,
  warn,
  within,
  wordsOf,
} from './check.ts';

/** Older ones are not supported by the PostgreSQL project any more, and were never tried. */
const leastVersion = 140_000;
const clockWarnMs = 2_000;
const clockFailMs = 30_000;
/** A role takes up to 30, and a rolling upgrade twice that for a while. */
const fewConnections = 20;
const lowDisk = { warn: 0.1, fail: 0.02 };

/** Where the database is. `name`: for people, without a password. */
export interface DatabasePlace {
  name: string;
  sql: Sql;
}

interface Known {
  place: DatabasePlace;
  facts: ServerFacts;
  /** How far its clock is ahead of ours, ms. */
  skewMs: number;
  tookMs: number;
}

export interface DatabaseChecks {
  checks: Check[];
  /** For everything that reads our tables. */
  sql: Need<Sql>;
}

/** @param locate rejects when there is none that could be asked */
export function databaseChecks(locate: Need<DatabasePlace>, timeoutMs: number): DatabaseChecks {
  const reached = need(async (): Promise<Known> => {
    const place = await locate();
    return within(timeoutMs, () => measure(place));
  });
  const known = need(() => orSkip(reached, 'the database does not answer'));
  const migrated = need(async () => {
    const { place } = await known();
    const schema = await within(timeoutMs, () => checkSchema(place.sql));
    return { sql: place.sql, schema };
  });
  const usable = need(() => orSkip(migrated, 'the database cannot be used'));
  const sql = need(async () => (await usable()).sql);

  return {
    sql,
    checks: [
      async () => [await reachable(reached)],
      checkWith(known, 'version', upgrade, async ({ facts }) => version(facts)),
      checkWith(known, 'schema', 'run `whorl migrate`', async () => {
        const { schema } = await migrated();
        return ok(`schema ${schema.version}`);
      }),
      checkWith(known, 'clock', timeSync, async ({ skewMs }) => clock(skewMs)),
      checkWith(known, 'connections', 'see the log of PostgreSQL', async ({ facts }) => connections(facts)),
      checkWith(known, 'size', 'see the log of PostgreSQL', async ({ facts }) => size(facts)),
      checkWith(sql, 'privileges', 'see the log of PostgreSQL', async (ours) =>
        privileges(ours, (await known()).facts),
      ),
    ],
  };
}

async function orSkip<T>(needed: Need<T>, reason: string): Promise<T> {
  try {
    return await needed();
  } catch (error) {
    throw error instanceof Skip ? error : new Skip(reason);
  }
}

/** Several times, because the first answer has the making of a connection in it. */
async function measure(place: DatabasePlace): Promise<Known> {
  let best: Known | undefined;
  for (let tries = 0; tries < 3; tries += 1) {
    const asked = Date.now();
    const began = performance.now();
    const facts = await serverFacts(place.sql);
    const tookMs = performance.now() - began;
    if (!best || tookMs < best.tookMs) best = { place, facts, tookMs, skewMs: facts.now - (asked + tookMs / 2) };
  }
  if (!best) throw new Error('it was never asked');
  return best;
}

async function reachable(reached: Need<Known>) {
  const name = 'reachable';
  try {
    const { place, tookMs } = await reached();
    return { name, ...ok(`${place.name} answers within ${Math.ceil(tookMs)} ms`) };
  } catch (error) {
    const why = isUnavailable(error) ? `it does not answer (${wordsOf(error)})` : wordsOf(error);
    return {
      name,
      ...fail(why, 'see that PostgreSQL runs and takes connections from here, and check WHORL_DATABASE_URL'),
    };
  }
}

const upgrade = `upgrade PostgreSQL to version ${leastVersion / 10_000} or later`;

const version = ({ version: own, versionNumber }: ServerFacts) =>
  versionNumber >= leastVersion ? ok(`PostgreSQL ${own}`) : fail(`PostgreSQL ${own} is too old`, upgrade);

const timeSync = 'see that both machines keep their time by NTP';

function clock(skewMs: number) {
  const found = `its clock is ${ahead(skewMs)}`;
  if (Math.abs(skewMs) > clockFailMs) return fail(found, timeSync);
  return Math.abs(skewMs) > clockWarnMs ? warn(found, timeSync) : ok(found);
}

function connections({ connectionsUsed: used, connectionsMost: most }: ServerFacts) {
  const found = `${used} of ${most} connections are in use`;
  if (most - used >= fewConnections) return ok(found);
  return warn(found, 'raise max_connections, or run fewer processes: each takes up to 30');
}

async function size({ sizeBytes, dataDirectory }: ServerFacts) {
  const found = `the database has ${sized(sizeBytes)}`;
  const disk = await diskOf(dataDirectory);
  if (!disk) return ok(`${found}; how much room its disk has, cannot be seen from here`);
  const all = `${found}; ${sized(disk.free)} of its disk are free`;
  const advice = 'give it more room, or lower WHORL_LOG_SPACE_GIB and WHORL_KEEP_DAYS';
  if (disk.share < lowDisk.fail) return fail(all, advice);
  return disk.share < lowDisk.warn ? warn(all, advice) : ok(all);
}

/** Of the disk that a folder is on, if it is the folder of a PostgreSQL on this machine. */
async function diskOf(folder: string | null): Promise<{ free: number; share: number } | undefined> {
  if (folder === null) return undefined;
  try {
    await readFile(path.join(folder, 'PG_VERSION'));
    const { bavail, blocks, bsize } = await statfs(folder);
    return { free: bavail * bsize, share: bavail / blocks };
  } catch {
    return undefined;
  }
}

async function privileges(sql: Sql, { standby, readOnly }: ServerFacts) {
  if (standby) return fail('it is a standby, which takes no writes', 'point WHORL_DATABASE_URL at the primary');
  if (readOnly) {
    const advice =
      'some hosts do this when the disk is full: make room, then `alter database … reset default_transaction_read_only`';
    return fail('every transaction is read-only', advice);
  }
  const lacking = await lackingPrivileges(sql);
  if (lacking.length === 0) return ok('this user may read and write all tables');
  const advice = 'run Whorl as the user who ran `whorl migrate`, or grant these rights';
  return fail(`this user lacks rights: ${lacking.slice(0, 5).join('; ')}${lacking.length > 5 ? '; …' : ''}`, advice);
}
