import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseFrame } from '../../src/forges/tangled/frame.ts';
import { pinRepo } from '../../src/store/repos.ts';
import { startRoleProcess } from '../support/role-process.ts';
import { repo, type Spindle, type SpindleOptions, secret, spindle } from '../support/spindle.ts';
import { until } from '../support/until.ts';

const recorded = path.join(import.meta.dirname, '../fixtures/knot-events.ndjson');
/** Before anything that was recorded. */
const since = new Date('2026-11-20T00:00:00Z');

let lines: string[] = [];
/** `rkey/job` of every workflow file that the recording holds. */
let held: string[] = [];

beforeAll(async () => {
  lines = (await readFile(recorded, 'utf8')).split('\n').filter((line) => line !== '');
  held = lines.flatMap((line) => {
    const frame = parseFrame(line);
    if ('problem' in frame || frame.nsid !== 'sh.tangled.pipeline') return [];
    const { workflows } = frame.event as { workflows: { name: string }[] };
    return workflows.map(({ name }) => `${frame.rkey}/${name}`);
  });
  expect(held.length).toBeGreaterThan(5);
});

/** A spindle whose knot has the recorded history; only the host is the simulator's. */
async function replaying(options: SpindleOptions): Promise<Spindle> {
  const whorl = await spindle({
    buildkite: { clock: 'auto', pace: 30, pipelines: ['acme/whorl-demo', 'acme/lint'] },
    ...options,
  });
  whorl.knot.replay(lines.map((line) => line.replaceAll('127.0.0.1:5555', whorl.knot.host)));
  await pinRepo(whorl.sql, { knot: whorl.knot.host, ...repo, since });
  return whorl;
}

const allGreen = ({ appview, knot }: Spindle) =>
  until(
    'every recorded job is green',
    () =>
      held.every((key) => {
        const [rkey = '', job = ''] = key.split('/');
        return appview.view(knot.host, rkey).jobs[job]?.status === 'success';
      }),
    60_000,
  );

/** What the CI was asked for, and what is written down: each recorded job once, and nothing else. */
async function exactlyOnce({ ci, sql, appview }: Spindle): Promise<void> {
  const built = ci.builds().map(({ metaData }) => `${metaData['tack:pipeline_rkey']}/${metaData['tack:workflow']}`);
  expect(built.toSorted()).toEqual(held.toSorted());
  const jobs = await sql<{ key: string }[]>`
    select pipelines.rkey || '/' || jobs.name as key from jobs join pipelines on pipelines.id = jobs.pipeline`;
  expect(jobs.map(({ key }) => key).toSorted()).toEqual(held.toSorted());
  expect(appview.problems).toEqual([]);
}

const ingestEnv = ({ databaseUrl, config, ci }: Spindle): Record<string, string> => ({
  WHORL_DATABASE_URL: databaseUrl,
  WHORL_TASK_QUEUE: config.taskQueue,
  WHORL_BUILDKITE_TOKEN: ci.token,
  WHORL_BUILDKITE_ORG: 'acme',
  WHORL_BUILDKITE_WEBHOOK_SECRET: secret,
  WHORL_RESEND_AFTER: '400ms',
});

const aTrigger = ({ sql }: Spindle) =>
  until('a first trigger', async () => (await sql`select from triggers limit 1`).length > 0);

async function pushGreen(whorl: Spindle): Promise<void> {
  const pushed = whorl.push({ 'fake.yml': 'tack: {fake: {}}' });
  await pushed.shows('fake.yml', 'success');
}

describe('every frame that a real knot sent ends in exactly the pipelines and builds that it holds', () => {
  test('once', async () => {
    const whorl = await replaying({});
    await allGreen(whorl);
    await exactlyOnce(whorl);
  });

  test('also when its history comes three times', async () => {
    const whorl = await replaying({});
    whorl.knot.replayAll();
    await allGreen(whorl);
    whorl.knot.replayAll();
    const dials = whorl.knot.connections.length;
    whorl.knot.dropAll();
    await until('the knot is read again', () => whorl.knot.connections.length > dials);
    whorl.knot.replayAll();
    await exactlyOnce(whorl);
    await pushGreen(whorl);
    expect(whorl.ci.builds()).toHaveLength(held.length);
  });

  test('also when the ingest process is killed in the middle', async () => {
    const whorl = await replaying({ roles: ['worker', 'server'] });
    const first = await startRoleProcess('ingest', ingestEnv(whorl));
    await aTrigger(whorl);
    first.signal('SIGKILL');
    await first.exited();
    await startRoleProcess('ingest', ingestEnv(whorl));
    await allGreen(whorl);
    await exactlyOnce(whorl);
  });

  test('also when the ingest process was frozen past its lease and another took over', async () => {
    const whorl = await replaying({ roles: ['worker', 'server'] });
    const frozen = await startRoleProcess('ingest', ingestEnv(whorl));
    await aTrigger(whorl);
    frozen.signal('SIGSTOP');
    const second = await startRoleProcess('ingest', ingestEnv(whorl));
    await allGreen(whorl);
    frozen.signal('SIGCONT');
    await until('the first sees that it lost its leases', () =>
      frozen.log.some(({ msg }) => String(msg).includes('lost the lease')),
    );
    await exactlyOnce(whorl);
    second.signal('SIGTERM');
    expect(await second.exited()).toBe(0);
    await pushGreen(whorl);
    expect(whorl.ci.builds()).toHaveLength(held.length);
  });
}, 90_000);
