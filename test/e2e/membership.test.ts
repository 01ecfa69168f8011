import { beforeAll, describe, expect, test, vi } from 'vitest';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { type Pushed, type Spindle, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const host = 'spindle.example';
const files = { 'ci.yml': 'tack: { fake: { delay: 10ms } }\n' };
/** runs until the test is long over with what it does meanwhile */
const slow = { 'ci.yml': 'tack:\n  fake: { delay: 2s }\n' };
const repoCollection = 'sh.tangled.repo';

let whorl: Spindle;
beforeAll(async () => {
  whorl = await spindle({ shared: true, network: true, ready: false });
  // the owner's own repository: the knot is read, whatever happens to the others
  choose(whorl.network.owner.did, 'base');
  await whorl.knot.connected(1);
  return () => whorl.close();
});

const net = () => whorl.network.network;
const invite = (did: string) => net().invite(whorl.network.owner.did, did, host);
/** A repository record, by default one that chooses this spindle. */
const choose = (did: string, name = 'site', more: { spindle?: string; knot?: string; repoDid?: string } = {}) =>
  net().repo(did, { knot: whorl.knot.host, name, spindle: host, ...more });
/** A member with a repository that is served by now. */
async function served(name = 'site') {
  const { did } = net().account();
  const invitation = invite(did);
  const record = choose(did, name);
  await isServed(did);
  return { did, name, invitation, record };
}
const isServed = (did: string, yes = true) =>
  until(`${did} is ${yes ? '' : 'not '}served`, async () => {
    const rows = await whorl.sql`select from served where did = ${did} and knot = ${whorl.knot.host}`;
    return rows.length > 0 === yes;
  });
const push = (did: string, name = 'site', workflows: Record<string, string> = files, more: object = {}): Pushed =>
  whorl.push(workflows, { repo: { did, name }, ...more });
const triggerOf = async ({ rkey }: Pushed) => {
  const [row] = await whorl.sql<{ state: string; reason: string | null; body: boolean }[]>`
    select state, reason, body is not null as body from triggers where rkey = ${rkey}`;
  return row;
};
const reaches = (pushed: Pushed, state: string) =>
  until(`the trigger to be ${state}`, async () => {
    const row = await triggerOf(pushed);
    return row?.state === state ? row : undefined;
  });
/** The event waits for a record, its pipeline does not exist, and the reason is this. */
async function isHeld(pushed: Pushed, reason: RegExp): Promise<void> {
  expect(await reaches(pushed, 'held')).toMatchObject({ reason: expect.stringMatching(reason) as string, body: true });
  expect(await whorl.sql`select from pipelines where id = ${pushed.id}`).toHaveLength(0);
}
/** The reason that it waits for is this by now. */
const says = (pushed: Pushed, reason: RegExp) =>
  until(`the reason ${reason.source}`, async () => reason.test((await triggerOf(pushed))?.reason ?? ''));
const runs = (pushed: Pushed) => pushed.shows('ci.yml', 'success');

test('from empty tables: the owner invites a member, whose repository chooses the spindle, and a push runs', async () => {
  const { did } = net().account();
  invite(did);
  choose(did);
  await runs(push(did));
});

test.concurrent('a repository of the owner runs, and one of a stranger waits until its publisher is a member', async () => {
  await runs(push(whorl.network.owner.did, 'base'));
  const { did } = net().account();
  choose(did);
  const pushed = push(did);
  await isHeld(pushed, /not a member|there is no record of it/);
  await says(pushed, /not a member of it/);
  invite(did);
  await runs(pushed);
});

test.concurrent('an event that comes before its record runs as soon as the record is here', async () => {
  const { did } = net().account();
  invite(did);
  const pushed = push(did);
  await isHeld(pushed, /has no record of it|is not a member/);
  choose(did);
  await runs(pushed);
});

describe.concurrent('what keeps a repository of a member from running, until it changes', () => {
  test('its record names no spindle, or another one', async () => {
    const { did } = net().account();
    invite(did);
    const { rkey } = choose(did, 'site', { spindle: 'other.example' });
    const pushed = push(did);
    await isHeld(pushed, /names the spindle other\.example|no record of it|not a member/);
    net().update(did, repoCollection, rkey, { knot: whorl.knot.host, name: 'site' });
    await says(pushed, /names no spindle/);
    net().update(did, repoCollection, rkey, { knot: whorl.knot.host, name: 'site', spindle: host });
    await runs(pushed);
  });

  test('its record names another knot', async () => {
    const { did } = net().account();
    invite(did);
    const { rkey } = choose(did, 'site', { knot: 'knot.invalid' });
    const pushed = push(did);
    await says(pushed, /is on the knot knot\.invalid/);
    net().update(did, repoCollection, rkey, { knot: whorl.knot.host, name: 'site', spindle: host });
    await runs(pushed);
  });

  test('an event from its knot that names another knot is refused for good', async () => {
    const { did, name } = await served();
    const pushed = push(did, name, files, { knot: 'knot.invalid' });
    const row = await reaches(pushed, 'refused');
    expect(row).toMatchObject({
      reason: expect.stringContaining('names the knot knot.invalid') as string,
      body: false,
    });
  });

  test('an invitation to another spindle is none, and so is one by a member', async () => {
    const { did: friend } = await served();
    const { did } = net().account();
    net().invite(whorl.network.owner.did, did, 'other.example');
    net().invite(friend, did, host);
    choose(did);
    const pushed = push(did);
    await says(pushed, /not a member of it/);
    invite(did);
    await runs(pushed);
  });
});

describe.concurrent('takes effect at once, and what runs already goes on to its end', () => {
  type Place = Awaited<ReturnType<typeof served>>;
  const knot = () => whorl.knot.host;
  const cases: [string, (place: Place) => unknown, RegExp][] = [
    [
      'leaving the members',
      ({ invitation }) => net().delete(whorl.network.owner.did, 'sh.tangled.spindle.member', invitation.rkey),
      /not a member of it/,
    ],
    [
      'choosing another spindle',
      ({ did, record }) =>
        net().update(did, repoCollection, record.rkey, { knot: knot(), name: 'site', spindle: 'other.example' }),
      /names the spindle other\.example/,
    ],
    [
      'choosing none',
      ({ did, record }) => net().update(did, repoCollection, record.rkey, { knot: knot(), name: 'site' }),
      /names no spindle/,
    ],
    [
      'a record that is no use any more',
      ({ did, record }) => net().update(did, repoCollection, record.rkey, { knot: null, spindle: host }),
      /has no record of it/,
    ],
    [
      'moving to another knot',
      ({ did, record }) =>
        net().update(did, repoCollection, record.rkey, { knot: 'knot.invalid', name: 'site', spindle: host }),
      /is on the knot knot\.invalid/,
    ],
    ['deleting the record', ({ did, record }) => net().delete(did, repoCollection, record.rkey), /has no record of it/],
    ['deactivating the account', ({ did }) => net().deactivate(did), /account of \S+ is deactivated/],
    ['deleting the account', ({ did }) => net().deleteAccount(did), /account of \S+ is deleted/],
  ];
  test.each(cases)('%s', async (_, leave, reason) => {
    const place = await served();
    const before = push(place.did, 'site', slow);
    await before.shows('ci.yml', 'running');
    leave(place);
    await isServed(place.did, false);
    await isHeld(push(place.did), reason);
    await runs(before);
    await before.ended();
  });

  test('renaming: the old name runs no more, and the new one does', async () => {
    const { did, record } = await served();
    net().update(did, repoCollection, record.rkey, { knot: knot(), name: 'renamed', spindle: host });
    await until(
      'the name',
      async () => (await whorl.sql`select from served where did = ${did} and name = 'renamed'`).length > 0,
    );
    await isHeld(push(did), /on that knot there are renamed/);
    await runs(push(did, 'renamed'));
  });

  test('with a DID of its own it runs under any name', async () => {
    const { did } = net().account();
    invite(did);
    choose(did, 'site', { repoDid: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz' });
    await isServed(did);
    await runs(
      push(did, 'an older name', files, { repo: { did, name: 'older', repoDid: 'did:plc:ewvi7nxzyoun6zhxrhs64oiz' } }),
    );
  });

  test('a member who was invited twice stays one when one invitation goes, and comes back with a new one', async () => {
    const { did, invitation } = await served();
    const second = invite(did);
    const member = 'sh.tangled.spindle.member';
    const owner = whorl.network.owner.did;
    net().delete(owner, member, invitation.rkey);
    await until('the first to be gone', async () => {
      const [row] = await whorl.sql`select value from records where rkey = ${invitation.rkey}`;
      return row?.['value'] === null;
    });
    await runs(push(did));
    net().delete(owner, member, second.rkey);
    await isServed(did, false);
    const pushed = push(did);
    await isHeld(pushed, /not a member of it/);
    invite(did);
    await runs(pushed);
  });
});

test.concurrent('what happened more than ten minutes before the choice is never started; a little before counts', async () => {
  const { did } = await served();
  const minutesAgo = (n: number) => push(did, 'site', files, { rkey: tidAt(Date.now() - n * 60_000) });
  expect((await reaches(minutesAgo(11), 'early'))?.reason).toMatch(/before choice/);
  await runs(minutesAgo(2));
});

test('what nobody explains within the hold time is refused: its body goes, its key and the reason stay', async () => {
  const brief = await spindle({ network: true, ready: false, env: { WHORL_HOLD_TIME: '2s' } });
  const { network, owner } = brief.network;
  network.repo(owner.did, { knot: brief.knot.host, name: 'base', spindle: host });
  await brief.knot.connected(1);
  const { did } = network.account();
  const pushed = brief.push(files, { repo: { did, name: 'site' } });
  const row = await until('the end of the hold time', async () => {
    const [found] = await brief.sql`select state, reason, body from triggers where rkey = ${pushed.rkey}`;
    return found?.['state'] === 'refused' && found;
  });
  expect(row).toMatchObject({ body: null, reason: expect.stringContaining('is not known to this spindle') as string });
});

test('with the jetstream gone, an event of a member makes us ask the account’s own server', async () => {
  const alone = await spindle({ network: true, ready: false });
  const { network, owner, jetstream, pds } = alone.network;
  network.repo(owner.did, { knot: alone.knot.host, name: 'base', spindle: host });
  const { did } = network.account();
  network.invite(owner.did, did, host);
  await alone.knot.connected(1);
  await until('the member is listed', async () => {
    const [row] = await alone.sql`select listed_at, due_at > now() as rests from accounts where did = ${did}`;
    return row?.['listed_at'] !== null && row?.['rests'] === true;
  });
  await jetstream.stop();
  network.repo(did, { knot: alone.knot.host, name: 'site', spindle: host });
  const asked = pds.requests().length;
  await alone.push(files, { repo: { did, name: 'site' } }).shows('ci.yml', 'success');
  expect(
    pds
      .requests()
      .slice(asked)
      .filter(({ query }) => (query.get('repo') ?? query.get('did')) === did),
  ).not.toEqual([]);
});
