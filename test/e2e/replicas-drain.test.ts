import { once } from 'node:events';
import { connect } from 'node:net';
import { expect, test, vi } from 'vitest';
import { publishStatuses } from '../../src/store/statuses.ts';
import { fleet, type Member } from '../support/fleet.ts';
import { linked } from '../support/linked.ts';
import { logWriter, readLogs } from '../support/logs.ts';
import { addPipeline } from '../support/outbox.ts';
import { posting } from '../support/poster.ts';
import { readEvents } from '../support/reader.ts';
import { buildkiteFile } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 90_000 });

const said = ({ log }: Member, text: string): boolean => log.some(({ msg }) => String(msg).includes(text));
const told = (member: Member): Promise<unknown> => until('it was told', () => said(member, 'stopping: '));

test('ingest that is told to stop says so first, takes webhooks meanwhile, and cuts none', async () => {
  const all = await fleet();
  const ingest = await all.start('ingest', { WHORL_DRAIN_NOTICE: '2s' });
  const senders = posting(ingest.url, 16);
  await until('webhooks under way', () => senders.done.length > 100);
  ingest.signal('SIGTERM');
  await told(ingest);
  const readiness = await fetch(`${ingest.url}/readyz`);
  const atNotice = senders.done.length;
  expect(readiness.status).toBe(503);
  expect(await readiness.json()).toMatchObject({
    ok: false,
    checks: { process: { detail: expect.stringContaining('draining') } },
  });
  expect((await fetch(`${ingest.url}/healthz`)).status).toBe(200);

  expect(await ingest.exited()).toBe(0);
  const posted = await senders.stop();
  expect(posted.length - atNotice).toBeGreaterThan(50);
  const answered = posted.flatMap((one) => ('status' in one ? [one] : []));
  expect(new Set(answered.map(({ status }) => status))).toEqual(new Set([200]));
  // Every sender was refused a connection in the end, and none lost an answer that had begun.
  const failed = posted.flatMap((one) => ('error' in one ? [one] : []));
  expect(failed).toHaveLength(16);
  expect(failed.filter(({ begun }) => begun)).toEqual([]);
  const stored = await all.whorl.sql<{ build: string }[]>`select build from deliveries`;
  expect(stored.map(({ build }) => build).toSorted()).toEqual(answered.map(({ build }) => build).toSorted());
  expect(said(ingest, 'stopped')).toBe(true);
});

test('a server that is told to stop closes its readers with 1001 after a whole frame, and the next one has the rest', async () => {
  const all = await fleet();
  const { sql } = all.whorl;
  const server = await all.start('server', { WHORL_DRAIN_NOTICE: '500ms' });
  const jobs = Array.from({ length: 400 }, (_, n) => `j${n}.yml`);
  const pipeline = await addPipeline(sql, 'knot.example', 'p1', jobs);
  const readers = await Promise.all(Array.from({ length: 20 }, () => readEvents(server.url)));
  const writer = logWriter(sql, { pipeline, job: 'j0.yml', attempt: 1 });
  await writer.append(['{"n":1}']);
  const log = await readLogs(server.url, 'knot.example/p1/j0.yml');
  // A connection that never asks for anything holds nobody up.
  const silent = connect(Number(new URL(server.url).port), '127.0.0.1');
  await once(silent, 'connect');
  silent.on('error', () => {});

  const publishing = (async () => {
    for (const job of jobs) await publishStatuses(sql, pipeline, [{ job, attempt: 1, epoch: 0, status: 'pending' }]);
  })();
  await until('frames', () => readers.every(({ frames }) => frames.length > 20));
  server.signal('SIGTERM');
  expect(new Set(await Promise.all(readers.map(({ closed }) => closed)))).toEqual(new Set([1001]));
  expect(await log.closed).toMatchObject({ code: 1001 });
  expect(await server.exited()).toBe(0);
  await publishing;

  const next = await all.start('server');
  const [first] = readers;
  const again = await readEvents(next.url, '1');
  await until('all statuses', () => again.frames.length === jobs.length);
  expect(again.rkeys().slice(0, first?.frames.length)).toEqual(first?.rkeys());
  await again.close();
});

test('a worker that is told to stop ends what it does; what takes longer is done by another one', async () => {
  const all = await fleet();
  const { whorl } = all;
  await all.start('ingest');
  const first = await all.start('worker', { WHORL_DRAIN_TIME: '6s', WHORL_CREATE_TIMEOUT: '60s' });

  // One that ends within the time: the answer of its create comes after the signal.
  const quick = whorl.ci.hold({ route: 'create' });
  const pushed = whorl.push({ 'ci.yml': buildkiteFile() });
  await quick.arrived;
  first.signal('SIGTERM');
  await told(first);
  quick.release();
  await until(
    'its build is bound',
    async () => (await whorl.sql`select from attempts where build is not null`).length > 0,
  );
  expect(await first.exited()).toBe(0);

  const second = await all.start('worker', { WHORL_DRAIN_TIME: '4s', WHORL_CREATE_TIMEOUT: '60s' });
  const long = whorl.ci.hold({ route: 'create' });
  const later = whorl.push({ 'ci.yml': buildkiteFile() });
  await long.arrived;
  await all.start('worker');
  second.signal('SIGTERM');
  expect(await second.exited()).toBe(0);
  await until(
    'both have a build',
    async () => (await whorl.sql`select from attempts where build is not null`).length === 2,
  );
  long.release();
  expect(whorl.ci.builds().filter(({ state }) => state !== 'canceled')).toHaveLength(2);
  for (const { id } of whorl.ci.builds()) whorl.ci.finish(id, 'passed');
  expect(await Promise.all([pushed.ended(), later.ended()])).toEqual([
    { 'ci.yml': 'success' },
    { 'ci.yml': 'success' },
  ]);
});

test('when the time is over, or on a second signal, a process ends with 1 and says why', async () => {
  const all = await fleet();
  const url = new URL(all.whorl.databaseUrl);
  const stuck = async (env: Record<string, string>): Promise<Member> => {
    // PostgreSQL drops no database while somebody who dialled it has yet to say who they are, for a minute.
    const link = await linked({ name: 'postgres', protocol: 'tcp', to: [url.host] });
    const through = new URL(url);
    through.host = `127.0.0.1:${link.port}`;
    const ingest = await all.start('ingest', { ...env, WHORL_DATABASE_URL: through.href });
    link.halfOpen();
    ingest.signal('SIGTERM');
    await told(ingest);
    return ingest;
  };
  const late = await stuck({ WHORL_DRAIN_TIME: '1s' });
  expect(await late.exited()).toBe(1);
  expect(said(late, 'not everything ended within 1 s (WHORL_DRAIN_TIME)')).toBe(true);

  const impatient = await stuck({ WHORL_DRAIN_TIME: '10m' });
  impatient.signal('SIGINT');
  expect(await impatient.exited()).toBe(1);
  expect(said(impatient, 'told again: ending at once')).toBe(true);
});
