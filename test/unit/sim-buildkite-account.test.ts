import { expect, test } from 'vitest';
import { BUILDS, buildkite as start, call, create } from '../support/buildkite.ts';

test('limits are counted per user, refused with the time to wait, and told by their endpoint', async () => {
  const sim = await start({ limits: { organization: 20, user: 2, window: 3_600_000 } });
  await call(sim, 'GET', BUILDS);
  expect((await call(sim, 'GET', BUILDS)).headers.get('ratelimit-user-remaining')).toBe('0');
  const third = await create(sim);
  expect(third).toMatchObject({
    status: 429,
    body: { scope: 'rest_user', limit: 2, current: 3, reset: expect.any(Number) },
  });
  expect(third.headers.get('ratelimit-user-reset')).toBe(String(third.body.reset));
  expect(sim.builds()).toHaveLength(0);
  const other = sim.addToken();
  const rate = await call(sim, 'GET', '/organizations/acme/rate_limit', undefined, {
    authorization: `Bearer ${other.token}`,
  });
  expect(rate.body).toMatchObject({ scopes: { rest: { limit: 20, current: 4 } } });
});

test('a token can read about itself', async () => {
  const sim = await start();
  expect((await call(sim, 'GET', '/access-token')).body).toMatchObject({
    scopes: expect.arrayContaining(['write_builds']),
    user: { name: sim.user.name },
  });
  expect((await call(sim, 'GET', '/meta', undefined, { authorization: '' })).status).toBe(200);
  expect((await call(sim, 'GET', '/organizations/acme/pipelines/app')).body.slug).toBe('app');
});
