import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { applyPage, type Change } from '../../src/store/records.ts';
import {
  alice,
  at,
  changed,
  collaborator,
  host,
  hour,
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
const { apply, invite, list, live, served, since, stored } = book;

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
        await book.sql`truncate records, accounts`;
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
    await applyPage(book.sql, book.lister, {
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
    const rows = await book.sql`select from records where rkey = 'this'`;
    expect(rows).toHaveLength(kept ? 1 : 0);
    const listed = change.did === owner || change.did === alice || kept;
    await applyPage(book.sql, book.lister, {
      did: change.did,
      rev: rev(2),
      records: change.value ? [{ ...change, rkey: 'paged', value: change.value }] : [],
    });
    expect(await book.sql`select from records where rkey = 'paged'`).toHaveLength(
      kept && change.value && listed ? 1 : 0,
    );
  });

  test('what has a row is followed wherever it goes, and the row stays', async () => {
    await apply(changed(stranger, repo, 1, repoOn(host)));
    await apply(changed(stranger, repo, 2, repoOn('other.example')));
    expect(await stored(stranger)).toMatchObject([{ rev: rev(2), value: repoOn('other.example') }]);
    await apply(changed(stranger, repo, 3, null));
    expect(await stored(stranger)).toMatchObject([{ rev: rev(3), value: null }]);
  });

  test('without a spindle nothing does', async () => {
    await book.sql`truncate spindle`;
    expect(await apply(changed(owner, repo, 1, repoOn(host)))).toEqual({ mine: true, changed: false });
    expect(await live()).toEqual([]);
  });
});

describe('since when', () => {
  test('a choice is of its commit, between a day before its frame and now', async () => {
    await invite();
    const choose = async (claimed: Date, frame: Date) => {
      await book.sql`delete from records where did = ${alice}`;
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
    await book.sql`update spindle set since = ${at(100)}`;
    expect(await served()).toMatchObject([{ since: at(100) }]);
    await apply(changed(owner, member, 11, null, 'a second invitation'));
    expect(await served()).toEqual([]);
  });
});
