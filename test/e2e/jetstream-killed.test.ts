import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Sql } from '../../src/store/db.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { dumpAccounts, dumpRecords, dumpServed, startAt, startJetstreamIngest } from '../support/jetstream.ts';
import { busyNetwork } from '../support/network-life.ts';
import { startNetwork } from '../support/network.ts';
import { until } from '../support/until.ts';

const host = 'spindle.example';
const ttlMs = 1_000;
const longer = { timeout: 180_000 };
const patience = 60_000;

let db: FreshDatabase;
const children: ChildProcess[] = [];
beforeEach(async () => void (db = await freshDatabase()));
afterEach(async () => {
  for (const child of children.splice(0)) await kill(child);
  await db.drop();
});

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

function startProcess(urls: string, owner: string): ChildProcess {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, '../support/jetstream-process.ts')], {
    env: { ...process.env, DATABASE_URL: db.url, TTL_MS: `${ttlMs}`, URLS: urls, OWNER: owner, HOST: host },
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  children.push(child);
  return child;
}

const tables = async (sql: Sql) => ({
  records: await dumpRecords(sql, { since: true }),
  accounts: await dumpAccounts(sql),
  served: await dumpServed(sql),
});
const seen = async (sql: Sql, rkey: string): Promise<boolean> =>
  (await sql`select from records where rkey = ${rkey}`).length === 1;
const progress = async (): Promise<string> =>
  (await db.sql<{ p: string }[]>`select coalesce(max(rev), '') as p from records`)[0]?.p ?? '';

test(
  'killed again and again while frames flow, it comes to the same tables as one that was left alone',
  longer,
  async () => {
    const { network, owner, env } = await startNetwork();
    const life = busyNetwork(network, { owner: owner.did, host });
    await startAt(db.sql, Date.now() - 60_000);
    life.inviteAll();

    let inTheMiddle = 0;
    for (let kills = 0; kills < 6; kills++) {
      const child = startProcess(env.WHORL_JETSTREAM_URL, owner.did);
      const before = await progress();
      life.go(200);
      await until('some of it to arrive', async () => (await progress()) > before, patience);
      // the rest comes while it dies, at another place each time
      life.go(50 + 37 * kills);
      const mark = life.end();
      await kill(child);
      if (!(await seen(db.sql, mark))) inTheMiddle++;
    }
    expect(inTheMiddle).toBeGreaterThan(0);
    const last = life.end();
    startProcess(env.WHORL_JETSTREAM_URL, owner.did);
    await until('the end', () => seen(db.sql, last), patience);

    const other = await freshDatabase();
    try {
      await startAt(other.sql, Date.now() - 600_000);
      const urls = [env.WHORL_JETSTREAM_URL];
      const calm = await startJetstreamIngest(other.sql, { urls, owner: owner.did, host });
      await until('the end', () => seen(other.sql, last), patience);
      await calm.stop();
      const expected = await tables(other.sql);
      expect(expected.records.length).toBeGreaterThan(100);
      expect(expected.served.length).toBeGreaterThan(10);
      expect(await tables(db.sql)).toEqual(expected);
    } finally {
      await other.drop();
    }
  },
);

test('a process that was frozen past its lease changes nothing when it wakes up', longer, async () => {
  const { network, owner, env, jetstream } = await startNetwork();
  const life = busyNetwork(network, { owner: owner.did, host });
  await startAt(db.sql, Date.now() - 60_000);
  life.inviteAll();
  const frozen = startProcess(env.WHORL_JETSTREAM_URL, owner.did);
  await until('the first of it', async () => (await progress()) !== '', patience);
  frozen.kill('SIGSTOP');
  startProcess(env.WHORL_JETSTREAM_URL, owner.did);
  await jetstream.connected(2, patience);
  // these wait in the socket of the frozen one, too
  life.go(300);
  const last = life.end();
  await until('the end', () => seen(db.sql, last), patience);
  const [lease] = await db.sql`select owner, epoch from leases where source = 'jetstream'`;
  const before = await tables(db.sql);

  frozen.kill('SIGCONT');
  await jetstream.until(() => jetstream.connections[0]?.closedAt, 'the frozen one to close', patience);
  expect(await tables(db.sql)).toEqual(before);
  expect((await db.sql`select owner, epoch from leases where source = 'jetstream'`)[0]).toEqual(lease);
});
