import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { makeReachable, passwordIn, preparation, programs, runAs } from './cluster.ts';
import { accepts, withFreePorts } from './ports.ts';
import { StartError, supervise } from './supervise.ts';
import type { Supervised } from './supervise.ts';
import { unprivilegedUser } from './users.ts';

export type PostgresOptions = {
  /** Keeps the cluster in this directory from one start to the next. Without it: a throw-away cluster. */
  dir?: string | undefined;
  /** Default: true when `dir` is given. When false, `dir` is removed at the end. */
  persistent?: boolean | undefined;
  /** Settings of the server, such as `{ log_statement: 'all' }`. */
  flags?: Record<string, string> | undefined;
  /** Gets a line when it is ready, with the time it took. */
  log?: ((line: string) => void) | undefined;
  /** Called once if the server ends without `stop()`. */
  onExit?: ((reason: string) => void) | undefined;
};

export type Postgres = {
  /** For the user `whorl`, who may create databases, and the database `postgres`. */
  url: string;
  port: number;
  pid: number;
  guardPid: number;
  logFile: string;
  /** Ends sessions, stops the server, and removes a throw-away cluster. */
  stop(): Promise<void>;
};

const readyMs = 30_000;
const settings = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  log_checkpoints: 'off',
};
/** Nothing of a throw-away cluster has to survive a crash, so nothing waits for the disk. */
const throwAwaySettings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

/**
 * Starts a PostgreSQL of our own on 127.0.0.1 and a free port; resolves when it accepts connections. It ends with
 * this process, however this process ends. Throws when another process uses `dir`.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const began = performance.now();
  const postgres = await withFreePorts(1, ([port = 0]) => startOn(port, options));
  options.log?.(`PostgreSQL is ready on 127.0.0.1:${postgres.port} (${Math.round(performance.now() - began)} ms)`);
  return postgres;
}

/** Where `whorl up` keeps its cluster, under its data directory. */
export const postgresDir = (dataDir: string): string => path.join(dataDir, 'postgres');

/**
 * The URL of the cluster that another process runs in `dir` now; undefined when none does.
 * Throws when its files may not be read.
 */
export async function runningPostgres(dir: string): Promise<string | undefined> {
  const [pidFile, password] = await Promise.all(
    [path.join(dir, 'cluster', 'postmaster.pid'), path.join(dir, 'password')].map(readIfThere),
  );
  const lines = pidFile?.split('\n') ?? [];
  const port = Number(lines[3]);
  // A server that was killed leaves its pid file behind.
  if (password === undefined || lines[7]?.trim() !== 'ready' || !(await accepts(port))) return undefined;
  return urlOf(port, password);
}

const urlOf = (port: number, password: string): string => `postgres://whorl:${password}@127.0.0.1:${port}/postgres`;

const readIfThere = (file: string): Promise<string | undefined> =>
  readFile(file, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  });

async function startOn(port: number, options: PostgresOptions): Promise<Postgres> {
  const durable = options.persistent ?? options.dir !== undefined;
  if (durable && options.dir === undefined) throw new Error('a persistent PostgreSQL needs a directory: pass `dir`');
  const user = await unprivilegedUser();
  const runDir = await mkdtemp(path.join(tmpdir(), 'whorl-postgres-'));
  const home = path.resolve(options.dir ?? runDir);
  const removeAtEnd = durable ? [runDir] : [runDir, home];
  const logFile = path.join(home, 'postgres.log');
  const cluster = path.join(home, 'cluster');

  try {
    for (const dir of new Set([runDir, home])) await makeReachable(dir, user);
    const bin = await programs(runDir, user);
    const password = await passwordIn(home);
    const initdb = path.join(bin, 'initdb');
    const prepare = await preparation(cluster, { initdb, password, durable, runDir, user });
    if (prepare !== undefined) removeAtEnd.push(prepare.rename.from);

    const flags = { ...settings, ...(durable ? {} : throwAwaySettings), ...options.flags };
    const args = ['-D', cluster, '-p', `${port}`];
    for (const [name, value] of Object.entries(flags)) args.push('-c', `${name}=${value}`);
    const server = await supervise('PostgreSQL', {
      ...(prepare && { prepare }),
      server: { ...runAs(user, runDir), command: path.join(bin, 'postgres'), args },
      stopSignal: 'SIGINT', // PostgreSQL's "fast" shutdown: does not wait for sessions
      graceMs: 5_000,
      logFile,
      removeAtEnd,
    });
    await ready(server, cluster);
    if (options.onExit !== undefined) server.onLost(options.onExit);
    return { url: urlOf(port, password), port, pid: server.pid, guardPid: server.guardPid, logFile, stop: server.stop };
  } catch (error) {
    for (const dir of removeAtEnd) await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    throw inPlainWords(error, home);
  }
}

/** Waits for what pg_ctl waits for: the eighth line of the server's pid file. */
async function ready(server: Supervised, cluster: string): Promise<void> {
  const file = path.join(cluster, 'postmaster.pid');
  const deadline = Date.now() + readyMs;
  while (Date.now() < deadline) {
    const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n');
    if (lines[0] === `${server.pid}` && lines[7]?.trim() === 'ready') return;
    const ending = await Promise.race([server.ended, delay(10)]);
    if (ending !== undefined) throw new StartError('PostgreSQL', ending);
  }
  await server.stop();
  throw new Error(`PostgreSQL accepted no connections within ${readyMs / 1000} s`);
}

function inPlainWords(error: unknown, home: string): unknown {
  if (!(error instanceof StartError)) return error;
  if (/lock file "postmaster.pid" already exists|pre-existing shared memory block/.test(error.log)) {
    const by = /\(PID (\d+)\)/.exec(error.log)?.[1];
    const message =
      `the PostgreSQL data in ${home} is in use${by === undefined ? '' : ` by process ${by}`}: ` +
      'stop the other Whorl, or give this one another directory (WHORL_DATA_DIR)';
    return new Error(message, { cause: error });
  }
  if (error.log.includes('database files are incompatible with server')) {
    const message =
      `the PostgreSQL data in ${home} is of another major version: dump it with the old version of Whorl ` +
      '(pg_dumpall) and load it into a new directory (WHORL_DATA_DIR)';
    return new Error(message, { cause: error });
  }
  return error;
}
