import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';
import { type KnotSim, startKnot } from '../../sim/knot/knot.ts';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { readCursor } from '../../src/store/cursors.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

const repo = { did: 'did:plc:alice', name: 'demo' };
const workflows = [{ name: 'ci.yml', raw: 'tack: {}\n' }];
const ttlMs = 1_500;

let db: FreshDatabase;
let knot: KnotSim;
const children: ChildProcess[] = [];
beforeEach(async () => {
  db = await freshDatabase();
  knot = await startKnot();
  await pinRepo(db.sql, { knot: knot.host, ...repo });
});
afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  await knot.close();
  await db.drop();
});

/** An ingest process of its own; resolves when it is one of those that share the knots. */
async function startProcess(env: Record<string, string> = {}): Promise<{ child: ChildProcess; owner: string }> {
  const owner = env['OWNER'] ?? randomUUID();
  const child = spawn(process.execPath, [path.join(import.meta.dirname, '../support/ingest-process.ts')], {
    env: { ...process.env, DATABASE_URL: db.url, OWNER: owner, TTL_MS: `${ttlMs}`, ...env },
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  children.push(child);
  const member = () => db.sql`select from leases where source = ${`ingest/${owner}`}`;
  await until('the process to be there', async () => (await member()).length === 1);
  return { child, owner };
}

type Held = { owner: string | null; epoch: bigint };
const lease = async (): Promise<Held | undefined> =>
  (await db.sql<Held[]>`select owner, epoch from leases where source = ${`knot/${knot.host}`}`)[0];
const heldBy = (owner: string) => until('the process to hold the knot', async () => (await lease())?.owner === owner);
const push = (count: number): void => {
  for (let i = 0; i < count; i++) knot.push({ repo, workflows });
};
const rkeys = async (): Promise<string[]> =>
  (await db.sql<{ rkey: string }[]>`select rkey from triggers order by id`).map(({ rkey }) => rkey);
const pipelines = (): string[] =>
  knot.history.filter(({ nsid }) => nsid === 'sh.tangled.pipeline').map(({ rkey }) => rkey);
const allStored = () => until('all triggers', async () => (await rkeys()).length === pipelines().length);

test('a process that is killed in the middle loses nothing and doubles nothing: another one goes on', async () => {
  const a = await startProcess();
  await heldBy(a.owner);
  const b = await startProcess();
  // more than are stored while this test looks away
  const many = 2_000;
  push(many);
  await until('the middle', async () => (await rkeys()).length > 100);
  a.child.kill('SIGKILL');
  const began = performance.now();
  const stored = await rkeys();
  expect(stored.length).toBeLessThan(many);

  await heldBy(b.owner);
  expect(performance.now() - began).toBeLessThan(ttlMs + 1_000);
  push(10);
  await allStored();
  expect(await rkeys()).toEqual(pipelines());
});

test('a process that was frozen past its lease changes nothing when it wakes up, and closes', async () => {
  const a = await startProcess();
  await heldBy(a.owner);
  push(10);
  await allStored();
  a.child.kill('SIGSTOP');

  const b = await startProcess();
  await heldBy(b.owner);
  const { epoch } = (await lease()) ?? {};
  // these wait in the frozen one's socket, too
  push(50);
  await allStored();
  await knot.connected(2);
  const cursor = await readCursor(db.sql, `knot/${knot.host}`);

  a.child.kill('SIGCONT');
  await until('the frozen one to close', () => knot.connections[0]?.closedAt);
  expect(await lease()).toEqual({ owner: b.owner, epoch });
  expect(await readCursor(db.sql, `knot/${knot.host}`)).toEqual(cursor);
  expect(await rkeys()).toEqual(pipelines());

  push(1);
  await allStored();
  expect(await lease()).toMatchObject({ owner: b.owner });
});

test.each([
  { whose: 'its own', owners: ['a', 'b'] },
  // it may be giving the knot away already when it is told to end
  { whose: 'the share of the other', owners: ['b', 'a'] },
])(
  'a process that is told to end gives a knot that is $whose to the other, and does not let it expire',
  async (which) => {
    const [first = '', second = ''] = which.owners;
    const a = await startProcess({ OWNER: first, TTL_MS: '300000' });
    await heldBy(first);
    await startProcess({ OWNER: second, TTL_MS: '300000' });
    push(20);
    a.child.kill('SIGTERM');
    await heldBy(second);
    await allStored();
    expect(await rkeys()).toEqual(pipelines());
  },
);

test.each([
  { what: 'an hour behind', hours: -1 },
  { what: 'an hour ahead', hours: 1 },
])(
  'a process whose clock is $what, and is set right later, starts what is pushed, and nothing that is too old',
  async ({ hours }) => {
    const dir = await mkdtemp(path.join(tmpdir(), 'whorl-clock-'));
    onTestFinished(() => rm(dir, { recursive: true }));
    const clock = path.join(dir, 'clock');
    const preload = pathToFileURL(path.join(import.meta.dirname, '../../faults/clock-preload.mjs')).href;
    await writeFile(clock, `${hours * 3_600_000}`);
    const old = tidAt((BigInt(Date.now()) - 20n * 60_000n) * 1_000_000n);
    knot.push({ repo, workflows, rkey: old });

    const a = await startProcess({ NODE_OPTIONS: `--import=${preload}`, FAULTS_CLOCK_FILE: clock });
    await heldBy(a.owner);
    push(2);
    await allStored();
    await writeFile(clock, '0');
    await new Promise((resolve) => setTimeout(resolve, 400));
    push(2);
    await allStored();

    const rows = await db.sql<{ rkey: string; state: string; off: number }[]>`
    select rkey, state, abs(extract(epoch from received_at - event_at))::float8 as off from triggers order by id`;
    expect(rows.map(({ rkey, state }) => (rkey === old ? 'old' : state))).toEqual(['old', 'new', 'new', 'new', 'new']);
    expect(rows[0]?.state).toBe('early');
    for (const { off } of rows.slice(1)) expect(off).toBeLessThan(60);
  },
);
