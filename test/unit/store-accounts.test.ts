import { describe, expect, test } from 'vitest';
import { allDueSoon, askForListing, dueAccounts, interestingDids, listingFailed } from '../../src/store/accounts.ts';
import { placeCursor, readCursor } from '../../src/store/cursors.ts';
import { applyAccount, applyChange, applyPage, finishListing } from '../../src/store/records.ts';
import { beNobody, beSpindle, whichSpindle } from '../../src/store/spindle.ts';
import {
  alice,
  at,
  changed,
  collaborator,
  host,
  knot,
  member,
  memberOf,
  owner,
  recordBook,
  repo,
  repoOn,
  rev,
  stranger,
} from '../support/record-book.ts';

const book = recordBook();
const { apply, heard, invite, lease, list, served, stored } = book;

describe('accounts', () => {
  test('a deleted account leaves no record, and none from before comes back; what it does later counts', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    const gone = { did: alice, active: false, status: 'deleted', at: at(10) };
    expect(await applyAccount(book.sql, book.stream, gone)).toEqual({ mine: true, changed: true });
    expect(await applyAccount(book.sql, book.stream, gone)).toEqual({ mine: true, changed: false });
    expect(await stored()).toEqual([]);
    await apply(changed(alice, repo, 6, repoOn(host)));
    await applyPage(book.sql, book.lister, {
      did: alice,
      rev: rev(9),
      records: [{ collection: repo, rkey: 'one', value: repoOn(host) }],
    });
    expect(await stored()).toEqual([]);

    await apply(changed(alice, repo, 11, repoOn(host)));
    expect(await served()).toEqual([]);
    await applyAccount(book.sql, book.stream, { did: alice, active: true, at: at(12) });
    // what it did before it came back does not count
    expect(await served()).toMatchObject([{ did: alice, since: at(12) }]);
    await applyAccount(book.sql, book.stream, gone);
    expect(await served()).toHaveLength(1);
  });

  test('a deactivated account keeps its records, and they wait', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    await applyAccount(book.sql, book.stream, { did: alice, active: false, status: 'deactivated', at: at(10) });
    expect(await served()).toEqual([]);
    expect(await applyAccount(book.sql, book.stream, { did: alice, active: true, at: at(9) })).toMatchObject({
      changed: false,
    });
    expect(await served()).toEqual([]);
    await applyAccount(book.sql, book.stream, { did: alice, active: true, at: at(11) });
    expect(await served()).toHaveLength(1);
  });

  test('a listing that worked shows that the account is there, unless the network said otherwise since it began', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    const one = [{ collection: repo, rkey: 'one', value: repoOn(host) }];
    await applyAccount(book.sql, book.lister, { did: alice, active: false, status: 'deactivated', at: at(10) });
    await list(alice, 20, one, 9);
    expect(await served()).toEqual([]);
    await heard();
    await list(alice, 21, one, 11);
    expect(await served()).toHaveLength(1);
    expect(await heard()).toContain(`repos:${alice}`);
    expect(await book.sql`select active, status from accounts where did = ${alice}`).toMatchObject([
      { active: true, status: null },
    ]);
  });

  test('an account that we have nothing to do with leaves no row', async () => {
    await applyAccount(book.sql, book.stream, { did: stranger, active: false, status: 'deleted', at: at(1) });
    expect((await interestingDids(book.sql)).toSorted()).toEqual([owner]);
    await invite();
    await apply(changed(stranger, repo, 2, repoOn(host)));
    expect((await interestingDids(book.sql)).toSorted()).toEqual([alice, owner, stranger]);
  });

  test('the owner and members are due, the owner first; strangers never are', async () => {
    await apply(changed(stranger, repo, 2, repoOn(host)));
    await invite();
    expect(await dueAccounts(book.sql, 10)).toMatchObject([
      { did: owner, owner: true, listedRev: null, tries: 0 },
      { did: alice, owner: false, listedRev: null, tries: 0 },
    ]);
    await list(owner, 5, [{ collection: member, rkey: alice, value: memberOf(alice) }]);
    await list(alice, 6, []);
    expect(await dueAccounts(book.sql, 10)).toEqual([]);
    const [row] = await book.sql`
      select (select due_at from accounts where did = ${owner}) - now() <= interval '5 minutes' as soon,
        (select due_at from accounts where did = ${alice}) - now() <= interval '6 hours' as round`;
    expect(row).toEqual({ soon: true, round: true });
    await allDueSoon(book.sql);
    expect(await dueAccounts(book.sql, 10)).toMatchObject([{ listedRev: rev(5) }, { listedRev: rev(6) }]);
  });

  test('an account is asked for at most once a minute, before the others, and only if it is a member', async () => {
    await invite();
    await invite('did:plc:bob', 2);
    await list(alice, 5, []);
    await heard();
    await askForListing(book.sql, alice);
    await askForListing(book.sql, stranger);
    expect(await heard()).toEqual([`accounts:${alice}`]);
    expect((await dueAccounts(book.sql, 10)).map(({ did }) => did)).toEqual([owner, alice, 'did:plc:bob']);
    await listingFailed(book.sql, book.lister, alice, 'its server is away', 60_000);
    await askForListing(book.sql, alice);
    expect(await heard()).toEqual([]);
    expect((await dueAccounts(book.sql, 10)).map(({ did }) => did)).toEqual([owner, 'did:plc:bob']);
    expect(await book.sql`select tries, problem from accounts where did = ${alice}`).toMatchObject([
      { tries: 1, problem: 'its server is away' },
    ]);
    await book.sql`update accounts set asked_at = asked_at - interval '1 minute'`;
    await askForListing(book.sql, alice);
    expect(await heard()).toEqual([`accounts:${alice}`]);
  });

  test('whoever becomes a member again is listed whole', async () => {
    await invite();
    await list(alice, 5, []);
    await apply(changed(owner, member, 6, null, alice));
    await apply(changed(alice, repo, 7, repoOn(null)));
    expect(await stored()).toEqual([]);
    await invite(alice, 8);
    expect(await dueAccounts(book.sql, 10)).toContainEqual(
      expect.objectContaining({ did: alice, owner: false, listedRev: null, tries: 0 }),
    );
  });

  test('who becomes a member again while a listing is under way is listed once more, and whole', async () => {
    await invite();
    await list(alice, 5, []);
    await allDueSoon(book.sql);
    const taken = async () => (await dueAccounts(book.sql, 10)).find(({ did }) => did === alice);
    const first = await taken();
    await apply(changed(owner, member, 6, null, alice));
    await invite(alice, 8);
    const listing = { did: alice, rev: rev(5), collections: [repo], began: new Date() };
    await finishListing(book.sql, book.lister, { ...listing, version: first?.version ?? '' });
    const second = await taken();
    expect([first, second]).toMatchObject([{ listedRev: rev(5) }, { listedRev: null }]);

    await finishListing(book.sql, book.lister, { ...listing, version: second?.version ?? '' });
    expect(await taken()).toBeUndefined();
  });

  test('invitations that a listing shows again make nobody due', async () => {
    const page = [{ collection: member, rkey: alice, value: memberOf(alice) }];
    await list(owner, 5, page);
    await list(alice, 6, []);
    await heard();
    await list(owner, 7, page);
    expect(await dueAccounts(book.sql, 10)).toEqual([]);
    expect(await heard()).toEqual([]);
  });
});

describe('who is told', () => {
  const hold = (rkey: string, did: string, share = 1) => book.sql`
    insert into triggers (knot, nsid, rkey, share, body, state, due_at) values (${knot}, 'sh.tangled.pipeline', ${rkey}, ${share},
      ${JSON.stringify({ triggerMetadata: { repo: { did, repo: 'site' } } })}::text::jsonb, 'held', now() + interval '1 hour')`;
  const due = async () =>
    (await book.sql`select rkey from triggers where due_at <= now() order by 1`).map((row) => row['rkey'] as string);

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

    const later = () => book.sql`update triggers set due_at = now() + interval '1 hour'`;
    await later();
    await list(alice, 5, [{ collection: repo, rkey: 'one', value: repoOn(host) }]);
    expect(await due()).toEqual(['hers']);
    await applyAccount(book.sql, book.stream, { did: alice, active: false, status: 'suspended', at: at(6) });
    await later();
    await heard();
    await applyAccount(book.sql, book.stream, { did: alice, active: true, at: at(7) });
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
    await placeCursor(book.sql, { ...book.stream, position: 5n });
    await invite();
    await apply(changed(alice, repo, 2, repoOn(host)));
    const before = await dump();
    await heard();
    const [late, lateLister] = [book.stream, book.lister];
    await lease('jetstream');
    await lease('backfill');

    expect(await applyChange(book.sql, late, changed(alice, repo, 9, null), 9n)).toEqual({
      mine: false,
      changed: false,
    });
    const gone = { did: alice, active: false, status: 'deleted', at: at(9) };
    expect(await applyAccount(book.sql, late, gone, 9n)).toEqual({ mine: false, changed: false });
    const page = { did: alice, rev: rev(9), records: [{ collection: repo, rkey: 'two', value: repoOn(host) }] };
    expect(await applyPage(book.sql, lateLister, page)).toBe(false);
    const finish = { did: alice, version: '', rev: rev(9), collections: [repo], began: at(9) };
    expect(await finishListing(book.sql, lateLister, finish)).toBe(false);
    expect(await listingFailed(book.sql, lateLister, alice, 'late', 1)).toBe(false);
    expect(await dump()).toEqual(before);
    expect(await heard()).toEqual([]);
  });
  const dump = async () => [
    await book.sql`select * from records order by did, collection, rkey`,
    await book.sql`select * from accounts order by did`,
    await book.sql`select source, position from cursors`,
  ];

  test('the cursor moves with the change, also when the change itself is no news, and never back', async () => {
    await placeCursor(book.sql, { ...book.stream, position: 5n });
    await apply(changed(stranger, repo, 1, repoOn(null)), 7n);
    expect(await readCursor(book.sql, 'jetstream')).toMatchObject({ position: 7n });
    await apply(changed(owner, repo, 1, repoOn(null)), 6n);
    await applyAccount(book.sql, book.stream, { did: stranger, active: true, at: at(1) }, 9n);
    expect(await readCursor(book.sql, 'jetstream')).toMatchObject({ position: 9n });
    await apply(changed(owner, repo, 2, repoOn(null)));
    expect(await readCursor(book.sql, 'jetstream')).toMatchObject({ position: 9n });
  });

  test('one record and one listing at the same time, again and again, never break each other', async () => {
    await invite();
    await Promise.all(
      Array.from({ length: 40 }, async (_, n) => {
        const records = ['one', 'two', 'three'].map((rkey) => ({ collection: repo, rkey, value: repoOn(host) }));
        if (n % 2) await apply(changed(alice, repo, 10 + n, n % 4 === 1 ? null : repoOn(host), n % 3 ? 'one' : 'two'));
        else await applyPage(book.sql, book.lister, { did: alice, rev: rev(10 + n), records });
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
    const before = await whichSpindle(book.sql);
    await list(alice, 6, [{ collection: repo, rkey: 'one', value: repoOn(host) }]);
    await heard();
    expect(await beSpindle(book.sql, { host, owner })).toBeUndefined();
    expect(await whichSpindle(book.sql)).toEqual(before);
    expect(await heard()).toEqual([]);

    await apply(changed(owner, member, 7, memberOf(alice, 'new.example'), 'for the new one'));
    expect(await beSpindle(book.sql, { host: 'new.example', owner })).toEqual({ host, owner });
    const now = await whichSpindle(book.sql);
    expect(now).toMatchObject({ host: 'new.example', owner });
    expect(Number(now?.since)).toBeGreaterThan(Date.now() - 60_000);
    expect(await served()).toEqual([]);
    expect(await dueAccounts(book.sql, 10)).toMatchObject([
      { did: owner, owner: true, listedRev: null, tries: 0 },
      { did: alice, owner: false, listedRev: null, tries: 0 },
    ]);
    expect(await beSpindle(book.sql, { host: 'new.example', owner: alice })).toEqual({ host: 'new.example', owner });
    expect(await dueAccounts(book.sql, 10)).toMatchObject([{ did: alice, owner: true }]);
  });

  test('without a network nobody’s records count, and what is pinned stays; later it begins anew', async () => {
    await invite();
    await apply(changed(alice, repo, 5, repoOn(host)));
    await book.sql`insert into repos (knot, did, name, source, chosen_at) values (${knot}, 'did:plc:x', 'pinned', 'pin', ${at(0)})`;
    expect(await served()).toHaveLength(2);
    await heard();
    expect(await beNobody(book.sql)).toEqual({ host, owner });
    expect(await heard()).toEqual([`repos:${host}`]);
    expect(await beNobody(book.sql)).toBeUndefined();
    expect(await served()).toEqual([{ knot, did: 'did:plc:x', name: 'pinned', since: at(0) }]);

    expect(await beSpindle(book.sql, { host, owner })).toBeUndefined();
    const [again] = await book.sql<{ since: Date }[]>`select since from served where source = 'record'`;
    expect(Number(again?.since)).toBeGreaterThan(Number(at(5)));
    expect(await dueAccounts(book.sql, 10)).toMatchObject([{ did: owner }, { did: alice, listedRev: null }]);
  });
});
