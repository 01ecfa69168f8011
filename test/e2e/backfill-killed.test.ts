import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { openDatabase, type Sql } from '../../src/store/db.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { type BackfillOptions, dumpTables, isListed, makeDue, startLister } from '../support/backfill.ts';
import { startListerProcess } from '../support/backfill-child.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { startNetwork } from '../support/network.ts';
import { until } from '../support/until.ts';

const host = 'spindle.example';
const knot = 'knot.example';

let db: FreshDatabase;
let undisturbed: FreshDatabase;
const cleanup: (() => unknown)[] = [];
beforeEach(async () => {
  db = await freshDatabase({ max: 10 });
  undisturbed = await freshDatabase({ max: 10 });
});
afterEach(async () => {
  for (const step of cleanup.splice(0).toReversed()) await step();
  await Promise.all([db.drop(), undisturbed.drop()]);
});

async function world() {
  const net = await startNetwork();
  const owner = net.owner.did;
  for (const { sql } of [db, undisturbed]) await beSpindle(sql, { host, owner });
  const member = (repos: number): string => {
    const { did } = net.network.account();
    for (let n = 0; n < repos; n++) net.network.repo(did, { knot, name: `repo-${n}`, spindle: host });
    net.network.invite(owner, did, host);
    return did;
  };
  const options = (more: Partial<BackfillOptions> = {}): BackfillOptions => ({ plcUrl: net.plc.url, ...more });
  const isAllListed = async (sql: Sql, dids: readonly string[]): Promise<boolean> => {
    const listed = await Promise.all(
      dids.map((did) => isListed(sql, { did, rev: net.network.find(did)?.rev ?? 'unknown' })),
    );
    return !listed.includes(false);
  };
  /** One lister in this process, from begin to end. */
  const listAll = async (sql: Sql, dids: readonly string[]): Promise<void> => {
    const lister = startLister(sql, options());
    cleanup.push(() => lister.stop());
    for (const did of dids) await makeDue(sql, did);
    await until('all to be listed', () => isAllListed(sql, dids), 60_000);
    cleanup.pop();
    await lister.stop();
  };
  return { ...net, owner, member, options, isAllListed, listAll };
}

test(
  'a lister that is killed again and again comes to the same tables as one that is left alone',
  { timeout: 180_000 },
  async () => {
    const { network, pds, owner, member, options, isAllListed, listAll } = await world();
    const members = Array.from({ length: 4 }, () => member(130));
    const all = [owner, ...members];
    for (const { sql } of [db, undisturbed]) await listAll(sql, all);

    // something to do of every kind, on every page
    for (const did of members) {
      for (const [n, { rkey }] of network.repoOf(did).page(NSID.repo, { limit: 200 }).entries()) {
        if (n % 3 === 0) network.delete(did, NSID.repo, rkey);
        if (n % 3 === 1) network.update(did, NSID.repo, rkey, { knot, name: `renamed-${n}`, spindle: host });
      }
      for (let n = 0; n < 90; n++) network.repo(did, { knot, name: `new-${n}`, spindle: host });
    }
    const [gone] = network.repoOf(owner).page(NSID.member, { limit: 1 });
    network.delete(owner, NSID.member, gone?.rkey ?? '');
    network.repo(owner, { knot, name: 'mine', spindle: host });
    const remaining = all.filter((did) => did !== members.at(-1));
    const asBefore = await dumpTables(db.sql);
    expect(asBefore).toEqual(await dumpTables(undisturbed.sql));
    await listAll(undisturbed.sql, remaining);

    for (const did of remaining) await makeDue(db.sql, did);
    // about 25 requests in all, some at the same time; each life ends after a few more than the one before
    let [lives, cut] = [0, 0];
    for (let life = 1; life <= 5; life++) {
      const before = pds.requests().length;
      const settings = { pace: { perSecond: 10 } };
      const { child } = startListerProcess(db.url, options({ ttlMs: 600, settings }));
      const over = once(child, 'exit');
      const enough = life + Math.floor(Math.random() * life);
      await until(
        'the middle',
        async () => pds.requests().length - before >= enough || (await isAllListed(db.sql, remaining)),
        60_000,
      );
      // at this request, or somewhere in the statements that follow it
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
      if (!(await isAllListed(db.sql, remaining))) cut++;
      child.kill('SIGKILL');
      await over;
      lives++;
    }
    expect(lives).toBe(5);
    expect(cut).toBeGreaterThan(2);
    // the last one is left alone; what was complete is not due any more
    const last = startLister(db.sql, options());
    cleanup.push(() => last.stop());
    await until('all to be listed', () => isAllListed(db.sql, remaining), 60_000);
    expect(await dumpTables(db.sql)).toEqual(await dumpTables(undisturbed.sql));
  },
);

test('a lister that was frozen past its lease changes nothing when it wakes up', { timeout: 120_000 }, async () => {
  const { network, pds, owner, member, options, isAllListed } = await world();
  const alice = member(150);
  const held = pds.hold({ route: 'listRecords', did: alice, collection: NSID.repo });
  const frozen = startListerProcess(db.url, options({ ttlMs: 1_000, owner: 'z' }));
  await held.arrived;
  frozen.child.kill('SIGSTOP');
  // its page waits in its socket, and is old by now
  held.release();
  for (const { rkey } of network.repoOf(alice).page(NSID.repo, { limit: 200 }).slice(0, 75)) {
    network.delete(alice, NSID.repo, rkey);
  }
  // Of two that share one source the first by name has it, so the one that wakes up has no claim to it.
  const other = startLister(db.sql, options({ ttlMs: 1_000, owner: 'a' }));
  cleanup.push(() => other.stop());
  await until('the other to have listed all', () => isAllListed(db.sql, [owner, alice]), 60_000);
  const tables = await dumpTables(db.sql);
  const reports = frozen.reports.length;

  frozen.child.kill('SIGCONT');
  await until('it to be awake for a while', () => frozen.reports.length > reports + 10);
  expect(await dumpTables(db.sql)).toEqual(tables);
  const [lease] = await db.sql<{ owner: string }[]>`select owner from leases where source = 'backfill'`;
  expect(lease?.owner).toBe(other.owner);
  // 75 repos are left, and one member
  expect(await db.sql`select from records where value is not null`).toHaveLength(76);
});

test(
  'a database that goes away in the middle of a listing costs time, and nothing else',
  { timeout: 120_000 },
  async () => {
    const { pds, owner, member, options, isAllListed, listAll } = await world();
    const all = [owner, member(250), member(120)];
    await listAll(undisturbed.sql, all);
    const held = pds.hold({ route: 'listRecords', collection: NSID.repo });
    const applicationName = 'lister';
    const sql = openDatabase(db.url, { applicationName, max: 2, answerTimeoutMs: 5_000 });
    cleanup.push(() => sql.end({ timeout: 1 }));
    // both connections: one that is ended while postgres.js still asks for types throws where nobody can catch it
    await Promise.all([sql`select pg_sleep(0.2)`, sql`select pg_sleep(0.2)`]);
    const lister = startLister(sql, options());
    cleanup.push(() => lister.stop());
    await held.arrived;
    // as when PostgreSQL is restarted
    const ended = await db.sql`
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = ${applicationName}`;
    expect(ended.length).toBeGreaterThan(0);
    held.release();
    await until('all to be listed', () => isAllListed(db.sql, all), 60_000);
    expect(await dumpTables(db.sql)).toEqual(await dumpTables(undisturbed.sql));
  },
);
