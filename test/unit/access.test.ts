import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { type AskedRepo, type Facts, judge, type RepoFact } from '../../src/pipeline/access.ts';
import { factsOf } from '../../src/store/access.ts';
import { collaboratorsOf } from '../../src/store/collaborators.ts';
import { addSources, takeLeases } from '../../src/store/leases.ts';
import { applyAccount, applyChange, type Change, type Held } from '../../src/store/records.ts';
import { pinRepo, wantedKnots } from '../../src/store/repos.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { openTriggers } from '../../src/store/work.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';

const host = 'spindle.example';
const knot = 'knot.example';
const did = 'did:plc:alice';
const asked: AskedRepo = { knot, did, name: 'site' };
const record: RepoFact = { rkey: 'key', name: 'site', knot, spindle: host, repoDid: null, since: 1000 };
const member: Facts = { host, pinned: null, publisher: 'member', inactive: null, records: [record] };
const stranger: Facts = { ...member, publisher: null };
const none: Facts = { ...member, records: [] };

describe('a repository is served', () => {
  test.each<[string, Partial<AskedRepo>, Facts, number]>([
    ['that a member chose', {}, member, 1000],
    ['that the owner chose', {}, { ...member, publisher: 'owner' }, 1000],
    ['that is pinned', {}, { ...none, pinned: 5, publisher: null }, 5],
    [
      'that is pinned, though nobody knows who the spindle is',
      {},
      { ...none, pinned: 5, publisher: null, host: null },
      5,
    ],
    ['that is pinned and chosen, since the earlier of both', {}, { ...member, pinned: 2000 }, 1000],
    ['that is chosen and pinned, since the earlier of both', {}, { ...member, pinned: 500 }, 500],
    [
      'that is pinned, whatever its record says',
      {},
      { ...member, pinned: 5, records: [{ ...record, spindle: null }] },
      5,
    ],
    ['by the key of its record', { name: 'key' }, member, 1000],
    [
      'by its own DID, under any name',
      { name: 'old', repoDid: 'did:r' },
      { ...member, records: [{ ...record, repoDid: 'did:r' }] },
      1000,
    ],
    [
      'by its own DID, without any name',
      { name: '', repoDid: 'did:r' },
      { ...member, records: [{ ...record, repoDid: 'did:r' }] },
      1000,
    ],
    ['by its name, when its record has no DID yet', { repoDid: 'did:r' }, member, 1000],
    ['on a knot that writes itself with capitals', { knot: 'Knot.Example' }, member, 1000],
    [
      'of which another record says something else',
      {},
      { ...member, records: [{ ...record, rkey: 'b', knot: 'k2' }, record] },
      1000,
    ],
    [
      'since the first of two records that choose it',
      {},
      { ...member, records: [record, { ...record, rkey: 'b', since: 700 }] },
      700,
    ],
  ])('%s', (_, more, facts, since) => {
    expect(judge({ ...asked, ...more }, facts)).toMatchObject({ served: true, since });
  });
});

describe('a repository is not served', () => {
  test.each<[string, Partial<AskedRepo>, Facts, RegExp, boolean]>([
    ['of which nothing is known', {}, none, /not known to this spindle: did:plc:alice has no record of it\.$/, true],
    [
      'of a stranger who has no record',
      {},
      { ...none, publisher: null },
      /no record of it, and did:plc:alice is not a member/,
      false,
    ],
    [
      'before the spindle knows who it is',
      {},
      { ...none, host: null, publisher: null },
      /it reads no records yet/,
      false,
    ],
    [
      'whose record names no spindle',
      {},
      { ...member, records: [{ ...record, spindle: null }] },
      /names no spindle/,
      true,
    ],
    [
      'whose record names another spindle',
      {},
      { ...member, records: [{ ...record, spindle: 'other' }] },
      /names the spindle other, and not spindle\.example/,
      true,
    ],
    [
      'that moved to another knot',
      {},
      { ...member, records: [{ ...record, knot: 'k2' }] },
      /says that it is on the knot k2, and not on knot\.example/,
      true,
    ],
    ['whose publisher is a stranger', {}, stranger, /names this spindle, but did:plc:alice is not a member/, false],
    [
      'whose publisher is deactivated',
      {},
      { ...member, inactive: 'deactivated' },
      /is deactivated, so its records do not count/,
      true,
    ],
    [
      'of a deactivated account without records',
      {},
      { ...none, inactive: 'deleted' },
      /the account of did:plc:alice is deleted/,
      true,
    ],
    [
      'under its old name',
      { name: 'old' },
      { ...none, others: ['site', 'blog'] },
      /on that knot there are site, blog/,
      true,
    ],
    [
      'whose name another one has taken over',
      { repoDid: 'did:r' },
      { ...member, records: [{ ...record, repoDid: 'did:new' }] },
      /is of the repository did:new, and not of did:r/,
      true,
    ],
    [
      'that another record has the same key as its name',
      {},
      {
        ...member,
        records: [
          { ...record, spindle: null },
          { ...record, rkey: 'site', name: 'x' },
        ],
      },
      /names no spindle/,
      true,
    ],
    [
      'whose own DID says otherwise than its name',
      { repoDid: 'did:r' },
      { ...member, records: [record, { ...record, rkey: 'b', name: 'moved', repoDid: 'did:r', spindle: 'other' }] },
      /\(it is called moved now\) names the spindle other/,
      true,
    ],
    [
      'that has no name and an unknown DID',
      { name: '', repoDid: 'did:r' },
      { ...member, records: [] },
      /did:plc:alice\/did:r on knot\.example is not known/,
      true,
    ],
  ])('%s', (_, more, facts, reason, mayAsk) => {
    const verdict = judge({ ...asked, ...more }, facts);
    expect(verdict).toMatchObject({ served: false, reason: expect.stringMatching(reason) as string, mayAsk });
    expect(verdict.served || verdict.advice).toMatch(/\.$/);
  });

  test('and of several reasons it says the last that is left', () => {
    const records = [
      { ...record, spindle: 'other' },
      { ...record, rkey: 'b', knot: 'k2' },
    ];
    expect(judge(asked, { ...member, records })).toMatchObject({ reason: expect.stringContaining('k2') as string });
  });
});

describe('in the database', () => {
  const owner = 'did:plc:owner';
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
    await beSpindle(db.sql, { host, owner });
    await db.sql`update spindle set since = ${at(-1000)}`;
  });
  const write = (author: string, collection: string, n: number, value: Change['value'], rkey = 'key') =>
    applyChange(db.sql, held, { did: author, collection, rkey, rev: tidAt(base + n * 1000), value, at: at(n) });
  const invite = (n: number, subject = did, instance = host) =>
    write(owner, 'sh.tangled.spindle.member', n, { subject, instance }, `${subject}${n}`);
  const publish = (n: number, more: object = {}, rkey = 'key', author = did) =>
    write(author, 'sh.tangled.repo', n, { knot, name: 'site', spindle: host, ...more }, rkey);

  /** What the facts say, by both ways of asking for them, and what the readers of knots are told. */
  async function ask(more: Partial<AskedRepo> = {}) {
    const question = { ...asked, ...more };
    const facts = await factsOf(db.sql, question);
    const { name, repoDid } = question;
    const body = { triggerMetadata: { repo: { did: question.did, repo: name, ...(repoDid && { repoDid }) } } };
    await db.sql`truncate triggers`;
    await db.sql`insert into triggers (knot, nsid, rkey, share, body) values (${question.knot}, 'n', 'r', 1, ${JSON.stringify(body)}::text::jsonb)`;
    const [row] = await openTriggers(db.sql, 1, 10);
    const { others: _, ...bare } = facts;
    expect(row?.facts).toEqual(bare);
    const verdict = judge(question, facts);
    const wanted = await wantedKnots(db.sql);
    return { facts, verdict, wanted };
  }

  test('what the view serves and what is judged agree, whatever the records say', async () => {
    const steps: [string, () => Promise<unknown>, Date | undefined][] = [
      ['nothing', async () => {}, undefined],
      ['a choice of a stranger', () => publish(1), undefined],
      ['an invitation to another spindle', () => invite(2, did, 'other.example'), undefined],
      ['an invitation', () => invite(3), at(3)],
      ['another invitation', () => invite(4), at(3)],
      ['a new description', () => publish(5, { repoDid: 'did:plc:r' }), at(3)],
      ['another spindle', () => publish(6, { spindle: 'other.example' }), undefined],
      ['this one again', () => publish(7), at(7)],
      ['another knot', () => publish(8, { knot: 'knot2.example' }), undefined],
      ['back', () => publish(9), at(9)],
      [
        'the account rests',
        () => applyAccount(db.sql, held, { did, active: false, status: 'deactivated', at: at(10) }),
        undefined,
      ],
      ['and comes back', () => applyAccount(db.sql, held, { did, active: true, at: at(11) }), at(11)],
      [
        'the first invitation is taken back',
        () => write(owner, 'sh.tangled.spindle.member', 12, null, `${did}3`),
        at(11),
      ],
      ['and the second', () => write(owner, 'sh.tangled.spindle.member', 13, null, `${did}4`), undefined],
      ['a pin', () => pinRepo(db.sql, { knot, did, name: 'site', since: at(14) }), at(14)],
      ['an invitation beside the pin', () => invite(15), at(14)],
      ['the record goes', () => write(did, 'sh.tangled.repo', 16, null), at(14)],
    ];
    for (const [what, step, since] of steps) {
      await step();
      const { verdict, wanted } = await ask();
      expect({ what, since: verdict.served ? new Date(verdict.since) : undefined }).toEqual({ what, since });
      expect({ what, wanted: wanted.find((each) => each.knot === knot)?.since }).toEqual({ what, wanted: since });
    }
  });

  test('the owner needs no invitation, and nobody else gives one', async () => {
    await publish(1, {}, 'key', owner);
    expect((await ask({ did: owner })).verdict).toMatchObject({ served: true, since: at(1).getTime() });
    await publish(1);
    await write(did, 'sh.tangled.spindle.member', 2, { subject: did, instance: host }, 'self');
    await invite(3, 'did:plc:bob');
    await write('did:plc:bob', 'sh.tangled.spindle.member', 4, { subject: did, instance: host }, 'bob');
    expect((await ask()).verdict.served).toBe(false);
  });

  test('a repository is found by name, by key and by its own DID, and only among those of its publisher', async () => {
    await invite(1);
    await invite(1, 'did:plc:bob');
    await publish(2, { repoDid: 'did:plc:r' });
    await publish(3, { name: 'blog' }, 'key', 'did:plc:bob');
    for (const more of [{}, { name: 'key' }, { name: '', repoDid: 'did:plc:r' }, { name: 'old', repoDid: 'did:plc:r' }])
      expect((await ask(more)).verdict.served).toBe(true);
    expect((await ask({ name: 'blog' })).verdict.served).toBe(false);
    expect((await ask({ did: 'did:plc:bob', repoDid: 'did:plc:r' })).verdict.served).toBe(false);
    expect((await ask({ name: 'old' })).facts.others).toEqual(['site']);
  });

  test('collaborators are those whom the owner of the repository names', async () => {
    const collaborator = (n: number, author: string, subject: string, repo: string) =>
      write(author, 'sh.tangled.repo.collaborator', n, { subject, repo }, `c${n}`);
    await invite(1);
    await invite(1, 'did:plc:mallory');
    await publish(2, { repoDid: 'did:plc:r' });
    await publish(2, { name: 'blog' }, 'other');
    await collaborator(3, did, 'did:plc:bob', `at://${did}/sh.tangled.repo/key`);
    await collaborator(4, did, 'did:plc:carol', 'did:plc:r');
    await collaborator(5, did, 'did:plc:dave', `at://${did}/sh.tangled.repo/other`);
    await collaborator(6, 'did:plc:mallory', 'did:plc:mallory', `at://${did}/sh.tangled.repo/key`);
    await collaborator(7, 'did:plc:mallory', 'did:plc:mallory', 'did:plc:r');
    expect(await collaboratorsOf(db.sql, { did, name: 'site' })).toEqual(['did:plc:bob', 'did:plc:carol']);
    expect(await collaboratorsOf(db.sql, { did, rkey: 'key' })).toEqual(['did:plc:bob', 'did:plc:carol']);
    expect(await collaboratorsOf(db.sql, { did, name: 'blog' })).toEqual(['did:plc:dave']);
    await write(did, 'sh.tangled.repo.collaborator', 8, null, 'c3');
    expect(await collaboratorsOf(db.sql, { did, name: 'site' })).toEqual(['did:plc:carol']);
    expect(await collaboratorsOf(db.sql, { did, name: 'none' })).toEqual([]);
  });
});
