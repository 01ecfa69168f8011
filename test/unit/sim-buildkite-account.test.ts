import { expect, test } from 'vitest';
import { BUILDS, buildkite as start, call, create } from '../support/buildkite.ts';

test('a log is read whole, its size by HEAD, and its end by a suffix range only', async () => {
  const sim = await start();
  await create(sim);
  sim.advance(1);
  const job = sim.build(1).jobs[0];
  sim.appendLog(1, 'build', 'wörld\r\n');
  const log = `${BUILDS}/1/jobs/${job?.id}/log`;
  const whole = await call(sim, 'GET', `${log}.txt`);
  expect(whole.text.split('\r\n')[0]).toMatch(/_bk;t=\d+.~~~ Preparing working directory$/);
  expect(whole.text).toMatch(/_bk;t=\d+.Cloning into '\.'\.\.\.\r\r\n/);
  const size = Buffer.byteLength(whole.text);
  expect((await call(sim, 'HEAD', log)).headers.get('content-length')).toBe(String(size));
  expect((await call(sim, 'GET', log)).body).toMatchObject({ size, content: whole.text });
  const plain = { accept: 'text/plain' };
  const tail = await call(sim, 'GET', log, undefined, { ...plain, range: 'bytes=-4' });
  expect([tail.status, tail.text, tail.headers.get('content-range')]).toEqual([
    206,
    'ld\r\n',
    `bytes ${size - 4}-${size - 1}/${size}`,
  ]);
  expect((await call(sim, 'GET', log, undefined, { ...plain, range: 'bytes=0-4' })).status).toBe(400);
});

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
