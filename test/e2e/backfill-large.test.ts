import { createHash } from 'node:crypto';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { RequestRecord } from '../../sim/atproto/index.ts';
import { NSID } from '../../src/forges/tangled/nsid.ts';
import { beSpindle } from '../../src/store/spindle.ts';
import { isListed, makeDue } from '../support/backfill.ts';
import { startListerProcess } from '../support/backfill-child.ts';
import { type FreshDatabase, freshDatabase } from '../support/database.ts';
import { startNetwork } from '../support/network.ts';
import { until } from '../support/until.ts';

const host = 'spindle.example';
const perSecond = 200;
const minutes = 60_000;

let db: FreshDatabase;
beforeEach(async () => void (db = await freshDatabase()));
afterEach(() => db.drop());

const someDid = (n: number): string => {
  const letters = createHash('sha256')
    .update(`${n}`)
    .digest('hex')
    .replaceAll(/[0189]/g, 'q');
  return `did:plc:${letters.slice(0, 24)}`;
};

test(
  '100,000 repos and 10,000 members are paged in little memory, within the rate',
  { timeout: 8 * minutes },
  async () => {
    const { network, pds, plc, owner } = await startNetwork();
    await beSpindle(db.sql, { host, owner: owner.did });
    const alice = network.account();
    network.fill(alice.did, NSID.repo, 100_000, (n) => ({ knot: 'knot.example', name: `repo-${n}`, spindle: host }));
    network.invite(owner.did, alice.did, host);
    const live = async (collection: string): Promise<number> => {
      const [row] = await db.sql<{ count: number }[]>`
      select count(*)::int as count from records where collection = ${collection} and value is not null`;
      return row?.count ?? 0;
    };

    // an idle one holds 25 MB
    const { reports, child } = startListerProcess(db.url, {
      heapMb: 56,
      plcUrl: plc.url,
      settings: { pace: { perSecond }, retryMinMs: minutes, retryMaxMs: minutes },
    });
    await until('all repos', () => isListed(db.sql, alice), 4 * minutes);
    expect(await live(NSID.repo)).toBe(100_000);

    // nobody knows these accounts; each costs the directory one request
    for (let n = 1; n < 10_000; n++) network.invite(owner.did, someDid(n), host);
    await makeDue(db.sql, owner.did);
    await until('all members', () => isListed(db.sql, owner), 2 * minutes);
    expect(await live(NSID.member)).toBe(10_000);
    const asked = () => plc.requests('did').length > 2_000;
    await until('members to have their turns', asked, minutes);

    expect(child.exitCode ?? child.signalCode).toBeNull();
    const early = reports.find(({ pages }) => pages >= 100);
    const most = Math.max(...reports.map(({ rss }) => rss));
    expect(reports.at(-1)?.pages).toBeGreaterThan(1_100);
    expect(most - (early?.rss ?? 0)).toBeLessThan(50 * 2 ** 20);
    for (const { requests } of [pds, plc]) expect(mostInASecond(requests())).toBeLessThanOrEqual(perSecond);
  },
);

/** The most requests that any second saw, whenever it began. */
function mostInASecond(requests: readonly RequestRecord[]): number {
  let [most, first] = [0, 0];
  for (const [n, { at }] of requests.entries()) {
    while ((requests[first]?.at ?? at) <= at - 1_000) first++;
    most = Math.max(most, n - first + 1);
  }
  return most;
}
