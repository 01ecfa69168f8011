import { afterAll, beforeAll, expect, test } from 'vitest';
import { bucketOf, teller } from '../../src/providers/buildkite/rate.ts';
import type { Limiter, Limits } from '../../src/providers/provider.ts';
import { buildkite as provider } from '../../src/providers/buildkite/client.ts';
import { limiter, readBudget } from '../../src/store/slots.ts';
import { buildkite } from '../support/buildkite.ts';
import { freshDatabase, type FreshDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';

let db: FreshDatabase;
beforeAll(async () => void (db = await freshDatabase()));
afterAll(() => db.drop());

const budget = () => limiter(db.sql, { limit: 1_000, windowMs: 60_000 });
const signal = (): AbortSignal => new AbortController().signal;

test('what Buildkite says of its limit with any answer is in the database, for all to see', async () => {
  const sim = await buildkite({ limits: { organization: 200, user: 50, window: 60_000 } });
  const ci = provider({ apiUrl: sim.apiUrl, token: () => sim.token, limiter: budget() });
  await ci.health(signal());
  const told = await until('the budget is told', async () => {
    const found = await readBudget(db.sql, bucketOf(sim.token));
    return found?.allowed === null ? undefined : found;
  });
  expect(told).toMatchObject({ allowed: 50, remaining: 49, blockedMs: 0 });
  expect(told.resetsInMs).toBeLessThanOrEqual(60_000);
  expect(told.toldAgoMs).toBeGreaterThanOrEqual(0);
});

test('a limit that is used up blocks the budget and says so', async () => {
  const sim = await buildkite({ limits: { organization: 200, user: 0, window: 60_000 } });
  const ci = provider({ apiUrl: sim.apiUrl, token: () => sim.token, limiter: budget() });
  expect(await ci.health(signal())).toMatchObject({ ok: false });
  const told = await until('the budget is told', async () => {
    const found = await readBudget(db.sql, bucketOf(sim.token));
    return found?.remaining === null ? undefined : found;
  });
  expect(told.remaining).toBe(0);
  expect(told.blockedMs).toBeGreaterThan(0);
});

test('nothing is known of a token that was never used', async () => {
  expect(await readBudget(db.sql, bucketOf('never'))).toBeUndefined();
});

test('it is written once in a while, and a database that is away stops nobody', () => {
  const said: Limits[] = [];
  const away: Limiter = {
    reserve: async () => new Date(0),
    block: async () => {},
    async told(_bucket, limits) {
      said.push(limits);
      throw new Error('the database is away');
    },
  };
  const tell = teller(away);
  for (let n = 0; n < 100; n += 1) tell('bucket', { limit: 50, remaining: 50 - (n % 40), resetAt: null });
  expect(said).toHaveLength(1);
});
