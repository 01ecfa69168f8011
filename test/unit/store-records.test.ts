import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { allDueSoon, askForListing, dueAccounts, interestingDids, listingFailed } from '../../src/store/accounts.ts';
import { placeCursor, readCursor, readTime } from '../../src/store/cursors.ts';
import { addSources, takeLeases } from '../../src/store/leases.ts';
import { type Listener, listen } from '../../src/store/listen.ts';
import {
  applyAccount,
  applyChange,
  applyPage,
  type Change,
  finishListing,
  type Held,
  type Page,
} from '../../src/store/records.ts';
import { beNobody, beSpindle, whichSpindle } from '../../src/store/spindle.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

const host = 'spindle.example';
const knot = 'knot.example';
const [owner, alice, stranger] = ['did:plc:owner', 'did:plc:alice', 'did:plc:stranger'];
const member = 'sh.tangled.spindle.member';
const repo = 'sh.tangled.repo';
const collaborator = 'sh.tangled.repo.collaborator';
const hour = 3_600_000;
/** the past hour, so that nothing lies in the future */
const base = Date.now() - hour;
const at = (seconds: number): Date => new Date(base + seconds * 1000);
const rev = (seconds: number): string => tidAt(base + seconds * 1000);

let db: FreshDatabase;
let listener: Listener;
let notices: string[] = [];
let stream: Held;
let lister: Held;

beforeAll(async () => {
  db = await freshDatabase();
  let listening = false;
  listener = listen(db.sql, ['repos', 'inbox', 'accounts', 'end'], (channel, payload) => {
    if (channel === undefined) listening = true;
    else notices.push(`${channel}:${payload}`);
  });
  await until('listening', () => listening);
});
afterAll(async () => {
  await listener.close();
  await db.drop();
});
beforeEach(async () => {
  await db.sql`truncate records, accounts, spindle, triggers, cursors, leases, repos`;
  await beSpindle(db.sql, { host, owner });
  await db.sql`update spindle set since = ${at(-hour)}`;
  stream = await lease('jetstream');
  lister = await lease('backfill');
  await heard();
});

async function lease(source: string): Promise<Held> {
  await addSources(db.sql, [source]);
  await db.sql`update leases set expires_at = '-infinity' where source = ${source}`;
  const [held] = await takeLeases(db.sql, 'me', [source], 1, 60_000);
  if (!held) throw new Error('no lease');
  return held;
}
/** What was notified up to now. */
async function heard(): Promise<string[]> {
  await db.sql`select pg_notify('end', '')`;
  await until('the end of the notices', () => notices.includes('end:'));
  const all = notices.filter((notice) => notice !== 'end:');
  notices = [];
  return all.toSorted();
}

const memberOf = (subject: string, instance = host) => ({ subject, instance });
const repoOn = (spindle: string | null, more: { knot?: string; name?: string; repoDid?: string } = {}) => ({
  knot,
  name: 'site',
  spindle,
  ...more,
});
const changed = (did: string, collection: string, n: number, value: Change['value'], rkey = 'one'): Change => ({
  did,
  collection,
  rkey,
  rev: rev(n),
  value,
  at: at(n),
});
const apply = (change: Change, position?: bigint) => applyChange(db.sql, stream, change, position);
const invite = (subject = alice, n = 1) => apply(changed(owner, member, n, memberOf(subject), subject));
const list = async (did: string, n: number, records: Page['records'], began = n) => {
  // it was due by then: the times here are not those of the database
  await db.sql`update accounts set due_at = ${at(began)} where did = ${did} and due_at <= clock_timestamp()`;
  await applyPage(db.sql, lister, { did, rev: rev(n), records });
  await finishListing(db.sql, lister, {
    did,
    rev: rev(n),
    collections: [member, repo, collaborator],
    began: at(began),
  });
};
const live = async () =>
  (await db.sql`select did, collection, rkey, value from records where value is not null order by 1, 2, 3`).map(
    (row) => ({ ...row }),
  );
const stored = async (did = alice) => {
  const rows = await db.sql<{ rkey: string; rev: string; value: unknown; since: string }[]>`
    select rkey, rev, value, since::text as since from records where did = ${did} order by rkey`;
  return rows.map((row) => ({ ...row }));
};
const since = async (did = alice): Promise<Date | number> => {
  const text = (await stored(did))[0]?.since ?? '';
  return text === '-infinity' ? Number.NEGATIVE_INFINITY : new Date(text);
};
const served = async () => {
  const rows = await db.sql`select knot, did, name, since from served order by 1, 2, 3`;
  return rows.map((row) => ({ ...row }));
};

describe('one account', () => {
  const rkeys = ['a', 'b', 'c'];
  /** Commits of a member, oldest first: what each record is, or that it is gone. */
  const history = fc.array(
    fc.record({ rkey: fc.constantFrom(...rkeys), value: fc.option(fc.constantFrom(host, 'other.example')) }),
    { minLength: 1, maxLength: 12 },
  );
  type Commit = { rkey: string; value: string | null };
  const stateAt = (commits: Commit[], end: number): Map<string, string> => {
    const state = new Map<string, string>();
    for (const { rkey, value } of commits.slice(0, end)) {
      if (value === null) state.delete(rkey);
      else state.set(rkey, value);
    }
    return state;
  };

  test('frames and listings in any order, late and twice, end in the same records', async () => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ kind: fc.constant('frame' as const), n: fc.nat(30) }),
        // a listing reads the rev first, then each record a little later; its pages are applied whenever
        fc.record({
          kind: fc.constant('list' as const),
          rev: fc.nat(30),
          later: fc.array(fc.nat(3), { minLength: 3, maxLength: 3 }),
        }),
      ),
      { maxLength: 20 },
    );
    await fc.assert(
      fc.asyncProperty(history, steps, async (commits, order) => {
        await db.sql`truncate records, accounts`;
        await invite();
        const frame = (n: number) => {
          const { rkey, value } = commits[n] ?? { rkey: 'a', value: null };
          return apply(changed(alice, repo, n + 10, value === null ? null : repoOn(value), rkey));
        };
        let from = 1;
        for (const step of order) {
          if (step.kind === 'frame') await frame(step.n % commits.length);
          else {
            // one listing at a time: a later one never reads an earlier rev
            const end = Math.max(from, 1 + (step.rev % commits.length));
            from = end;
            const shown = rkeys.flatMap((rkey, i) => {
              const value = stateAt(commits, end + (step.later[i] ?? 0)).get(rkey);
              return value === undefined ? [] : [{ collection: repo, rkey, value: repoOn(value) }];
            });
            await list(alice, end - 1 + 10, shown);
          }
        }
        for (let n = 0; n < commits.length; n++) await frame(n);
        const expected = [...stateAt(commits, commits.length)].toSorted(([a], [b]) => (a < b ? -1 : 1));
        const rows = await live();
        expect(
          rows.flatMap((row) => (row['did'] === alice ? [[row['rkey'], row['value'].spindle] as const] : [])),
        ).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  test('an older rev never wins, nor the same one again, whether a record is there or gone', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    expect(await apply(changed(alice, repo, 4, repoOn('other.example')))).toEqual({ mine: true, changed: false });
    expect(await apply(changed(alice, repo, 5, null))).toEqual({ mine: true, changed: false });
    expect(await stored()).toMatchObject([{ rev: rev(5), value: repoOn(host) }]);

    await apply(changed(alice, repo, 7, null));
    await apply(changed(alice, repo, 6, repoOn(host)));
    await applyPage(db.sql, lister, {
      did: alice,
      rev: rev(6),
      records: [{ collection: repo, rkey: 'one', value: repoOn(host) }],
    });
    expect(await stored()).toMatchObject([{ rev: rev(7), value: null }]);
  });

  test('a delete of a record that was never seen is kept, so that a listing from before it changes nothing', async () => {
    await invite();
    await apply(changed(alice, repo, 8, null));
    await list(alice, 7, [{ collection: repo, rkey: 'one', value: repoOn(host) }]);
    expect(await served()).toEqual([]);
  });

  test('what a complete listing did not show is gone, and nothing older brings it back', async () => {
    await invite();
    await apply(changed(alice, repo, 3, repoOn(host), 'one'));
    await apply(changed(alice, repo, 9, repoOn(host, { name: 'later' }), 'two'));
    await list(alice, 6, []);
    expect(await stored()).toMatchObject([
      { rkey: 'one', rev: rev(6), value: null },
      { rkey: 'two', rev: rev(9), value: repoOn(host, { name: 'later' }) },
    ]);
    await apply(changed(alice, repo, 5, repoOn(host), 'three'));
    expect(await stored()).toHaveLength(2);
  });

  test('a page may hold the same key twice, and nothing at all', async () => {
    await invite();
    await list(alice, 5, []);
    const twice = { collection: repo, rkey: 'one', value: repoOn(host) };
    await list(alice, 6, [twice, twice]);
    expect(await stored()).toMatchObject([{ rkey: 'one', rev: rev(6) }]);
  });
});

describe('what concerns this spindle', () => {
  test.each<[string, Change, boolean]>([
    ['a member record of the owner', changed(owner, member, 1, memberOf(alice)), true],
    [
      'a member record of the owner for another host',
      changed(owner, member, 1, memberOf(alice, 'other.example')),
      true,
    ],
    ['a member record of a member', changed(alice, member, 1, memberOf(alice)), false],
    ['a member record of a stranger', changed(stranger, member, 1, memberOf(stranger)), false],
    ['a repo of the owner', changed(owner, repo, 1, repoOn(null)), true],
    ['a repo of a member that names nobody', changed(alice, repo, 1, repoOn(null)), true],
    ['a repo of a stranger that names this host', changed(stranger, repo, 1, repoOn(host)), true],
    ['a repo of a stranger that names another host', changed(stranger, repo, 1, repoOn('other.example')), false],
    ['a deleted repo of a stranger', changed(stranger, repo, 1, null), false],
    ['a deleted repo of a member', changed(alice, repo, 1, null), true],
    ['a collaborator by a member', changed(alice, collaborator, 1, { subject: stranger, repo: 'did:plc:x' }), true],
    [
      'a collaborator by a stranger',
      changed(stranger, collaborator, 1, { subject: stranger, repo: 'did:plc:x' }),
      false,
    ],
  ])('%s', async (_, change, kept) => {
    await invite(alice, 0);
    expect((await apply({ ...change, rkey: 'this' })).changed).toBe(kept && change.value !== null);
    const rows = await db.sql`select from records where rkey = 'this'`;
    expect(rows).toHaveLength(kept ? 1 : 0);
    const listed = change.did === owner || change.did === alice || kept;
    await applyPage(db.sql, lister, {
      did: change.did,
      rev: rev(2),
      records: change.value ? [{ ...change, rkey: 'paged', value: change.value }] : [],
    });
    expect(await db.sql`select from records where rkey = 'paged'`).toHaveLength(kept && change.value && listed ? 1 : 0);
  });

  test('what has a row is followed wherever it goes, and the row stays', async () => {
    await apply(changed(stranger, repo, 1, repoOn(host)));
    await apply(changed(stranger, repo, 2, repoOn('other.example')));
    expect(await stored(stranger)).toMatchObject([{ rev: rev(2), value: repoOn('other.example') }]);
    await apply(changed(stranger, repo, 3, null));
    expect(await stored(stranger)).toMatchObject([{ rev: rev(3), value: null }]);
  });

  test('without a spindle nothing does', async () => {
    await db.sql`truncate spindle`;
    expect(await apply(changed(owner, repo, 1, repoOn(host)))).toEqual({ mine: true, changed: false });
    expect(await live()).toEqual([]);
  });
});

describe('since when', () => {
  test('a choice is of its commit, between a day before its frame and now', async () => {
    await invite();
    const choose = async (claimed: Date, frame: Date) => {
      await db.sql`delete from records where did = ${alice}`;
      await apply({ ...changed(alice, repo, 0, repoOn(host)), rev: tidAt(claimed.getTime()), at: frame });
      return since();
    };
    expect(await choose(at(5), at(9))).toEqual(at(5));
    expect(await choose(at(-100 * 24 * 3600), at(9))).toEqual(at(9 - 24 * 3600));
    expect(Number(await choose(new Date(Date.now() + hour), at(9)))).toBeLessThanOrEqual(Date.now() + 1000);
  });

  test('it stays while knot and spindle stay, whatever else is edited, and begins anew when they change', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    await apply(changed(alice, repo, 6, repoOn(host, { name: 'renamed', repoDid: 'did:plc:repo' })));
    expect(await since()).toEqual(at(5));
    await apply(changed(alice, repo, 7, repoOn(host, { knot: 'knot2.example' })));
    expect(await since()).toEqual(at(7));
    await apply(changed(alice, repo, 8, repoOn(null, { knot: 'knot2.example' })));
    await apply(changed(alice, repo, 9, repoOn(host, { knot: 'knot2.example' })));
    expect(await since()).toEqual(at(9));
    await apply(changed(alice, repo, 10, null));
    await apply(changed(alice, repo, 11, repoOn(host)));
    expect(await since()).toEqual(at(11));
  });

  test('what a listing shows counts since the complete listing before it, but not since before it was otherwise', async () => {
    await invite();
    const one = { collection: repo, rkey: 'one', value: repoOn(host) };
    await list(alice, 20, [one]);
    expect(await since()).toBe(Number.NEGATIVE_INFINITY);
    expect(await served()).toMatchObject([{ since: at(1) }]);
    await apply(changed(alice, repo, 21, repoOn(host)));
    expect(await since()).toBe(Number.NEGATIVE_INFINITY);

    await apply(changed(alice, repo, 30, repoOn(null)));
    await list(alice, 40, [one]);
    expect(await since()).toEqual(at(30));
    await list(alice, 50, [{ ...one, rkey: 'new' }]);
    expect((await stored()).find(({ rkey }) => rkey === 'new')?.since).toBeDefined();
    expect(new Date((await stored()).find(({ rkey }) => rkey === 'new')?.since ?? '')).toEqual(at(40));
  });

  test('a repo is served since the latest of its choice, its publisher becoming a member, and our first start', async () => {
    await apply(changed(alice, repo, 5, repoOn(host)));
    expect(await served()).toEqual([]);
    await invite(alice, 8);
    expect(await served()).toEqual([{ knot, did: alice, name: 'site', since: at(8) }]);
    await apply(changed(owner, member, 9, memberOf(alice), 'a second invitation'));
    await apply(changed(owner, member, 10, null, alice));
    expect(await served()).toMatchObject([{ since: at(9) }]);
    await db.sql`update spindle set since = ${at(100)}`;
    expect(await served()).toMatchObject([{ since: at(100) }]);
    await apply(changed(owner, member, 11, null, 'a second invitation'));
    expect(await served()).toEqual([]);
  });
});

describe('accounts', () => {
  test('a deleted account leaves no record, and none from before comes back; what it does later counts', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    const gone = { did: alice, active: false, status: 'deleted', at: at(10) };
    expect(await applyAccount(db.sql, stream, gone)).toEqual({ mine: true, changed: true });
    expect(await applyAccount(db.sql, stream, gone)).toEqual({ mine: true, changed: false });
    expect(await stored()).toEqual([]);
    await apply(changed(alice, repo, 6, repoOn(host)));
    await applyPage(db.sql, lister, {
      did: alice,
      rev: rev(9),
      records: [{ collection: repo, rkey: 'one', value: repoOn(host) }],
    });
    expect(await stored()).toEqual([]);

    await apply(changed(alice, repo, 11, repoOn(host)));
    expect(await served()).toEqual([]);
    await applyAccount(db.sql, stream, { did: alice, active: true, at: at(12) });
    // what it did before it came back does not count
    expect(await served()).toMatchObject([{ did: alice, since: at(12) }]);
    await applyAccount(db.sql, stream, gone);
    expect(await served()).toHaveLength(1);
  });

  test('a deactivated account keeps its records, and they wait', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    await applyAccount(db.sql, stream, { did: alice, active: false, status: 'deactivated', at: at(10) });
    expect(await served()).toEqual([]);
    expect(await applyAccount(db.sql, stream, { did: alice, active: true, at: at(9) })).toMatchObject({
      changed: false,
    });
    expect(await served()).toEqual([]);
    await applyAccount(db.sql, stream, { did: alice, active: true, at: at(11) });
    expect(await served()).toHaveLength(1);
  });

  test('a listing that worked shows that the account is there, unless the network said otherwise since it began', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    const one = [{ collection: repo, rkey: 'one', value: repoOn(host) }];
    await applyAccount(db.sql, lister, { did: alice, active: false, status: 'deactivated', at: at(10) });
    await list(alice, 20, one, 9);
    expect(await served()).toEqual([]);
    await heard();
    await list(alice, 21, one, 11);
    expect(await served()).toHaveLength(1);
    expect(await heard()).toContain(`repos:${alice}`);
    expect(await db.sql`select active, status from accounts where did = ${alice}`).toMatchObject([
      { active: true, status: null },
    ]);
  });

  test('an account that we have nothing to do with leaves no row', async () => {
    await applyAccount(db.sql, stream, { did: stranger, active: false, status: 'deleted', at: at(1) });
    expect((await interestingDids(db.sql)).toSorted()).toEqual([owner]);
    await invite();
    await apply(changed(stranger, repo, 2, repoOn(host)));
    expect((await interestingDids(db.sql)).toSorted()).toEqual([alice, owner, stranger]);
  });

  test('the owner and members are due, the owner first; strangers never are', async () => {
    await apply(changed(stranger, repo, 2, repoOn(host)));
    await invite();
    expect(await dueAccounts(db.sql, 10)).toEqual([
      { did: owner, owner: true, listedRev: null, tries: 0 },
      { did: alice, owner: false, listedRev: null, tries: 0 },
    ]);
    await list(owner, 5, [{ collection: member, rkey: alice, value: memberOf(alice) }]);
    await list(alice, 6, []);
    expect(await dueAccounts(db.sql, 10)).toEqual([]);
    const [row] = await db.sql`
      select (select due_at from accounts where did = ${owner}) - now() <= interval '5 minutes' as soon,
        (select due_at from accounts where did = ${alice}) - now() <= interval '6 hours' as round`;
    expect(row).toEqual({ soon: true, round: true });
    await allDueSoon(db.sql);
    expect(await dueAccounts(db.sql, 10)).toMatchObject([{ listedRev: rev(5) }, { listedRev: rev(6) }]);
  });

  test('an account is asked for at most once a minute, before the others, and only if it is a member', async () => {
    await invite();
    await invite('did:plc:bob', 2);
    await list(alice, 5, []);
    await heard();
    await askForListing(db.sql, alice);
    await askForListing(db.sql, stranger);
    expect(await heard()).toEqual([`accounts:${alice}`]);
    expect((await dueAccounts(db.sql, 10)).map(({ did }) => did)).toEqual([owner, alice, 'did:plc:bob']);
    await listingFailed(db.sql, lister, alice, 'its server is away', 60_000);
    await askForListing(db.sql, alice);
    expect(await heard()).toEqual([]);
    expect((await dueAccounts(db.sql, 10)).map(({ did }) => did)).toEqual([owner, 'did:plc:bob']);
    expect(await db.sql`select tries, problem from accounts where did = ${alice}`).toMatchObject([
      { tries: 1, problem: 'its server is away' },
    ]);
    await db.sql`update accounts set asked_at = asked_at - interval '1 minute'`;
    await askForListing(db.sql, alice);
    expect(await heard()).toEqual([`accounts:${alice}`]);
  });

  test('whoever becomes a member again is listed whole', async () => {
    await invite();
    await list(alice, 5, []);
    await apply(changed(owner, member, 6, null, alice));
    await apply(changed(alice, repo, 7, repoOn(null)));
    expect(await stored()).toEqual([]);
    await invite(alice, 8);
    expect(await dueAccounts(db.sql, 10)).toContainEqual({ did: alice, owner: false, listedRev: null, tries: 0 });
  });

  test('who becomes a member again while a listing is under way is listed once more, and whole', async () => {
    await invite();
    await list(alice, 5, []);
    const began = new Date(await readTime(db.sql));
    await apply(changed(owner, member, 6, null, alice));
    await invite(alice, 8);
    await finishListing(db.sql, lister, { did: alice, rev: rev(5), collections: [], began });
    const again = { did: alice, owner: false, listedRev: null, tries: 0 };
    expect(await dueAccounts(db.sql, 10)).toContainEqual(again);

    const next = new Date(Math.ceil(await readTime(db.sql)));
    await finishListing(db.sql, lister, { did: alice, rev: rev(5), collections: [repo], began: next });
    expect(await dueAccounts(db.sql, 10)).not.toContainEqual(expect.objectContaining({ did: alice }));
  });

  test('invitations that a listing shows again make nobody due', async () => {
    const page = [{ collection: member, rkey: alice, value: memberOf(alice) }];
    await list(owner, 5, page);
    await list(alice, 6, []);
    await heard();
    await list(owner, 7, page);
    expect(await dueAccounts(db.sql, 10)).toEqual([]);
    expect(await heard()).toEqual([]);
  });
});

describe('who is told', () => {
  const hold = (rkey: string, did: string, share = 1) => db.sql`
    insert into triggers (knot, nsid, rkey, share, body, state, due_at) values (${knot}, 'sh.tangled.pipeline', ${rkey}, ${share},
      ${JSON.stringify({ triggerMetadata: { repo: { did, repo: 'site' } } })}::text::jsonb, 'held', now() + interval '1 hour')`;
  const due = async () =>
    (await db.sql`select rkey from triggers where due_at <= now() order by 1`).map((row) => row['rkey'] as string);

  test('a record makes the held triggers of its account due, and wakes dispatch and the readers of knots', async () => {
    await invite();
    await hold('hers', alice, 2);
    await hold('his', stranger, 3);
    await heard();
    await apply(changed(alice, repo, 5, repoOn(host)));
    expect(await due()).toEqual(['hers']);
    expect(await heard()).toEqual(['inbox:2 triggers', `repos:${alice}`]);
    await apply(changed(alice, repo, 5, repoOn(host)));
    expect(await heard()).toEqual([]);
  });

  test('so do an invitation, a listing, and an account that comes back', async () => {
    await hold('hers', alice);
    await invite();
    expect(await due()).toEqual(['hers']);
    expect(await heard()).toEqual([`accounts:${alice}`, 'inbox:1 triggers', `repos:${alice}`]);

    const later = () => db.sql`update triggers set due_at = now() + interval '1 hour'`;
    await later();
    await list(alice, 5, [{ collection: repo, rkey: 'one', value: repoOn(host) }]);
    expect(await due()).toEqual(['hers']);
    await applyAccount(db.sql, stream, { did: alice, active: false, status: 'suspended', at: at(6) });
    await later();
    await heard();
    await applyAccount(db.sql, stream, { did: alice, active: true, at: at(7) });
    expect(await due()).toEqual(['hers']);
    expect(await heard()).toEqual([`accounts:${alice}`, 'inbox:1 triggers', `repos:${alice}`]);
  });

  test('a collaborator alters nothing that is served', async () => {
    await heard();
    await apply(changed(owner, collaborator, 1, { subject: alice, repo: 'did:plc:x' }));
    expect(await heard()).toEqual([]);
  });
});

describe('leases', () => {
  test('one that is lost changes nothing at all', async () => {
    await placeCursor(db.sql, { ...stream, position: 5n });
    await invite();
    await apply(changed(alice, repo, 2, repoOn(host)));
    const before = await dump();
    await heard();
    const [late, lateLister] = [stream, lister];
    stream = await lease('jetstream');
    lister = await lease('backfill');

    expect(await applyChange(db.sql, late, changed(alice, repo, 9, null), 9n)).toEqual({ mine: false, changed: false });
    const gone = { did: alice, active: false, status: 'deleted', at: at(9) };
    expect(await applyAccount(db.sql, late, gone, 9n)).toEqual({ mine: false, changed: false });
    const page = { did: alice, rev: rev(9), records: [{ collection: repo, rkey: 'two', value: repoOn(host) }] };
    expect(await applyPage(db.sql, lateLister, page)).toBe(false);
    const finish = { did: alice, rev: rev(9), collections: [repo], began: at(9) };
    expect(await finishListing(db.sql, lateLister, finish)).toBe(false);
    expect(await listingFailed(db.sql, lateLister, alice, 'late', 1)).toBe(false);
    expect(await dump()).toEqual(before);
    expect(await heard()).toEqual([]);
  });
  const dump = async () => [
    await db.sql`select * from records order by did, collection, rkey`,
    await db.sql`select * from accounts order by did`,
    await db.sql`select source, position from cursors`,
  ];

  test('the cursor moves with the change, also when the change itself is no news, and never back', async () => {
    await placeCursor(db.sql, { ...stream, position: 5n });
    await apply(changed(stranger, repo, 1, repoOn(null)), 7n);
    expect(await readCursor(db.sql, 'jetstream')).toMatchObject({ position: 7n });
    await apply(changed(owner, repo, 1, repoOn(null)), 6n);
    await applyAccount(db.sql, stream, { did: stranger, active: true, at: at(1) }, 9n);
    expect(await readCursor(db.sql, 'jetstream')).toMatchObject({ position: 9n });
    await apply(changed(owner, repo, 2, repoOn(null)));
    expect(await readCursor(db.sql, 'jetstream')).toMatchObject({ position: 9n });
  });

  test('one record and one listing at the same time, again and again, never break each other', async () => {
    await invite();
    await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const records = ['one', 'two', 'three'].map((rkey) => ({ collection: repo, rkey, value: repoOn(host) }));
        if (n % 2) await apply(changed(alice, repo, 10 + n, n % 4 === 1 ? null : repoOn(host), n % 3 ? 'one' : 'two'));
        else await applyPage(db.sql, lister, { did: alice, rev: rev(10 + n), records });
      }),
    );
    expect((await stored()).map((row) => [row.rkey, row.rev])).toEqual([
      ['one', rev(48)],
      ['three', rev(48)],
      ['two', rev(49)],
    ]);
  });
});

describe('who this spindle is', () => {
  test('a second process that says the same changes nothing; another host or owner begins anew', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    const before = await whichSpindle(db.sql);
    await list(alice, 6, [{ collection: repo, rkey: 'one', value: repoOn(host) }]);
    await heard();
    expect(await beSpindle(db.sql, { host, owner })).toBeUndefined();
    expect(await whichSpindle(db.sql)).toEqual(before);
    expect(await heard()).toEqual([]);

    await apply(changed(owner, member, 7, memberOf(alice, 'new.example'), 'for the new one'));
    expect(await beSpindle(db.sql, { host: 'new.example', owner })).toEqual({ host, owner });
    const now = await whichSpindle(db.sql);
    expect(now).toMatchObject({ host: 'new.example', owner });
    expect(Number(now?.since)).toBeGreaterThan(Date.now() - 60_000);
    expect(await served()).toEqual([]);
    expect(await dueAccounts(db.sql, 10)).toEqual([
      { did: owner, owner: true, listedRev: null, tries: 0 },
      { did: alice, owner: false, listedRev: null, tries: 0 },
    ]);
    expect(await beSpindle(db.sql, { host: 'new.example', owner: alice })).toEqual({ host: 'new.example', owner });
    expect(await dueAccounts(db.sql, 10)).toMatchObject([{ did: alice, owner: true }]);
  });

  test('without a network nobody’s records count, and what is pinned stays; later it begins anew', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    await db.sql`insert into repos (knot, did, name, source, chosen_at) values (${knot}, 'did:plc:x', 'pinned', 'pin', ${at(0)})`;
    expect(await served()).toHaveLength(2);
    await heard();
    expect(await beNobody(db.sql)).toEqual({ host, owner });
    expect(await heard()).toEqual([`repos:${host}`]);
    expect(await beNobody(db.sql)).toBeUndefined();
    expect(await served()).toEqual([{ knot, did: 'did:plc:x', name: 'pinned', since: at(0) }]);

    expect(await beSpindle(db.sql, { host, owner })).toBeUndefined();
    const [again] = await db.sql<{ since: Date }[]>`select since from served where source = 'record'`;
    expect(Number(again?.since)).toBeGreaterThan(Number(at(5)));
    expect(await dueAccounts(db.sql, 10)).toMatchObject([{ did: owner }, { did: alice, listedRev: null }]);
  });
});
