import { expect, test, vi } from 'vitest';
import { type KnotSim, startKnot } from '../../sim/knot/knot.ts';
import { tidAt } from '../../src/forges/tangled/tid.ts';
import { allDueSoon } from '../../src/store/accounts.ts';
import { readCursor } from '../../src/store/cursors.ts';
import { pinRepo, unpinRepo } from '../../src/store/repos.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { type Spindle, spindle, type SpindleOptions } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const host = 'spindle.example';
const workflows = [{ name: 'ci.yml', raw: 'tack: { fake: { delay: 10ms } }\n' }];
const repoCollection = 'sh.tangled.repo';
const memberCollection = 'sh.tangled.spindle.member';
const minute = 60_000;
const hour = 60 * minute;

const started = (more: SpindleOptions = {}) => spindle({ network: true, ready: false, ...more });
/** A repository of a new member, that chooses the spindle. */
function member(whorl: Spindle, knot: KnotSim = whorl.knot) {
  const { network, owner } = whorl.network;
  const { did } = network.account();
  const invitation = network.invite(owner.did, did, host);
  const record = network.repo(did, { knot: knot.host, name: 'site', spindle: host });
  return { did, invitation, record };
}
const push = (knot: KnotSim, did: string, more: object = {}): string =>
  knot.push({ repo: { did, name: 'site' }, workflows, kind: 'manual', ...more }).rkey;
const reaches = (whorl: Spindle, rkey: string, state: string) =>
  until(`the trigger ${rkey} to be ${state}`, async () => {
    const [row] = await whorl.sql`select state from triggers where rkey = ${rkey}`;
    return row?.['state'] === state;
  });
const open = (knot: KnotSim) => knot.connections.filter(({ closedAt }) => closedAt === undefined).length;
/** How long it took until nobody reads the knot any more, in ms. */
async function closed(knot: KnotSim, leave: () => unknown): Promise<number> {
  const began = performance.now();
  await leave();
  await until('the knot to be let go', () => open(knot) === 0);
  return performance.now() - began;
}
const cursorOf = (whorl: Spindle, knot: KnotSim) => readCursor(whorl.sql, `knot/${knot.host}`);
const isForgotten = (whorl: Spindle, knot: KnotSim) =>
  until('the cursor to be forgotten', async () => (await cursorOf(whorl, knot)) === undefined);

// Nothing else makes anybody look so soon: leases are looked after every third of the time that they last.
const leaseMs = 30_000;

test('a knot is let go at once when its last repository leaves, whatever the way, and its cursor is forgotten', async () => {
  const whorl = await started({ ingest: { leaseMs } });
  const { network, owner } = whorl.network;
  const { sql, knot } = whorl;
  const { did, invitation, record } = member(whorl);
  await knot.connected(1);
  const chosen = { knot: knot.host, name: 'site', spindle: host };
  const ways: [string, () => unknown, () => unknown][] = [
    [
      'a member is removed, and invited again',
      () => network.delete(owner.did, memberCollection, invitation.rkey),
      () => network.invite(owner.did, did, host),
    ],
    [
      'another spindle is chosen',
      () => network.update(did, repoCollection, record.rkey, { ...chosen, spindle: 'other.example' }),
      () => network.update(did, repoCollection, record.rkey, chosen),
    ],
    [
      'it moves to another knot',
      () => network.update(did, repoCollection, record.rkey, { ...chosen, knot: '127.0.0.1:1' }),
      () => network.update(did, repoCollection, record.rkey, chosen),
    ],
    [
      'the record is deleted, and another one made',
      () => network.delete(did, repoCollection, record.rkey),
      () => network.repo(did, chosen, 'another'),
    ],
    ['the account rests', () => network.deactivate(did), () => network.reactivate(did)],
    [
      'a pin is taken away',
      async () => {
        await pinRepo(sql, { knot: knot.host, did: 'did:plc:pinned', name: 'pinned' });
        network.delete(did, repoCollection, 'another');
        await until('the pin to be alone', async () => (await sql`select from served`).length === 1);
        expect(open(knot)).toBe(1);
        await unpinRepo(sql, { knot: knot.host, did: 'did:plc:pinned', name: 'pinned' });
      },
      () => network.repo(did, chosen, 'the-last-one'),
    ],
  ];
  for (const [way, leave, back] of ways) {
    const dials = knot.connections.length;
    const took = await closed(knot, leave);
    // a second, and what a busy machine adds to it; nobody would look by himself for ten
    expect(took, way).toBeLessThan(8_000);
    await isForgotten(whorl, knot);
    back();
    await knot.connected(dials + 1);
    await reaches(whorl, push(knot, did), 'started');
  }
});

test('the knot of one of two repositories stays open when the other one leaves', async () => {
  const whorl = await started();
  const { network } = whorl.network;
  const [one, two] = [member(whorl), member(whorl)];
  await until('both are served', async () => (await whorl.sql`select from served`).length === 2);
  network.delete(one.did, repoCollection, one.record.rkey);
  await until('one is left', async () => (await whorl.sql`select from served`).length === 1);
  await reaches(whorl, push(whorl.knot, two.did), 'started');
  await reaches(whorl, push(whorl.knot, one.did), 'held');
  expect(whorl.knot.connections).toHaveLength(1);
});

test.each(['the live stream', 'a listing'])(
  'no push between the choice and our noticing by %s is lost, and none from before the choice is started',
  async (way) => {
    const whorl = await started({ roles: ['worker'] });
    const { network, owner, jetstream } = whorl.network;
    const { knot, sql } = whorl;
    await beSpindle(sql, { host, owner: owner.did });
    // this spindle has been here for a day
    await sql`update spindle set since = now() - interval '1 day'`;
    const { did } = network.account();
    network.invite(owner.did, did, host);
    const first = await whorl.start('ingest');
    await until(
      'a complete round',
      async () => (await sql`select from accounts where listed_at is not null`).length === 2,
    );
    await first.stop();

    // nobody is there when all this happens
    const early = push(knot, did, { rkey: tidAt(Date.now() - 30 * minute) });
    network.repo(did, { knot: knot.host, name: 'site', spindle: host });
    const between = [push(knot, did), push(knot, did)];
    if (way === 'a listing') {
      jetstream.forget();
      await allDueSoon(sql);
    }
    await whorl.start('ingest');
    const after = push(knot, did);
    for (const rkey of [...between, after]) await reaches(whorl, rkey, 'started');
    await reaches(whorl, early, 'early');
    expect(await sql`select from pipelines`).toHaveLength(3);
  },
);

test('a repository that is noticed late on a knot that is read already loses nothing either', async () => {
  const whorl = await started();
  const { network, jetstream, owner } = whorl.network;
  const { knot } = whorl;
  const first = member(whorl);
  await knot.connected(1);
  await reaches(whorl, push(knot, first.did), 'started');
  jetstream.pause();
  const { did } = network.account();
  network.repo(did, { knot: knot.host, name: 'site', spindle: host });
  network.invite(owner.did, did, host);
  const between = push(knot, did);
  await reaches(whorl, between, 'held');
  jetstream.resume();
  await reaches(whorl, between, 'started');
});

test('an event that was held and turns out to be from before the choice is refused, and says so', async () => {
  const whorl = await started();
  const { network, owner } = whorl.network;
  const { knot, sql } = whorl;
  // the knot has been read for an hour, for somebody else
  await pinRepo(sql, { knot: knot.host, did: 'did:plc:pinned', name: 'pinned', since: new Date(Date.now() - hour) });
  await knot.connected(1);
  const { did } = network.account();
  const rkey = push(knot, did, { rkey: tidAt(Date.now() - 20 * minute) });
  await reaches(whorl, rkey, 'held');
  network.repo(did, { knot: knot.host, name: 'site', spindle: host });
  network.invite(owner.did, did, host);
  await reaches(whorl, rkey, 'refused');
  const [row] = await sql`select reason, body from triggers where rkey = ${rkey}`;
  expect(row).toMatchObject({ body: null, reason: expect.stringContaining('before the choice') as string });
});

test('a knot that comes back starts anew, an hour before the new choice, and what came meanwhile is not started', async () => {
  const whorl = await started();
  const { network } = whorl.network;
  const { knot, sql } = whorl;
  const { did, record } = member(whorl);
  await knot.connected(1);
  await reaches(whorl, push(knot, did), 'started');
  await closed(knot, () => network.delete(did, repoCollection, record.rkey));
  await isForgotten(whorl, knot);

  const meanwhile = push(knot, did, { rkey: tidAt(Date.now() - 20 * minute) });
  const before = Date.now();
  network.repo(did, { knot: knot.host, name: 'site', spindle: host });
  await knot.connected(2);
  const cursor = BigInt(knot.connections[1]?.cursor ?? 0) / 1_000_000n;
  expect(Number(cursor)).toBeGreaterThan(before - hour - minute);
  expect(Number(cursor)).toBeLessThan(Date.now() - hour + minute);
  await reaches(whorl, meanwhile, 'early');
  await reaches(whorl, push(knot, did), 'started');
  expect(await sql`select from pipelines`).toHaveLength(2);
});

test('what happens while the account of the publisher rests is not started when it comes back', async () => {
  const whorl = await started();
  const { network } = whorl.network;
  const { knot } = whorl;
  const { did } = member(whorl);
  await knot.connected(1);
  await reaches(whorl, push(knot, did), 'started');
  await closed(knot, () => network.deactivate(did));
  const meanwhile = push(knot, did, { rkey: tidAt(Date.now() - 20 * minute) });
  network.reactivate(did);
  await knot.connected(2);
  await reaches(whorl, meanwhile, 'early');
  await reaches(whorl, push(knot, did), 'started');
});

test('another process reads on when the one that read is stopped, and both let go', async () => {
  const whorl = await started({ roles: ['worker'] });
  const first = await whorl.start('ingest');
  const { did, invitation } = member(whorl);
  await whorl.knot.connected(1);
  await reaches(whorl, push(whorl.knot, did), 'started');
  await whorl.start('ingest');
  await first.stop();
  await reaches(whorl, push(whorl.knot, did), 'started');
  const { network, owner } = whorl.network;
  await closed(whorl.knot, () => network.delete(owner.did, memberCollection, invitation.rkey));
  await isForgotten(whorl, whorl.knot);
});

test('a second knot is read for a second repository, and each has its own events', async () => {
  const whorl = await started();
  const other = await startKnot();
  try {
    const [one, two] = [member(whorl), member(whorl, other)];
    await Promise.all([whorl.knot.connected(1), other.connected(1)]);
    await reaches(whorl, push(other, two.did), 'started');
    await reaches(whorl, push(whorl.knot, one.did), 'started');
    // a knot speaks for what lives on it, and for nothing else
    await reaches(whorl, push(other, one.did), 'held');
  } finally {
    await other.close();
  }
});
