import { expect, test, vi } from 'vitest';
import { answer } from '../../sim/buildkite/index.ts';
import { backUp } from '../../faults/backup.ts';
import { buildsOf, createOf, newSha } from '../support/ci.ts';
import { disaster, mortal, oneFile, says, stored, toEnd, toRunning } from '../support/disaster.ts';
import { buildOf, failingActivity } from '../support/pipelines.ts';
import { buildkiteFile } from '../support/spindle.ts';
import { until } from '../support/until.ts';

vi.setConfig({ testTimeout: 180_000 });

test('a cancel that was under way when the database was lost is carried out', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const { ci, sql } = whorl;
  const built = whorl.push(oneFile);
  const build = await toRunning(whorl, built);
  ci.onRequest({ route: 'cancel' }, answer(503), 'always');
  expect(await whorl.command('cancel', built.id)).toMatchObject({ state: 'done' });
  await failingActivity(built, 'cancel:ci.yml');
  const sha = newSha();
  ci.onRequest(createOf(sha), answer(503), 'always');
  const unbuilt = whorl.push(oneFile, { newSha: sha });
  await failingActivity(unbuilt, 'create:ci.yml');
  // As when the process died right after it had written down that nothing more is to be built.
  await sql`update attempts set cancel_asked_at = clock_timestamp() where pipeline = ${unbuilt.id}`;
  const backup = await backUp(sql);
  await end();
  await disaster(whorl, backup);
  ci.clearFaults();
  await begin();

  await until('the CI is asked to stop', () => ci.build(build).state === 'canceling');
  ci.advance(build, 'canceled');
  await built.shows('ci.yml', 'cancelled');
  await unbuilt.shows('ci.yml', 'cancelled');
  for (const pushed of [built, unbuilt]) await pushed.ended();
  expect(buildsOf(whorl, unbuilt)).toEqual([]);
  expect(whorl.appview.problems).toEqual([]);
});

test('a cancel that was answered, and written down nowhere else when the database was lost, is carried out', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const { ci, sql } = whorl;
  const built = whorl.push(oneFile);
  const build = await toRunning(whorl, built);
  ci.onRequest({ route: 'cancel' }, answer(503), 'always');
  const again = whorl.push(oneFile);
  await toEnd(whorl, again, 'failed');
  const rerun = whorl.push(oneFile);
  const failed = await toEnd(whorl, rerun, 'failed');
  await whorl.command('rerun', again.id);
  const second = await buildOf(whorl, again, 'ci.yml', 2);
  const sha = newSha();
  for (const commit of [sha, rerun.sha]) ci.onRequest(createOf(commit), answer(503), 'always');
  const unbuilt = whorl.push(oneFile, { newSha: sha });
  await failingActivity(unbuilt, 'create:ci.yml');
  await whorl.command('rerun', rerun.id);
  await failingActivity(rerun, 'create:ci.yml#2');
  await rerun.shows('ci.yml', 'pending');

  await sql`create table waiting as select * from jobs where pipeline in ${sql([unbuilt.id, rerun.id])}`;
  for (const { id } of [built, unbuilt, rerun])
    expect(await whorl.command('cancel', id)).toMatchObject({ state: 'done' });
  for (const pushed of [unbuilt, rerun]) await pushed.shows('ci.yml', 'cancelled');
  await end();
  // As it stood before any step of theirs: a cancel that waited for its pipeline to begin, and one of an attempt that has no row.
  await sql`update commands set received_at = received_at - interval '1 hour' where kind = 'cancel'`;
  await sql`update attempts set cancel_asked_at = null`;
  await sql`delete from builds where pipeline = ${rerun.id} and attempt = 2`;
  await sql`delete from attempts where pipeline = ${rerun.id} and attempt = 2`;
  await sql`delete from statuses where rank = 2 and (pipeline = ${unbuilt.id} or (pipeline = ${rerun.id} and attempt = 2))`;
  await sql`
    update jobs set status = waiting.status, rank = waiting.rank, error = null, state = waiting.state
    from waiting where waiting.pipeline = jobs.pipeline`;
  await sql`drop table waiting`;
  // And a cancel of the attempt before the last is none of the last.
  await sql`
    insert into commands (id, share, pipeline, kind, by, state, result, received_at, settled_at)
    select 'earlier', share, ${again.id}, 'cancel', 'test', 'done', 'Cancelling ci.yml.', created_at, created_at
    from commands, attempts where attempts.pipeline = ${again.id} and attempt = 1 and commands.pipeline = ${again.id}`;
  const backup = await backUp(sql);
  await disaster(whorl, backup);
  ci.clearFaults();
  await begin();

  await until('the CI is asked to stop', () => ci.build(build).state === 'canceling');
  ci.advance(build, 'canceled');
  for (const pushed of [built, unbuilt, rerun]) await says(whorl, pushed, 'cancelled');
  ci.finish(second.id, 'passed');
  await says(whorl, again, 'success');
  for (const pushed of [built, unbuilt, rerun, again]) await pushed.ended();
  expect(buildsOf(whorl, unbuilt)).toEqual([]);
  expect(await stored(whorl, rerun)).toMatchObject({ attempt: 2, builds: [failed, null] });
  expect(buildsOf(whorl, rerun)).toHaveLength(1);
});

test('a rerun that was answered, and written down nowhere else when the database was lost, is carried out', async (context) => {
  const { whorl, begin, end } = await mortal(context);
  const { ci, sql } = whorl;
  const pushed = whorl.push({ ...oneFile, 'other.yml': buildkiteFile() });
  const first = await toRunning(whorl, pushed);
  const other = await buildOf(whorl, pushed, 'other.yml');
  ci.finish(first, 'failed');
  await pushed.shows('ci.yml', 'failed');
  ci.onRequest(createOf(pushed.sha), answer(503), 'always');
  await sql`create table before as select * from jobs where name = 'ci.yml'`;
  expect(await whorl.command('rerun', pushed.id)).toMatchObject({ state: 'done', result: 'ci.yml: attempt 2' });
  await failingActivity(pushed, 'create:ci.yml#2');
  await pushed.shows('ci.yml', 'pending');
  await end();
  // As it stood before any step of it.
  for (const table of ['builds', 'attempts', 'statuses']) await sql`delete from ${sql(table)} where attempt = 2`;
  await sql`
    update jobs set attempt = 1, status = before.status, rank = before.rank, state = before.state
    from before where before.pipeline = jobs.pipeline and before.name = jobs.name`;
  await sql`drop table before`;
  const backup = await backUp(sql);
  await disaster(whorl, backup);
  ci.clearFaults();
  await begin();

  const second = await buildOf(whorl, pushed, 'ci.yml', 2);
  for (const { id } of [second, other]) ci.finish(id, 'passed');
  for (const job of ['ci.yml', 'other.yml']) await pushed.shows(job, 'success');
  await pushed.ended();
  expect(await sql`select job, attempt, build from attempts order by job, attempt`).toMatchObject([
    { job: 'ci.yml', attempt: 1, build: first },
    { job: 'ci.yml', attempt: 2, build: second.id },
    { job: 'other.yml', attempt: 1, build: other.id },
  ]);
  expect(buildsOf(whorl, pushed)).toHaveLength(3);
  expect(whorl.appview.problems).toEqual([]);
});
