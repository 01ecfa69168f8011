import { randomUUID } from 'node:crypto';
import { expect, inject, test, vi } from 'vitest';
import { answer, lose, loseAnswer, rateLimited } from '../../sim/buildkite/index.ts';
import { restore } from '../../src/cli/restore-run.ts';
import { restoreTemporal } from '../../src/cli/restore-temporal.ts';
import type { Sql } from '../../src/store/db.ts';
import { checkRestored } from '../../src/store/restore.ts';
import { backUp, putBack } from '../../faults/backup.ts';
import { present } from '../../faults/release.ts';
import { buildsOf, createOf, newSha } from '../support/ci.ts';
import { disaster, mortal, oneFile, runRestore, says, stored, toEnd, toRunning } from '../support/disaster.ts';
import { fleet, roleEnv } from '../support/fleet.ts';
import { buildOf, failingActivity, isBound, isParked } from '../support/pipelines.ts';
import { buildkiteFile, type Pushed } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 180_000 });

/** Makes the database as it was before its create had an answer; what webhooks had told by then is there. */
async function asBeforeTheAnswer(sql: Sql, pushed: Pushed): Promise<void> {
  await sql`update attempts set build = null, bound_at = null, learnt = null, ended_at = null where pipeline = ${pushed.id}`;
  await sql`update builds set outcome = 'unknown', build = null, number = null, url = null, data = null where pipeline = ${pushed.id}`;
  await sql`update jobs set status = 'pending', rank = 0, state = jsonb_set(state, '{job,bound}', '{}') where pipeline = ${pushed.id}`;
  await sql`delete from statuses where pipeline = ${pushed.id} and rank > 0`;
}

test('after a restore no build is lost or doubled, and every status is right', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const { ci, sql } = whorl;

  // Before the backup.
  const endedAfter = whorl.push(oneFile);
  const runningAll = whorl.push(oneFile);
  const parkedSha = newSha();
  ci.onRequest(createOf(parkedSha), answer(404), 'always');
  const parked = whorl.push(oneFile, { newSha: parkedSha });
  const rerun = whorl.push(oneFile);
  const rebuilt = whorl.push(oneFile);
  const untouched = whorl.push(oneFile);
  const [endedAfterBuild, runningBuild] = [await toRunning(whorl, endedAfter), await toRunning(whorl, runningAll)];
  await isParked(parked);
  const rerunFirst = await toEnd(whorl, rerun, 'failed');
  const rebuiltFirst = await toEnd(whorl, rebuilt, 'failed');
  await toEnd(whorl, untouched, 'passed');
  const backup = await backUp(sql);

  // Between the backup and the disaster.
  ci.finish(endedAfterBuild, 'passed');
  await endedAfter.shows('ci.yml', 'success');
  const startedAfter = whorl.push(oneFile);
  const startedBuild = await toRunning(whorl, startedAfter);
  const bothAfter = whorl.push(oneFile);
  const bothBuild = await toEnd(whorl, bothAfter, 'passed');
  expect(await whorl.command('rerun', rerun.id)).toMatchObject({ state: 'done' });
  const rerunBuild = (await buildOf(whorl, rerun, 'ci.yml', 2)).id;
  await rerun.shows('ci.yml', 'pending');
  ci.advance(rerunBuild, 'running');
  await rerun.shows('ci.yml', 'running');
  const rebuild = ci.rebuild(rebuiltFirst);
  ci.advance(rebuild.id, 'running');
  await rebuilt.shows('ci.yml', 'running');
  ci.finish(rebuild.id, 'passed');
  await rebuilt.shows('ci.yml', 'success');
  const neverSha = newSha();
  ci.onRequest(createOf(neverSha), answer(503), 'always');
  const neverBuilt = whorl.push(oneFile, { newSha: neverSha });
  await failingActivity(neverBuilt, 'create:ci.yml');
  expect(await whorl.command('cancel', neverBuilt.id)).toMatchObject({ state: 'done' });
  await neverBuilt.shows('ci.yml', 'cancelled');
  await neverBuilt.ended();
  const lostSha = newSha();
  ci.onRequest(createOf(lostSha), loseAnswer());
  const lost = whorl.push(oneFile, { newSha: lostSha });
  const lostBuild = await until('the build whose answer is lost', () => buildsOf(whorl, lost)[0]?.id);

  // The disaster. A build ends while nobody listens, and a push comes meanwhile.
  await end();
  ci.finish(runningBuild, 'failed');
  const meanwhile = whorl.push(oneFile);
  const done = await disaster(whorl, backup);
  expect(done).toMatchObject({ missing: 4, refused: 0 });
  ci.clearFaults();
  const requests = ci.requests.length;
  await begin();

  await says(whorl, endedAfter, 'success');
  await says(whorl, runningAll, 'failed');
  await says(whorl, bothAfter, 'success');
  await says(whorl, rebuilt, 'success');
  await says(whorl, neverBuilt, 'cancelled');
  await says(whorl, startedAfter, 'running');
  await says(whorl, rerun, 'running');
  expect(await stored(whorl, rerun)).toMatchObject({ attempt: 2, builds: [rerunFirst, rerunBuild] });
  expect(await stored(whorl, rebuilt)).toMatchObject({ attempt: 2, builds: [rebuiltFirst, rebuild.id] });
  expect(await stored(whorl, neverBuilt)).toMatchObject({ builds: [null] });

  // The ways to the end go on as they would have.
  for (const [pushed, id] of [
    [startedAfter, startedBuild],
    [rerun, rerunBuild],
    [lost, lostBuild],
  ] as const) {
    ci.finish(id, 'passed');
    await says(whorl, pushed, 'success');
  }
  ci.finish((await buildOf(whorl, parked)).id, 'passed');
  ci.finish((await buildOf(whorl, meanwhile)).id, 'passed');
  const all = [endedAfter, runningAll, parked, rerun, rebuilt, untouched, startedAfter, bothAfter, lost, meanwhile];
  const red = new Set([runningAll]);
  for (const pushed of all) await pushed.shows('ci.yml', red.has(pushed) ? 'failed' : 'success');
  for (const pushed of [...all, neverBuilt]) await pushed.ended();

  expect(all.map((pushed) => buildsOf(whorl, pushed).length)).toEqual([1, 1, 1, 2, 2, 1, 1, 1, 1, 1]);
  expect(buildsOf(whorl, neverBuilt)).toEqual([]);
  expect(ci.requests.filter(({ route }) => route === 'cancel')).toEqual([]);
  expect(ci.requests.slice(requests).filter(({ body }) => JSON.stringify(body ?? '').includes(untouched.sha))).toEqual(
    [],
  );

  // Nobody who had seen an end was told less again.
  expect(endedAfter.seen('ci.yml')).toEqual(['pending', 'running', 'success']);
  expect(bothAfter.seen('ci.yml')).toEqual(['pending', 'running', 'success']);
  expect(rebuilt.seen('ci.yml').slice(-2)).toEqual(['running', 'success']);
  expect(startedAfter.seen('ci.yml')).toEqual(['pending', 'running', 'success']);
  expect(whorl.appview.problems).toEqual([]);
  expect(bothBuild).toBe((await stored(whorl, bothAfter)).builds[0]);
});

test('logs and reasons that were lost are there again, and an attempt that was given out is carried out', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const { ci, sql } = whorl;
  const refused = whorl.push({ 'wrong.yml': 'tack: [' });
  await refused.shows('wrong.yml', 'failed');
  await refused.ended();
  const built = whorl.push(oneFile);
  await toEnd(whorl, built, 'passed');
  const sha = newSha();
  const again = whorl.push(oneFile, { newSha: sha });
  const first = await toEnd(whorl, again, 'failed');
  ci.onRequest(createOf(sha), answer(503), 'always');
  expect(await whorl.command('rerun', again.id)).toMatchObject({ state: 'done', result: 'ci.yml: attempt 2' });
  await failingActivity(again, 'create:ci.yml#2');
  // As if the backup had been taken before logs were brought, and before anybody was told of the second attempt.
  const backup = await backUp(sql);
  const early = {
    ...backup,
    tables: backup.tables.map((table) => (table.name.startsWith('log') ? { ...table, rows: '[]' } : table)),
  };
  await end();
  await disaster(whorl, early);
  ci.clearFaults();
  await begin();

  const { id } = await buildOf(whorl, again, 'ci.yml', 2);
  ci.finish(id, 'passed');
  await again.shows('ci.yml', 'success');
  for (const pushed of [refused, built, again]) await pushed.ended();
  expect(await stored(whorl, again)).toMatchObject({ attempt: 2, builds: [first, id] });
  const whole = await sql<{ pipeline: string; attempt: number }[]>`
    select pipeline, attempt from logs where complete >= 0 order by pipeline, attempt`;
  const wanted = [`${refused.id} 1`, `${built.id} 1`, `${again.id} 1`, `${again.id} 2`];
  expect(new Set(whole.map(({ pipeline, attempt }) => `${pipeline} ${attempt}`))).toEqual(new Set(wanted));
  const steps = await sql`select about ->> 'name' as name from log_steps where pipeline = ${refused.id}`;
  expect([...steps]).toEqual([{ name: 'Reason' }]);
  expect(whorl.appview.problems).toEqual([]);
});

test('a rebuild that is over before its restored pipeline is opened again is taken over', async (context) => {
  // The CI does not list it yet when its builds are looked for.
  const { whorl, end } = await mortal(context, { buildkite: { indexLag: 'manual' } });
  const { ci } = whorl;
  const pushed = whorl.push(oneFile);
  const first = await toEnd(whorl, pushed, 'failed');
  const backup = await backUp(whorl.sql);
  await end();
  await disaster(whorl, backup);
  await whorl.start('ingest');
  await until('it is started again', async () => (await pushed.handle.describe()).status.name === 'RUNNING');
  const rebuild = ci.rebuild(first);
  ci.finish(rebuild.id, 'passed');
  await until('all was told', async () => {
    const told = await whorl.sql`select from deliveries where build = ${rebuild.id} and state = 'done'`;
    return told.length >= 2;
  });
  await whorl.start('worker');
  await pushed.shows('ci.yml', 'success');
  await pushed.ended();
  expect(await stored(whorl, pushed)).toMatchObject({ attempt: 2, builds: [first, rebuild.id] });
  expect(whorl.appview.problems).toEqual([]);
});

test('how a closed workflow left a job is nothing of the build that a person made afterwards', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const { ci } = whorl;
  const pushed = whorl.push(oneFile);
  const first = await toRunning(whorl, pushed);
  ci.finish(first, 'failed', { jobs: { build: 'timed_out' } });
  await pushed.shows('ci.yml', 'timeout');
  await pushed.ended();
  await end();
  const backup = await backUp(whorl.sql);
  ci.onWebhook({}, lose());
  const rebuild = ci.rebuild(first);
  ci.finish(rebuild.id, 'canceled');

  await disaster(whorl, backup);
  await begin();
  await says(whorl, pushed, 'cancelled');
  expect(await stored(whorl, pushed)).toMatchObject({ attempt: 2, builds: [first, rebuild.id] });
  const said = await whorl.sql`select status from statuses where pipeline = ${pushed.id} and attempt = 2 and rank = 2`;
  expect([...said]).toEqual([{ status: 'cancelled' }]);
});

test('an end that was heard before its build was known to be ours is published after the restore', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const { sql } = whorl;
  const pushed = whorl.push(oneFile);
  const id = await toEnd(whorl, pushed, 'passed');
  await end();
  await asBeforeTheAnswer(sql, pushed);
  const backup = await backUp(sql);

  await disaster(whorl, backup);
  await begin();
  await says(whorl, pushed, 'success');
  expect((await stored(whorl, pushed)).builds).toEqual([id]);
  expect(await sql`select from statuses where pipeline = ${pushed.id} and status = 'success'`).toHaveLength(1);
});

test('a build that ran before it was known to be ours is shown as running after the restore', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const { sql } = whorl;
  const pushed = whorl.push(oneFile);
  const id = await toRunning(whorl, pushed);
  await end();
  await asBeforeTheAnswer(sql, pushed);
  const backup = await backUp(sql);

  await disaster(whorl, backup);
  await begin();
  await says(whorl, pushed, 'running');
  whorl.ci.finish(id, 'passed');
  await says(whorl, pushed, 'success');
  expect((await stored(whorl, pushed)).builds).toEqual([id]);
  expect(await sql`select from statuses where pipeline = ${pushed.id} and status = 'running'`).toHaveLength(1);
});

test('a restore that dies anywhere is run again, and no role starts before its end', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const running = whorl.push(oneFile);
  const build = await toRunning(whorl, running);
  const backup = await backUp(whorl.sql);
  const after = whorl.push(oneFile);
  const afterBuild = await toRunning(whorl, after);
  await end();
  await putBack(whorl.sql, backup);
  for (const dieAfter of [/^Restore/, /^Leases/, /^Workflows/, /^Pipelines/]) {
    await expect(runRestore(whorl, { dieAfter })).rejects.toThrow('killed');
    await expect(checkRestored(whorl.sql)).rejects.toThrow('run `whorl restore` (again)');
  }
  expect(await runRestore(whorl)).toMatchObject({ epoch: 1, reopened: 1, missing: 1 });
  await checkRestored(whorl.sql);
  // Once more by mistake, which is a restore of its own.
  expect(await runRestore(whorl)).toMatchObject({ epoch: 2, reopened: 1, missing: 1 });

  await begin();
  await says(whorl, running, 'running');
  await says(whorl, after, 'running');
  for (const id of [build, afterBuild]) whorl.ci.finish(id, 'passed');
  for (const pushed of [running, after]) {
    await pushed.shows('ci.yml', 'success');
    await pushed.ended();
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
  }
  expect(whorl.appview.problems).toEqual([]);
});

test('a restore refuses while somebody works on the database', async (context) => {
  const { whorl, end } = await mortal(context);
  const temporal = restoreTemporal({ TEMPORAL_ADDRESS: inject('temporalAddress') }, whorl.config.taskQueue);
  context.onTestFinished(() => temporal.close());
  const run = () =>
    restore({
      sql: whorl.sql,
      temporal,
      lookBackMs: 0,
      quietMs: 0,
      agreed: async () => true,
      print() {},
    });
  await expect(run()).rejects.toThrow('stop all roles');
  await end();
  expect(await whorl.sql`select from restores`).toHaveLength(0);
});

test('a trigger that is older than ten minutes costs one look at the CI, and one that is not costs none', async (context) => {
  const { whorl } = await mortal(context);
  const young = whorl.push(oneFile);
  await toEnd(whorl, young, 'passed');
  const lists = () => whorl.ci.requests.filter(({ route }) => route === 'list').length;
  expect(lists()).toBe(0);
  const id = buildsOf(whorl, young)[0]?.id;
  // As if all rows about its build had been lost, and the trigger were an hour old.
  await whorl.sql`delete from builds where pipeline = ${young.id}`;
  await whorl.sql`update attempts set build = null, posts = 0 where pipeline = ${young.id}`;
  await whorl.sql`update jobs set status = null, state = null, attempt = 1, rank = -1 where pipeline = ${young.id}`;
  await whorl.sql`update pipelines set happened_at = now() - interval '1 hour' where id = ${young.id}`;
  await whorl.sql`insert into commands (id, share, pipeline, kind, by)
    select 'again', share, ${young.id}, 'reopen', 'a test' from triggers where rkey = ${young.rkey}`;
  await whorl.sql`select pg_notify('inbox', share || ' commands') from commands where id = 'again'`;
  await until('it is bound again', async () => (await stored(whorl, young)).builds[0] === id);
  expect(buildsOf(whorl, young)).toHaveLength(1);
  expect(lists()).toBe(1);
});

test.for([
  { what: 'answers 500', fault: answer(500), times: 3 },
  { what: 'asks for patience', fault: rateLimited(1), times: 2 },
  { what: 'takes no token', fault: answer(401), times: 3 },
  // Its job waits for the operator then, and says so.
  { what: 'does not show the pipeline', fault: answer(404), times: 1, down: 'goes down from running to pending' },
])(
  'after a restore nothing is built while the CI $what; then the build is found',
  async ({ fault, times, down }, context) => {
    const { whorl, begin, end } = await mortal(context);
    const backup = await backUp(whorl.sql);
    const pushed = whorl.push(oneFile);
    const build = await toRunning(whorl, pushed);
    await end();
    await disaster(whorl, backup);
    whorl.ci.onRequest({ route: 'list' }, fault, times);
    await begin();
    await says(whorl, pushed, 'running');
    whorl.ci.finish(build, 'passed');
    await pushed.shows('ci.yml', 'success');
    await pushed.ended();
    expect(buildsOf(whorl, pushed)).toHaveLength(1);
    expect(whorl.appview.problems).toEqual(down === undefined ? [] : [expect.stringContaining(down)]);
  },
);

test('when Temporal is lost, what is open goes on in an empty namespace, and no build is made twice', async () => {
  const all = await fleet({ buildkite: { clock: 'manual', pipelines: ['acme/app'] } });
  const { whorl } = all;
  const { ci } = whorl;
  const start = (env: Record<string, string> = {}) =>
    Promise.all([all.start('ingest', env), all.start('worker', env), all.start('server', env)]);
  const roles = await start();
  await all.appview.connected();
  const shows = (pushed: Pushed, status: string) =>
    all.appview.wait(whorl.knot.host, pushed.rkey, (view) => view.jobs['ci.yml']?.status === status, 60_000);

  const over = whorl.push(oneFile);
  const running = whorl.push(oneFile);
  const created = whorl.push(oneFile);
  const parked = whorl.push({ 'ci.yml': buildkiteFile('missing') });
  ci.finish((await buildOf(whorl, over)).id, 'passed');
  ci.advance((await buildOf(whorl, running)).id, 'running');
  await Promise.all([shows(over, 'success'), shows(running, 'running'), isBound(created), isParked(parked)]);

  for (const role of roles) role.signal('SIGTERM');
  for (const role of roles) expect(await role.exited()).toBe(0);
  ci.finish((await buildOf(whorl, running)).id, 'failed');
  const meanwhile = whorl.push(oneFile);

  const empty = { TEMPORAL_NAMESPACE: `empty-${randomUUID()}` };
  const env = { ...roleEnv(whorl), TEMPORAL_ADDRESS: inject('temporalAddress'), WHORL_DEV: 'true', ...empty };
  await present.whorl(['migrate'], env);
  expect(await present.whorl(['restore', '--yes'], env)).toContain('runs 0 pipelines');
  await start(empty);

  await shows(running, 'failed');
  ci.finish((await buildOf(whorl, created)).id, 'passed');
  ci.finish((await buildOf(whorl, meanwhile)).id, 'passed');
  await Promise.all([shows(created, 'success'), shows(meanwhile, 'success')]);
  ci.pipeline('acme/missing');
  expect(await whorl.command('retry', parked.id, 'ci.yml')).toMatchObject({ state: 'done' });
  ci.finish((await buildOf(whorl, parked)).id, 'passed');
  await shows(parked, 'success');

  for (const pushed of [over, running, created, parked, meanwhile]) expect(buildsOf(whorl, pushed)).toHaveLength(1);
  expect(all.appview.view(whorl.knot.host, over.rkey)?.jobs['ci.yml']?.history.map(({ status }) => status)).toEqual(
    expect.not.arrayContaining(['failed', 'cancelled', 'timeout']),
  );
  expect(all.appview.problems).toEqual([]);
});
