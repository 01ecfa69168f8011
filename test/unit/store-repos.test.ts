import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { forgetUnwantedKnots } from '../../src/store/cursors.ts';
import { chosenSince, isChosen, listRepos, pinRepo, unpinRepo, wantedKnots } from '../../src/store/repos.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { hearNotices, type Notices } from '../support/notices.ts';

let db: FreshDatabase;
let notices: Notices;
const repo = { knot: 'knot.example', did: 'did:plc:owner', name: 'demo' };

beforeAll(async () => {
  db = await freshDatabase();
  notices = await hearNotices(db.sql, ['repos', 'inbox']);
});
afterAll(async () => {
  await notices.close();
  await db.drop();
});
beforeEach(async () => {
  await db.sql`truncate repos, triggers, cursors, records, accounts, spindle, leases`;
  await notices.heard();
});

/** The owner's own repository chooses this spindle. */
async function addRecord(chosenAt: Date, more: { rkey?: string; repoDid?: string; knot?: string } = {}): Promise<void> {
  await beSpindle(db.sql, { host: 'spindle.example', owner: repo.did });
  await db.sql`update spindle set since = '2020-01-01'`;
  const { rkey = 'rkey', ...rest } = more;
  const value = { knot: repo.knot, name: repo.name, spindle: 'spindle.example', ...rest };
  await db.sql`insert into records (did, collection, rkey, rev, value, since)
    values (${repo.did}, 'sh.tangled.repo', ${rkey}, '1', ${JSON.stringify(value)}::text::jsonb, ${chosenAt})`;
}
const addHeld = (rkey: string, body: object, share: number) => db.sql`
  insert into triggers (knot, nsid, rkey, share, body, state, due_at, hold_until)
  values (${repo.knot}, 'sh.tangled.pipeline', ${rkey}, ${share}, ${JSON.stringify(body)}::text::jsonb, 'held',
    now() + interval '5 minutes', now() + interval '15 minutes')`;

test('a repo that is pinned is chosen from now on, or from the time given, and the earlier one counts', async () => {
  expect(await isChosen(db.sql, repo)).toBe(false);
  await pinRepo(db.sql, repo);
  expect(await isChosen(db.sql, repo)).toBe(true);
  expect(Math.abs(Date.now() - Number(await chosenSince(db.sql, repo)))).toBeLessThan(5_000);

  const since = new Date('2026-01-01T00:00:00Z');
  await pinRepo(db.sql, { ...repo, since });
  await pinRepo(db.sql, { ...repo, since: new Date('2026-02-01T00:00:00Z') });
  await pinRepo(db.sql, repo);
  expect(await listRepos(db.sql)).toEqual([{ ...repo, source: 'pin', chosenAt: since }]);
  expect(await notices.heard()).toEqual(Array.from({ length: 4 }, () => `repos:${repo.knot}`));
});

test('a pin in the future is a pin from now on', async () => {
  await pinRepo(db.sql, { ...repo, since: new Date(Date.now() + 3_600_000) });
  expect(Number(await chosenSince(db.sql, repo))).toBeLessThan(Date.now() + 5_000);
});

test('taking a pin away leaves the record of the same repo', async () => {
  expect(await unpinRepo(db.sql, repo)).toBe(false);
  const chosenAt = new Date('2026-03-01T00:00:00Z');
  await addRecord(chosenAt);
  await pinRepo(db.sql, repo);
  expect(await unpinRepo(db.sql, repo)).toBe(true);
  expect(await chosenSince(db.sql, repo)).toEqual(chosenAt);
  expect(await notices.heard()).toEqual(['repos:spindle.example', `repos:${repo.knot}`, `repos:${repo.knot}`]);
});

test('a pin makes the held triggers of this repo due at once, and no others', async () => {
  const body = (did: string, name: string) => ({ triggerMetadata: { repo: { did, repo: name } } });
  await addHeld('mine', body(repo.did, repo.name), 3);
  await addHeld('other', body(repo.did, 'other'), 1);
  await addHeld('empty', {}, 2);
  await pinRepo(db.sql, repo);

  expect(await db.sql`select rkey from triggers where due_at <= clock_timestamp()`).toEqual([{ rkey: 'mine' }]);
  expect((await notices.heard()).filter((notice) => notice.startsWith('inbox'))).toEqual(['inbox:3 triggers']);
});

test('each knot is wanted since the earliest choice on it', async () => {
  const [early, late] = [new Date('2026-01-01T00:00:00Z'), new Date('2026-02-01T00:00:00Z')];
  await pinRepo(db.sql, { ...repo, since: late });
  await pinRepo(db.sql, { ...repo, name: 'older', since: early });
  await pinRepo(db.sql, { knot: 'other.example:3000', did: 'did:plc:x', name: 'x', since: late });
  expect(await wantedKnots(db.sql)).toEqual([
    {
      knot: repo.knot,
      since: early,
      pinned: true,
      repos: [
        { did: repo.did, name: 'older', rkey: null, repoDid: null, chosenAt: early },
        { did: repo.did, name: 'demo', rkey: null, repoDid: null, chosenAt: late },
      ],
    },
    {
      knot: 'other.example:3000',
      since: late,
      pinned: true,
      repos: [{ did: 'did:plc:x', name: 'x', rkey: null, repoDid: null, chosenAt: late }],
    },
  ]);
});

test('a record makes its knot wanted, with all that an event may call the repo by', async () => {
  const chosenAt = new Date('2026-02-01T00:00:00Z');
  await addRecord(chosenAt, { repoDid: 'did:plc:repo' });
  const by = { did: repo.did, name: 'demo', rkey: 'rkey', repoDid: 'did:plc:repo', chosenAt };
  expect(await wantedKnots(db.sql)).toEqual([{ knot: repo.knot, since: chosenAt, pinned: false, repos: [by] }]);
  expect(await listRepos(db.sql)).toEqual([{ ...repo, source: 'record', chosenAt }]);
  await db.sql`update records set value = null`;
  expect(await wantedKnots(db.sql)).toEqual([]);
});

test('the cursor of a knot without repos is forgotten, and no other', async () => {
  await pinRepo(db.sql, repo);
  await db.sql`insert into cursors (source, position) values ('knot/knot.example', 1), ('knot/gone.example', 2),
    ('jetstream', 3)`;
  expect(await forgetUnwantedKnots(db.sql)).toEqual(['knot/gone.example']);
  await unpinRepo(db.sql, repo);
  expect(await forgetUnwantedKnots(db.sql)).toEqual(['knot/knot.example']);
  expect(await db.sql`select source from cursors`).toEqual([{ source: 'jetstream' }]);
});
