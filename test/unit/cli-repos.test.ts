import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { listingFailed } from '../../src/store/accounts.ts';
import { addSources, takeLeases } from '../../src/store/leases.ts';
import { applyAccount, applyChange, type Change, finishListing, type Held } from '../../src/store/records.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { commandLine } from '../support/cli.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { versionOf } from '../support/record-book.ts';

const host = 'spindle.example';
const knot = 'knot.example';
const owner = 'did:web:owner.example';
const alice = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz';
const member = 'sh.tangled.spindle.member';
const repo = 'sh.tangled.repo';
const base = Date.parse('2026-05-01T12:00:00Z');
const at = (seconds: number): Date => new Date(base + seconds * 1000);

let db: FreshDatabase;
let held: Held;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());
beforeEach(async () => {
  await db.sql`truncate records, accounts, spindle, triggers, leases, repos`;
  await addSources(db.sql, ['jetstream']);
  const [taken] = await takeLeases(db.sql, 'me', ['jetstream'], 1, 60_000);
  if (!taken) throw new Error('no lease');
  held = taken;
});

const whorl = commandLine(() => db.url);
const why = (name = 'site', on = knot) => whorl(`repos why ${on} ${alice}/${name}`);

const be = async (): Promise<void> => {
  await beSpindle(db.sql, { host, owner });
  await db.sql`update spindle set since = '2026-01-01'`;
};
const change = (did: string, collection: string, n: number, value: Change['value'], rkey = 'key') =>
  applyChange(db.sql, held, { did, collection, rkey, rev: tidAt(base + n * 1000), value, at: at(n) });
const invite = (n = 1) => change(owner, member, n, { subject: alice, instance: host });
const choose = (n = 2, more: object = {}) => change(alice, repo, n, { knot, name: 'site', spindle: host, ...more });
const hold = (rkey: string, state: 'held' | 'refused', reason: string) => db.sql`
  insert into triggers (knot, nsid, rkey, share, state, reason, repo, received_at, hold_until) values
    (${knot}, 'sh.tangled.pipeline', ${rkey}, 1, ${state}, ${reason}, ${`${alice}/site`}, '2026-05-02T12:00:00Z',
      '2026-05-02T12:15:00Z')`;

test('a repository that a member chose is served, and it says since when and why; and so it is by its other names', async () => {
  await be();
  await invite();
  await choose(2, { repoDid: 'did:plc:repo' });
  const answer = await why();
  expect(answer).toMatchObject({ code: 0, err: '' });
  expect(answer.out.split('\n').slice(0, 3)).toEqual([
    `${alice}/site on ${knot} is served; what happened since 2026-05-01 12:00:02Z counts.`,
    'Its record key names this spindle, and its publisher is a member.',
    `${alice} is a member of this spindle.`,
  ]);
  expect(answer.out).toMatch(/Its records were never read at its own server; next at 20\d\d-/);
  expect((await why('key')).code).toBe(0);
  expect((await why('did:plc:repo')).code).toBe(0);
  expect((await why('Site')).code).toBe(1);
});

test('a pin needs nothing else', async () => {
  await pinRepo(db.sql, { knot, did: alice, name: 'site', since: at(0) });
  const { code, out } = await why();
  expect(code).toBe(0);
  expect(out).toContain('counts.\nIt is pinned by hand.');
  expect(out).toContain('neither the owner nor a member');
});

test('what is missing is said in words, with what to do', async () => {
  const no = async (name?: string, on?: string): Promise<string> => {
    const { code, out, err } = await why(name, on);
    expect(code).toBe(1);
    expect(err).toMatch(/^whorl: [^\n]+ is not served: [^\n]+\.$/);
    return `${err}\n${out}`;
  };
  expect(await no()).toMatch(/it reads no records yet\.\nStart its ingest role/);
  await be();
  expect(await no()).toMatch(/there is no record of it, and \S+ is not a member\.\nThe owner of the spindle must make/);
  await choose();
  expect(await no()).toMatch(/names this spindle, but \S+ is not a member of it\./);
  await invite();
  await choose(3, { spindle: 'other.example' });
  expect(await no()).toContain(`names the spindle other.example, and not ${host}.\nChoose ${host} as its spindle`);
  await choose(4, { spindle: null });
  expect(await no()).toContain('names no spindle.');
  await choose(5, { name: 'renamed' });
  expect(await no()).toContain(`has no record of it; on that knot there are renamed.\nIf it was renamed`);
  await choose(6, { knot: 'knot2.example' });
  expect(await no()).toContain('says that it is on the knot knot2.example, and not on knot.example.');
  expect((await why('site', 'knot2.example')).code).toBe(0);
  await applyAccount(db.sql, held, { did: alice, active: false, status: 'suspended', at: at(7) });
  expect(await no('site', 'knot2.example')).toMatch(
    /is suspended, so its records do not count\.\n[^]*The account is suspended\./,
  );
});

test('it shows how the last listing went, and the events that were held or refused', async () => {
  await be();
  await invite();
  const version = await versionOf(db.sql, alice);
  await finishListing(db.sql, held, { did: alice, version, rev: tidAt(base), collections: [repo], began: at(10) });
  await listingFailed(db.sql, held, alice, 'https://pds.example answered 502\u001b[2J', 60_000);
  await hold('one', 'refused', 'its record names no spindle');
  await hold('two', 'held', 'there is no record of it');
  const { out } = await why();
  expect(out).toContain('were last read at its own server at 2026-05-01 12:00:10Z; next at');
  expect(out).toContain('has failed once since: https://pds.example answered 502\ufffd[2J');
  expect(out.split('\n').slice(-3)).toEqual([
    expect.stringMatching(/^RECEIVED +EVENT +STATE +WHY$/),
    expect.stringMatching(/^2026-05-02 12:00:00Z +two +held until 2026-05-02 12:15:00Z +there is no record of it$/),
    expect.stringMatching(/^2026-05-02 12:00:00Z +one +refused +its record names no spindle$/),
  ]);
});

test('as JSON it is for scripts', async () => {
  await be();
  await invite();
  await hold('one', 'held', 'late');
  const no = await whorl(`repos why ${knot} ${alice}/site --json`);
  expect(no.code).toBe(1);
  expect(JSON.parse(no.out)).toMatchObject({
    served: false,
    since: null,
    reason: expect.stringContaining('has no record of it') as string,
    advice: expect.any(String) as string,
    publisher: 'member',
    spindle: host,
    records: [],
    account: { active: true, listedAt: null },
    triggers: [{ rkey: 'one', state: 'held', reason: 'late' }],
  });
  await choose(8);
  const yes = await whorl(`repos why ${knot} ${alice}/site --json`);
  expect(yes).toMatchObject({ code: 0, err: '' });
  expect(JSON.parse(yes.out)).toMatchObject({
    served: true,
    since: at(8).toISOString(),
    advice: null,
    records: [{ rkey: 'key', name: 'site', knot, spindle: host, since: at(8).toISOString() }],
  });
});

test('a list shows where each repository comes from, and a pin that goes leaves the record', async () => {
  await be();
  await invite();
  await choose();
  await whorl(`repos pin ${knot} ${alice}/site --since 2026-05-01`);
  const { out } = await whorl('repos list');
  expect(out).toMatch(/site +pin +2026-05-01 00:00:00Z$/m);
  expect(out).toMatch(/site +record +2026-05-01 12:00:02Z$/m);
  expect((await whorl(`repos unpin ${knot} ${alice}/site`)).out).toContain('still served');
  await change(alice, repo, 9, null);
  expect((await whorl('repos list')).out).toContain('No repository is served yet');
});
