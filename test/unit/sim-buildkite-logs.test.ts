import { expect, test } from 'vitest';
import { cut } from '../../sim/buildkite/index.ts';
import type { BuildkiteSim } from '../../sim/buildkite/index.ts';
import { BUILDS, buildkite as start, call, create } from '../support/buildkite.ts';

const logOf = (sim: BuildkiteSim, job = 0): string => `${BUILDS}/1/jobs/${sim.build(1).jobs[job]?.id}/log`;

test('a log is read whole, its size by HEAD, and its end by a suffix range only', async () => {
  const sim = await start();
  await create(sim);
  sim.advance(1);
  sim.appendLog(1, 'build', 'wörld\r\n');
  const log = logOf(sim);
  const whole = await call(sim, 'GET', `${log}.txt`);
  expect(whole.text.split('\r\n')[0]).toMatch(/_bk;t=\d+.~~~ Preparing working directory$/);
  expect(whole.text).toMatch(/_bk;t=\d+.Cloning into '\.'\.\.\.\r\r\n/);
  const size = Buffer.byteLength(whole.text);
  expect((await call(sim, 'HEAD', log)).headers.get('content-length')).toBe(String(size));
  expect((await call(sim, 'HEAD', log)).headers.get('accept-ranges')).toBe('bytes');
  expect((await call(sim, 'GET', log)).body).toMatchObject({ size, content: whole.text });
  const range = (value: string) => call(sim, 'GET', log, undefined, { accept: 'text/plain', range: value });
  const tail = await range('bytes=-4');
  expect([tail.status, tail.text, tail.headers.get('content-range')]).toEqual([
    206,
    'ld\r\n',
    `bytes ${size - 4}-${size - 1}/${size}`,
  ]);
  const more = await range(`bytes=-${2 * size}`);
  expect([more.status, more.headers.get('content-range')]).toEqual([206, `bytes 0-${size - 1}/${size}`]);
  for (const refused of ['bytes=0-4', 'bytes=4-', 'bytes=-0', 'bytes=-1,-2', 'lines=-1']) {
    expect((await range(refused)).status, refused).toBe(400);
  }
});

test('an empty log has no range, and one that was deleted is empty', async () => {
  const sim = await start();
  await create(sim);
  sim.advance(1);
  const log = logOf(sim);
  expect((await call(sim, 'DELETE', log)).status).toBe(204);
  const range = await call(sim, 'GET', log, undefined, { accept: 'text/plain', range: 'bytes=-9' });
  expect([range.status, range.headers.get('content-range')]).toEqual([416, 'bytes */0']);
  expect((await call(sim, 'HEAD', log)).headers.get('content-length')).toBe('0');
});

test('bytes that are no text are mended in the whole log, and raw in a range', async () => {
  const sim = await start();
  await create(sim);
  sim.advance(1);
  sim.replaceLog(1, 'build', Uint8Array.of(0x61, 0xff, 0x62));
  const get = async (headers: Record<string, string>) => {
    const answer = await fetch(`${sim.apiUrl}${logOf(sim)}`, {
      headers: { authorization: `Bearer ${sim.token}`, accept: 'text/plain', ...headers },
    });
    return [...new Uint8Array(await answer.arrayBuffer())];
  };
  expect(await get({})).toEqual([0x61, 0xef, 0xbf, 0xbd, 0x62]);
  expect(await get({ range: 'bytes=-2' })).toEqual([0xff, 0x62]);
  expect([...sim.log(1, 'build')]).toEqual([0x61, 0xff, 0x62]);
});

test('with the auto clock a log grows while its job runs, and has groups, colours and an end', async () => {
  let now = Date.now();
  const sim = await start({ clock: 'auto', pace: 600_000, now: () => now });
  await create(sim);
  sim.advance(1, 'running');
  const size = (): number => sim.log(1, 'build').length;
  const atStart = size();
  expect(sim.log(1, 'build').toString()).toContain('~~~ Running commands\r\n');
  now += 300_000;
  const half = size();
  expect(half).toBeGreaterThan(atStart);
  sim.finish(1, 'failed');
  expect(size()).toBeGreaterThan(half);
  const text = sim.log(1, 'build').toString();
  for (const part of [
    '\n\x1b_bk;t=',
    '+++ :test_tube: Testing\r\r\n',
    '\x1b[32m',
    '^^^ +++\r\n',
    'exited with status 1',
  ]) {
    expect(text).toContain(part);
  }
  const times = [...text.matchAll(/_bk;t=(\d+)/g)].map(([, time]) => Number(time));
  expect(times).toEqual(times.toSorted((a, b) => a - b));
  expect(times.at(-1)).toBe(now);
});

test('waits, block steps, triggers and parallel jobs look as they do there', async () => {
  const sim = await start();
  sim.script(() => ({
    jobs: [
      { name: 'a', parallel: { index: 1, total: 3 } },
      { type: 'waiter' },
      { name: 'Release?', type: 'manual' },
      { name: 'Deploy', type: 'trigger', triggers: 'acme/deploy' },
    ],
    steps: ['running', 'passed'],
  }));
  await create(sim);
  sim.advance(1);
  const page = await call(sim, 'GET', `${BUILDS}/1/jobs`);
  expect(page.body.items).toMatchObject([
    { type: 'script', parallel_group_index: 1, parallel_group_total: 3, state: 'running' },
    { type: 'waiter', state: 'waiting' },
    { type: 'manual', label: 'Release?', state: 'blocked', unblocked_by: null },
    { type: 'trigger', name: 'Deploy', triggered_build: { number: 1, web_url: `${sim.url}/acme/deploy/builds/1` } },
  ]);
  sim.unblock(1);
  sim.finish(1, 'passed');
  expect(sim.build(1).jobs.map(({ state }) => state)).toEqual(['passed', 'passed', 'unblocked', 'passed']);
});

test('an answer can be cut in its middle', async () => {
  const sim = await start();
  await create(sim);
  sim.advance(1);
  sim.onRequest({ route: 'log' }, cut(7));
  const response = await fetch(`${sim.apiUrl}${logOf(sim)}.txt`, { headers: { authorization: `Bearer ${sim.token}` } });
  expect([response.status, response.headers.get('content-length')]).toEqual([200, String(sim.log(1, 'build').length)]);
  await expect(response.text()).rejects.toThrow('terminated');
});
