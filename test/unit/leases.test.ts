import { randomUUID } from 'node:crypto';
import pino from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Lease, type LeaseManager, leaseManager } from '../../src/ingest/leases.ts';
import { openDatabase } from '../../src/store/db.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

const ttlMs = 1_500;
/** With this one nothing moves unless somebody tells it: neither expiry nor a look comes while a test waits. */
const untold = { ttlMs: 300_000 };
let db: FreshDatabase;
let managers: LeaseManager[] = [];

beforeAll(async () => void (db = await freshDatabase({ max: 10 })));
afterAll(() => db.drop());
beforeEach(() => db.sql`truncate leases`);
afterEach(async () => {
  await Promise.all(managers.map((manager) => manager.stop()));
  managers = [];
});

type Process = {
  manager: LeaseManager;
  /** sources that are read now */
  reading: Set<string>;
  /** those of them that were told to stop */
  draining: Set<string>;
  started: Lease[];
  owner: string;
};

function startProcess(
  wanted: () => string[],
  options: { sql?: FreshDatabase['sql']; ttlMs?: number; stop?: (lease: Lease) => Promise<void> } = {},
): Process {
  const reading = new Set<string>();
  const draining = new Set<string>();
  const started: Lease[] = [];
  const owner = randomUUID();
  const manager = leaseManager({
    sql: options.sql ?? db.sql,
    owner,
    ttlMs: options.ttlMs ?? ttlMs,
    log: pino({ level: 'silent' }),
    wanted: async () => wanted(),
    start(source, lease) {
      expect(reading.has(source)).toBe(false);
      reading.add(source);
      started.push(lease);
      return {
        async stop() {
          draining.add(source);
          await options.stop?.(lease);
          draining.delete(source);
          reading.delete(source);
        },
      };
    },
  });
  managers.push(manager);
  return { manager, reading, draining, started, owner };
}

const sources = (count: number): string[] => Array.from({ length: count }, (_, i) => `knot/${i}.example`);
const sizes = (...processes: Process[]): string =>
  processes
    .map(({ reading }) => reading.size)
    .toSorted((a, b) => a - b)
    .join();

test('one process takes all sources, and two share them, each source with one of them', async () => {
  const wanted = sources(5);
  const a = startProcess(() => wanted);
  await until('all sources', () => a.reading.size === 5);
  const b = startProcess(() => wanted);
  await until('a fair share', () => sizes(a, b) === '2,3');
  expect([...a.reading, ...b.reading].toSorted()).toEqual(wanted);
});

test('a process that stops gives its sources back at once, with the next epoch for whoever takes them', async () => {
  const wanted = sources(4);
  const a = startProcess(() => wanted, untold);
  await until('all sources', () => a.reading.size === 4);
  const b = startProcess(() => wanted, untold);
  await until('a fair share', () => sizes(a, b) === '2,2');

  const before = new Map(a.started.map(({ source, epoch }) => [source, epoch]));
  await a.manager.stop();
  await until('the rest of them', () => b.reading.size === 4);
  for (const { source, epoch } of b.started) expect(epoch).toBe((before.get(source) ?? 0n) + 1n);
  expect(await db.sql`select source from leases where source = ${`ingest/${a.owner}`}`).toEqual([]);
});

test('sources of a process that stops are taken one by one as they are given back, also when one of them drains long', async () => {
  const wanted = sources(4);
  let drained = (): void => {};
  const draining = new Promise<void>((resolve) => (drained = resolve));
  const slow = new Set<string>();
  const a = startProcess(() => wanted, { stop: async ({ source }) => (slow.has(source) ? draining : undefined) });
  await until('all sources', () => a.reading.size === 4);
  const b = startProcess(() => wanted);
  await until('a fair share', () => sizes(a, b) === '2,2');
  for (const source of [...a.reading].slice(1)) slow.add(source);
  const stopped = a.manager.stop();
  await until('all but the one that drains', () => b.reading.size === 3);
  expect([...a.reading]).toEqual([...slow]);
  drained();
  await stopped;
  await until('all sources', () => b.reading.size === 4);
});

test('shares of each kind are even over three processes, whoever came first, and again when one has left', async () => {
  const wanted = ['dispatch/0', 'dispatch/1', 'dispatch/2', 'dispatch/3', 'jetstream', 'backfill', ...sources(5)];
  const even = (processes: Process[], prefix: string, expected: string) =>
    until(`${prefix} spread as ${expected}`, () => {
      const counts = processes.map(({ reading }) => [...reading].filter((one) => one.startsWith(prefix)).length);
      return counts.toSorted((one, other) => one - other).join() === expected;
    });
  const a = startProcess(() => wanted);
  await until('all sources', () => a.reading.size === wanted.length);
  const [b, c] = [startProcess(() => wanted), startProcess(() => wanted)];
  await even([a, b, c], 'dispatch/', '1,1,2');
  await even([a, b, c], 'knot/', '1,2,2');
  await even([a, b, c], '', '3,4,4');
  await b.manager.stop();
  await even([a, c], 'dispatch/', '2,2');
  await even([a, c], '', '5,6');
});

test('the sources of a process that vanished are taken over within the lease and a second', async () => {
  const wanted = sources(3);
  const lost = openDatabase(db.url, { max: 1 });
  const a = startProcess(() => wanted, { sql: lost });
  await until('all sources', () => a.reading.size === 3);
  const b = startProcess(() => wanted);
  await until('a fair share', () => sizes(a, b) === '1,2');

  const gone = new Set(a.reading);
  const began = performance.now();
  await lost.end({ timeout: 0 });
  await until('the rest of them', () => b.reading.size === 3);
  expect(performance.now() - began).toBeLessThan(ttlMs + 1_000);
  // and the one that was cut off had stopped by its own clock before
  expect(a.reading.size).toBe(0);
  for (const { source, signal } of a.started) if (gone.has(source)) expect(signal.aborted).toBe(true);
});

test('a lease that another process holds by now is stopped without draining', async () => {
  const a = startProcess(() => ['knot/x']);
  await until('the source', () => a.reading.size === 1);
  await db.sql`update leases set owner = 'other', epoch = epoch + 1, expires_at = now() + interval '1 hour'
    where source = 'knot/x'`;
  a.manager.notify();
  await until('the end of it', () => a.reading.size === 0);
  expect(a.started[0]?.signal.aborted).toBe(true);
});

test('sources come and go while processes run, at once after a notice', async () => {
  let wanted = ['knot/a', 'dispatch/0'];
  const a = startProcess(() => wanted, untold);
  await until('both sources', () => a.reading.size === 2);
  wanted = ['dispatch/0', 'knot/b'];
  await db.sql`select pg_notify('repos', '')`;
  await until('the change', () => a.reading.has('knot/b') && !a.reading.has('knot/a'));
  expect(a.manager.held().toSorted()).toEqual(['dispatch/0', 'knot/b']);
});

test('a lease is kept while its reader drains, and is given back when it has', async () => {
  let drained = (): void => {};
  const draining = new Promise<void>((resolve) => (drained = resolve));
  let wanted = ['knot/slow'];
  const a = startProcess(() => wanted, { stop: () => draining });
  await until('the source', () => a.reading.size === 1);
  wanted = [];
  a.manager.notify();

  const renewed = async (): Promise<Date | undefined> => {
    const [row] = await db.sql<{ at: Date }[]>`
      select expires_at as at from leases where source = 'knot/slow' and owner = ${a.owner}`;
    return row?.at;
  };
  const first = await renewed();
  await until('renewals beyond the first lease', async () => Number(await renewed()) > Number(first) + ttlMs);
  drained();
  await until('the release', async () => (await renewed()) === undefined);
  expect(a.started[0]?.signal.aborted).toBe(false);
});

test('a process that is told to stop while it gives a source away gives it back before it is done', async () => {
  let drained = (): void => {};
  const draining = new Promise<void>((resolve) => (drained = resolve));
  let wanted = ['knot/slow', 'knot/other'];
  const a = startProcess(() => wanted, {
    stop: async ({ source }) => (source === 'knot/slow' ? draining : undefined),
  });
  await until('the sources', () => a.reading.size === 2);
  wanted = ['knot/other'];
  a.manager.notify();
  const left = async () =>
    (await db.sql`select source from leases where owner = ${a.owner}`).map(({ source }) => source);
  await until('the look that gives it away', () => a.draining.has('knot/slow'));

  let stopped = false;
  const stop = a.manager.stop().then(() => (stopped = true));
  await until('the rest to be given back', async () => (await left()).join() === 'knot/slow');
  expect(stopped).toBe(false);
  drained();
  await stop;
  expect(await left()).toEqual([]);
  expect(a.started.map(({ signal }) => signal.aborted)).toEqual([false, false]);
});
