import { randomUUID } from 'node:crypto';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { defineSearchAttributeKey, TypedSearchAttributes } from '@temporalio/common';
import postgres from 'postgres';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { withFreePorts } from '../../src/embedded/ports.ts';
import { startPostgres } from '../../src/embedded/postgres.ts';
import { StartError, supervise } from '../../src/embedded/supervise.ts';
import { findTemporal } from '../../src/embedded/temporal-binary.mjs';
import { temporalFile } from '../../src/embedded/temporal-file.ts';
import { startTemporal } from '../../src/embedded/temporal.ts';
import { unreachable } from '../../src/embedded/users.ts';

const parentFile = fileURLToPath(new URL('../fixtures/embedded/parent.ts', import.meta.url));
const undo: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** A server that stops at the end of its test, whatever happens there. */
async function started<T extends { stop(): Promise<void> }>(start: Promise<T>): Promise<T> {
  const server = await start;
  undo.push(() => server.stop());
  return server;
}

async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(path.join(tmpdir(), 'whorl-test-'));
  undo.push(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function query(url: string, text: string): Promise<readonly Record<string, unknown>[]> {
  const sql = postgres(url, { max: 1 });
  try {
    return [...(await sql.unsafe(text))];
  } finally {
    await sql.end();
  }
}

/** Of the given processes, those that exist. A zombie that waits for its reaper has ended. */
async function running(pids: number[]): Promise<number[]> {
  const states = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z')));
  return pids.filter((_, index) => !/\) [ZX]/.test(states[index] ?? ''));
}

async function allGone(pids: number[]): Promise<void> {
  await vi.waitFor(async () => expect(await running(pids)).toEqual([]), { timeout: 15_000, interval: 20 });
}

/** Starts a program that has both servers; answers with it and every process that they are made of. */
async function parentWithServers(...args: string[]) {
  const parent = spawn(process.execPath, [parentFile, ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  undo.push(async () => parent.kill('SIGKILL'));
  const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
  const { pids } = JSON.parse(line) as { pids: number[] };
  const children = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')));
  return { parent, pids: [...pids, ...children.join(' ').trim().split(/\s+/).map(Number)] };
}

describe.skipIf(!existsSync('/proc/self/stat'))('PostgreSQL and Temporal', () => {
  test('stop when their parent is killed with SIGKILL', async () => {
    const { parent, pids } = await parentWithServers();
    expect(await running(pids)).toEqual(pids);
    parent.kill('SIGKILL');
    await allGone(pids);
  });

  test('stop when their parent ends by Ctrl-C', async () => {
    const { parent, pids } = await parentWithServers();
    parent.kill('SIGINT');
    await allGone(pids);
  });

  test('stop when their parent fails and forgets them', async () => {
    const { pids } = await parentWithServers('--fail');
    await allGone(pids);
  });
});

describe('an embedded PostgreSQL', () => {
  test('is ready when the start says so, takes settings, and leaves nothing behind', async () => {
    const server = await startPostgres({ flags: { work_mem: '7MB' } });
    const home = path.dirname(server.logFile);
    const settings = "current_setting('server_encoding') as encoding, current_setting('work_mem') as memory";
    const [row] = await query(server.url, `select current_user as who, ${settings}`);
    expect(row).toEqual({ who: 'whorl', encoding: 'UTF8', memory: '7MB' });
    await server.stop();
    await server.stop();
    expect(existsSync(home)).toBe(false);
    expect(await running([server.pid, server.guardPid])).toEqual([]);
  });

  test('runs beside another one, and lets nobody in without its password', async () => {
    const [one, two] = await Promise.all([started(startPostgres()), started(startPostgres())]);
    await query(one.url, 'create table only_here (x int)');
    await expect(query(two.url, 'select * from only_here')).rejects.toThrow(/does not exist/);
    const url = new URL(two.url);
    url.password = new URL(one.url).password;
    await expect(query(url.href, 'select 1')).rejects.toThrow(/password authentication failed/);
  });

  test('keeps its data and its password in a directory, which one process has at a time', async () => {
    const dir = await temporaryDir();
    const first = await startPostgres({ dir });
    await query(first.url, 'create table kept as select 42 as x');
    await first.stop();
    expect((await stat(path.join(dir, 'password'))).mode & 0o777).toBe(0o600);

    const wrong = startPostgres({ dir, flags: { work_mem: 'much' } });
    await expect(wrong).rejects.toThrow(/invalid value for parameter "work_mem"/);

    const second = await started(startPostgres({ dir }));
    expect(new URL(second.url).password).toBe(new URL(first.url).password);
    await expect(startPostgres({ dir })).rejects.toThrow(/is in use by process \d+: stop the other Whorl/);
    expect(await query(second.url, 'select x from kept')).toEqual([{ x: 42 }]);
  });

  test('tells when it ends by itself, and when its guard is killed', async () => {
    const lost = vi.fn<(reason: string) => void>();
    const dir = await temporaryDir();
    const server = await started(startPostgres({ dir, onExit: lost }));
    process.kill(server.pid, 'SIGKILL');
    await vi.waitFor(() => expect(lost).toHaveBeenCalledWith(expect.stringContaining('signal SIGKILL')), 10_000);

    const other = await started(startPostgres({ dir, onExit: lost }));
    process.kill(other.guardPid, 'SIGKILL');
    await vi.waitFor(() => expect(lost).toHaveBeenCalledWith(expect.stringContaining('guard process ended')), 10_000);
    expect(await running([other.pid])).toEqual([]);
    expect(lost).toHaveBeenCalledTimes(2);
  });

  test.skipIf(process.getuid?.() !== 0)('says which folder keeps its user out', async () => {
    const closed = path.join(await temporaryDir(), 'closed');
    await mkdir(closed);
    await chmod(path.dirname(closed), 0o755);
    await chmod(closed, 0o700);
    const start = startPostgres({ dir: path.join(closed, 'postgres') });
    await expect(start).rejects.toThrow(`may not enter ${closed}: choose a directory elsewhere (WHORL_DATA_DIR)`);
    expect(await unreachable(closed, { uid: 4_000, gid: 4_000, name: 'other' })).toBe(closed);
  });
});

describe('an embedded Temporal', () => {
  test('takes workflows with our search attributes as soon as the start says so, beside another one', async () => {
    const lost = vi.fn<(reason: string) => void>();
    const [server, other] = await Promise.all([
      started(startTemporal({ namespace: 'ours' })),
      started(startTemporal({ onExit: lost })),
    ]);
    expect(server.uiUrl).toBeUndefined();
    const connection = await Connection.connect({ address: server.address });
    undo.push(() => connection.close());
    const client = new Client({ connection, namespace: server.namespace });
    const knot = defineSearchAttributeKey('Knot', 'KEYWORD');
    const parked = defineSearchAttributeKey('Parked', 'KEYWORD_LIST');
    const handle = await client.workflow.start('nobodyRunsThis', {
      workflowId: randomUUID(),
      taskQueue: 'none',
      typedSearchAttributes: new TypedSearchAttributes([
        { key: knot, value: 'knot.example' },
        { key: parked, value: ['ci.yml'] },
      ]),
    });
    const { typedSearchAttributes } = await handle.describe();
    expect(typedSearchAttributes.get(knot)).toBe('knot.example');
    expect(typedSearchAttributes.get(parked)).toEqual(['ci.yml']);

    process.kill(other.pid, 'SIGKILL');
    await vi.waitFor(() => expect(lost).toHaveBeenCalledWith(expect.stringContaining('Temporal ended')), 10_000);
  });

  test('keeps its workflows in a file, and shows them in its UI', async () => {
    const dbFile = path.join(await temporaryDir(), 'temporal.db');
    const workflowId = randomUUID();
    const first = await started(startTemporal({ dbFile }));
    const told = temporalFile(path.dirname(dbFile));
    expect(await readFile(told, 'utf8')).toBe(`${first.address}\n`);
    const before = await Connection.connect({ address: first.address });
    await new Client({ connection: before }).workflow.start('nobodyRunsThis', { workflowId, taskQueue: 'none' });
    await before.close();
    await first.stop();
    await expect(readFile(told, 'utf8')).rejects.toThrow('ENOENT');
    const second = await started(startTemporal({ dbFile, ui: true }));
    const after = await Connection.connect({ address: second.address });
    undo.push(() => after.close());
    const { status } = await new Client({ connection: after }).workflow.getHandle(workflowId).describe();
    expect(status.name).toBe('RUNNING');
    const page = await vi.waitFor(() => fetch(`${second.uiUrl}/`), 5_000);
    expect(page.status).toBe(200);
  });
});

describe('the search for a temporal binary', () => {
  test('does not replace a configured path that does not run', async () => {
    await expect(findTemporal({ ...process.env, WHORL_TEMPORAL_CLI: '/nowhere/temporal' })).rejects.toThrow(
      /WHORL_TEMPORAL_CLI is \/nowhere\/temporal, which is not a `temporal`/,
    );
  });

  test('prefers a configured path to the cache', async () => {
    const found = await findTemporal();
    expect(found).toBeDefined();
    const again = await findTemporal({ ...process.env, WHORL_TEMPORAL_CLI: found?.path });
    expect(again).toEqual({ ...found, from: 'WHORL_TEMPORAL_CLI' });
  });

  test('finds nothing where nothing is', async () => {
    expect(await findTemporal({ PATH: '', XDG_CACHE_HOME: await temporaryDir() })).toBeUndefined();
  });
});

describe('a port that another process takes in between', () => {
  test.each([
    'could not bind IPv4 address "127.0.0.1": Address already in use',
    "can't set frontend HTTP port 45991: listen tcp 127.0.0.1:45991: bind: address already in use",
  ])('makes the server start again with another: %s', async (log) => {
    const tried: number[] = [];
    const port = await withFreePorts(1, async ([free = 0]) => {
      tried.push(free);
      if (tried.length < 3) throw new StartError('a server', { reason: 'exit code 1', log });
      return free;
    });
    expect(tried).toHaveLength(3);
    expect(port).toBe(tried.at(-1));
  });

  test('is told also when a long stack stands below it', async () => {
    const dir = await temporaryDir();
    const server = await supervise('a server', {
      server: {
        command: process.execPath,
        args: [
          '-e',
          `console.log('{"level":"ERROR","error":"bind: address already in use"}'); throw new Error('\\n'.repeat(30))`,
        ],
        cwd: dir,
      },
      stopSignal: 'SIGTERM',
      graceMs: 1_000,
      logFile: path.join(dir, 'server.log'),
      removeAtEnd: [],
    });
    expect(await server.ended).toMatchObject({
      reason: 'exit code 1',
      log: expect.stringContaining('address already in use'),
    });
  });

  test('is an error when it happens five times', async () => {
    const start = vi.fn(() => {
      throw new StartError('a server', { reason: 'exit code 1', log: 'Address already in use' });
    });
    await expect(withFreePorts(1, async () => start())).rejects.toThrow(/Address already in use/);
    expect(start).toHaveBeenCalledTimes(5);
  });
});
